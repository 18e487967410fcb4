//! Causal attention over packed rows, with its gradient: without padding on a GPU, padded on a CPU.

use tch::{Device, Kind, Tensor};

use super::super::packed::Packed;
use crate::shim::{self, Flash};

/// What the way back wants besides queries, keys and values.
pub enum Kept {
    Gpu(Flash),
    /// Output `[rows, heads, longest, head_dim]` and the log-sum-exp of libtorch's flash attention for CPUs.
    Cpu {
        out: Tensor,
        logsumexp: Tensor,
    },
}

/// Whether [`forward`] can compute in this dtype with heads of this size on this device.
pub fn takes(device: Device, kind: Kind, dim: i64) -> bool {
    match device {
        Device::Cuda(_) => matches!(kind, Kind::BFloat16 | Kind::Half) && dim <= 256 && dim % 8 == 0,
        Device::Cpu => true,
        _ => false,
    }
}

fn scale(dim: i64) -> f64 {
    (dim as f64).powf(-0.5)
}

/// Queries, keys and values of `qkv`, each a view.
fn thirds(qkv: &Tensor, heads: i64) -> [Tensor; 3] {
    [0, 1, 2].map(|n| qkv.narrow(-2, n * heads, heads))
}

/// The same, padded: each `[rows, heads, longest, head_dim]`.
fn padded(qkv: &Tensor, batch: &Packed, heads: i64, dim: i64) -> [Tensor; 3] {
    let all = batch.pad(&qkv.view([batch.tokens, -1])).view([batch.rows, batch.longest, 3 * heads, dim]);
    thirds(&all, heads).map(|t| t.transpose(1, 2))
}

/// `qkv` `[tokens, 3 * heads, head_dim]`, already turned by position, to `[tokens, heads * head_dim]`.
pub fn forward(qkv: &Tensor, batch: &Packed, heads: i64) -> (Tensor, Kept) {
    let dim = qkv.size()[2];
    if let Device::Cuda(_) = qkv.device() {
        let [q, k, v] = thirds(&batch.whole(qkv), heads);
        let flash = shim::flash_attention(&q, &k, &v, batch.bounds(), batch.longest, scale(dim));
        return (batch.once(&flash.out.view([-1, heads * dim])), Kept::Gpu(flash));
    }
    let [q, k, v] = padded(qkv, batch, heads, dim);
    let (out, logsumexp) = Tensor::internal_scaled_dot_product_flash_attention_for_cpu(
        &q,
        &k,
        &v,
        0.0,
        true,
        None::<&Tensor>,
        None,
    );
    let flat = out.transpose(1, 2).reshape([batch.rows, batch.longest, heads * dim]);
    (batch.unpad(&flat), Kept::Cpu { out, logsumexp })
}

/// The gradient of `qkv` `[tokens, 3 * heads, head_dim]` from that of the output `[tokens, heads * head_dim]`, of rows
/// that share no tokens.
pub fn backward(gradient: &Tensor, qkv: &Tensor, kept: &Kept, batch: &Packed, heads: i64) -> Tensor {
    debug_assert!(!batch.is_shared(), "a shared token has the gradients of all its rows");
    let dim = qkv.size()[2];
    match kept {
        Kept::Gpu(flash) => {
            let [q, k, v] = thirds(qkv, heads);
            let gradient = gradient.view([batch.tokens, heads, dim]);
            let bounds = batch.bounds();
            let (q, k, v) = flash.backward(&gradient, &q, &k, &v, bounds, batch.longest, scale(dim));
            Tensor::cat(&[q, k, v], 1)
        }
        Kept::Cpu { out, logsumexp } => {
            let [q, k, v] = padded(qkv, batch, heads, dim);
            let gradient =
                batch.pad_with_zeros(gradient).view([batch.rows, batch.longest, heads, dim]).transpose(1, 2);
            let (q, k, v) = Tensor::internal_scaled_dot_product_flash_attention_for_cpu_backward(
                &gradient,
                &q,
                &k,
                &v,
                out,
                logsumexp,
                0.0,
                true,
                None::<&Tensor>,
                None,
            );
            let all = Tensor::cat(&[q, k, v].map(|t| t.transpose(1, 2)), 2);
            batch.unpad(&all.view([batch.rows, batch.longest, 3 * heads * dim])).view([
                batch.tokens,
                3 * heads,
                dim,
            ])
        }
    }
}
