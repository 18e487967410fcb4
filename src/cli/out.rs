//! Standard output and standard error, neither of which may end in a panic when the reader has gone.

use std::io::{ErrorKind, IsTerminal, Write};

use qwen_tui::error::{Context, Error, Result, escaped};
pub use qwen_tui::stderr::note;
use qwen_tui::tui::text::wrap;

/// Writes `text` to standard output. A terminal obeys nothing that it quotes; scripts get it as it is.
pub fn text(text: &str) -> Result<()> {
    match std::io::stdout().is_terminal() {
        true => styled(&escaped(text)),
        false => styled(text),
    }
}

/// Writes `text` as it is, with what a terminal is to obey.
pub fn styled(text: &str) -> Result<()> {
    written(std::io::stdout().lock().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()))
}

/// Widest line of help.
const WIDEST: usize = 100;

/// Writes a page of help to standard output: what is longer than the terminal is wide (at most 100 columns) goes on in
/// the next line, as far in. Lines of two blanks and a command stay whole, to be copied.
pub fn help(page: &str) -> Result<()> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).map(|size| usize::from(size.ws_col));
    text(&wrapped(page, size.ok().filter(|columns| *columns > 0).unwrap_or(WIDEST).min(WIDEST)))
}

fn wrapped(page: &str, columns: usize) -> String {
    let mut text = String::new();
    for line in page.lines() {
        let words = line.trim_start();
        let indent = line.len() - words.len();
        if words.starts_with("qwen-tui ") {
            text += &format!("{line}\n");
            continue;
        }
        let lines = wrap(words, columns.saturating_sub(indent).max(20));
        for part in if lines.is_empty() { vec![String::new()] } else { lines } {
            text += format!("{:indent$}{part}", "").trim_end();
            text.push('\n');
        }
    }
    text
}

/// Writes a line to standard output.
pub fn line(line: &str) -> Result<()> {
    text(&format!("{line}\n"))
}

/// The result of a write to standard output. A reader that has had enough (`| head`) ends the program in silence
/// and well.
pub fn written(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.user("cannot write to standard output"),
    }
}

/// Writes an error to standard error.
pub fn error(error: &Error) {
    note(&format!("error: {error}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_goes_on_as_far_in() {
        let page = "Some words that are long:\n\n    further words that are in\n  qwen-tui sft --config FILE --lora_rank 8\n";
        let wrapped = wrapped(page, 24);
        assert_eq!(
            wrapped,
            "Some words that are\nlong:\n\n    further words that\n    are in\n  qwen-tui sft --config FILE --lora_rank 8\n"
        );
    }
}
