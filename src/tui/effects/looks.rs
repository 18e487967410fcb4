//! Looking for runs, one look at a time.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::job::find::all_runs_and;
use crate::job::register;
use crate::job::runs::RunStatus;
use crate::tui::message::Message;
use crate::tui::state::State;

/// Where runs are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    output_dir: PathBuf,
    /// Runs outside it that are shown: they stay so when their jobs have ended.
    elsewhere: Vec<PathBuf>,
}

impl Place {
    pub fn of(state: &State) -> Place {
        let listed = state.runs.iter().flatten().filter(|r| r.is_elsewhere()).map(|r| r.path.clone());
        let followed = state.run.iter().map(|r| r.path.clone());
        Place { output_dir: state.output_dir.clone(), elsewhere: listed.chain(followed).collect() }
    }

    /// The runs there.
    pub fn runs(&self) -> Message {
        let runs = all_runs_and(&self.output_dir, self.elsewhere.clone());
        Message::Runs { output_dir: self.output_dir.clone(), runs }
    }

    pub fn output_dir(&self) -> &std::path::Path {
        &self.output_dir
    }
}

/// The order of looks.
#[derive(Debug, Default)]
pub struct Looks {
    /// Held while runs are looked at: the answers come in the order of the looks, so that none is older than the one
    /// before.
    one: Mutex<()>,
    /// What the look waits for its turn with that was asked for last.
    waits: Mutex<Option<Place>>,
}

impl Looks {
    /// Held by whoever looks.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        self.one.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for the runs, unless a look at the same place has not begun yet.
    pub fn list(&self, place: Place, send: &dyn Fn(Message)) {
        let waits = || self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        if waits().replace(place.clone()).is_some_and(|other| other == place) {
            return;
        }
        let _turn = self.turn();
        waits().take_if(|other| *other == place);
        send(place.runs());
    }
}

/// The jobs that are known to run.
pub fn known_jobs(state: &State) -> Vec<PathBuf> {
    let running = state.runs.iter().flatten().filter(|r| r.status == RunStatus::Running);
    running.map(|r| r.path.clone()).collect()
}

/// Whether a job runs that is not among those `known`.
pub fn is_news(known: &[PathBuf]) -> bool {
    register::running().iter().any(|run| !known.contains(run))
}
