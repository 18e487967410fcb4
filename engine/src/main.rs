//! The engine's own small command line; people type `qwen-tui`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use qwen_tui::error::Result;
use qwen_tui_engine::model::create::{Shape, create};
use qwen_tui_engine::{device, worker};

/// The half of qwen-tui that owns libtorch. It is started by `qwen-tui`; nothing here is meant to be typed.
#[derive(Parser)]
#[command(name = "qwen-tui-engine", version)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Train the run in a run directory, as its sft_args.json says.
    Worker { run_dir: PathBuf },
    /// Make a model directory with random weights in the layout of Qwen-1.
    NewModel {
        #[arg(long)]
        out: PathBuf,
        /// A qwen.tiktoken.
        #[arg(long)]
        tokenizer: PathBuf,
        #[arg(long, default_value_t = 192)]
        hidden: i64,
        #[arg(long, default_value_t = 4)]
        layers: i64,
        #[arg(long, default_value_t = 3)]
        heads: i64,
        /// Width of each MLP matrix.
        #[arg(long, default_value_t = 512)]
        mlp: i64,
        /// Rows of the embedding; 0: what the tokenizer needs.
        #[arg(long, default_value_t = 0)]
        vocab: i64,
        #[arg(long, default_value_t = 8192)]
        seq_length: i64,
        #[arg(long, default_value_t = 0.0)]
        dropout: f64,
        #[arg(long, default_value = "fp32")]
        dtype: String,
        #[arg(long, default_value_t = 42)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_target(false).init();
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(e.exit_code() as u8)
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Worker { run_dir } => worker::run(&run_dir),
        Task::NewModel { out, tokenizer, hidden, layers, heads, mlp, vocab, seq_length, dropout, dtype, seed } => {
            let kind = device::kind(&dtype, tch::Device::Cpu)?;
            let shape = Shape { hidden, layers, heads, mlp, vocab, seq_length, dropout };
            create(&out, &tokenizer, &shape, kind, seed)
        }
    }
}
