//! Arguments of `new-model`.

use std::path::PathBuf;

use super::shapes::{Shape, ShapeName};

/// Make a model directory with random weights in the layout of Qwen-1
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  qwen-tui new-model --shape qwen-1_8b --out models/random-1_8b")]
pub struct NewModelArguments {
    /// Directory to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Sizes by name; single ones can be given beside it
    #[arg(long, value_enum, default_value = "mini")]
    pub shape: ShapeName,
    /// A qwen.tiktoken; without it one is made up, which reads every text and is of no other use
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Width of the model
    #[arg(long)]
    hidden: Option<i64>,
    /// Transformer blocks
    #[arg(long)]
    layers: Option<i64>,
    /// Attention heads
    #[arg(long)]
    heads: Option<i64>,
    /// Width of each MLP matrix
    #[arg(long)]
    mlp: Option<i64>,
    /// Rows of the embedding; 0: what the tokenizer needs
    #[arg(long)]
    vocab: Option<i64>,
    /// Context length
    #[arg(long)]
    seq_length: Option<i64>,
    /// Dropout of the embedding
    #[arg(long)]
    emb_dropout: Option<f64>,
    /// bf16 or fp32; without it what models of this shape come in
    #[arg(long)]
    dtype: Option<String>,
    /// Seed of the weights
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

impl NewModelArguments {
    /// The named shape, with the sizes that are given beside it.
    pub fn sizes(&self) -> Shape {
        let named = self.shape.shape();
        Shape {
            hidden: self.hidden.unwrap_or(named.hidden),
            layers: self.layers.unwrap_or(named.layers),
            heads: self.heads.unwrap_or(named.heads),
            mlp: self.mlp.unwrap_or(named.mlp),
            vocab: self.vocab.unwrap_or(named.vocab),
            seq_length: self.seq_length.unwrap_or(named.seq_length),
            emb_dropout: self.emb_dropout.unwrap_or(named.emb_dropout),
            ..named
        }
    }

    /// Dtype of the weights.
    pub fn dtype(&self) -> &str {
        self.dtype.as_deref().unwrap_or(self.shape.shape().dtype)
    }
}
