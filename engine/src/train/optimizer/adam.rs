//! AdamW (Loshchilov and Hutter 2019), twice: as torch and as transformers have it.

use tch::Tensor;

use super::{Settings, Step};

/// torch.optim.AdamW: weight decay first, epsilon beside the corrected root.
pub fn step(step: &Step<'_>, (m, v): (&mut Tensor, &mut Tensor), settings: &Settings) {
    step.shrink(1.0 - step.learning_rate * settings.weight_decay);
    follow(step, m, v, settings);
    let (correction1, correction2) = corrections(step, settings);
    let denominator = v.sqrt().g_div_scalar_(correction2.sqrt()).g_add_scalar_(settings.eps);
    let _ = step.theta.shallow_clone().addcdiv_(&(&*m * (-step.learning_rate / correction1)), &denominator);
}

/// transformers' AdamW (4.36, `optimization.py`): epsilon beside the uncorrected root, weight decay last.
pub fn step_hf(step: &Step<'_>, (m, v): (&mut Tensor, &mut Tensor), settings: &Settings) {
    follow(step, m, v, settings);
    let (correction1, correction2) = corrections(step, settings);
    let size = step.learning_rate * correction2.sqrt() / correction1;
    let denominator = v.sqrt().g_add_scalar_(settings.eps);
    let _ = step.theta.shallow_clone().addcdiv_(&(&*m * -size), &denominator);
    step.shrink(1.0 - step.learning_rate * settings.weight_decay);
}

/// Moves the moments on.
fn follow(step: &Step<'_>, m: &mut Tensor, v: &mut Tensor, settings: &Settings) {
    let (beta1, beta2) = settings.betas;
    let _ = m.lerp_(step.gradient, 1.0 - beta1);
    let _ = v.g_mul_scalar_(beta2);
    let _ = v.addcmul_(&(step.gradient * (1.0 - beta2)), step.gradient);
}

/// What the moments, which begin at zero, are short of.
fn corrections(step: &Step<'_>, settings: &Settings) -> (f64, f64) {
    let short = |beta: f64| 1.0 - beta.powf(step.number as f64);
    (short(settings.betas.0), short(settings.betas.1))
}
