//! What can go wrong between here and a hub.

use std::time::Duration;

use crate::error::Error;

/// Which kind of thing went wrong: what is tried again, and where another hub is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nobody answers at that address.
    Unreachable,
    /// What answers there is none of a hub: a login page, a filter.
    NoHub,
    /// 401, 403.
    Denied,
    /// 404: no such repository, revision or file.
    Missing,
    /// 429, with the wait it asks for.
    Busy(Option<Duration>),
    /// A file that is listed and not given: 401, 403, 404 for it alone.
    Withheld,
    /// 5xx, with the wait it asks for.
    Server(Option<Duration>),
    /// The connection ended before the answer did.
    Cut,
    /// Nothing came for too long.
    Stalled,
    /// What came is not what the hub's listing tells.
    Checksum,
    /// What came in a file's place is of no length, part or status that the listed file could have.
    NotFile,
    /// The disk is full.
    NoRoom,
    /// Whoever waited wants no more.
    Cancelled,
    /// The rest: nothing that another attempt would change.
    Other,
}

/// What begins the guesses at who answers in a hub's place.
pub const PERHAPS: &str = ", perhaps ";

/// What went wrong, and what to tell of it.
#[derive(Debug, Clone)]
pub struct Fault {
    pub kind: Kind,
    pub message: String,
    /// The hub asked for a longer wait than there was, because another could be asked meanwhile: it may be asked again.
    pub is_early: bool,
    /// No other hub is to be asked for the same.
    pub is_final: bool,
    /// The message ends with the advice to take another place, and how one is named is not said yet.
    pub wants_place: bool,
}

impl Fault {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), is_early: false, is_final: false, wants_place: false }
    }

    pub fn cancelled() -> Self {
        Self::new(Kind::Cancelled, "stopped")
    }

    /// Whether the same request may go well in a moment.
    pub fn passes(&self) -> bool {
        matches!(self.kind, Kind::Unreachable | Kind::Busy(_) | Kind::Server(_) | Kind::Cut | Kind::Stalled)
    }

    /// The message without its advice, for where that is followed without anybody's help.
    pub fn reason(&self) -> &str {
        let message = self.message.as_str();
        match self.kind {
            // A status ends it: a file's name may stand before it.
            Kind::Busy(_) | Kind::Server(_) | Kind::Denied | Kind::Withheld | Kind::Missing => {
                message.find("): ").map_or(message, |at| &message[..=at])
            }
            Kind::NoHub | Kind::NotFile => message.split(PERHAPS).next().unwrap_or_default(),
            _ => message,
        }
    }

    /// The same where files of this hub lie at their place already: what answers in its place leads to no other.
    pub fn of_begun(mut self) -> Self {
        if matches!(self.kind, Kind::NoHub | Kind::NotFile) {
            self.is_final = true;
            self.message += "; once the hub is reached, the same again goes on from here";
        }
        self
    }

    /// The same, whose message ends with the advice to take another place.
    pub fn of_place(self) -> Self {
        Self { wants_place: true, ..self }
    }

    /// The same, with how another place is named where that is its advice.
    pub fn with_place(mut self, how: &str) -> Self {
        if std::mem::take(&mut self.wants_place) {
            self.message += " with ";
            self.message += how;
        }
        self
    }

    /// The same with `what` before its message.
    pub fn about(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault.kind {
            Kind::NoRoom => Error::NoRoom(fault.message),
            _ => Error::User(fault.message),
        }
    }
}

/// The fault of a file operation.
pub fn disk(doing: &str, path: &std::path::Path, e: &std::io::Error) -> Fault {
    use std::io::ErrorKind;
    let message = format!("cannot {doing} {}: {e}", path.display());
    match e.kind() {
        ErrorKind::StorageFull => {
            Fault::new(Kind::NoRoom, format!("{message}; free some space there, or choose another disk"))
                .of_place()
        }
        ErrorKind::QuotaExceeded => Fault::new(Kind::NoRoom, format!("{message}; your quota is used up")),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Fault::new(Kind::Other, format!("{message}; choose a directory that you may write")).of_place()
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            Fault::new(Kind::Other, format!("{message}; a file stands on the way: name another directory"))
                .of_place()
        }
        ErrorKind::InvalidFilename => {
            Fault::new(Kind::Other, format!("{message}; name a directory with a shorter name")).of_place()
        }
        // Its parents are made with it: it is what holds them that makes none, such as /proc.
        ErrorKind::NotFound if doing == MAKE_DIR => {
            Fault::new(Kind::Other, format!("{message}; no directory can be made there: name another"))
                .of_place()
        }
        _ => Fault::new(Kind::Other, message),
    }
}

/// What [`disk`] is told of a directory that could not be made.
pub const MAKE_DIR: &str = "make the directory";
