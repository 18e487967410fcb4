//! Which run is opened without being asked for, and when jobs that others have started are looked for.

use std::path::PathBuf;

use super::action::Tab;
use super::state::State;
use crate::job::find::newest_running;
use crate::job::runs::{RunStatus, RunSummary};

/// Seconds between two looks for others' jobs.
const LOOK: u64 = 3;
/// Seconds that a run which was asked for is waited for.
const WAIT: f64 = 10.0;

/// What is known of the opening of runs.
#[derive(Debug)]
pub struct Opening {
    /// Whether a run is still looked for, to be opened as the first.
    first_wanted: bool,
    /// The form was asked for: a job elsewhere is followed, and not shown in its place.
    form_wanted: bool,
    /// What was opened last without being asked for. It is not tried again and again.
    opened: Option<PathBuf>,
    /// When a run was asked for that has not been opened yet, Unix seconds.
    asked: Option<f64>,
}

/// A run to be opened.
#[derive(Debug, PartialEq, Eq)]
pub struct Chosen {
    pub run: PathBuf,
    /// Whether the Train tab is to be shown.
    pub shown: bool,
}

impl Opening {
    /// With `first_wanted`, the running job, or else the newest run, is opened when the runs are known.
    pub fn new(first_wanted: bool) -> Opening {
        Opening { first_wanted, form_wanted: false, opened: None, asked: None }
    }

    /// Somebody has named the arguments in the form.
    pub fn want_form(&mut self) {
        self.form_wanted = true;
    }

    /// Somebody asks for a run: it is not to be overtaken.
    pub fn asked(&mut self, now: f64) {
        self.asked = Some(now);
    }

    /// A run has been opened.
    pub fn opened(&mut self) {
        self.asked = None;
    }

    /// Whether it is time for a look for others' jobs, where they would be seen.
    pub fn looks(&self, shown: Tab, state: &State) -> bool {
        let would_be_seen = match shown {
            Tab::Train => state.run.is_none(),
            Tab::Checkpoints => true,
            Tab::Config | Tab::Repl => false,
        };
        would_be_seen && (state.now as u64).is_multiple_of(LOOK)
    }

    /// What is to be opened of the listed `runs` while no run is: at first the running job, or else the newest run; later
    /// a job that runs, where it would be shown.
    pub fn choose(&mut self, runs: &[RunSummary], shown: Tab, state: &State) -> Option<Chosen> {
        let is_first = std::mem::take(&mut self.first_wanted);
        let is_awaited = self.asked.is_some_and(|since| (0.0..WAIT).contains(&(state.now - since)));
        // Where the run that was shown has been deleted, no other one takes its keys.
        if state.run.is_some() || is_awaited || state.gone.is_some() {
            return None;
        }
        // Those of its own output directory before others.
        let own = newest_running(runs.iter().filter(|r| !r.is_elsewhere()));
        let Some(job) = own.or_else(|| newest_running(runs)) else {
            let newest = runs.iter().find(|r| r.status != RunStatus::Unreadable);
            let newest = newest.filter(|_| is_first)?;
            return Some(Chosen { run: newest.path.clone(), shown: false });
        };
        if !is_first && (shown != Tab::Train || self.opened.as_ref() == Some(&job.path)) {
            return None;
        }
        self.opened = Some(job.path.clone());
        Some(Chosen { run: job.path.clone(), shown: !(self.form_wanted && job.is_elsewhere()) })
    }
}
