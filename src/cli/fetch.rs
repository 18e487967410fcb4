//! Fetching what a job names and this machine does not have, before the engine is started.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use qwen_tui::error::{Context, Result};
use qwen_tui::hub::{self, Absent, Failed};

use super::out;
use super::pulling::Screen;

/// Exit status of what Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Fetches it, with its progress on standard error. Ctrl-C ends the program: what has come is kept.
///
/// # Errors
/// No hub that may have it gives it.
pub fn fetch(absent: &Absent) -> Result<PathBuf> {
    out::note(&absent.told());
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // SAFETY: the handler does no more than store to an atomic, which is async-signal-safe.
    let caught =
        unsafe { signal_hook_registry::register(libc::SIGINT, move || flag.store(true, Ordering::SeqCst)) };
    let caught = caught.internal("catching SIGINT")?;
    let mut screen = Screen::for_stderr();
    let fetched = hub::fetch(absent, &mut |progress| screen.show(progress), &|| stop.load(Ordering::SeqCst));
    screen.close();
    match fetched {
        // Later ones are the job's.
        Ok(dir) if !stop.load(Ordering::SeqCst) => {
            signal_hook_registry::unregister(caught);
            out::note(&format!("{}: fetched into {}", absent.name, dir.display()));
            Ok(dir)
        }
        Ok(_) | Err(Failed::Cancelled) => {
            out::note(&format!("stopped; {}", screen.kept()));
            std::process::exit(INTERRUPTED)
        }
        Err(e) => Err(e.into()),
    }
}
