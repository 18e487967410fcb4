//! Qwen-1 as a function of its weights (`modeling_qwen.py` of the published model).
//!
//! Shapes: `tokens` counts the tokens of all rows laid end to end ([`Packed`]), `h` is the hidden size.

mod attention;
mod block;
mod head;
mod norm;

use std::collections::HashMap;

use tch::{Device, Kind, Tensor};

use super::config::QwenConfig;
use super::dropout::{Dropout, Place};
use super::packed::Packed;
use super::weights::Named;
use crate::shim::BelowAutograd;
pub use block::{Kept, Pass};
use norm::rms_norm;

/// A low-rank update of a linear layer (Hu et al. 2021, "LoRA"): `scale * B A dropout(x)`.
#[derive(Debug)]
pub struct Lora {
    /// `[r, in]`
    pub a: Tensor,
    /// `[out, r]`
    pub b: Tensor,
    /// alpha / r; it belongs to the adapter's output only.
    pub scale: f64,
    /// Where the gradients of `a` and `b` go that are computed without autograd, parts of [`Sink::pass`].
    pub gradients: Option<(Tensor, Tensor)>,
}

/// Where the gradient of adapters goes that is computed without autograd.
#[derive(Debug)]
pub struct Sink {
    /// Of the pass at hand `[n]`, in the dtype of the adapters and without their scale.
    pub pass: Tensor,
    /// Of all passes of a step `[n]`, in fp32.
    pub sum: Tensor,
    /// alpha / r.
    pub scale: f64,
}

/// A linear layer, with an adapter where it has one.
#[derive(Debug)]
pub struct Linear {
    /// `[out, in]`
    weight: Tensor,
    /// `[out]`
    bias: Option<Tensor>,
    lora: Option<Lora>,
}

/// What differs between training and the rest.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mode {
    /// Dropout is drawn, dynamic NTK and log-n scaling are off, as in `model.train()`.
    pub train: bool,
    /// Dropout on each adapter's input.
    pub lora_dropout: f64,
    /// NEFTune's alpha: how much noise the embeddings get; 0: none.
    pub neftune_alpha: f64,
    /// Seed of the step's dropout and noise, see [`super::dropout`].
    pub seed: u64,
}

impl Linear {
    /// `[tokens, in]` to `[tokens, out]`. The adapter computes in its own dtype, as PEFT does.
    fn forward(&self, x: &Tensor, dropout: &Dropout<'_>, place: Place) -> Tensor {
        let base = x.linear(&self.weight, self.bias.as_ref());
        let Some(lora) = &self.lora else { return base };
        let input = x.to_kind(lora.a.kind());
        let (input, factor) = dropout.drop(&input, place, dropout.mode.lora_dropout);
        let update =
            input.linear(&lora.a, None::<&Tensor>).linear(&lora.b, None::<&Tensor>) * (lora.scale * factor);
        base + update.to_kind(x.kind())
    }
}

/// Keys and values of the tokens seen so far, each `[1, heads, seen, head_dim]`.
#[derive(Debug, Default)]
pub struct KvCache {
    layers: Vec<Option<(Tensor, Tensor)>>,
    /// NTK's alpha of the prompt; later steps keep it, as the reference does.
    alpha: f64,
    seen: i64,
}

impl KvCache {
    pub fn new() -> Self {
        Self { layers: Vec::new(), alpha: 1.0, seen: 0 }
    }

    /// Tokens seen so far.
    pub fn seen(&self) -> i64 {
        self.seen
    }
}

/// One transformer block.
#[derive(Debug)]
struct Layer {
    ln_1: Tensor,
    c_attn: Linear,
    attn_proj: Linear,
    ln_2: Tensor,
    w1: Linear,
    w2: Linear,
    /// The weights of `w1` and `w2` as one `[2 * mlp, h]`, where they lie so.
    joined: Option<Tensor>,
    mlp_proj: Linear,
}

impl Layer {
    fn linears(&self) -> [(Place, &Linear); 5] {
        [
            (Place::AttnIn, &self.c_attn),
            (Place::AttnOut, &self.attn_proj),
            (Place::W1, &self.w1),
            (Place::W2, &self.w2),
            (Place::MlpOut, &self.mlp_proj),
        ]
    }
}

/// Rotation of each token by its position, each `[tokens, 1, head_dim]`.
pub struct Rotary {
    cos: Tensor,
    /// The sine with the sign of `rotate_half` in it.
    sin: Tensor,
    /// The same of the way back.
    back: Tensor,
    /// log-n scaling of the queries beyond the context length `[tokens, 1, 1]`.
    logn: Option<Tensor>,
}

/// The model, ready for one forward pass: the tensors are shared with the weights they come from.
#[derive(Debug)]
pub struct Qwen {
    config: QwenConfig,
    wte: Tensor,
    layers: Vec<Layer>,
    ln_f: Tensor,
    lm_head: Tensor,
    sink: Option<Sink>,
}

/// Causal attention with dropout on its probabilities, which no fused kernel takes a mask for; all tensors
/// `[rows, heads, longest, head_dim]`.
fn dropped_attention(q: &Tensor, k: &Tensor, v: &Tensor, dropout: &Dropout<'_>, p: f64) -> Tensor {
    let (longest, dim) = (q.size()[2], q.size()[3]);
    let future = Tensor::ones([longest, longest], (Kind::Bool, q.device())).triu(1);
    let scores = q.matmul(&k.transpose(-2, -1)) * (dim as f64).powf(-0.5);
    let scores = scores.masked_fill(&future, f64::NEG_INFINITY);
    dropout.drop_attention(&scores.softmax(-1, q.kind()), p).matmul(v)
}

/// Two matrices `[n, h]` as one `[2 n, h]` where the second lies behind the first ([`super::weights::load`]).
fn joined(first: &Tensor, second: &Tensor) -> Option<Tensor> {
    let (rows, width) = first.size2().ok()?;
    let bytes = first.numel() * first.kind().elt_size_in_bytes();
    let follows = second.data_ptr() as usize == first.data_ptr() as usize + bytes;
    let fits = first.size() == second.size() && first.kind() == second.kind() && first.is_contiguous();
    // Two that follow each other by chance are of two storages, which no view spans: libtorch refuses it.
    if follows && fits { first.f_as_strided([2 * rows, width], [width, 1], None).ok() } else { None }
}

/// `get_ntk_alpha` of the reference: 1 up to the context length, then 3, 7, ... by powers of two of it.
pub fn ntk_alpha(length: i64, seq_length: i64) -> f64 {
    if length <= seq_length {
        return 1.0;
    }
    let context = (length as f64 / seq_length as f64).log2() + 1.0;
    (2f64.powf(context.ceil()) - 1.0).max(1.0)
}

impl Qwen {
    /// Puts the model together from its weights; `trained` replaces weights by name, `lora` adapts modules by path.
    ///
    /// # Panics
    /// Where a tensor of [`QwenConfig::tensors`] is absent: `weights::load` has checked that none is.
    pub fn assemble(
        config: &QwenConfig,
        base: &Named,
        trained: &Named,
        mut lora: HashMap<String, Lora>,
    ) -> Self {
        let find = |name: &str| trained.get(name).or_else(|| base.get(name)).map(Tensor::shallow_clone);
        let get = |name: &str| find(name).unwrap_or_else(|| panic!("{name} is not among the loaded weights"));
        let layers = (0..config.num_hidden_layers)
            .map(|i| {
                let mut linear = |module: &str| {
                    let path = format!("transformer.h.{i}.{module}");
                    Linear {
                        weight: get(&format!("{path}.weight")),
                        bias: find(&format!("{path}.bias")),
                        lora: lora.remove(&path),
                    }
                };
                let c_attn = linear("attn.c_attn");
                let attn_proj = linear("attn.c_proj");
                let w1 = linear("mlp.w1");
                let w2 = linear("mlp.w2");
                let mlp_proj = linear("mlp.c_proj");
                let joined = joined(&w1.weight, &w2.weight);
                Layer {
                    ln_1: get(&format!("transformer.h.{i}.ln_1.weight")),
                    c_attn,
                    attn_proj,
                    ln_2: get(&format!("transformer.h.{i}.ln_2.weight")),
                    w1,
                    w2,
                    joined,
                    mlp_proj,
                }
            })
            .collect();
        let wte = get("transformer.wte.weight");
        let lm_head = if config.tie_word_embeddings { wte.shallow_clone() } else { get("lm_head.weight") };
        let ln_f = get("transformer.ln_f.weight");
        Self { config: config.clone(), wte, layers, ln_f, lm_head, sink: None }
    }

    /// The same with a place for the gradient of the adapters, which are all that is trained.
    pub fn with_sink(self, sink: Sink) -> Self {
        Self { sink: Some(sink), ..self }
    }

    pub fn config(&self) -> &QwenConfig {
        &self.config
    }

    pub fn device(&self) -> Device {
        self.wte.device()
    }

    /// The dtype it computes in.
    pub fn kind(&self) -> Kind {
        self.wte.kind()
    }

    pub fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// The rotation of `batch`'s positions; `alpha` is NTK's (1 in training).
    pub fn rotary(&self, batch: &Packed, alpha: f64, mode: &Mode) -> Rotary {
        let dim = self.config.kv_channels;
        let device = self.device();
        let base = self.config.rotary_emb_base * alpha.powf(dim as f64 / (dim as f64 - 2.0).max(1.0));
        let exponent = Tensor::arange_start_step(0, dim, 2, (Kind::Float, device)) / dim as f64;
        let inv_freq = (exponent * base.ln()).exp().reciprocal();
        let positions = batch.positions.to_kind(Kind::Float);
        let angles = positions.outer(&inv_freq);
        let (cos, sin) = (angles.cos(), angles.sin());
        let logn = (!mode.train && self.config.use_logn_attn).then(|| {
            let seq = self.config.seq_length as f64;
            ((positions + 1.0).log() / seq.ln()).clamp_min(1.0).view([-1, 1, 1])
        });
        let minus = -&sin;
        Rotary {
            cos: Tensor::cat(&[&cos, &cos], -1).unsqueeze(1),
            sin: Tensor::cat(&[&minus, &sin], -1).unsqueeze(1),
            back: Tensor::cat(&[&sin, &minus], -1).unsqueeze(1),
            logn,
        }
    }

    /// Token embeddings `[tokens, h]`, in training with noise and dropout.
    pub fn embed(&self, batch: &Packed, mode: &Mode) -> Tensor {
        let x = Tensor::embedding(&self.wte, &batch.ids, -1, false, false);
        let dropout = Dropout { mode, batch, layer: self.layers.len() };
        let x = dropout.noise(&x);
        match dropout.drop(&x, Place::Embedding, self.config.emb_dropout_prob) {
            (x, 1.0) => x,
            (x, factor) => x * factor,
        }
    }

    /// Block `i`: `[tokens, h]` to `[tokens, h]`.
    pub fn layer(
        &self,
        i: usize,
        x: &Tensor,
        batch: &Packed,
        rotary: &Rotary,
        mode: &Mode,
        cache: Option<&mut Option<(Tensor, Tensor)>>,
    ) -> Tensor {
        let dropout = Dropout { mode, batch, layer: i };
        let layer = &self.layers[i];
        let eps = self.config.layer_norm_epsilon;
        let attended = self.attention(layer, &rms_norm(x, &layer.ln_1, eps), rotary, &dropout, cache);
        let x = x + attended;
        let y = rms_norm(&x, &layer.ln_2, eps);
        let gated =
            layer.w1.forward(&y, &dropout, Place::W1) * layer.w2.forward(&y, &dropout, Place::W2).silu();
        x + layer.mlp_proj.forward(&gated, &dropout, Place::MlpOut)
    }

    fn attention(
        &self,
        layer: &Layer,
        x: &Tensor,
        rotary: &Rotary,
        dropout: &Dropout<'_>,
        cache: Option<&mut Option<(Tensor, Tensor)>>,
    ) -> Tensor {
        let batch = dropout.batch;
        let (heads, dim) = (self.config.num_attention_heads, self.config.kv_channels);
        let h = heads * dim;
        let qkv = layer.c_attn.forward(x, dropout, Place::AttnIn);
        // Queries and keys turn together: [tokens, 2 * heads, head_dim].
        let turned = qkv.narrow(1, 0, 2 * h).view([batch.tokens, 2 * heads, dim]);
        let wide = turned.to_kind(Kind::Float);
        let turned = &wide * &rotary.cos + wide.roll([dim / 2], [-1]) * &rotary.sin;
        let q = turned.narrow(1, 0, heads);
        let q = match &rotary.logn {
            Some(logn) => q * logn,
            None => q,
        };
        let split = |t: &Tensor| batch.pad(t).view([batch.rows, batch.longest, heads, dim]).transpose(1, 2);
        let q = split(&q.to_kind(x.kind()).reshape([batch.tokens, h]));
        let mut k = split(&turned.narrow(1, heads, heads).to_kind(x.kind()).reshape([batch.tokens, h]));
        let mut v = split(&qkv.narrow(1, 2 * h, h).contiguous());
        let mut causal = batch.longest > 1;
        if let Some(slot) = cache {
            if let Some((past_k, past_v)) = slot.take() {
                k = Tensor::cat(&[past_k, k], 2);
                v = Tensor::cat(&[past_v, v], 2);
                // One new token sees everything before it.
                causal = false;
            }
            *slot = Some((k.shallow_clone(), v.shallow_clone()));
        }
        let p = self.config.attn_dropout_prob;
        let out = if dropout.mode.train && p > 0.0 {
            dropped_attention(&q, &k, &v, dropout, p)
        } else {
            Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, causal, None, false)
        };
        let out = batch.unpad(&out.transpose(1, 2).reshape([batch.rows, batch.longest, h]));
        layer.attn_proj.forward(&out, dropout, Place::AttnOut)
    }

    /// The final norm: `[n, h]` to `[n, h]`.
    pub fn final_norm(&self, x: &Tensor) -> Tensor {
        rms_norm(x, &self.ln_f, self.config.layer_norm_epsilon)
    }

    /// Logits `[n, vocab]` in fp32 of normed hidden states `[n, h]`.
    pub fn logits(&self, x: &Tensor) -> Tensor {
        x.linear(&self.lm_head, None::<&Tensor>).to_kind(Kind::Float)
    }

    /// NTK's alpha for a batch outside training: rows beyond the context length must come one by one.
    pub fn alpha(&self, batch: &Packed, mode: &Mode) -> f64 {
        if mode.train || !self.config.use_dynamic_ntk {
            return 1.0;
        }
        ntk_alpha(batch.longest, self.config.seq_length)
    }

    /// [`hidden`](Self::hidden) where no gradient is wanted, the faster way where there is one. Autograd must be off.
    pub fn encode(&self, batch: &Packed, mode: &Mode) -> Tensor {
        if !self.is_explicit(mode) {
            return self.hidden(batch, mode);
        }
        let _below = BelowAutograd::new();
        let pass = self.pass(batch, self.alpha(batch, mode), mode);
        let mut x = self.embed(batch, mode);
        for i in 0..self.layers.len() {
            x = self.block(i, &x, &pass).0;
        }
        x
    }

    /// Hidden states of all tokens before the final norm `[tokens, h]`, as autograd differentiates them.
    pub fn hidden(&self, batch: &Packed, mode: &Mode) -> Tensor {
        let rotary = self.rotary(batch, self.alpha(batch, mode), mode);
        let mut x = self.embed(batch, mode);
        for i in 0..self.layers.len() {
            x = self.layer(i, &x, batch, &rotary, mode, None);
        }
        x
    }

    /// Logits `[1, vocab]` after the last of `ids`, which follow what `cache` has seen (one row, no gradient).
    pub fn step(&self, ids: &[u32], cache: &mut KvCache) -> Tensor {
        if let [before @ .., last] = ids
            && cache.seen > 0
            && !before.is_empty()
        {
            // Attention over a cache has no mask, so it reads one new token at a time.
            for id in before {
                let _ = self.step(&[*id], cache);
            }
            return self.step(&[*last], cache);
        }
        let mode = Mode::default();
        let batch = Packed::new(&[ids], cache.seen, self.device());
        if cache.seen == 0 {
            cache.alpha = self.alpha(&batch, &mode);
            cache.layers = (0..self.layers.len()).map(|_| None).collect();
        }
        let rotary = self.rotary(&batch, cache.alpha, &mode);
        let mut x = self.embed(&batch, &mode);
        for i in 0..self.layers.len() {
            x = self.layer(i, &x, &batch, &rotary, &mode, Some(&mut cache.layers[i]));
        }
        cache.seen += ids.len() as i64;
        self.logits(&self.final_norm(&x.narrow(0, ids.len() as i64 - 1, 1)))
    }
}
