//! The checkpoints of a run: those that it comes from, and those that it has left.

use super::{Checkpoint, RunState};

impl RunState {
    /// Forgets checkpoints that are not among the `steps` found on disk.
    pub fn keep_checkpoints(&mut self, steps: impl Iterator<Item = u64>) {
        let steps: Vec<u64> = steps.collect();
        self.forget_checkpoints(|c| !steps.contains(&c.step));
    }

    pub(super) fn forget_checkpoints(&mut self, gone: impl Fn(&Checkpoint) -> bool) {
        self.checkpoints.retain(|c| !gone(c));
        self.left.retain(|c| !gone(c));
    }

    /// Tells those that the run comes from from those that it has left, and the best of them.
    pub(super) fn sort_checkpoints(&mut self) {
        let all = self.checkpoints.drain(..).chain(self.left.drain(..));
        (self.left, self.checkpoints) = all.partition(|c| self.branch.has_left(c.step, c.time));
        self.checkpoints.sort_by_key(|c| c.step);
        let best = self.checkpoints.iter().rev().find(|c| c.was_best).map(|c| c.step);
        self.checkpoints.iter_mut().for_each(|c| c.best = Some(c.step) == best);
    }
}
