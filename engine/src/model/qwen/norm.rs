//! RMS norm (Zhang and Sennrich 2019) with its gradient, in fp32 like the reference's.

use tch::{Device, Kind, Tensor};

use crate::shim;

/// `x / rms(x) * weight`: `[tokens, h]` to `[tokens, h]`, as autograd differentiates it.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    let wide = x.to_kind(Kind::Float);
    let variance = wide.square().mean_dim(-1, true, Kind::Float);
    (wide * (variance + eps).rsqrt()).to_kind(x.kind()) * weight
}

/// The same without autograd, and what its way back wants: 1 / rms `[tokens, 1]` in fp32.
pub fn forward(x: &Tensor, weight: &Tensor, eps: f64) -> (Tensor, Tensor) {
    if fused(x) {
        // One kernel; it rounds once where the reference rounds before and after the weight.
        return x.internal_fused_rms_norm(weight.size(), Some(weight), eps);
    }
    let wide = x.to_kind(Kind::Float);
    let rstd = (wide.square().mean_dim(-1, true, Kind::Float) + eps).rsqrt();
    ((wide * &rstd).to_kind(x.kind()) * weight, rstd)
}

/// The gradient of `x`.
pub fn backward(gradient: &Tensor, x: &Tensor, rstd: &Tensor, weight: &Tensor) -> Tensor {
    if fused(x) {
        return shim::rms_norm_backward(gradient, x, rstd, weight);
    }
    let normed = x.to_kind(Kind::Float) * rstd;
    let mut wide = gradient.to_kind(Kind::Float) * weight.to_kind(Kind::Float);
    let along = (&wide * &normed).mean_dim(-1, true, Kind::Float);
    wide -= normed * along;
    (wide * rstd).to_kind(x.kind())
}

fn fused(x: &Tensor) -> bool {
    matches!(x.device(), Device::Cuda(_))
}
