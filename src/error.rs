//! The two kinds of error a person can meet, and the exit status each ends in.

use std::fmt::Display;

/// An error with a message written for the person at the keyboard: what was wrong, where, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Something the user can mend (an argument, a file, a full disk): exit status 2.
    #[error("{0}")]
    User(String),
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
            Error::User(_) => 2,
            Error::Internal(_) => 1,
        }
    }

    /// The same error with `what` said before its message.
    pub fn context(self, what: impl Display) -> Self {
        match self {
            Error::User(m) => Error::User(format!("{what}: {m}")),
            Error::Internal(m) => Error::Internal(format!("{what}: {m}")),
        }
    }
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
        self.map_err(|e| Error::User(format!("{what}: {e}")))
    }

    fn internal(self, what: impl Display) -> Result<T> {
        self.map_err(|e| Error::Internal(format!("{what}: {e}")))
    }
}
