//! Shapes of models by name: those of the published Qwen-1, and small ones for benchmarks and tests.

use clap::ValueEnum;

use super::vocabulary::PUBLISHED_RANKS;

/// The name of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShapeName {
    /// Qwen-1.8B: 24 layers, hidden 2048, 16 heads, MLP 5504, bf16.
    #[value(name = "qwen-1_8b")]
    Qwen1_8b,
    /// Qwen-7B: 32 layers, hidden 4096, 32 heads, MLP 11008, bf16.
    #[value(name = "qwen-7b")]
    Qwen7b,
    /// Qwen-14B: 40 layers, hidden 5120, 40 heads, MLP 13696, bf16.
    #[value(name = "qwen-14b")]
    Qwen14b,
    /// 8 layers, hidden 512, 8 heads, MLP 1376, Qwen's vocabulary, fp32.
    #[value(name = "small")]
    Small,
    /// 4 layers, hidden 192, 3 heads, MLP 512, as many rows as the tokenizer needs, fp32.
    #[value(name = "mini")]
    Mini,
    /// 2 layers, hidden 64, 4 heads, MLP 128, a vocabulary of 4,000 ranks, fp32.
    #[value(name = "tiny")]
    Tiny,
}

/// The shape of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub hidden: i64,
    pub layers: i64,
    pub heads: i64,
    /// Width of each MLP matrix; `intermediate_size` is twice this.
    pub mlp: i64,
    /// Rows of the embedding; 0: the tokenizer's, rounded up to a multiple of 64.
    pub vocab: i64,
    /// Context length.
    pub seq_length: i64,
    /// Dropout of the embedding, for training from nothing.
    pub emb_dropout: f64,
    /// Ordinary tokens of the vocabulary that is made where none is given.
    pub ranks: usize,
    /// The dtype that weights of this shape come in.
    pub dtype: &'static str,
}

impl ShapeName {
    /// As it is written on the command line.
    pub fn name(self) -> String {
        // None of them is hidden.
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Its sizes (`config.json` of the published models).
    pub fn shape(self) -> Shape {
        let of = |layers, hidden, heads, mlp, vocab, seq_length, dtype| Shape {
            hidden,
            layers,
            heads,
            mlp,
            vocab,
            seq_length,
            emb_dropout: 0.0,
            ranks: PUBLISHED_RANKS,
            dtype,
        };
        match self {
            Self::Qwen1_8b => of(24, 2048, 16, 5504, 151_936, 8192, "bf16"),
            Self::Qwen7b => of(32, 4096, 32, 11_008, 151_936, 8192, "bf16"),
            Self::Qwen14b => of(40, 5120, 40, 13_696, 152_064, 2048, "bf16"),
            Self::Small => of(8, 512, 8, 1376, 151_936, 8192, "fp32"),
            Self::Mini => of(4, 192, 3, 512, 0, 8192, "fp32"),
            Self::Tiny => Shape { ranks: 4000, ..of(2, 64, 4, 128, 0, 8192, "fp32") },
        }
    }
}
