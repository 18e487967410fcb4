//! Arguments of `bench`.

use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::{RangedU64ValueParser, TypedValueParser};

use super::rows::Lengths;
use super::shapes::ShapeName;

/// What may be left out of a benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Loading the weights.
    Load,
    /// The floor: arithmetic over the device's speed.
    Floor,
    /// Row by row, as the reference run's settings say literally.
    Literal,
}

/// Which loop of transformers' is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PeerLoop {
    /// The training loop alone.
    Plain,
    /// transformers' Trainer.
    Trainer,
}

/// A number of things of which there is one at least.
fn some() -> impl TypedValueParser<Value = usize> {
    RangedU64ValueParser::<usize>::new().range(1..=1 << 20)
}

/// Time a training step, an evaluation, a label and the loading of a model, beside the same row by row
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "docs/performance.md says what is measured and how.\n\n\
    Examples:\n  qwen-tui bench\n  qwen-tui bench --shape qwen-1_8b --peers python3 --json"
)]
pub struct BenchArguments {
    /// A model of random weights of this shape (`qwen-tui new-model --help` has their sizes); without it small on a
    /// CPU and qwen-1_8b on a GPU
    #[arg(long, value_enum, hide_possible_values = true)]
    pub shape: Option<ShapeName>,
    /// A model directory instead
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// qwen.tiktoken of the model of random weights
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// bf16, fp16, fp32; AUTO: bf16 on a GPU, fp32 on a CPU
    #[arg(long, default_value = "AUTO")]
    pub dtype: String,
    /// Threads within one operation on the CPU
    #[arg(long, value_parser = some())]
    pub threads: Option<usize>,
    /// Rows of a data set (.csv, .jsonl, .json) instead of made-up ones
    #[arg(long, value_name = "FILE")]
    pub rows_file: Option<PathBuf>,
    /// Tokens of a made-up row, evenly spread: N or FROM-TO
    #[arg(long, value_name = "TOKENS", default_value = "30-110")]
    pub lengths: Lengths,
    /// Rows of a step
    #[arg(long, default_value_t = 16, value_parser = some())]
    pub accumulation: usize,
    /// Steps before the clock starts
    #[arg(long, default_value_t = 2, value_parser = some())]
    pub warmup: usize,
    /// Times that all are timed, one after another
    #[arg(long, default_value_t = 3, value_parser = some())]
    pub rounds: usize,
    /// Steps that each is timed for in a round
    #[arg(long, default_value_t = 2, value_parser = some())]
    pub steps: usize,
    /// Rows of an evaluation
    #[arg(long, default_value_t = 64, value_parser = some())]
    pub validation: usize,
    /// Texts to label, one by one
    #[arg(long, default_value_t = 100, value_parser = some())]
    pub texts: usize,
    /// `gradient_checkpointing` of ours: auto, true or false; row by row it is always on
    #[arg(long, default_value = "auto")]
    pub gradient_checkpointing: String,
    /// What to leave out
    #[arg(long, value_enum, value_delimiter = ',')]
    pub without: Vec<Part>,
    /// Time transformers and PEFT too, with this Python
    #[arg(long, value_name = "PYTHON")]
    pub peers: Option<PathBuf>,
    /// Which loop of transformers'
    #[arg(long, value_enum, default_value = "plain")]
    pub peer_loop: PeerLoop,
    /// The cost as work grows instead: rows of 64, 256 and 1024 tokens, 1 to 64 a step
    #[arg(long)]
    pub grow: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// Only write the job for benches/peers/transformers_peft.py
    #[arg(long, value_name = "FILE")]
    pub job: Option<PathBuf>,
    /// Folder of models to make, keep and use again; else they go when it is done
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// Seed of weights, rows and training
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

impl BenchArguments {
    /// The shape of its model of random weights.
    pub fn shape(&self, gpu: bool) -> ShapeName {
        self.shape.unwrap_or(if gpu { ShapeName::Qwen1_8b } else { ShapeName::Small })
    }

    /// Steps in all.
    pub fn total(&self) -> usize {
        self.warmup + self.rounds * self.steps
    }
}
