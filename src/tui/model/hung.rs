//! Whether the worker of the run that is shown lives and does not go on.

use super::{RunState, Worker};
use crate::job::event::Stage;
use crate::job::hung::{Signs, way_out};

pub use crate::job::hung::Hung;

impl RunState {
    /// Takes in what is known of the worker since `now`.
    pub fn see_worker(&mut self, worker: &Worker, now: f64) {
        let lives = |worker: &Worker| matches!(worker, Worker::Starting | Worker::Alive);
        if lives(worker) && !lives(&self.worker) {
            self.alive_since = now;
        }
        self.worker = worker.clone();
    }

    /// What a worker that lives does not do any more, and for how long.
    pub fn hung(&self, now: f64) -> Option<Hung> {
        let computes = matches!(self.stage, Some(Stage::Training | Stage::Evaluating))
            && !self.paused
            && self.step() > 0;
        let signs = Signs {
            newest: self.newest,
            moved: self.moved,
            alive_since: self.alive_since,
            computes,
            seconds_per_step: self.steps.seconds_per_step(),
        };
        // A full disk keeps it from saying anything.
        (self.is_live() && self.no_room.is_none()).then(|| signs.hung(now))?
    }

    /// What can be done where it hangs.
    pub fn way_out(&self) -> String {
        way_out(self.machine.as_ref().map(|m| m.pid), self.checkpoints.last().map(|c| c.step))
    }
}
