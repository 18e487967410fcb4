//! The checkpoints of a run: those that it comes from, and those that it has left.

use super::{Checkpoint, RunState};
use crate::job::checkpoints::CheckpointSummary;

impl RunState {
    /// Forgets checkpoints that are not among those `found` on disk, and takes from there which is the best: where that
    /// of the log is gone, it is the best of the rest.
    pub fn keep_checkpoints(&mut self, found: &[CheckpointSummary]) {
        self.forget_checkpoints(|c| found.iter().all(|f| f.step != c.step));
        let best = found.iter().find(|f| f.best).map(|f| f.step);
        self.checkpoints.iter_mut().for_each(|c| c.best = Some(c.step) == best);
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
