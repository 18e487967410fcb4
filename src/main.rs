//! `qwen-tui`: what a person runs. Everything that needs libtorch is done by `qwen-tui-engine`, beside it.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
