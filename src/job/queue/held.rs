//! Jobs that cannot be started or fetched for, and are left alone for a while.

use std::time::{Duration, Instant};

use chrono::{DateTime, Local};

/// The longest wait that a busy hub is obeyed in: it may ask for days.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// A job that is left alone for a while.
pub(super) struct Held {
    pub why: String,
    until: Instant,
    /// The same by the clock on the wall.
    at: DateTime<Local>,
    /// Without what a hub asks for beyond it.
    pub wait: Duration,
}

impl Held {
    /// From now on for `wait`, or for as long as a hub has `asked` where that is longer.
    pub fn now(why: String, wait: Duration, asked: Duration) -> Held {
        let longer = wait.max(asked.min(LONGEST_ASKED));
        Held { why, until: Instant::now() + longer, at: Local::now() + longer, wait }
    }

    pub fn rests(&self) -> bool {
        Instant::now() < self.until
    }

    /// Why, after when it is tried again where that is to come.
    pub fn words(&self) -> String {
        match self.rests() {
            true => format!("not tried again before {}\n{}", self.at.format("%H:%M:%S"), self.why),
            false => self.why.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_wait_counts_and_none_is_for_days() {
        let seconds = |wait, asked| {
            let held = Held::now("why".into(), Duration::from_secs(wait), Duration::from_secs(asked));
            held.until.duration_since(Instant::now()).as_secs_f64().round() as u64
        };
        assert_eq!([seconds(10, 0), seconds(10, 60), seconds(160, 60)], [10, 60, 160]);
        assert_eq!(seconds(10, 1_000_000), 3600);
        assert_eq!(Held::now("why".into(), Duration::ZERO, Duration::ZERO).words(), "why");
    }
}
