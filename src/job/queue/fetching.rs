//! Fetching what a waiting job names and this machine does not have, while it waits.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::args::SftArgs;
use crate::hub::{Absent, Failed, Network, fetch};
use crate::job::human;
use crate::job::inputs::Inputs;

/// A fetch on a thread of its own. Dropping it ends it.
pub(super) struct Fetching {
    pub job: u64,
    pub began: Instant,
    thread: Option<JoinHandle<Result<(), Failed>>>,
    /// How far it is, in words; none until something comes.
    told: Arc<Mutex<Option<String>>>,
    /// Bytes have come.
    moves: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

/// The names of the job in `file` that are not on this machine. What is wrong with its arguments shows at its start.
pub(super) fn absent(file: &Path) -> Vec<Absent> {
    SftArgs::from_file(file).map_or_else(|_| Vec::new(), |args| Inputs::from(&args).absent())
}

impl Fetching {
    pub fn begin(job: u64, absent: Vec<Absent>) -> Fetching {
        let told = Arc::new(Mutex::new(None));
        let (moves, stop) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (words, moved, ended) = (Arc::clone(&told), Arc::clone(&moves), Arc::clone(&stop));
        let work = move || {
            for absent in &absent {
                let say = |text: String| *words.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
                fetch(
                    absent,
                    // Others wait for their turn.
                    &Network::without_waits(),
                    &mut |progress| {
                        if progress.rate > 0.0 {
                            moved.store(true, Ordering::Relaxed);
                        }
                        // Without what counts: it is written to the disk.
                        let waits = progress.waits.first().map(|wait| format!("; {}", wait.reason));
                        let waits = waits.unwrap_or_default();
                        let done = human::bytes(progress.done);
                        match progress.total.map(human::bytes) {
                            Some(total) if !progress.files.is_empty() => {
                                say(format!("fetching {}: {done} of {total}{waits}", absent.name));
                            }
                            None if progress.done > 0 => {
                                say(format!("fetching {}: {done}{waits}", absent.name));
                            }
                            _ => {}
                        }
                    },
                    &|| ended.load(Ordering::Relaxed),
                )?;
            }
            Ok(())
        };
        Fetching { job, began: Instant::now(), thread: Some(std::thread::spawn(work)), told, moves, stop }
    }

    /// How far it is; none until something comes.
    pub fn words(&self) -> Option<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether bytes have come of it.
    pub fn moves(&self) -> bool {
        self.moves.load(Ordering::Relaxed)
    }

    /// What has come of it, once it has ended.
    pub fn outcome(&mut self) -> Option<Result<(), Failed>> {
        let thread = self.thread.take_if(|thread| thread.is_finished())?;
        let panicked =
            |_| Err(Failed::ForGood(crate::error::Error::internal("the fetch ended by a mistake in it")));
        Some(thread.join().unwrap_or_else(panicked))
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
