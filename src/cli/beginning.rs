//! `sft` before it has a worker: what a signal that comes then leaves, and says.

use std::path::PathBuf;

use qwen_tui::error::Result;
use qwen_tui::hub::Absent;
use qwen_tui::job::runs::RunStatus;
use qwen_tui::job::stop::Beginning;

use super::fetch::fetch_until;
use super::out;

/// What is said where a signal ended the worker before it did anything.
pub const NOT_BEGUN: &str = "stopped before it began: nothing was trained";

/// Says that nothing is left of a start.
///
/// # Errors
/// Standard output cannot be written.
pub fn tell_not_begun() -> Result<()> {
    out::text(&stopped())?;
    out::note(&format!("{NOT_BEGUN}; the same command starts it again"));
    Ok(())
}

/// What scripts read where there is no run.
fn stopped() -> String {
    format!("state: {}\n", RunStatus::Stopped.word())
}

/// Ends the program at a signal that comes before anything is made.
pub fn end_at_once() {
    exit(tell_not_begun());
}

/// Fetches what the job lacks. A signal ends the program: what has come is kept.
///
/// # Errors
/// No hub that may have it gives it.
pub fn fetch(absent: &Absent, beginning: &Beginning) -> Result<PathBuf> {
    let fetched = beginning.hold(|| fetch_until(absent, &|| beginning.stopped()))?;
    fetched.map_or_else(|| exit(out::text(&stopped())), Ok)
}

/// Ends the program where all has been `said`.
fn exit(said: Result<()>) -> ! {
    std::process::exit(said.map_or_else(|e| e.exit_code(), |()| 0))
}
