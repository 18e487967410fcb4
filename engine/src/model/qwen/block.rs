//! The blocks with their gradient written down: what is computed when nothing but adapters is trained, and whenever
//! nothing is. Autograd would launch half as many kernels again, and each one later: on a GPU a step of short rows is
//! bound by launches, not by arithmetic.
//!
//! Nothing here is seen by autograd: the caller has turned it off, best by [`crate::shim::BelowAutograd`].

use tch::{Device, Tensor};

use super::super::dropout::{Masks, Place, Wanted};
use super::super::packed::Packed;
use super::{Layer, Linear, Mode, Qwen, Rotary, attention, norm};
use crate::shim;

/// One pass of packed rows through all blocks.
pub struct Pass<'a> {
    batch: &'a Packed,
    rotary: Rotary,
    masks: Masks<'a>,
}

/// What an adapter's way back wants: its input after dropout `[tokens, in]`, that times A `[tokens, r]`, and what of the
/// input dropout has kept.
struct Adapted {
    input: Tensor,
    low: Tensor,
    kept: Option<Tensor>,
}

/// What the way back of one block wants.
pub struct Kept {
    x: Tensor,
    rstd_1: Tensor,
    attn_in: Option<Adapted>,
    /// Turned by position `[tokens, 3 * heads, head_dim]`.
    qkv: Tensor,
    attended: attention::Kept,
    attn_out: Option<Adapted>,
    middle: Tensor,
    rstd_2: Tensor,
    w1: Option<Adapted>,
    w2: Option<Adapted>,
    /// Outputs of `w1` and `w2` `[tokens, mlp]`.
    up: Tensor,
    gate: Tensor,
    /// silu(gate).
    open: Tensor,
    mlp_out: Option<Adapted>,
}

impl Linear {
    /// `residual + W x + b` and the adapter's share.
    fn apply(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        masks: &Masks<'_>,
        at: (usize, Place),
    ) -> (Tensor, Option<Adapted>) {
        let mut y = match (residual, &self.bias) {
            (None, bias) => x.linear(&self.weight, bias.as_ref()),
            (Some(residual), None) => residual.addmm(x, &self.weight.tr()),
            (Some(residual), Some(bias)) => (residual + bias).addmm(x, &self.weight.tr()),
        };
        let adapted = self.adapt(x, &mut y, masks, at);
        (y, adapted)
    }

    /// Adds the adapter's share to `y`.
    fn adapt(&self, x: &Tensor, y: &mut Tensor, masks: &Masks<'_>, at: (usize, Place)) -> Option<Adapted> {
        let lora = self.lora.as_ref()?;
        let kept = masks.take(at.0, at.1);
        let input = kept.as_ref().map_or_else(|| x.shallow_clone(), |kept| x * kept);
        let low = input.mm(&lora.a.tr());
        shim::addmm_(y, &low, &lora.b.tr(), lora.scale * masks.factor());
        Some(Adapted { input, low, kept })
    }

    /// The gradient of `x` from that of the output, those of the adapter's halves being put in their places.
    fn back(&self, gradient: &Tensor, adapted: Option<&Adapted>, masks: &Masks<'_>) -> Tensor {
        let mut x = gradient.mm(&self.weight);
        self.back_adapter(gradient, adapted, masks, Some(&mut x));
        x
    }

    /// The adapter's share of [`back`](Self::back), added to `x`. All of an adapter's gradients lack the factor
    /// `scale`, which the sum over passes gets once ([`Qwen::collect`]).
    fn back_adapter(
        &self,
        gradient: &Tensor,
        adapted: Option<&Adapted>,
        masks: &Masks<'_>,
        x: Option<&mut Tensor>,
    ) {
        let (Some(lora), Some(adapted)) = (&self.lora, adapted) else { return };
        let low = gradient.mm(&lora.b);
        if let Some((a, b)) = &lora.gradients {
            let _ = low.tr().mm_out(a, &adapted.input);
            let _ = gradient.tr().mm_out(b, &adapted.low);
        }
        if let Some(x) = x {
            let scale = lora.scale * masks.factor();
            match &adapted.kept {
                Some(kept) => shim::addcmul_(x, &low.mm(&lora.a), kept, scale),
                None => shim::addmm_(x, &low, &lora.a, scale),
            }
        }
    }
}

/// Turns queries and keys of `qkv` `[tokens, 3 * heads * head_dim]` by their positions, in place; `back`: the other way.
fn turn(qkv: &Tensor, rotary: &Rotary, heads: i64, dim: i64, back: bool) {
    let tokens = qkv.size()[0];
    let turned = qkv.view([tokens, 3 * heads, dim]).narrow(1, 0, 2 * heads);
    let halves = turned.view([tokens, 2 * heads, 2, dim / 2]).flip([2]).view([tokens, 2 * heads, dim]);
    // In fp32, rounded once.
    let wide = &turned * &rotary.cos;
    let _ = wide.addcmul_out(&turned, &halves, if back { &rotary.back } else { &rotary.sin });
    if let Some(logn) = &rotary.logn {
        let _ = turned.narrow(1, 0, heads).g_mul_(logn);
    }
}

impl Qwen {
    /// Whether the blocks can be computed without autograd.
    pub fn is_explicit(&self, mode: &Mode) -> bool {
        let adapters = || self.layers.iter().flat_map(Layer::linears).filter_map(|(_, l)| l.lora.as_ref());
        attention::takes(self.device(), self.kind(), self.config.kv_channels)
            && !(mode.train && self.config.attn_dropout_prob > 0.0)
            && adapters().all(|lora| lora.a.kind() == self.kind())
    }

    /// Whether the gradient can be computed without autograd: nothing but adapters is trained.
    pub fn has_explicit_gradient(&self, mode: &Mode) -> bool {
        self.is_explicit(mode) && self.sink.is_some()
    }

    /// The pass of `batch`; `alpha` is NTK's.
    pub fn pass<'a>(&self, batch: &'a Packed, alpha: f64, mode: &'a Mode) -> Pass<'a> {
        let mut rotary = self.rotary(batch, alpha, mode);
        if batch.end <= self.config.seq_length {
            rotary.logn = None;
        }
        let wanted = self.layers.iter().enumerate().flat_map(|(layer, all)| {
            all.linears().into_iter().filter_map(move |(place, linear)| {
                let width = linear.lora.as_ref()?.a.size()[1];
                Some(Wanted { layer, place, width })
            })
        });
        let masks = Masks::new(mode, batch, wanted.collect());
        if let Device::Cuda(_) = self.device() {
            // Copied before the blocks, as the masks' numbers are.
            batch.bounds();
            batch.indices();
        }
        Pass { batch, rotary, masks }
    }

    /// Block `i`: `[tokens, h]` to `[tokens, h]`, and what its way back wants.
    pub fn block(&self, i: usize, x: &Tensor, pass: &Pass<'_>) -> (Tensor, Kept) {
        let layer = &self.layers[i];
        let (eps, masks, batch) = (self.config.layer_norm_epsilon, &pass.masks, pass.batch);
        let (heads, dim) = (self.config.num_attention_heads, self.config.kv_channels);

        let (normed, rstd_1) = norm::forward(x, &layer.ln_1, eps);
        let (qkv, attn_in) = layer.c_attn.apply(&normed, None, masks, (i, Place::AttnIn));
        turn(&qkv, &pass.rotary, heads, dim, false);
        let qkv = qkv.view([batch.tokens, 3 * heads, dim]);
        let (out, attended) = attention::forward(&qkv, batch, heads);
        let (middle, attn_out) = layer.attn_proj.apply(&out, Some(x), masks, (i, Place::AttnOut));

        let (normed, rstd_2) = norm::forward(&middle, &layer.ln_2, eps);
        let (mut up, mut gate) = match &layer.joined {
            Some(joined) => {
                let both = normed.mm(&joined.tr());
                let half = both.size()[1] / 2;
                (both.narrow(1, 0, half), both.narrow(1, half, half))
            }
            None => (
                normed.linear(&layer.w1.weight, layer.w1.bias.as_ref()),
                normed.linear(&layer.w2.weight, layer.w2.bias.as_ref()),
            ),
        };
        let w1 = layer.w1.adapt(&normed, &mut up, masks, (i, Place::W1));
        let w2 = layer.w2.adapt(&normed, &mut gate, masks, (i, Place::W2));
        let open = gate.silu();
        let gated = &open * &up;
        let (next, mlp_out) = layer.mlp_proj.apply(&gated, Some(&middle), masks, (i, Place::MlpOut));

        let x = x.shallow_clone();
        (
            next,
            Kept {
                x,
                rstd_1,
                attn_in,
                qkv,
                attended,
                attn_out,
                middle,
                rstd_2,
                w1,
                w2,
                up,
                gate,
                open,
                mlp_out,
            },
        )
    }

    /// The gradient of block `i`'s input from that of its output, both `[tokens, h]`; none is computed below the first
    /// block that has an adapter. Those of its adapters are put in their places.
    pub fn block_back(&self, i: usize, gradient: &Tensor, kept: Kept, pass: &Pass<'_>) -> Option<Tensor> {
        let layer = &self.layers[i];
        let (masks, batch) = (&pass.masks, pass.batch);
        let (heads, dim) = (self.config.num_attention_heads, self.config.kv_channels);
        let is_last = self.first_adapted() == Some(i);
        let has_none_before = |linears: &[&Linear]| is_last && linears.iter().all(|l| l.lora.is_none());

        // next = middle + c_proj(silu(gate) * up)
        let Kept { up, gate, open, .. } = &kept;
        let before = [&layer.c_attn, &layer.attn_proj, &layer.w1, &layer.w2];
        if has_none_before(&before) {
            layer.mlp_proj.back_adapter(gradient, kept.mlp_out.as_ref(), masks, None);
            return None;
        }
        let gated = layer.mlp_proj.back(gradient, kept.mlp_out.as_ref(), masks);
        let (up_back, gate_back, both) = match &layer.joined {
            Some(_) => {
                let half = up.size()[1];
                let both = gated.new_empty([batch.tokens, 2 * half], (gated.kind(), gated.device()));
                (both.narrow(1, 0, half), both.narrow(1, half, half), Some(both))
            }
            None => (up.empty_like(), gate.empty_like(), None),
        };
        let _ = open.mul_out(&up_back, &gated);
        let _ = gate.silu_backward_grad_input(&gate_back, &(gated * up));
        let mut normed = match (&layer.joined, both) {
            (Some(joined), Some(both)) => both.mm(joined),
            _ => {
                let mut normed = up_back.mm(&layer.w1.weight);
                shim::addmm_(&mut normed, &gate_back, &layer.w2.weight, 1.0);
                normed
            }
        };
        layer.w1.back_adapter(&up_back, kept.w1.as_ref(), masks, Some(&mut normed));
        layer.w2.back_adapter(&gate_back, kept.w2.as_ref(), masks, Some(&mut normed));
        if has_none_before(&before[..2]) {
            return None;
        }
        let mut middle = norm::backward(&normed, &kept.middle, &kept.rstd_2, &layer.ln_2);
        middle += gradient;

        // middle = x + c_proj(attention(c_attn(norm(x))))
        let out = layer.attn_proj.back(&middle, kept.attn_out.as_ref(), masks);
        let qkv = attention::backward(&out, &kept.qkv, &kept.attended, batch, heads);
        let qkv = qkv.view([batch.tokens, 3 * heads * dim]);
        turn(&qkv, &pass.rotary, heads, dim, true);
        if is_last {
            layer.c_attn.back_adapter(&qkv, kept.attn_in.as_ref(), masks, None);
            return None;
        }
        let normed = layer.c_attn.back(&qkv, kept.attn_in.as_ref(), masks);
        let mut x = norm::backward(&normed, &kept.x, &kept.rstd_1, &layer.ln_1);
        x += middle;
        Some(x)
    }

    /// The first block with an adapter.
    pub fn first_adapted(&self) -> Option<usize> {
        self.layers.iter().position(|layer| layer.linears().iter().any(|(_, linear)| linear.lora.is_some()))
    }

    /// Adds what a pass has left in the adapters' places to the step's gradient.
    pub fn collect(&self, pass: &Pass<'_>) {
        if let Some(sink) = &self.sink {
            shim::add_(&mut sink.sum.shallow_clone(), &sink.pass, sink.scale * pass.masks.factor());
        }
    }
}
