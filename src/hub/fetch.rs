//! Fetching what is not on this machine, for a job that is about to start.

use std::path::PathBuf;
use std::time::Duration;

use super::absent::Absent;
use super::client::Network;
use super::client::fault::Kind;
use super::names::files_of;
use super::pull::{Progress, PullOptions, pull_first};
use super::repo::Sort;
use crate::error::Error;

/// Why it could not be had.
#[derive(Debug)]
pub enum Failed {
    /// Whoever waited wants no more.
    Cancelled,
    /// No hub can be reached, one is busy, or there is no room: it may go well later, after the wait that a busy hub asks
    /// for.
    ForNow(Error, Duration),
    ForGood(Error),
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Error {
        match failed {
            Failed::Cancelled => {
                Error::user("stopped; what has come is kept, and the next start goes on from there")
            }
            Failed::ForNow(e, _) | Failed::ForGood(e) => e,
        }
    }
}

/// Fetches `absent` from the first hub that has it into that hub's cache; returns its directory. `told` hears how far it
/// is, `cancelled` ends it. Blocking.
///
/// # Errors
/// What each hub said, with where it was looked for before and how to bring it by hand.
pub fn fetch(
    absent: &Absent,
    network: &Network,
    told: &mut dyn FnMut(&Progress),
    cancelled: &dyn Fn() -> bool,
) -> Result<PathBuf, Failed> {
    let data = absent.repos.first().filter(|repo| repo.sort == Sort::Dataset);
    let files = data.map_or_else(Vec::new, |repo| files_of(repo).into_iter().map(str::to_owned).collect());
    let options = PullOptions { files, for_job: true, network: network.clone(), ..PullOptions::default() };
    let failures = match pull_first(&absent.repos, &options, told, cancelled) {
        Ok((_, dir)) => return Ok(dir),
        Err(failures) => failures,
    };
    let (missing, busy) = (failures.missing, failures.busy);
    match (failures.last, Error::from(failures)) {
        (Some(Kind::Cancelled), _) => Err(Failed::Cancelled),
        (_, e @ Error::NoRoom(_)) => Err(Failed::ForNow(e, Duration::ZERO)),
        (kind, e) => {
            let e = if missing { absent.nowhere(&e) } else { absent.error(Some(&e)) };
            Err(match (kind, busy) {
                // One that is busy may have it, whatever the others say.
                (Some(Kind::Unreachable | Kind::NoHub | Kind::NotFile | Kind::Stalled | Kind::Cut), _)
                | (_, Some(_)) => Failed::ForNow(e, busy.unwrap_or_default()),
                _ => Failed::ForGood(e),
            })
        }
    }
}
