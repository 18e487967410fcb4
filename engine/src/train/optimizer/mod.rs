//! Optimizers over one flat vector, their state in plain tensors so that it can be saved.

mod adafactor;
mod adam;

use qwen_tui::args::SftArgs;
use tch::{Device, Kind, Tensor};

/// `optim`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// torch.optim.AdamW; `adamw_torch_fused` is another kernel of the same update.
    AdamW,
    /// AdamW of transformers 4.36.
    AdamWHf,
    /// torch.optim.SGD without momentum; weight decay is part of the gradient.
    Sgd,
    /// Adafactor of transformers 4.36, with a learning rate from outside.
    Adafactor,
}

/// What an optimizer is told once.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub rule: Rule,
    pub betas: (f64, f64),
    pub eps: f64,
    pub weight_decay: f64,
}

impl From<&SftArgs> for Settings {
    fn from(args: &SftArgs) -> Self {
        let rule = match args.optim.as_str() {
            "adamw_hf" => Rule::AdamWHf,
            "sgd" => Rule::Sgd,
            "adafactor" => Rule::Adafactor,
            // The table of arguments lets in nothing else.
            _ => Rule::AdamW,
        };
        Self {
            rule,
            betas: (args.adam_beta1, args.adam_beta2),
            eps: args.adam_epsilon,
            weight_decay: args.weight_decay,
        }
    }
}

/// An optimizer and its state.
#[derive(Debug)]
pub struct Optimizer {
    settings: Settings,
    /// Shapes of the weights, in the vector's order.
    shapes: Vec<Vec<i64>>,
    /// Steps taken.
    pub steps: i64,
    /// Flat fp32 vectors by name.
    state: Vec<(&'static str, Tensor)>,
}

impl Optimizer {
    /// For weights of these `shapes`, one after the other in one vector on `device`.
    pub fn new(settings: Settings, shapes: Vec<Vec<i64>>, device: Device) -> Self {
        let zeros = |n: i64| Tensor::zeros([n], (Kind::Float, device));
        let total = shapes.iter().map(|shape| numel(shape)).sum::<i64>();
        let state = match settings.rule {
            Rule::AdamW | Rule::AdamWHf => vec![("exp_avg", zeros(total)), ("exp_avg_sq", zeros(total))],
            Rule::Sgd => Vec::new(),
            Rule::Adafactor => {
                adafactor::sizes(&shapes).into_iter().map(|(name, size)| (name, zeros(size))).collect()
            }
        };
        Self { settings, shapes, steps: 0, state }
    }

    /// One step on `theta` `[n]` with its `gradient` `[n]`; the first `decayed` elements have weight decay.
    pub fn step(&mut self, theta: &Tensor, gradient: &Tensor, learning_rate: f64, decayed: i64) {
        self.steps += 1;
        let step = Step {
            theta,
            gradient,
            learning_rate,
            decayed: if self.settings.weight_decay == 0.0 { 0 } else { decayed },
            number: self.steps,
        };
        let (settings, shapes) = (&self.settings, &self.shapes);
        tch::no_grad(|| match (settings.rule, self.state.as_mut_slice()) {
            (Rule::AdamW, [(_, m), (_, v)]) => adam::step(&step, (m, v), settings),
            (Rule::AdamWHf, [(_, m), (_, v)]) => adam::step_hf(&step, (m, v), settings),
            (Rule::Adafactor, [(_, rows), (_, columns), (_, others)]) => {
                adafactor::step(&step, [rows, columns, others], shapes, settings.weight_decay)
            }
            _ => sgd(&step, settings.weight_decay),
        });
    }

    /// Its state by name, each a flat fp32 vector; shared, not copied.
    pub fn state(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        self.state.iter().map(|(name, tensor)| (*name, tensor))
    }

    /// Puts back a state that was saved: `read` gets each vector's name and one like it.
    ///
    /// # Errors
    /// Those of `read`; then nothing is changed.
    pub fn restore<E>(
        &mut self,
        steps: i64,
        mut read: impl FnMut(&str, &Tensor) -> Result<Tensor, E>,
    ) -> Result<(), E> {
        let state = self.state.iter().map(|(name, like)| Ok((*name, read(name, like)?)));
        self.state = state.collect::<Result<_, E>>()?;
        self.steps = steps;
        Ok(())
    }
}

/// What one step is made of.
struct Step<'a> {
    theta: &'a Tensor,
    gradient: &'a Tensor,
    learning_rate: f64,
    /// Elements of `theta` with weight decay: the first ones.
    decayed: i64,
    /// Counted from 1.
    number: i64,
}

impl Step<'_> {
    /// Multiplies the elements with weight decay by `factor`.
    fn shrink(&self, factor: f64) {
        if self.decayed > 0 {
            let _ = self.theta.narrow(0, 0, self.decayed).g_mul_scalar_(factor);
        }
    }
}

fn numel(shape: &[i64]) -> i64 {
    shape.iter().product()
}

fn sgd(step: &Step<'_>, weight_decay: f64) {
    // theta - lr * (gradient + decay * theta), the decay first: no copy of the gradient is made.
    step.shrink(1.0 - step.learning_rate * weight_decay);
    let _ = step.theta.shallow_clone().g_add_(&(step.gradient * -step.learning_rate));
}

/// Global norm of a gradient `[n]`, an fp64 scalar on its device.
///
/// Summed in pieces and their norms in fp64: one sum in fp32 over 40 million numbers is off by 3e-3 on a CPU.
pub fn norm(vector: &Tensor) -> Tensor {
    const PIECE: i64 = 1 << 14;
    let n = vector.numel() as i64;
    let whole = n / PIECE;
    let of = |t: Tensor| t.norm_scalaropt_dim(2.0, [1i64].as_slice(), false).to_kind(Kind::Double);
    let pieces = of(vector.narrow(0, 0, whole * PIECE).view([whole, PIECE]));
    let rest = of(vector.narrow(0, whole * PIECE, n - whole * PIECE).view([1, -1]));
    Tensor::cat(&[pieces, rest], 0).square().sum(Kind::Double).sqrt()
}

/// Scales the gradient so that its norm is at most `max`, as torch.nn.utils.clip_grad_norm_ does. Nothing is waited for.
pub fn clip(gradient: &Tensor, norm: &Tensor, max: f64) -> Tensor {
    if max <= 0.0 {
        return gradient.shallow_clone();
    }
    let factor = ((norm + 1e-6).reciprocal() * max).clamp_max(1.0);
    gradient * factor
}

#[cfg(test)]
mod tests;
