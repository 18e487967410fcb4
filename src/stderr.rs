//! Standard error: what is said on it never ends in a panic when its reader has gone.

use std::io::Write;

use crate::error::escaped;

/// Writes a line, where anybody still reads it. A terminal obeys nothing that it quotes.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", escaped(line));
}

/// Writes a line that says what is not as it should be, as [`note`] does.
pub fn warning(line: impl std::fmt::Display) {
    note(&format!("warning: {line}"));
}
