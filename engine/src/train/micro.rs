//! Which rows make which step: micro-batches counted on across epochs, as SWIFT's trainer does.

use qwen_tui::args::SftArgs;
use qwen_tui::data::sampling::epoch_order;

/// The endless sequence of micro-batches over `rows` rows.
#[derive(Debug)]
pub struct MicroBatches {
    rows: usize,
    batch_size: usize,
    accumulation: usize,
    seed: u64,
    random: bool,
    /// The rows' order in the epoch that was last looked at.
    order: (u64, Vec<usize>),
}

impl MicroBatches {
    pub fn new(rows: usize, batch_size: usize, accumulation: usize, seed: u64, random: bool) -> Self {
        let order = (0, epoch_order(seed, 0, rows, random));
        Self { rows, batch_size, accumulation, seed, random, order }
    }

    /// Those of a run.
    pub fn of(args: &SftArgs, rows: usize) -> Self {
        let random = args.train_sampler_random && !args.test_oom_error;
        Self::new(rows, args.batch_size, args.gradient_accumulation_steps, args.seed, random)
    }

    /// Micro-batches of an epoch; the last may be smaller.
    pub fn per_epoch(&self) -> u64 {
        self.rows.div_ceil(self.batch_size) as u64
    }

    /// Steps of `epochs` epochs: those left over at an epoch's end open the next epoch's first step.
    pub fn total_steps(&self, epochs: u64) -> u64 {
        epochs * (self.per_epoch() / self.accumulation as u64).max(1)
    }

    /// Epochs done after `steps` steps.
    pub fn epoch(&self, steps: u64) -> f64 {
        (steps * self.per_step()) as f64 / self.per_epoch() as f64
    }

    /// Micro-batches of one step.
    fn per_step(&self) -> u64 {
        (self.accumulation as u64).min(self.per_epoch())
    }

    /// The rows of a step's micro-batches, steps counted from 0. An epoch of fewer micro-batches than the accumulation is
    /// one step.
    pub fn of_step(&mut self, step: u64) -> Vec<Vec<usize>> {
        let first = step * self.per_step();
        (first..first + self.per_step()).map(|n| self.micro_batch(n)).collect()
    }

    fn micro_batch(&mut self, n: u64) -> Vec<usize> {
        let epoch = n / self.per_epoch();
        if epoch != self.order.0 {
            self.order = (epoch, epoch_order(self.seed, epoch, self.rows, self.random));
        }
        let at = (n % self.per_epoch()) as usize * self.batch_size;
        self.order.1[at..(at + self.batch_size).min(self.rows)].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 125 micro-batches, accumulation 8, 2 epochs: 30 steps, the first 240 (seen in SWIFT's runs).
    #[test]
    fn leftovers_open_the_next_epoch() {
        let mut micro = MicroBatches::new(125, 1, 8, 1, false);
        assert_eq!(micro.total_steps(2), 30);
        let seen: Vec<usize> = (0..30).flat_map(|step| micro.of_step(step)).flatten().collect();
        let expected: Vec<usize> = (0..240).map(|i| i % 125).collect();
        assert_eq!(seen, expected);
        assert!((micro.epoch(30) - 1.92).abs() < 1e-9);
    }

    /// A resumed run begins in the middle, and a step that was computed ahead may be asked for again.
    #[test]
    fn a_step_is_the_same_in_any_order() {
        for (rows, batch_size, accumulation) in [(125, 1, 8), (5, 2, 16), (16, 2, 4)] {
            let new = || MicroBatches::new(rows, batch_size, accumulation, 7, true);
            let mut walked = new();
            let all: Vec<_> = (0..41).map(|step| walked.of_step(step)).collect();
            for step in [40, 0, 16, 9, 16, 1] {
                let expected = &all[step as usize];
                assert_eq!(&new().of_step(step), expected, "{rows} rows, step {step}");
                assert_eq!(&walked.of_step(step), expected, "{rows} rows, step {step} again");
            }
        }
    }

    #[test]
    fn six_hundred_rows_are_37_steps_and_an_epoch_of_few_rows_is_one() {
        assert_eq!(MicroBatches::new(600, 1, 16, 1, true).total_steps(1), 37);
        let mut few = MicroBatches::new(5, 2, 16, 1, false);
        assert_eq!(few.total_steps(3), 3);
        assert_eq!(few.of_step(0), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(few.of_step(1), [vec![0, 1], vec![2, 3], vec![4]]);
    }
}
