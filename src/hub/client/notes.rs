//! What happens on the way and is told while it goes on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Notes that wait to be told.
const MOST: usize = 100;

/// Lines for whoever waits: connections that were cut, servers that are busy. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn all(&self) -> MutexGuard<'_, Vec<String>> {
        // Nobody stops half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn say(&self, note: String) {
        let mut all = self.all();
        if all.len() < MOST {
            all.push(note);
        }
    }

    /// Those since the last time.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.all())
    }
}
