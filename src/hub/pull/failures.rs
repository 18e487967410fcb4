//! Why a pull came to nothing, of all the hubs that were asked.

use std::time::Duration;

use crate::error::Error;
use crate::hub::client::called;
use crate::hub::client::fault::{Fault, Kind};
use crate::hub::{Hub, Repo};

/// Why none of several hubs gave something.
#[derive(Debug)]
pub struct Failures {
    /// What each of them said, in the order in which they were asked.
    pub all: Vec<(Hub, Error)>,
    /// What kind of fault the last of them was.
    pub last: Option<Kind>,
    /// Whether none of them answered at all.
    pub unreached: bool,
    /// Whether any of them did not.
    pub some_unreached: bool,
    /// Whether each of them has nothing of this name, or nothing for everybody.
    pub missing: bool,
    /// The longest wait that those ask for which are busy or ill; none where none is.
    pub busy: Option<Duration>,
}

impl Failures {
    pub(super) fn none() -> Self {
        Self {
            all: Vec::new(),
            last: None,
            unreached: true,
            some_unreached: false,
            missing: true,
            busy: None,
        }
    }

    /// Takes down what a hub's fault was; whether it ends the matter.
    pub(super) fn end_with(&mut self, repo: &Repo, fault: Fault) -> bool {
        let unreached = matches!(fault.kind, Kind::Unreachable | Kind::NoHub | Kind::NotFile | Kind::Stalled);
        self.last = Some(fault.kind);
        self.see_busy(&fault);
        self.unreached &= unreached;
        self.some_unreached |= unreached;
        let missing = matches!(fault.kind, Kind::Missing | Kind::Denied);
        self.missing &= missing;
        let may = unreached || missing || is_busy(&fault) || fault.kind == Kind::Withheld;
        let next = may && !fault.is_final;
        self.all.push((repo.hub, named(repo, fault).into()));
        !next
    }

    /// Takes down what a hub said before the others were asked, which it was not asked again.
    pub(super) fn before(&mut self, repo: &Repo, fault: Fault) {
        self.see_busy(&fault);
        (self.unreached, self.missing) = (false, false);
        self.all.insert(0, (repo.hub, named(repo, fault).into()));
    }

    fn see_busy(&mut self, fault: &Fault) {
        if let Kind::Busy(asked) | Kind::Server(asked) = fault.kind {
            self.busy = self.busy.max(Some(asked.unwrap_or_default()));
        }
    }

    /// Whether the last hub that was asked has nothing of this name, or nothing for everybody.
    pub fn is_missing(&self) -> bool {
        matches!(self.last, Some(Kind::Missing | Kind::Denied))
    }
}

/// Why a hub is left for the next one, in a line.
pub(super) fn left(repo: &Repo, fault: &Fault) -> String {
    match (fault.kind, &repo.revision) {
        (Kind::Missing, None) => format!("{} has no {} {}", repo.hub, repo.sort, repo.id),
        (Kind::Missing, Some(revision)) => {
            format!("{} has no {} {} at {revision}", repo.hub, repo.sort, repo.id)
        }
        _ => format!("{}: {}", repo.hub, fault.reason()),
    }
}

/// Whether the hub has answered, and could do no more.
fn is_busy(fault: &Fault) -> bool {
    matches!(fault.kind, Kind::Busy(_) | Kind::Server(_))
}

/// A fault with what was asked for; others name it themselves.
fn named(repo: &Repo, fault: Fault) -> Fault {
    match fault.kind {
        Kind::Unreachable | Kind::NoHub | Kind::NotFile | Kind::Stalled | Kind::Busy(_) | Kind::Server(_) => {
            fault.about(&called(repo))
        }
        _ => fault,
    }
}

impl From<Failures> for Error {
    fn from(mut failures: Failures) -> Error {
        match failures.all.len() {
            1 => failures.all.remove(0).1,
            _ => {
                let lines: Vec<String> = failures.all.iter().map(|(_, error)| error.to_string()).collect();
                let text = lines.join("\n");
                // The last one is what ended it.
                match failures.all.pop() {
                    Some((_, last)) => last.map(|_| text),
                    None => Error::internal("no hub was asked"),
                }
            }
        }
    }
}
