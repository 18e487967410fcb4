//! Small models for tests, and the reference's figures where they are.
#![allow(dead_code, unused_imports)]

pub mod bench;
#[path = "../../../tests/common/shared.rs"]
mod shared;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use qwen_tui::args::{SftArgs, load_sft};
use qwen_tui::error::Result;
use qwen_tui::job::event::Event;
use qwen_tui::run::{RunDir, canonical_key};
use qwen_tui_engine::model::weights;
use qwen_tui_engine::train;
use rand_mt::Mt;
use serde_json::json;
use tch::{Device, Kind, Tensor};

pub use shared::shared;

/// Computes on one thread: small tensors gain little from more, and where other work holds a core, libtorch's threads
/// wait for each other at every operation.
pub fn one_thread() {
    tch::set_num_threads(1);
}

/// numpy's `RandomState.standard_normal` (Marsaglia's polar method on MT19937).
pub struct Normal {
    mt: Mt,
    spare: Option<f64>,
}

impl Normal {
    pub fn new(seed: u32) -> Self {
        Self { mt: Mt::new(seed), spare: None }
    }

    fn uniform(&mut self) -> f64 {
        let (a, b) = (self.mt.next_u32() >> 5, self.mt.next_u32() >> 6);
        (f64::from(a) * 67_108_864.0 + f64::from(b)) / 9_007_199_254_740_992.0
    }

    pub fn next(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (x1, x2) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let r2 = x1 * x1 + x2 * x2;
            if r2 < 1.0 && r2 != 0.0 {
                let f = (-2.0 * r2.ln() / r2).sqrt();
                self.spare = Some(f * x1);
                return f * x2;
            }
        }
    }

    pub fn tensor(&mut self, shape: &[i64], std: f64, mean: f32) -> Tensor {
        let n: i64 = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|_| mean + (self.next() * std) as f32).collect();
        Tensor::from_slice(&values).view(shape)
    }
}

/// The shape of a small model.
#[derive(Clone, Copy)]
pub struct Tiny {
    pub hidden: i64,
    pub layers: i64,
    pub heads: i64,
    pub intermediate: i64,
    pub vocab: i64,
    pub seed: u32,
}

/// The model of the reference run's figures (`make_tiny_qwen.py OUT 128 4 4 704 11`).
pub const REFERENCE: Tiny =
    Tiny { hidden: 128, layers: 4, heads: 4, intermediate: 704, vocab: 151_936, seed: 11 };

/// A model small enough for any test.
pub const SMALL: Tiny = Tiny { hidden: 32, layers: 2, heads: 2, intermediate: 96, vocab: 512, seed: 5 };

/// Writes a Qwen-1 model directory with reproducible weights, and `qwen.tiktoken` beside them.
pub fn write_model(dir: &Path, tiny: Tiny, vocabulary: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    let Tiny { hidden, layers, heads, intermediate, vocab, seed } = tiny;
    let (h, ff) = (hidden as f64, intermediate / 2);
    let mut rng = Normal::new(seed);
    let mut w = BTreeMap::new();
    w.insert("transformer.wte.weight".to_owned(), rng.tensor(&[vocab, hidden], 1.0, 0.0));
    for i in 0..layers {
        let mut put = |name: &str, t: Tensor| w.insert(format!("transformer.h.{i}.{name}"), t);
        put("ln_1.weight", rng.tensor(&[hidden], 0.1, 1.0));
        put("attn.c_attn.weight", rng.tensor(&[3 * hidden, hidden], h.powf(-0.5), 0.0));
        put("attn.c_attn.bias", rng.tensor(&[3 * hidden], 0.1, 0.0));
        put("attn.c_proj.weight", rng.tensor(&[hidden, hidden], h.powf(-0.5), 0.0));
        put("ln_2.weight", rng.tensor(&[hidden], 0.1, 1.0));
        put("mlp.w1.weight", rng.tensor(&[ff, hidden], h.powf(-0.5), 0.0));
        put("mlp.w2.weight", rng.tensor(&[ff, hidden], h.powf(-0.5), 0.0));
        put("mlp.c_proj.weight", rng.tensor(&[hidden, ff], (ff as f64).powf(-0.5), 0.0));
    }
    w.insert("transformer.ln_f.weight".to_owned(), rng.tensor(&[hidden], 0.1, 1.0));
    w.insert("lm_head.weight".to_owned(), rng.tensor(&[vocab, hidden], 2.0 * h.powf(-0.5), 0.0));
    weights::save(&dir.join("model.safetensors"), &w).unwrap();
    let config = json!({
        "model_type": "qwen", "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "kv_channels": hidden / heads, "intermediate_size": intermediate, "vocab_size": vocab,
        "layer_norm_epsilon": 1e-6, "seq_length": 8192, "rotary_emb_base": 10000, "rotary_pct": 1.0,
        "use_dynamic_ntk": true, "use_logn_attn": true, "no_bias": true, "scale_attn_weights": true,
        "attn_dropout_prob": 0.0, "emb_dropout_prob": 0.0, "tie_word_embeddings": false,
    });
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    std::fs::copy(vocabulary, dir.join("qwen.tiktoken")).unwrap();
}

/// A `qwen.tiktoken` of the 256 bytes and of `words`: all their beginnings are tokens, so each word becomes one.
pub fn write_vocabulary(path: &Path, words: &[&str]) {
    use base64::Engine;
    let mut tokens: Vec<Vec<u8>> = (0..=255u8).map(|b| vec![b]).collect();
    for word in words {
        let beginnings = (2..=word.len()).map(|n| word.as_bytes()[..n].to_vec());
        tokens.extend(beginnings.filter(|b| !tokens.contains(b)).collect::<Vec<_>>());
    }
    let lines: String = tokens
        .iter()
        .enumerate()
        .map(|(rank, bytes)| format!("{} {rank}\n", base64::engine::general_purpose::STANDARD.encode(bytes)))
        .collect();
    std::fs::write(path, lines).unwrap();
}

/// Trains as the flags say: the run and what it told.
pub fn train(flags: &[&str]) -> (RunDir, Vec<Event>) {
    let flags: Vec<String> = flags.iter().map(|&f| f.to_owned()).collect();
    train_as(&load_sft(None, &flags).unwrap().args).unwrap()
}

/// Trains in a run of its own: the run and what it told.
pub fn train_as(args: &SftArgs) -> Result<(RunDir, Vec<Event>)> {
    let run = RunDir::create(Path::new(&args.output_dir), &args.model_type, true)?;
    let mut events = Vec::new();
    let mut emit = |event: Event| {
        events.push(event);
        Ok(())
    };
    let (_keep, commands) = mpsc::channel();
    train::train(args, &run, None, &commands, &mut emit)?;
    Ok((run, events))
}

/// A tensor file, names in SWIFT's or PEFT's form made canonical.
pub fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    let shard = weights::Shard::open(path).unwrap();
    let views = shard.tensors().unwrap();
    views
        .iter()
        .filter(|(_, view)| view.dtype() != safetensors::Dtype::I64)
        .map(|(name, view)| {
            (canonical_key(name), weights::to_tensor(&view, Kind::Float, Device::Cpu).unwrap())
        })
        .collect()
}

/// A JSON file as a value.
pub fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
