//! A worker that lives and does not go on.

use super::{RunState, Worker};
use crate::job::event::Stage;

/// Seconds after which a worker that says nothing is told as silent: it tells of the machine every 2 s, whatever it is
/// busy with.
const SILENCE: f64 = 20.0;
/// Seconds, and times a step's seconds, after which a worker whose computation does not go on is told as stuck.
const STUCK: f64 = 120.0;
const STUCK_STEPS: f64 = 20.0;

/// How a worker hangs. Seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Hung {
    /// It says nothing at all: the process is stopped or starved.
    Silent { seconds: f64 },
    /// It lives, and its computation does not come back.
    Stuck { seconds: f64 },
}

impl RunState {
    /// Takes in what is known of the worker since `now`.
    pub fn see_worker(&mut self, worker: &Worker, now: f64) {
        if *worker == Worker::Alive && self.worker != Worker::Alive {
            self.alive_since = now;
        }
        self.worker = worker.clone();
    }

    /// What a worker that lives does not do any more, and for how long.
    pub fn hung(&self, now: f64) -> Option<Hung> {
        // A full disk keeps it from saying anything.
        if !self.is_live() || self.no_room.is_some() {
            return None;
        }
        let seconds = now - self.newest.max(self.alive_since);
        if seconds > SILENCE {
            return Some(Hung::Silent { seconds });
        }
        let computes = matches!(self.stage, Some(Stage::Training | Stage::Evaluating))
            && !self.paused
            && self.step() > 0;
        let patience = STUCK.max(STUCK_STEPS * self.steps.seconds_per_step().unwrap_or(0.0));
        let seconds = now - self.moved.max(self.alive_since);
        (computes && seconds > patience).then_some(Hung::Stuck { seconds })
    }

    /// What can be done where it hangs: nobody but the kernel ends such a worker.
    pub fn way_out(&self) -> String {
        let kept = match self.checkpoints.last() {
            Some(last) => format!("checkpoint-{} stays", last.step),
            None => "nothing has been saved yet".to_owned(),
        };
        match &self.machine {
            Some(machine) => format!("`kill -9 {}` ends it; {kept}", machine.pid),
            None => format!("its process can only be killed; {kept}"),
        }
    }
}
