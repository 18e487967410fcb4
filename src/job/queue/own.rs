//! The workers that a runner has started itself.

use std::path::Path;

use crate::error::{Error, Result};
use crate::job::{Event, Worker};
use crate::run::{EVENTS, Follower};

/// How a worker ended that its runner has waited for.
#[derive(Debug)]
pub(super) struct Told {
    /// Why, where the run does not tell.
    pub why: Error,
    /// It has trained a step, or has ended well: no run that was refused.
    pub trained: bool,
}

/// A worker that this runner has started.
pub(super) struct Own {
    worker: Worker,
    /// Its event log, open from early on: it may be gone with the run's directory when the worker ends. None once it has
    /// told of a step.
    events: Option<Follower<Event>>,
}

impl Own {
    pub(super) fn new(run: &Path, worker: Worker) -> Own {
        let log = run.join(EVENTS);
        // What an earlier worker did is none of its.
        Own { worker, events: Some(Follower::at_end(&log).unwrap_or_else(|_| Follower::open(&log))) }
    }

    /// How it ended; none while it lives. `new`: what it has printed goes with the run's directory.
    ///
    /// # Errors
    /// The system does not say whether it lives.
    pub(super) fn ended(&mut self, new: bool) -> Result<Option<Told>> {
        // Asked before the log is read, so that nothing written before the end is missed.
        let status = self.worker.try_wait()?;
        let new_events = self.events.as_mut().and_then(|events| events.poll().ok()).unwrap_or_default();
        if new_events.iter().any(|record| record.event.is_step()) {
            self.events = None;
        }
        Ok(status.map(|status| Told {
            why: if new { self.worker.explain_alone(status) } else { self.worker.explain(status) },
            trained: self.events.is_none() || status.success(),
        }))
    }
}
