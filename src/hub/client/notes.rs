//! What happens on the way and is told while it goes on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::refused::span;

/// Notes that wait to be told.
const MOST: usize = 100;

/// Lines for whoever waits: connections that were cut, servers that are busy. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    notes: Mutex<Vec<String>>,
    waits: Mutex<Vec<(u64, Open)>>,
    /// Waits that have begun.
    begun: AtomicU64,
}

#[derive(Debug)]
struct Open {
    about: String,
    reason: String,
    until: Instant,
}

/// A wait before something is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The file, or the hub that is asked what it has.
    pub about: String,
    pub reason: String,
    pub left: Duration,
}

impl Wait {
    /// `trying again in 27 s`
    pub fn when(&self) -> String {
        // Whole seconds, of which the last one is told until it is over.
        let seconds = self.left.as_secs() + u64::from(self.left.subsec_nanos() > 0);
        format!("trying again in {}", span(Duration::from_secs(seconds)))
    }
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; {}", self.about, self.reason, self.when())
    }
}

/// A wait that goes on until this is dropped.
pub struct Waiting {
    notes: Notes,
    number: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        locked(&self.notes.0.waits).retain(|(number, _)| *number != self.number);
    }
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody stops half-way through a change.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Notes {
    pub fn say(&self, note: String) {
        let mut all = locked(&self.0.notes);
        if all.len() < MOST {
            all.push(note);
        }
    }

    /// Those since the last time.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.0.notes))
    }

    /// Tells that `about` is tried again after `wait`, because of `reason`; it is among [`waits`](Self::waits) until what
    /// is returned is dropped.
    pub fn wait(&self, about: &str, reason: &str, wait: Duration) -> Waiting {
        self.say(format!("{about}: {reason}; trying again in {}", span(wait)));
        let number = self.0.begun.fetch_add(1, Ordering::Relaxed);
        let open = Open { about: about.to_owned(), reason: reason.to_owned(), until: Instant::now() + wait };
        locked(&self.0.waits).push((number, open));
        Waiting { notes: self.clone(), number }
    }

    /// What is waited for at the moment.
    pub fn waits(&self) -> Vec<Wait> {
        let now = Instant::now();
        let wait = |(_, open): &(u64, Open)| Wait {
            about: open.about.clone(),
            reason: open.reason.clone(),
            left: open.until.saturating_duration_since(now),
        };
        locked(&self.0.waits).iter().map(wait).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_stays_in_sight_until_it_is_over() {
        let notes = Notes::default();
        let waiting = notes.wait("a", "busy", Duration::from_secs(30));
        assert_eq!(notes.take(), ["a: busy; trying again in 30 s"]);
        let second = notes.clone().wait("b", "ill", Duration::from_secs(7200));
        let told = || notes.waits().iter().map(Wait::to_string).collect::<Vec<_>>();
        assert_eq!(told()[1], "b: ill; trying again in 2 h");
        drop(second);
        assert_eq!(told().len(), 1);
        let half = Wait { about: "a".into(), reason: "busy".into(), left: Duration::from_millis(1500) };
        assert_eq!(half.when(), "trying again in 2 s");
        drop(waiting);
        assert!(told().is_empty());
    }
}
