//! Standard error: what is said on it never ends in a panic when its reader has gone.

use std::io::Write;

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use crate::error::escaped;

/// Writes a line, where anybody still reads it. A terminal obeys nothing that it quotes.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", escaped(line));
}

/// Writes a line that says what is not as it should be, as [`note`] does.
pub fn warning(line: impl std::fmt::Display) {
    note(&format!("warning: {line}"));
}

/// The terminal as it is to be left; meanwhile it does not show Ctrl-C as `^C`, which beside bars of full width begins a new
/// line, so that a copy of the uppermost stays behind.
pub struct QuietKeys(Termios);

impl QuietKeys {
    /// None where standard error is no terminal.
    pub fn new() -> Option<QuietKeys> {
        let old = tcgetattr(std::io::stderr()).ok()?;
        let mut new = old.clone();
        new.local_modes.remove(LocalModes::ECHOCTL);
        set_terminal(&new);
        Some(QuietKeys(old))
    }
}

impl Drop for QuietKeys {
    fn drop(&mut self) {
        set_terminal(&self.0);
    }
}

fn set_terminal(modes: &Termios) {
    // In the background (`pull &`) this would stop the program.
    if tcgetpgrp(std::io::stderr()).is_ok_and(|group| group == getpgrp()) {
        let _ = tcsetattr(std::io::stderr(), OptionalActions::Now, modes);
    }
}
