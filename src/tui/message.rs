//! What the world tells the cockpit.

use std::path::PathBuf;

use super::action::Notice;
use super::configs::ConfigNews;
use super::fetching::FetchNews;
use super::model::Worker;
use super::repl::News;
use crate::job::checkpoints::RunDetails;
use crate::job::event::Event;
use crate::job::queue::Listing;
use crate::job::runs::RunSummary;
use crate::run::Record;

/// News from outside; keys are not among them.
#[derive(Debug, Clone)]
pub enum Message {
    /// The time, Unix seconds; comes every second.
    Tick(f64),
    /// Where the engine is, or what to do to get one.
    Engine(Result<PathBuf, String>),
    /// The runs under this output directory and those that are trained elsewhere, newest first.
    Runs { output_dir: PathBuf, runs: Vec<RunSummary> },
    /// A run's checkpoints, arguments and curves.
    RunDetails(Box<RunDetails>),
    /// This run or checkpoint is there no more.
    Deleted(PathBuf),
    /// From now on this run is followed.
    Opened(PathBuf),
    /// New lines of a run's event log.
    Events { run: PathBuf, records: Vec<Record<Event>> },
    /// News of a run's worker; what it wrote before has been sent before.
    Worker { run: PathBuf, worker: Worker },
    /// How far the merge of this checkpoint is, in percent; `None`: it has ended.
    Merge { checkpoint: PathBuf, percent: Option<u64> },
    /// Of what is fetched for a job that is to start.
    Fetch(FetchNews),
    /// Of files of arguments, and of the data they name.
    Config(ConfigNews),
    /// What is in the queue, where that has changed.
    Queue(Listing),
    /// News for the REPL.
    Repl(News),
    /// To be shown in the bottom line.
    Notice(Notice),
    /// Everything is done that was to be done before the end.
    Exit,
}
