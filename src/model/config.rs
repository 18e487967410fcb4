//! `config.json` of a Qwen-1 model directory, checked before anything is allocated by it.

use std::path::Path;

use crate::args::modules::{LINEAR, in_block};
use crate::data::Tokenizer;
use crate::error::{Context, Error, Result, brief, shown};
use crate::plain;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The keys of Qwen-1's `config.json` that the computation depends on (`configuration_qwen.py`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QwenConfig {
    pub hidden_size: i64,
    pub num_hidden_layers: i64,
    pub num_attention_heads: i64,
    /// Dimensions of one head.
    pub kv_channels: i64,
    /// Twice the width of each MLP matrix.
    pub intermediate_size: i64,
    /// Rows of the embedding; at least as many as the tokenizer has tokens.
    pub vocab_size: i64,
    /// The context length of pretraining; dynamic NTK and log-n attention begin beyond it.
    #[serde(default = "default_seq_length")]
    pub seq_length: i64,
    #[serde(default = "default_eps")]
    pub layer_norm_epsilon: f64,
    #[serde(default = "default_rope_base")]
    pub rotary_emb_base: f64,
    #[serde(default = "one")]
    pub rotary_pct: f64,
    #[serde(default = "yes")]
    pub use_dynamic_ntk: bool,
    #[serde(default = "yes")]
    pub use_logn_attn: bool,
    #[serde(default = "yes")]
    pub scale_attn_weights: bool,
    #[serde(default = "yes")]
    pub no_bias: bool,
    #[serde(default)]
    pub attn_dropout_prob: f64,
    #[serde(default)]
    pub emb_dropout_prob: f64,
    #[serde(default)]
    pub tie_word_embeddings: bool,
    #[serde(default = "default_range")]
    pub initializer_range: f64,
}

fn default_seq_length() -> i64 {
    8192
}
fn default_eps() -> f64 {
    1e-6
}
fn default_rope_base() -> f64 {
    10000.0
}
fn default_range() -> f64 {
    0.02
}
fn one() -> f64 {
    1.0
}
fn yes() -> bool {
    true
}

/// Refuses a value of another type, by its key, which serde would leave out.
fn check_types(raw: &Value) -> Result<()> {
    let Some(object) = raw.as_object() else {
        return Err(Error::user("a JSON object with a model's sizes is expected; fetch the file again"));
    };
    const WHOLE: &[&str] = &[
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "kv_channels",
        "intermediate_size",
        "vocab_size",
        "seq_length",
    ];
    const NUMBERS: &[&str] = &[
        "layer_norm_epsilon",
        "rotary_emb_base",
        "rotary_pct",
        "attn_dropout_prob",
        "emb_dropout_prob",
        "initializer_range",
    ];
    const FLAGS: &[&str] =
        &["use_dynamic_ntk", "use_logn_attn", "scale_attn_weights", "no_bias", "tie_word_embeddings"];
    type Fits = fn(&Value) -> bool;
    let types: [(&[&str], &str, Fits); 3] = [
        (WHOLE, "a whole number (below 2^63)", Value::is_i64),
        (NUMBERS, "a number", Value::is_number),
        (FLAGS, "true or false", Value::is_boolean),
    ];
    for (keys, expected, fits) in types {
        for key in keys {
            if let Some(value) = object.get(*key).filter(|v| !fits(v)) {
                return Err(Error::user(format!("{key} is {}; expected {expected}", brief(value))));
            }
        }
    }
    Ok(())
}

impl QwenConfig {
    /// Reads and checks `dir/config.json`.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        let text = plain::read_text(&path, plain::SETTINGS).user(shown(&path))?;
        let raw: Value = serde_json::from_str(&text).user(format!("{}: not valid JSON", shown(&path)))?;
        if let Some(kind) = raw.get("model_type").and_then(|v| v.as_str())
            && kind != "qwen"
        {
            return Err(Error::user(format!(
                "{}: model_type is {kind:?}; this engine runs the first Qwen (model_type \"qwen\": Qwen-1_8B, Qwen-7B, \
                 Qwen-14B, Qwen-72B and their -Chat), not Qwen1.5 or later",
                shown(&path)
            )));
        }
        Self::from_json(raw).map_err(|e| e.context(shown(&path)))
    }

    /// The config in a `config.json` that has been read, checked.
    pub fn from_json(raw: Value) -> Result<Self> {
        check_types(&raw)?;
        let config: Self = serde_json::from_value(raw).map_err(|e| Error::user(e.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// Refuses sizes that no Qwen has, before they become an allocation.
    fn check(&self) -> Result<()> {
        let within = |key: &str, value: i64, max: i64| {
            if (1..=max).contains(&value) {
                Ok(())
            } else {
                Err(Error::user(format!("{key} is {value}; expected 1 to {max}")))
            }
        };
        within("hidden_size", self.hidden_size, 1 << 16)?;
        within("num_hidden_layers", self.num_hidden_layers, 1024)?;
        within("num_attention_heads", self.num_attention_heads, 1024)?;
        within("kv_channels", self.kv_channels, 1024)?;
        within("intermediate_size", self.intermediate_size, 1 << 20)?;
        within("vocab_size", self.vocab_size, 1 << 22)?;
        within("seq_length", self.seq_length, 1 << 22)?;
        let projection = self.num_attention_heads * self.kv_channels;
        if projection != self.hidden_size {
            return Err(Error::user(format!(
                "num_attention_heads x kv_channels is {} x {} = {projection}, but hidden_size is {}",
                self.num_attention_heads, self.kv_channels, self.hidden_size
            )));
        }
        if self.kv_channels % 2 != 0 {
            return Err(Error::user(format!(
                "kv_channels is {}; rotary embedding needs an even number",
                self.kv_channels
            )));
        }
        if self.intermediate_size % 2 != 0 {
            return Err(Error::user(format!(
                "intermediate_size is {}; each MLP matrix has half of it, so it must be even",
                self.intermediate_size
            )));
        }
        if self.rotary_pct != 1.0 || !self.scale_attn_weights || !self.no_bias {
            return Err(Error::user(
                "rotary_pct other than 1, scale_attn_weights false and no_bias false are not supported; no published \
                 Qwen-1 has them",
            ));
        }
        let in_range = |key: &str, value: f64, fits: bool, expected: &str| {
            if fits { Ok(()) } else { Err(Error::user(format!("{key} is {value}; expected {expected}"))) }
        };
        let (eps, base) = (self.layer_norm_epsilon, self.rotary_emb_base);
        in_range("layer_norm_epsilon", eps, eps > 0.0 && eps < 1.0, "a number between 0 and 1")?;
        in_range("rotary_emb_base", base, base > 1.0 && base.is_finite(), "a number above 1")?;
        for (key, p) in
            [("attn_dropout_prob", self.attn_dropout_prob), ("emb_dropout_prob", self.emb_dropout_prob)]
        {
            in_range(key, p, (0.0..1.0).contains(&p), "a probability from 0 to below 1")?;
        }
        Ok(())
    }

    /// The tokenizer beside this config, checked to fit the embedding.
    pub fn tokenizer(&self, dir: &Path) -> Result<Tokenizer> {
        let tokenizer = Tokenizer::load(dir)?;
        tokenizer.check_rows(dir, self.vocab_size as usize)?;
        Ok(tokenizer)
    }

    /// Columns of each MLP matrix.
    pub fn mlp_size(&self) -> i64 {
        self.intermediate_size / 2
    }

    /// Every tensor of the model with its shape, under the names of the published checkpoints.
    pub fn tensors(&self) -> Vec<(String, Vec<i64>)> {
        let (h, f, v) = (self.hidden_size, self.mlp_size(), self.vocab_size);
        let mut all = vec![("transformer.wte.weight".to_owned(), vec![v, h])];
        for i in 0..self.num_hidden_layers {
            for (name, shape) in [
                ("ln_1.weight", vec![h]),
                ("attn.c_attn.weight", vec![3 * h, h]),
                ("attn.c_attn.bias", vec![3 * h]),
                ("attn.c_proj.weight", vec![h, h]),
                ("ln_2.weight", vec![h]),
                ("mlp.w1.weight", vec![f, h]),
                ("mlp.w2.weight", vec![f, h]),
                ("mlp.c_proj.weight", vec![h, f]),
            ] {
                all.push((format!("transformer.h.{i}.{name}"), shape));
            }
        }
        all.push(("transformer.ln_f.weight".to_owned(), vec![h]));
        if !self.tie_word_embeddings {
            all.push(("lm_head.weight".to_owned(), vec![v, h]));
        }
        all
    }

    /// Paths of the linear layers that LoRA can adapt, such as `transformer.h.0.attn.c_attn`.
    pub fn linear_modules(&self) -> Vec<String> {
        (0..self.num_hidden_layers).flat_map(|i| LINEAR.map(|module| in_block(i, module))).collect()
    }
}
