//! A new model directory with random weights, in the layout of the published Qwen-1.

use std::collections::BTreeMap;
use std::path::Path;

use qwen_tui::bench::{Shape, vocabulary};
use qwen_tui::data::Tokenizer;
use qwen_tui::data::tokenizer::VOCABULARY_FILE;
use qwen_tui::error::{Context, Error, Result};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::config::QwenConfig;
use super::seeded::seeded;
use super::weights;
use crate::device;

/// Most bytes of tensors in one file, as in the published checkpoints.
const FILE_LIMIT: usize = 2_000_000_000;

/// Writes `config.json`, `generation_config.json`, `qwen.tiktoken` (a copy of `tokenizer`, or a made-up one) and the weights to `out`: weights normal(0,
/// 0.02), output projections smaller by sqrt(2 layers) (GPT-2, and Qwen's own code), norms 1.
///
/// # Errors
/// Sizes that no Qwen has, an unknown dtype, an `out` that is not new: nothing is left behind.
pub fn create(out: &Path, tokenizer: Option<&Path>, shape: &Shape, dtype: &str, seed: u64) -> Result<()> {
    let kind = device::kind(dtype, Device::Cpu).map_err(|e| e.context("--dtype"))?;
    new_place(out)?;
    let vocabulary = match tokenizer {
        Some(file) => {
            Tokenizer::load_file(file)?;
            std::fs::read(file).user(file.display())?
        }
        None => vocabulary(shape.ranks).into_bytes(),
    };
    in_new_directory(out, |dir| {
        std::fs::write(dir.join(VOCABULARY_FILE), vocabulary).user(dir.display())?;
        let tokenizer = Tokenizer::load(dir)?;
        let (config, generation) = configs(shape, kind, &tokenizer)?;
        let sizes = QwenConfig::from_json(config.clone())?;
        qwen_tui::run::write_json(&dir.join("config.json"), &config)?;
        qwen_tui::run::write_json(&dir.join("generation_config.json"), &generation)?;
        seeded(seed, || write_weights(dir, &sizes, kind))
    })
}

/// `config.json` and `generation_config.json`.
fn configs(shape: &Shape, kind: Kind, tokenizer: &Tokenizer) -> Result<(Value, Value)> {
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
    Ok((config, generation))
}

/// Random weights, drawn one after the other, in files of at most [`FILE_LIMIT`] bytes, of which one at a time is in memory.
fn write_weights(dir: &Path, config: &QwenConfig, kind: Kind) -> Result<()> {
    let files = split(config, kind);
    let (mut map, mut total) = (BTreeMap::new(), 0);
    for (number, tensors) in files.iter().enumerate() {
        let file = match files.len() {
            1 => "model.safetensors".to_owned(),
            many => format!("model-{:05}-of-{many:05}.safetensors", number + 1),
        };
        let drawn = tensors.iter().map(|(name, size)| (name.clone(), random(config, name, size, kind)));
        let drawn: BTreeMap<String, Tensor> = drawn.collect();
        total += drawn.values().map(|t| t.numel() * kind.elt_size_in_bytes()).sum::<usize>();
        map.extend(drawn.keys().map(|name| (name.clone(), file.clone())));
        weights::save(&dir.join(file), &drawn)?;
    }
    if files.len() == 1 {
        return Ok(());
    }
    let index = json!({"metadata": {"total_size": total}, "weight_map": map});
    qwen_tui::run::write_json(&dir.join("model.safetensors.index.json"), &index)
}

/// The tensors of each file, in the model's order; one that is larger than a file may be has one of its own.
fn split(config: &QwenConfig, kind: Kind) -> Vec<Vec<(String, Vec<i64>)>> {
    let mut files: Vec<Vec<(String, Vec<i64>)>> = vec![Vec::new()];
    let mut bytes = 0;
    for (name, size) in config.tensors() {
        let own = size.iter().product::<i64>() as usize * kind.elt_size_in_bytes();
        if bytes + own > FILE_LIMIT && bytes > 0 {
            files.push(Vec::new());
            bytes = 0;
        }
        bytes += own;
        if let Some(file) = files.last_mut() {
            file.push((name, size));
        }
    }
    files
}

/// A weight to begin a training with.
fn random(config: &QwenConfig, name: &str, size: &[i64], kind: Kind) -> Tensor {
    let small = config.initializer_range / (2.0 * config.num_hidden_layers as f64).sqrt();
    let mut new = Tensor::empty(size, (Kind::Float, Device::Cpu));
    let tensor = match name {
        n if n.ends_with(".bias") => new.zero_(),
        n if n.contains(".ln_") => new.fill_(1.0),
        n if n.ends_with("c_proj.weight") => new.normal_(0.0, small),
        _ => new.normal_(0.0, config.initializer_range),
    };
    tensor.to_kind(kind)
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
