//! AdamW (Loshchilov and Hutter 2019) over one flat vector, its state in plain tensors so that it can be saved.

use tch::{Kind, Tensor};

#[derive(Debug)]
pub struct AdamW {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    /// Steps taken.
    pub steps: i64,
    /// First and second moments `[n]`.
    pub moments: (Tensor, Tensor),
}

impl AdamW {
    pub fn new(theta: &Tensor, betas: (f64, f64), eps: f64, weight_decay: f64) -> Self {
        let zeros = || theta.zeros_like();
        Self { beta1: betas.0, beta2: betas.1, eps, weight_decay, steps: 0, moments: (zeros(), zeros()) }
    }

    /// One step of torch.optim.AdamW on `theta` `[n]`, whose first `decayed` elements have weight decay.
    pub fn step(&mut self, theta: &Tensor, gradient: &Tensor, learning_rate: f64, decayed: i64) {
        tch::no_grad(|| {
            self.steps += 1;
            let mut theta = theta.shallow_clone();
            if self.weight_decay != 0.0 && decayed > 0 {
                let _ = theta.narrow(0, 0, decayed).g_mul_scalar_(1.0 - learning_rate * self.weight_decay);
            }
            let (m, v) = &mut self.moments;
            let _ = m.lerp_(gradient, 1.0 - self.beta1);
            let _ = v.g_mul_scalar_(self.beta2);
            let _ = v.addcmul_(&(gradient * (1.0 - self.beta2)), gradient);
            let correction1 = 1.0 - self.beta1.powi(self.steps as i32);
            let correction2 = 1.0 - self.beta2.powi(self.steps as i32);
            let denominator = v.sqrt().g_div_scalar_(correction2.sqrt()).g_add_scalar_(self.eps);
            let _ = theta.addcdiv_(&(&*m * (-learning_rate / correction1)), &denominator);
        });
    }
}

/// Global norm of a gradient `[n]`.
///
/// Summed in pieces and their norms in fp64: one sum in fp32 over 40 million numbers is off by 3e-3 on a CPU.
pub fn norm(gradient: &Tensor) -> f64 {
    const PIECE: i64 = 1 << 14;
    let n = gradient.numel() as i64;
    let whole = n / PIECE;
    let of = |t: Tensor| t.norm_scalaropt_dim(2.0, [1i64].as_slice(), false).to_kind(Kind::Double);
    let pieces = of(gradient.narrow(0, 0, whole * PIECE).view([whole, PIECE]));
    let rest = of(gradient.narrow(0, whole * PIECE, n - whole * PIECE).view([1, -1]));
    Tensor::cat(&[pieces, rest], 0).square().sum(Kind::Double).double_value(&[]).sqrt()
}

/// Scales the gradient so that its norm is at most `max`, as torch.nn.utils.clip_grad_norm_ does.
pub fn clip(gradient: Tensor, norm: f64, max: f64) -> Tensor {
    let factor = max / (norm + 1e-6);
    if max > 0.0 && factor < 1.0 { gradient * factor } else { gradient }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps on one number against the update written out in f64.
    #[test]
    fn adamw_is_the_published_update() {
        let theta = Tensor::from_slice(&[1.5f32, -2.0]);
        let mut adam = AdamW::new(&theta, (0.9, 0.999), 1e-8, 0.1);
        let (mut w, mut m, mut v) = ([1.5f64, -2.0], [0.0f64; 2], [0.0f64; 2]);
        for t in 1..=3 {
            let g = [0.3 * t as f64, -0.7];
            adam.step(&theta, &Tensor::from_slice(&[g[0] as f32, g[1] as f32]), 0.01, 1);
            for i in 0..2 {
                if i == 0 {
                    w[i] *= 1.0 - 0.01 * 0.1;
                }
                m[i] = 0.9 * m[i] + 0.1 * g[i];
                v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
                let m_hat = m[i] / (1.0 - 0.9f64.powi(t));
                let v_hat = v[i] / (1.0 - 0.999f64.powi(t));
                w[i] -= 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
            }
        }
        for i in 0..2 {
            assert!((theta.double_value(&[i as i64]) - w[i]).abs() < 1e-6, "{theta:?} {w:?}");
        }
    }

    #[test]
    fn clipping_leaves_a_small_gradient_alone() {
        let g = Tensor::from_slice(&[3.0f32, 4.0]);
        assert_eq!(norm(&g), 5.0);
        assert_eq!(norm(&Tensor::ones([1 << 15], (Kind::Float, tch::Device::Cpu))), 2f64.powi(15).sqrt());
        assert_eq!(norm(&clip(g.shallow_clone(), 5.0, 10.0)), 5.0);
        assert!((norm(&clip(g, 5.0, 0.5)) - 0.5).abs() < 1e-6);
    }
}
