//! Ctrl-C in a conversation: it stops the answer at hand, and at the prompt it ends the program.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use qwen_tui::error::{Context, Result};
use qwen_tui::stderr::note;
use tokio::signal::unix::{SignalKind, signal};

/// Exit status of a program that Ctrl-C ended, as shells have it.
pub const INTERRUPTED: i32 = 130;

/// `kill -INT -GROUP` reaches this program twice, the second time passed on by the one that started it.
const ECHO: Duration = Duration::from_millis(300);

/// Whether a conversation listens for SIGINT.
pub static CONVERSING: AtomicBool = AtomicBool::new(false);

/// What the conversation and its listener for SIGINT share.
#[derive(Debug, Default)]
pub struct Interrupt {
    /// An answer is being written.
    answering: AtomicBool,
    stop: AtomicBool,
    /// Where answers have been saved.
    saved: Mutex<Option<PathBuf>>,
}

impl Interrupt {
    /// Listens for SIGINT from now on.
    pub fn listen() -> Result<Arc<Interrupt>> {
        let shared = Arc::new(Interrupt::default());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().internal("starting tokio")?;
        let mut signals =
            runtime.block_on(async { signal(SignalKind::interrupt()) }).internal("catching SIGINT")?;
        CONVERSING.store(true, Ordering::SeqCst);
        let heard = Arc::clone(&shared);
        // The conversation itself waits for a line meanwhile.
        std::thread::spawn(move || {
            let mut before: Option<Instant> = None;
            while runtime.block_on(signals.recv()).is_some() {
                let echo = before.is_some_and(|before| before.elapsed() < ECHO);
                before = Some(Instant::now());
                if !echo && !heard.interrupted() {
                    heard.end();
                }
            }
        });
        Ok(shared)
    }

    /// An answer begins.
    pub fn begin(&self) {
        self.stop.store(false, Ordering::SeqCst);
        self.answering.store(true, Ordering::SeqCst);
    }

    /// Whether the answer is to stop here.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// The answer is done, and saved in `path` where that is not none.
    pub fn done(&self, path: Option<PathBuf>) {
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = path;
        self.answering.store(false, Ordering::SeqCst);
    }

    /// Takes a SIGINT: true where there is an answer to stop, which has not been told so yet.
    fn interrupted(&self) -> bool {
        self.answering.load(Ordering::SeqCst) && !self.stop.swap(true, Ordering::SeqCst)
    }

    fn end(&self) -> ! {
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        note("");
        if let Some(path) = saved {
            note(&format!("answers: {}", path.display()));
        }
        std::process::exit(INTERRUPTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_stops_an_answer_and_the_next_the_program() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.interrupted(), "at the prompt");
        interrupt.begin();
        assert!(!interrupt.stopped() && interrupt.interrupted() && interrupt.stopped());
        assert!(!interrupt.interrupted(), "a second one in the same answer");
        interrupt.done(None);
        assert!(!interrupt.interrupted());
        interrupt.begin();
        assert!(!interrupt.stopped());
    }
}
