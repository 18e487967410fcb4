//! The time that a hub has to say what a repository holds: all of it, however many answers that takes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Url;

use super::failed::{silent, unfinished};
use super::fault::Fault;

/// Bytes that count as progress, and the time that progress leaves at least: a listing may come at 4 kB a second, and a
/// server that sends a byte now and then has no more time than one that sends none.
const STEP: u64 = 16 << 10;
const LEAVES: Duration = Duration::from_secs(4);

/// How long is waited for a hub that is asked what it has.
#[derive(Debug)]
pub struct Clock {
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    until: Instant,
    /// Bytes that came, and how many had come at the last progress.
    came: u64,
    counted: u64,
}

impl Clock {
    /// `limit` from `began` on, as long as there is no progress. Who asks several hubs begins once for all of them.
    pub fn new(began: Instant, limit: Duration) -> Self {
        Self { limit, state: Mutex::new(State { until: began + limit, came: 0, counted: 0 }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nobody stops half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn left(&self) -> Duration {
        self.state().until.saturating_duration_since(Instant::now())
    }

    /// Bytes of an answer came.
    pub fn came(&self, bytes: usize) {
        let mut state = self.state();
        state.came += bytes as u64;
        if state.came >= state.counted + STEP {
            state.counted = state.came;
            state.leave(LEAVES);
        }
    }

    /// An answer came to its end; of some questions it has no bytes.
    pub fn answered(&self) {
        self.state().leave(LEAVES);
    }

    /// The hub itself has asked for a wait, which is over.
    pub fn waited(&self) {
        self.state().leave(self.limit);
    }

    /// The fault of a server that had no more time.
    pub fn late(&self, url: &Url) -> Fault {
        match self.state().came {
            0 => silent(url, self.limit),
            came => unfinished(url, came),
        }
    }
}

impl State {
    fn leave(&mut self, time: Duration) {
        self.until = self.until.max(Instant::now() + time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_progress_leaves_more_time() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let clock = || Clock::new(long_ago, Duration::from_secs(9));
        let left = |clock: &Clock| clock.left().as_secs_f64().round();
        let (bytes, whole, waited) = (clock(), clock(), clock());
        (0..STEP - 1).for_each(|_| bytes.came(1));
        assert_eq!(left(&bytes), 0.0);
        bytes.came(1);
        assert_eq!(left(&bytes), 4.0);
        whole.answered();
        assert_eq!(left(&whole), 4.0);
        waited.waited();
        waited.answered();
        assert_eq!(left(&waited), 9.0, "progress takes none away");
    }
}
