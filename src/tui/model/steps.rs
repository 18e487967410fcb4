//! The figures of every optimizer step, and what is computed from them.

/// Weight of the past in the smoothed loss, as in the reference run's TensorBoard pictures.
pub const SMOOTHING: f64 = 0.9;
/// Steps over which speed is averaged.
const SPEED_WINDOW: usize = 20;

/// One optimizer step. Loss, accuracy and gradient norm may be NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    pub step: u64,
    pub epoch: f64,
    pub loss: f64,
    pub acc: f64,
    pub learning_rate: f64,
    pub grad_norm: f64,
    pub tokens: u64,
    pub seconds: f64,
}

/// All steps of a run in order, each number once.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    steps: Vec<Step>,
    /// The running sums of the smoothed loss after each step.
    sums: Vec<Decayed>,
}

/// Exponentially decayed sum of the finite values so far, and of their weights.
#[derive(Debug, Clone, Copy, Default)]
struct Decayed {
    sum: f64,
    weight: f64,
}

impl Steps {
    /// Appends a step. A run resumed from a checkpoint repeats steps: the newer replaces the older and all after it.
    pub fn push(&mut self, step: Step) {
        self.forget_from(step.step);
        let mut sum = self.sums.last().copied().unwrap_or_default();
        if step.loss.is_finite() {
            sum.sum = SMOOTHING * sum.sum + step.loss;
            sum.weight = SMOOTHING * sum.weight + 1.0;
        }
        self.steps.push(step);
        self.sums.push(sum);
    }

    /// Forgets `step` and all after it.
    pub fn forget_from(&mut self, step: u64) {
        let keep = self.steps.partition_point(|s| s.step < step);
        self.steps.truncate(keep);
        self.sums.truncate(keep);
    }

    pub fn all(&self) -> &[Step] {
        &self.steps
    }

    pub fn last(&self) -> Option<&Step> {
        self.steps.last()
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The last `n` steps, or all where there are fewer.
    pub fn recent(&self, n: usize) -> &[Step] {
        &self.steps[self.steps.len().saturating_sub(n)..]
    }

    /// The smoothed loss after the step at `index`; `None` before the first finite one.
    pub fn smoothed(&self, index: usize) -> Option<f64> {
        self.sums.get(index).filter(|s| s.weight > 0.0).map(|s| s.sum / s.weight)
    }

    /// The smoothed loss after the last step.
    pub fn smoothed_last(&self) -> Option<f64> {
        self.smoothed(self.steps.len().checked_sub(1)?)
    }

    /// `(step, smoothed loss)`; NaN at steps whose own loss is not finite, so that gaps stay gaps.
    pub fn smoothed_points(&self) -> Vec<(f64, f64)> {
        let value = |(i, s): (usize, &Step)| {
            let y = if s.loss.is_finite() { self.smoothed(i).unwrap_or(f64::NAN) } else { f64::NAN };
            (s.step as f64, y)
        };
        self.steps.iter().enumerate().map(value).collect()
    }

    /// `(step, value)` of one figure.
    pub fn points(&self, figure: impl Fn(&Step) -> f64) -> Vec<(f64, f64)> {
        self.steps.iter().map(|s| (s.step as f64, figure(s))).collect()
    }

    /// Steps in which the loss or the gradient norm was not finite.
    pub fn non_finite(&self) -> usize {
        self.steps.iter().filter(|s| !s.loss.is_finite() || !s.grad_norm.is_finite()).count()
    }

    /// Seconds a step takes, over the last steps.
    pub fn seconds_per_step(&self) -> Option<f64> {
        let recent = self.recent(SPEED_WINDOW);
        let seconds: f64 = recent.iter().map(|s| s.seconds).sum();
        (seconds > 0.0).then(|| seconds / recent.len() as f64)
    }

    /// Tokens a second, over the last steps; evaluations not counted.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let recent = self.recent(SPEED_WINDOW);
        let seconds: f64 = recent.iter().map(|s| s.seconds).sum();
        (seconds > 0.0).then(|| recent.iter().map(|s| s.tokens as f64).sum::<f64>() / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64, loss: f64) -> Step {
        let (epoch, acc, learning_rate, grad_norm) = (0.1, 0.5, 1e-3, 0.7);
        Step { step, epoch, loss, acc, learning_rate, grad_norm, tokens: 100, seconds: 0.5 }
    }

    #[test]
    fn the_smoothed_loss_is_the_weighted_mean_that_it_claims_to_be() {
        let losses = [3.0, 1.0, f64::NAN, 2.0];
        let mut steps = Steps::default();
        for (i, loss) in losses.iter().enumerate() {
            steps.push(step(i as u64 + 1, *loss));
        }
        // 0.9^2 * 3 + 0.9 * 1 + 2 over the sum of the weights; the NaN takes no part.
        let wanted = (0.81 * 3.0 + 0.9 + 2.0) / (0.81 + 0.9 + 1.0);
        assert!((steps.smoothed_last().unwrap() - wanted).abs() < 1e-12);
        assert_eq!(steps.smoothed(0), Some(3.0));
        assert!(steps.smoothed_points()[2].1.is_nan());
        assert_eq!(steps.non_finite(), 1);
        assert_eq!((steps.seconds_per_step(), steps.tokens_per_second()), (Some(0.5), Some(200.0)));
    }

    #[test]
    fn a_resumed_run_overwrites_the_steps_it_repeats() {
        let (mut steps, mut straight) = (Steps::default(), Steps::default());
        for i in 1..=9 {
            steps.push(step(i, 9.0));
        }
        for i in 1..=5 {
            straight.push(step(i, 9.0));
        }
        for s in [&mut steps, &mut straight] {
            s.push(step(6, 1.0));
        }
        assert_eq!(steps.all(), straight.all());
        assert_eq!(steps.smoothed_last(), straight.smoothed_last());
    }

    #[test]
    fn nothing_is_known_before_the_first_step() {
        let steps = Steps::default();
        assert!(steps.smoothed_last().is_none() && steps.seconds_per_step().is_none() && steps.is_empty());
    }
}
