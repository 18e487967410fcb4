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
    /// Micro-batches handed out.
    done: u64,
    order: (u64, Vec<usize>),
}

impl MicroBatches {
    pub fn new(rows: usize, batch_size: usize, accumulation: usize, seed: u64, random: bool) -> Self {
        let order = (0, epoch_order(seed, 0, rows, random));
        Self { rows, batch_size, accumulation, seed, random, done: 0, order }
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

    /// Epochs done.
    pub fn epoch(&self) -> f64 {
        self.done as f64 / self.per_epoch() as f64
    }

    /// Micro-batches of one step.
    fn per_step(&self) -> u64 {
        (self.accumulation as u64).min(self.per_epoch())
    }

    /// Goes to where `steps` steps lead, without taking them.
    pub fn seek(&mut self, steps: u64) {
        self.done = steps * self.per_step();
    }

    /// The rows of the next step's micro-batches. An epoch of fewer micro-batches than the accumulation is one step.
    pub fn next_step(&mut self) -> Vec<Vec<usize>> {
        (0..self.per_step()).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Vec<usize> {
        let epoch = self.done / self.per_epoch();
        if epoch != self.order.0 {
            self.order = (epoch, epoch_order(self.seed, epoch, self.rows, self.random));
        }
        let at = (self.done % self.per_epoch()) as usize * self.batch_size;
        self.done += 1;
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
        let seen: Vec<usize> = (0..30).flat_map(|_| micro.next_step()).flatten().collect();
        let expected: Vec<usize> = (0..240).map(|i| i % 125).collect();
        assert_eq!(seen, expected);
        assert!((micro.epoch() - 1.92).abs() < 1e-9);
    }

    #[test]
    fn a_cursor_leads_where_the_steps_would() {
        for (rows, batch_size, accumulation) in [(125, 1, 8), (5, 2, 16), (16, 2, 4)] {
            let new = || MicroBatches::new(rows, batch_size, accumulation, 7, true);
            for steps in [0, 1, 9, 16, 40] {
                let (mut walked, mut sought) = (new(), new());
                (0..steps).for_each(|_| drop(walked.next_step()));
                sought.seek(steps);
                assert_eq!(walked.epoch(), sought.epoch());
                assert_eq!(walked.next_step(), sought.next_step(), "{rows} rows, after {steps} steps");
            }
        }
    }

    #[test]
    fn six_hundred_rows_are_37_steps_and_an_epoch_of_few_rows_is_one() {
        assert_eq!(MicroBatches::new(600, 1, 16, 1, true).total_steps(1), 37);
        let mut few = MicroBatches::new(5, 2, 16, 1, false);
        assert_eq!(few.total_steps(3), 3);
        assert_eq!(few.next_step(), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(few.next_step(), [vec![0, 1], vec![2, 3], vec![4]]);
    }
}
