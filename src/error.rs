//! The kinds of error a person can meet, and the exit status each ends in.

use std::fmt::Display;
use std::path::Path;

/// An error with a message written for the person at the keyboard: what was wrong, where, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Something the user can mend (an argument, a file, a full disk): exit status 2.
    #[error("{0}")]
    User(String),
    /// The disk is full, or a quota is used up: also the user's to mend, and whoever can wait goes on when there is
    /// room. Exit status 2.
    #[error("{0}")]
    NoRoom(String),
    /// Everything else (a failure inside libtorch, a broken invariant): exit status 1.
    #[error("{0}")]
    Internal(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn user(message: impl Into<String>) -> Self {
        Error::User(message.into())
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Error::Internal(message.into())
    }

    /// The exit status of a program that ends with this error.
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::User(_) | Error::NoRoom(_) => 2,
            Error::Internal(_) => 1,
        }
    }

    /// The same error with `what` said before its message.
    pub fn context(self, what: impl Display) -> Self {
        self.map(|m| format!("{what}: {m}"))
    }

    /// The same kind of error with another message.
    pub fn map(self, message: impl FnOnce(String) -> String) -> Self {
        match self {
            Error::User(m) => Error::User(message(m)),
            Error::NoRoom(m) => Error::NoRoom(message(m)),
            Error::Internal(m) => Error::Internal(message(m)),
        }
    }
}

/// Characters of another library's error that are shown: it may quote what it found, and that may be a whole file.
const QUOTED: usize = 1000;

/// Whether a character is not seen and changes how others are: one that a terminal obeys, that turns the direction of
/// writing, that has no width, or that is an empty cell under a name of its own. The two joiners are none: scripts and emoji are written with them.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn push_shown(shown: &mut String, c: char) {
    match c {
        '\n' => shown.push(c),
        c if is_unseen(c) => shown.extend(c.escape_default()),
        c => shown.push(c),
    }
}

/// A path in a message, on one line: what is not seen in it is escaped, line ends too.
pub fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy()).replace('\n', "\\n")
}

/// A text that goes to a terminal and may quote what somebody typed: what is not seen in it is escaped, but line ends.
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push_shown(&mut shown, c));
    shown
}

/// The beginning of a text that may be long and not be meant for a terminal: what is not seen in it is escaped.
pub fn brief(text: &impl Display) -> String {
    let text = text.to_string();
    let mut shown = String::with_capacity(text.len().min(QUOTED));
    for (n, c) in text.chars().enumerate() {
        if n == QUOTED {
            shown.push('…');
            break;
        }
        push_shown(&mut shown, c);
    }
    shown
}

/// Turns the error of another library into ours, with what was being done.
pub trait Context<T> {
    /// The user can mend it; `what` names the file, line or key.
    fn user(self, what: impl Display) -> Result<T>;
    /// The user cannot.
    fn internal(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn user(self, what: impl Display) -> Result<T> {
        self.map_err(|e| Error::User(format!("{what}: {}", brief(&e))))
    }

    fn internal(self, what: impl Display) -> Result<T> {
        self.map_err(|e| Error::Internal(format!("{what}: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(escaped("a\u{1b}[31mb\r评论\n\u{9b}"), "a\\u{1b}[31mb\\r评论\n\\u{9b}");
        let turned = "\u{202e}\u{2066}\u{200b}\u{feff}";
        assert_eq!(escaped(turned), "\\u{202e}\\u{2066}\\u{200b}\\u{feff}");
        let fillers = "\u{3164}\u{115f}\u{1160}\u{2800}\u{34f}\u{ffa0}";
        assert_eq!(escaped(fillers), "\\u{3164}\\u{115f}\\u{1160}\\u{2800}\\u{34f}\\u{ffa0}");
        assert_eq!(escaped("❤\u{fe0f}\u{a0}"), "❤\u{fe0f}\u{a0}");
        let family = "👨\u{200d}👩";
        assert_eq!(escaped(family), family);
        assert_eq!(shown(Path::new("a\nb\u{202e}.json")), "a\\nb\\u{202e}.json");
        let long = "x".repeat(2 * QUOTED);
        assert_eq!(escaped(&long), long);
        assert_eq!(brief(&long).chars().count(), QUOTED + 1);
    }
}
