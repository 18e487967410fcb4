//! The worker's socket, until `job::socket` is there.

use std::path::Path;

use crate::error::{Error, Result};
use crate::job::event::Command;

/// Gives the worker of `run` a command.
///
/// # Errors
/// `Error::User` where it could not be given.
pub fn send(_run: &Path, _command: Command) -> Result<()> {
    Err(Error::user("this worker takes no commands but to stop"))
}
