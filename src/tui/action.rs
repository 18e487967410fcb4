//! What components ask for. The application does some of it; all that touches the world is done in `effects`.

use std::path::PathBuf;

use super::configs::ConfigWork;
use super::popups::Question;
use super::repl::{BaseModel, Order};
use crate::args::SftArgs;
use crate::job::event::{Command, Event};
use crate::job::queue::To;

/// The tabs, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Config,
    Train,
    Checkpoints,
    Repl,
}

impl Tab {
    pub const ALL: [Tab; 4] = [Tab::Config, Tab::Train, Tab::Checkpoints, Tab::Repl];

    pub fn title(self) -> &'static str {
        ["Config", "Train", "Checkpoints", "REPL"][self as usize]
    }

    /// The tab `by` further, round and round.
    pub fn step(self, by: isize) -> Tab {
        let n = Self::ALL.len() as isize;
        Self::ALL[(self as isize + by).rem_euclid(n) as usize]
    }
}

/// Something to be done.
#[derive(Debug, Clone)]
pub enum Action {
    // By the application
    Show(Tab),
    /// Puts a question over the tabs.
    Ask(Box<Question>),
    /// Says something in the bottom line.
    Tell(Notice),
    /// The base model that the Config tab's arguments name is there, or none is any more.
    NameBase(Option<Box<BaseModel>>),
    /// Shows the queue over the tabs, with this job marked.
    ShowQueue(Option<u64>),
    /// Quits; asks first while a job runs.
    Quit,

    /// A command to the worker of a job; held where that does not hear yet, and never sent to another one.
    Order(Command, Whom),

    // By the effects
    /// Makes a run directory and starts a worker on it, which is then followed.
    StartJob {
        args: Box<SftArgs>,
        /// Others that run have been told of.
        beside: bool,
    },
    /// Changes the queue of jobs.
    Queue(QueueWork),
    /// Follows a run, alive or not, in the place of the one followed now.
    OpenRun(PathBuf),
    /// To the worker of the run that is followed.
    Send(Command),
    /// Looks for runs, under the output directory and for those that are trained elsewhere.
    ListRuns,
    /// The same, where a job runs that is not known to: a look at the register alone, which costs next to nothing.
    LookForJobs,
    /// Reads a run's checkpoints, arguments and curves.
    InspectRun(PathBuf),
    /// Deletes a checkpoint, or a run, beneath the output directory.
    Delete(PathBuf),
    /// Goes on training from the checkpoint in this directory, in its own run, which is then followed; of a run from its
    /// newest, or from the beginning.
    Resume(PathBuf),
    /// Ends what is fetched for a job that is to start; what has come stays.
    CancelFetch,
    /// Folds the adapter of the checkpoint in this directory into its base model.
    Merge {
        checkpoint: PathBuf,
        /// In the place of an earlier merge.
        overwrite: bool,
    },
    /// Puts the arguments of this file into the Config tab.
    LoadConfig(PathBuf),
    /// Files of arguments, and the data they name.
    Config(ConfigWork),
    /// Answers in the REPL with the checkpoint in this directory, or with the base where it is a model directory.
    OpenInRepl(PathBuf),
    /// To the engine's REPL server and what is around it.
    Repl(Order),
    /// Quits as soon as the job that starts, if one does, has a worker.
    Leave,
    /// Asks the worker of a job to stop and, once it has been told, quits.
    StopAndExit(Whom),
    /// Asks the merges at work to end, and quits.
    StopMergesAndExit,
    /// Quits and leaves everything as it is.
    Exit,
    /// Stops the cockpit until the shell lets it go on.
    Suspend,
}

/// The job that something is asked of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// The one whose start was asked for last: it has no directory at that time.
    Next,
    /// The one in this run directory.
    Run(PathBuf),
}

/// A change of the queue.
#[derive(Debug, Clone)]
pub enum QueueWork {
    /// Puts a job of these arguments at the end.
    Put(Box<SftArgs>),
    Move {
        job: u64,
        to: To,
    },
    /// Takes a job out that has not been started.
    Remove(u64),
    /// Lets a job that has failed wait again.
    Retry(u64),
    /// Starts no more jobs, or does again.
    Pause(bool),
}

/// A line for the person at the keyboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub text: String,
    pub is_error: bool,
    /// What it announces: it goes when that has come.
    pub until: Option<Awaited>,
}

/// What a worker has been asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    Paused,
    Resumed,
    Saved,
    Ended,
}

impl Awaited {
    /// Whether it has come, or cannot come any more.
    pub fn has_come(self, event: &Event) -> bool {
        match event {
            Event::Finished { .. } | Event::Failed { .. } => true,
            Event::Paused { .. } => self == Awaited::Paused,
            Event::Resumed { .. } | Event::RoomAgain => self == Awaited::Resumed,
            Event::Checkpoint { .. } => self == Awaited::Saved,
            _ => false,
        }
    }
}

impl Notice {
    pub fn info(text: impl Into<String>) -> Notice {
        Notice { text: text.into(), is_error: false, until: None }
    }

    pub fn error(text: impl Into<String>) -> Notice {
        Notice { text: text.into(), is_error: true, until: None }
    }

    /// Of something that will come.
    pub fn until(self, awaited: Awaited) -> Notice {
        Notice { until: Some(awaited), ..self }
    }
}
