//! A new model directory with random weights, in the layout of the published Qwen-1.

use std::collections::BTreeMap;
use std::path::Path;

use qwen_tui::data::Tokenizer;
use qwen_tui::error::{Context, Error, Result};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::config::QwenConfig;
use super::weights;
use crate::device;

/// The shape of a model.
#[derive(Debug, Clone)]
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
}

/// Writes `config.json`, `generation_config.json`, `qwen.tiktoken` (a copy of `vocabulary`) and `model.safetensors`
/// to `out`: weights normal(0, 0.02), output projections smaller by sqrt(2 layers) (GPT-2, and Qwen's own code), norms 1.
///
/// # Errors
/// Sizes that no Qwen has, an unknown `dtype`, an `out` that is not new: nothing is left behind.
pub fn create(out: &Path, vocabulary: &Path, shape: &Shape, dtype: &str, seed: u64) -> Result<()> {
    let kind = device::kind(dtype, Device::Cpu).map_err(|e| e.context("--dtype"))?;
    new_place(out)?;
    let tokenizer = Tokenizer::load_file(vocabulary)?;
    let tokens = tokenizer.vocab_size() as i64;
    let vocab = if shape.vocab > 0 { shape.vocab } else { (tokens + 63) / 64 * 64 };
    if vocab < tokens {
        return Err(Error::user(format!("--vocab {vocab} has no room for the tokenizer's {tokens} tokens")));
    }
    let eos = tokenizer.eos();
    let config = json!({
        "architectures": ["QWenLMHeadModel"],
        "attn_dropout_prob": 0.0,
        "emb_dropout_prob": shape.emb_dropout,
        "bf16": kind == Kind::BFloat16,
        "fp16": kind == Kind::Half,
        "fp32": kind == Kind::Float,
        "hidden_size": shape.hidden,
        "intermediate_size": 2 * shape.mlp,
        "initializer_range": 0.02,
        "kv_channels": shape.hidden / shape.heads.max(1),
        "layer_norm_epsilon": 1e-6,
        "max_position_embeddings": shape.seq_length,
        "model_type": "qwen",
        "no_bias": true,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "rotary_emb_base": 10000,
        "rotary_pct": 1.0,
        "scale_attn_weights": true,
        "seq_length": shape.seq_length,
        "tie_word_embeddings": false,
        "tokenizer_class": "QWenTokenizer",
        "use_cache": true,
        "use_dynamic_ntk": true,
        "use_flash_attn": false,
        "use_logn_attn": true,
        "vocab_size": vocab,
    });
    let generation = json!({
        "chat_format": "raw", "eos_token_id": eos, "pad_token_id": eos, "stop_words_ids": [[eos]],
        "max_new_tokens": 512, "do_sample": true, "top_k": 0, "top_p": 0.8,
    });
    let sizes = QwenConfig::from_json(config.clone())?;
    in_new_directory(out, |dir| {
        std::fs::copy(vocabulary, dir.join("qwen.tiktoken")).user(vocabulary.display())?;
        qwen_tui::run::write_json(&dir.join("config.json"), &config)?;
        qwen_tui::run::write_json(&dir.join("generation_config.json"), &generation)?;
        weights::save(&dir.join("model.safetensors"), &random(&sizes, kind, seed))
    })
}

/// Weights to begin a training with.
fn random(config: &QwenConfig, kind: Kind, seed: u64) -> BTreeMap<String, Tensor> {
    tch::manual_seed(seed as i64);
    let small = config.initializer_range / (2.0 * config.num_hidden_layers as f64).sqrt();
    config
        .tensors()
        .into_iter()
        .map(|(name, size)| {
            let new = Tensor::empty(&size, (Kind::Float, Device::Cpu));
            let tensor = match name.as_str() {
                n if n.ends_with(".bias") => new.zeros_like(),
                n if n.contains(".ln_") => new.ones_like(),
                n if n.ends_with("c_proj.weight") => new.randn_like() * small,
                _ => new.randn_like() * config.initializer_range,
            };
            (name, tensor.to_kind(kind))
        })
        .collect()
}

/// Refuses an `--out` in which something stands already.
fn new_place(out: &Path) -> Result<()> {
    if out.join("config.json").exists() {
        return Err(Error::user(format!("{}: holds a model already; give another --out", out.display())));
    }
    if out.exists() && !out.read_dir().is_ok_and(|mut entries| entries.next().is_none()) {
        return Err(Error::user(format!(
            "{}: is no empty directory; give another --out, which will be made",
            out.display()
        )));
    }
    Ok(())
}

/// Makes the directory `out`, which `fill` puts the files into: it stands whole or not at all.
///
/// # Errors
/// An `out` that is neither new nor empty; what `fill` returns.
pub(super) fn in_new_directory(out: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    new_place(out)?;
    // An `out` that is a link to an empty directory leads there.
    let out = out.canonicalize().or_else(|_| std::path::absolute(out)).user(out.display())?;
    qwen_tui::run::write_directory(&out, fill)
}
