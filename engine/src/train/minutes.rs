//! Checkpoints by the clock (`save_minutes`), beside those by steps.

use std::time::{Duration, Instant};

/// Tells when so much time has gone by since the last checkpoint, whatever that was written for.
#[derive(Debug, Clone, Copy)]
pub struct Minutes {
    every: Option<Duration>,
    saved: Instant,
}

impl Minutes {
    /// `every` minutes from `now` on; none, and what no clock can count, is never.
    pub fn new(every: Option<f64>, now: Instant) -> Self {
        let every = every.and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok());
        Self { every, saved: now }
    }

    /// Whether a checkpoint is due.
    pub fn due(&self, now: Instant) -> bool {
        self.every.is_some_and(|every| now.saturating_duration_since(self.saved) >= every)
    }

    /// A checkpoint has been written.
    pub fn saved(&mut self, now: Instant) {
        self.saved = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_counts_from_the_last_checkpoint() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut minutes = Minutes::new(Some(1.5), start);
        assert!(!minutes.due(at(89)) && minutes.due(at(90)));
        minutes.saved(at(60));
        assert!(!minutes.due(at(149)) && minutes.due(at(150)));
        for never in [None, Some(f64::MAX), Some(f64::INFINITY)] {
            assert!(!Minutes::new(never, start).due(at(1 << 30)), "{never:?}");
        }
    }
}
