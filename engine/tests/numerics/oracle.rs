//! Qwen-1's forward pass a second time: one row, in f64, from the published formulas, without libtorch.

use std::collections::HashMap;

use qwen_tui_engine::model::QwenConfig;
use tch::{Device, Kind, Tensor};

/// Vectors and row-major matrices by name.
pub type Arrays = HashMap<String, Vec<f64>>;

pub fn to_f64(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.detach().flatten(0, -1).to_device(Device::Cpu).to_kind(Kind::Double)).unwrap()
}

/// The model of `config`; a module with `lora_A` and `lora_B` among the arrays is adapted by `scale * B A x`.
#[derive(Clone)]
pub struct Oracle {
    pub config: QwenConfig,
    pub arrays: Arrays,
    pub scale: f64,
}

/// What depends on the row's length, and is off in training.
#[derive(Clone, Copy)]
pub struct Context {
    pub ntk_alpha: f64,
    pub logn: bool,
}

pub const TRAINING: Context = Context { ntk_alpha: 1.0, logn: false };

/// `W x` with `W` of as many columns as `x` has elements.
fn apply(w: &[f64], x: &[f64]) -> Vec<f64> {
    w.chunks(x.len()).map(|row| dot(row, x)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

pub fn log_softmax(x: &[f64]) -> Vec<f64> {
    let most = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum = x.iter().map(|v| (v - most).exp()).sum::<f64>().ln() + most;
    x.iter().map(|v| v - sum).collect()
}

impl Oracle {
    pub fn new<'a>(config: &QwenConfig, tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>) -> Self {
        let arrays = tensors.into_iter().map(|(name, t)| (name.clone(), to_f64(t))).collect();
        Self { config: config.clone(), arrays, scale: 0.0 }
    }

    /// Adds an adapter (`MODULE.lora_A`, `MODULE.lora_B`), or replaces weights.
    pub fn with<'a>(
        mut self,
        tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>,
        scale: f64,
    ) -> Self {
        self.arrays.extend(tensors.into_iter().map(|(name, t)| (name.clone(), to_f64(t))));
        self.scale = scale;
        self
    }

    /// The model with `epsilon * direction` added to its arrays.
    pub fn shifted(&self, direction: &Arrays, epsilon: f64) -> Self {
        let mut moved = self.clone();
        for (name, change) in direction {
            let array = moved.arrays.get_mut(name).unwrap();
            array.iter_mut().zip(change).for_each(|(x, d)| *x += epsilon * d);
        }
        moved
    }

    /// A row's context outside training: alpha is 2^(k+1) - 1 where k doublings of the context length hold the row.
    pub fn context(&self, length: usize) -> Context {
        let mut doublings = 0;
        while (self.config.seq_length as usize) << doublings < length {
            doublings += 1;
        }
        let ntk_alpha = if self.config.use_dynamic_ntk { f64::from((1 << (doublings + 1)) - 1) } else { 1.0 };
        Context { ntk_alpha, logn: self.config.use_logn_attn }
    }

    fn linear(&self, module: &str, x: &[f64]) -> Vec<f64> {
        let mut y = apply(&self.arrays[&format!("{module}.weight")], x);
        if let Some(bias) = self.arrays.get(&format!("{module}.bias")) {
            add(&mut y, bias);
        }
        if let Some(a) = self.arrays.get(&format!("{module}.lora_A")) {
            let update = apply(&self.arrays[&format!("{module}.lora_B")], &apply(a, x));
            y.iter_mut().zip(update).for_each(|(y, u)| *y += self.scale * u);
        }
        y
    }

    fn rms_norm(&self, module: &str, x: &[f64]) -> Vec<f64> {
        let rms = (dot(x, x) / x.len() as f64 + self.config.layer_norm_epsilon).sqrt();
        x.iter().zip(&self.arrays[&format!("{module}.weight")]).map(|(x, w)| x / rms * w).collect()
    }

    /// Rotary embedding of one head's vector: pairs (d, d + dim/2) turn by `position * base^(-2d/dim)`.
    fn rotate(&self, x: &mut [f64], position: usize, alpha: f64) {
        let dim = x.len() as f64;
        let base = self.config.rotary_emb_base * alpha.powf(dim / (dim - 2.0));
        let half = x.len() / 2;
        for d in 0..half {
            let (sin, cos) = (position as f64 * base.powf(-2.0 * d as f64 / dim)).sin_cos();
            (x[d], x[d + half]) = (x[d] * cos - x[d + half] * sin, x[d + half] * cos + x[d] * sin);
        }
    }

    fn attention(&self, path: &str, x: &[Vec<f64>], context: Context) -> Vec<Vec<f64>> {
        let dim = self.config.kv_channels as usize;
        let h = self.config.hidden_size as usize;
        let mut qkv: Vec<Vec<f64>> = x.iter().map(|x| self.linear(&format!("{path}.c_attn"), x)).collect();
        for (position, token) in qkv.iter_mut().enumerate() {
            token[..2 * h].chunks_mut(dim).for_each(|head| self.rotate(head, position, context.ntk_alpha));
            // Beyond the context length the query grows by the logarithm, base the context length, of its place.
            let logn = ((position + 1) as f64).ln() / (self.config.seq_length as f64).ln();
            if context.logn && logn > 1.0 {
                token[..h].iter_mut().for_each(|q| *q *= logn);
            }
        }
        (0..x.len())
            .map(|t| {
                let mut out = vec![0.0; h];
                for at in (0..h).step_by(dim) {
                    let query = &qkv[t][at..at + dim];
                    let scores: Vec<f64> = (0..=t)
                        .map(|s| dot(query, &qkv[s][h + at..h + at + dim]) / (dim as f64).sqrt())
                        .collect();
                    for (s, logp) in log_softmax(&scores).into_iter().enumerate() {
                        let value = &qkv[s][2 * h + at..2 * h + at + dim];
                        out[at..at + dim].iter_mut().zip(value).for_each(|(o, v)| *o += logp.exp() * v);
                    }
                }
                self.linear(&format!("{path}.c_proj"), &out)
            })
            .collect()
    }

    /// Hidden states after the final norm, of each token.
    pub fn hidden(&self, ids: &[u32], context: Context) -> Vec<Vec<f64>> {
        let h = self.config.hidden_size as usize;
        let embedding = &self.arrays["transformer.wte.weight"];
        let mut x: Vec<Vec<f64>> =
            ids.iter().map(|&id| embedding[id as usize * h..(id as usize + 1) * h].to_vec()).collect();
        for layer in 0..self.config.num_hidden_layers {
            let path = format!("transformer.h.{layer}");
            let normed: Vec<_> = x.iter().map(|x| self.rms_norm(&format!("{path}.ln_1"), x)).collect();
            let attended = self.attention(&format!("{path}.attn"), &normed, context);
            for (x, attended) in x.iter_mut().zip(attended) {
                add(x, &attended);
                let y = self.rms_norm(&format!("{path}.ln_2"), x);
                let gate = self.linear(&format!("{path}.mlp.w2"), &y);
                let gated: Vec<f64> = self
                    .linear(&format!("{path}.mlp.w1"), &y)
                    .into_iter()
                    .zip(gate)
                    .map(|(up, gate)| up * gate / (1.0 + (-gate).exp()))
                    .collect();
                add(x, &self.linear(&format!("{path}.mlp.c_proj"), &gated));
            }
        }
        x.iter().map(|x| self.rms_norm("transformer.ln_f", x)).collect()
    }

    /// Logits of each token `[tokens][vocab]`.
    pub fn logits(&self, ids: &[u32], context: Context) -> Vec<Vec<f64>> {
        let head = if self.config.tie_word_embeddings { "transformer.wte.weight" } else { "lm_head.weight" };
        self.hidden(ids, context).iter().map(|x| apply(&self.arrays[head], x)).collect()
    }

    /// Log-probability of each label token.
    pub fn label_logps(&self, ids: &[u32], labels: &[i64], context: Context) -> Vec<f64> {
        let logits = self.logits(ids, context);
        (1..ids.len())
            .filter(|&t| labels[t] >= 0)
            .map(|t| log_softmax(&logits[t - 1])[labels[t] as usize])
            .collect()
    }
}
