//! Learning rate schedules: closed forms of the ones in transformers' `get_scheduler`, with its defaults.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::sft::SftArgs;

/// `lr_scheduler_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheduler {
    /// Straight down to 0.
    Linear,
    /// Half a cosine down to 0.
    Cosine,
    /// With transformers' default of one cycle: the cosine.
    CosineWithRestarts,
    /// Power 1 down to [`POLYNOMIAL_END`].
    Polynomial,
    /// No warmup either.
    Constant,
    ConstantWithWarmup,
    /// Falls with the square root of the steps; never 0.
    InverseSqrt,
}

/// The names, as the argument takes them.
pub const NAMES: &[&str] = &[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
];

/// Where the polynomial schedule ends.
pub const POLYNOMIAL_END: f64 = 1e-7;

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES[*self as usize])
    }
}

/// More steps than any training takes: three years, at a step a second.
const ENDLESS: i64 = 100_000_000;
const DAY: f64 = 86_400.0;

impl SftArgs {
    /// What a `max_steps` means that no run comes to.
    pub(super) fn endless(&self) -> Option<String> {
        if self.max_steps <= ENDLESS {
            return None;
        }
        let days = |steps: f64| format!("{:.0} days", steps / DAY);
        let warmup = match warmup_steps(self.max_steps as u64, self.warmup_ratio) {
            _ if self.lr_scheduler_type == Scheduler::Constant => String::new(),
            0 => String::new(),
            steps => format!(
                ", of which {} warm up (warmup_ratio {}): until then next to nothing is learned",
                days(steps as f64),
                self.warmup_ratio
            ),
        };
        Some(format!(
            "max_steps is {}: at a step a second that is {}{warmup}; leave max_steps out, and num_train_epochs says how long \
             it trains",
            self.max_steps,
            days(self.max_steps as f64)
        ))
    }
}

/// Steps of warmup: the share of all steps, rounded up.
pub fn warmup_steps(total_steps: u64, warmup_ratio: f64) -> u64 {
    (total_steps as f64 * warmup_ratio).ceil() as u64
}

/// The learning rate after `step` scheduler steps, which is what the step after uses and what the log of step
/// `step` shows.
pub fn learning_rate(kind: Scheduler, base_lr: f64, warmup_steps: u64, total_steps: u64, step: u64) -> f64 {
    if kind == Scheduler::Constant {
        return base_lr;
    }
    if step < warmup_steps {
        return base_lr * (step as f64 / warmup_steps as f64);
    }
    // 0 at the end of the warmup, 1 at the last step.
    let progress = (step - warmup_steps) as f64 / total_steps.saturating_sub(warmup_steps).max(1) as f64;
    match kind {
        Scheduler::Constant | Scheduler::ConstantWithWarmup => base_lr,
        Scheduler::Linear => {
            let left = total_steps.saturating_sub(step) as f64;
            base_lr * (left / total_steps.saturating_sub(warmup_steps).max(1) as f64)
        }
        Scheduler::CosineWithRestarts if progress >= 1.0 => 0.0,
        Scheduler::Cosine | Scheduler::CosineWithRestarts => {
            base_lr * (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0)
        }
        Scheduler::Polynomial if step >= total_steps => POLYNOMIAL_END,
        Scheduler::Polynomial => (base_lr - POLYNOMIAL_END) * (1.0 - progress) + POLYNOMIAL_END,
        Scheduler::InverseSqrt => {
            let timescale = if warmup_steps == 0 { 10_000 } else { warmup_steps } as f64;
            let shift = timescale - warmup_steps as f64;
            base_lr / ((step as f64 + shift) / timescale).sqrt()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ten_steps(kind: Scheduler, warmup: u64) -> Vec<f64> {
        (0..10).map(|step| learning_rate(kind, 10.0, warmup, 10, step)).collect()
    }

    #[track_caller]
    fn near(got: Vec<f64>, wanted: [f64; 10], tolerance: f64) {
        for (step, (got, wanted)) in got.iter().zip(wanted).enumerate() {
            assert!((got - wanted).abs() <= tolerance, "step {step}: {got}, not {wanted}");
        }
    }

    /// The numbers that transformers' own tests hold its schedules to (rate 10, ten steps).
    #[test]
    fn as_transformers_has_them() {
        near(ten_steps(Scheduler::Constant, 4), [10.0; 10], 0.0);
        let rising = [0.0, 2.5, 5.0, 7.5, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0];
        near(ten_steps(Scheduler::ConstantWithWarmup, 4), rising, 1e-12);
        let linear = [0.0, 5.0, 10.0, 8.75, 7.5, 6.25, 5.0, 3.75, 2.5, 1.25];
        near(ten_steps(Scheduler::Linear, 2), linear, 1e-12);
        // Power 1 with an end of 1e-7 is the line but for that end.
        near(ten_steps(Scheduler::Polynomial, 2), linear, 1.1e-7);
        let cosine = [0.0, 5.0, 10.0, 9.61, 8.53, 6.91, 5.0, 3.08, 1.46, 0.38];
        near(ten_steps(Scheduler::Cosine, 2), cosine, 1e-2);
        near(ten_steps(Scheduler::CosineWithRestarts, 2), cosine, 1e-2);
        let inverse = [0.0, 5.0, 10.0, 8.165, 7.071, 6.325, 5.774, 5.345, 5.0, 4.714];
        near(ten_steps(Scheduler::InverseSqrt, 2), inverse, 1e-3);
    }

    #[test]
    fn ends() {
        let last = |kind| learning_rate(kind, 1e-3, 3, 50, 50);
        assert_eq!(last(Scheduler::Linear), 0.0);
        assert!(last(Scheduler::Cosine).abs() < 1e-18);
        assert_eq!(last(Scheduler::CosineWithRestarts), 0.0);
        assert_eq!(last(Scheduler::Polynomial), 1e-7);
        // Beyond the end, and where there is nothing but warmup, the numbers stay finite.
        for name in NAMES {
            let kind: Scheduler = serde_json::from_value((*name).into()).unwrap();
            assert_eq!(kind.to_string(), *name);
            for (warmup, total, step) in [(0, 0, 0), (0, 1, 1), (5, 5, 5), (5, 5, 9), (9, 5, 5), (0, 3, 7)] {
                let lr = learning_rate(kind, 1e-3, warmup, total, step);
                assert!(lr.is_finite() && (0.0..=1e-3).contains(&lr), "{name} {warmup} {total} {step}: {lr}");
            }
        }
    }

    #[test]
    fn warmup_rounds_up() {
        assert_eq!(warmup_steps(37, 0.05), 2);
        assert_eq!(warmup_steps(125, 0.05), 7);
        assert_eq!(warmup_steps(100, 0.0), 0);
    }
}
