//! Standard output and standard error, neither of which may end in a panic when the reader has gone.

use std::io::{ErrorKind, Write};

use qwen_tui::error::{Context, Error, Result};

/// Writes `text` to standard output.
pub fn text(text: &str) -> Result<()> {
    written(std::io::stdout().lock().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()))
}

/// Writes a line to standard output.
pub fn line(line: &str) -> Result<()> {
    text(&format!("{line}\n"))
}

/// The result of a write to standard output. A reader that has had enough (`| head`) ends the program in silence,
/// with the exit status that shells give a program ended by SIGPIPE.
pub fn written(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(128 + 13),
        other => other.user("cannot write to standard output"),
    }
}

/// Writes a line to standard error, where anybody still reads it.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Writes an error to standard error.
pub fn error(error: &Error) {
    note(&format!("error: {error}"));
}
