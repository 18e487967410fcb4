fn main() {
    println!("qwen-tui");
}
