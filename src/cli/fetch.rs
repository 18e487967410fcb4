//! Fetching what a job names and this machine does not have, before the engine is started.

use std::path::PathBuf;

use qwen_tui::error::Result;
use qwen_tui::hub::Absent;
use qwen_tui::hub::find::nothing_is_fetched;

/// Fetches it, with its progress on standard error.
///
/// # Errors
/// No hub that may have it gives it.
pub fn fetch(absent: &Absent) -> Result<PathBuf> {
    nothing_is_fetched(absent)
}
