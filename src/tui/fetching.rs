//! A fetch at work, as the screen has it: what a job names and this machine does not have, before the job starts.

use std::time::Duration;

use super::action::Action;
use super::popups::{Choice, Question};
use super::state::State;
use crate::hub::{FileState, Stage};
use crate::job::human;

/// How far a fetch is.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetching {
    /// What the arguments call it, with the id that it stands for.
    pub name: String,
    /// The hubs that may have it, in the order in which they are asked.
    pub hubs: Vec<String>,
    pub stage: Stage,
    /// Those at work, then those whose turn has not come, then those that are there; of very many the first.
    pub files: Vec<FileLine>,
    /// Files in all, and those that are there.
    pub count: usize,
    pub finished: usize,
    /// Bytes of all files, and those that are there.
    pub total: u64,
    pub done: u64,
    /// Bytes a second that came of late.
    pub rate: f64,
    /// Until all is there at that rate.
    pub left: Option<Duration>,
    /// What happened last: connections that were cut, and the like.
    pub note: Option<String>,
    /// What is waited for before it is tried again, in words that count.
    pub waits: Vec<String>,
    /// It has been told to end.
    pub is_ending: bool,
    /// All is there, and its job starts whatever is asked.
    pub starts: bool,
}

/// How far a file is.
#[derive(Debug, Clone, PartialEq)]
pub struct FileLine {
    pub path: String,
    /// Bytes; 0 where the hub does not tell.
    pub size: u64,
    pub done: u64,
    /// Bytes a second.
    pub rate: f64,
    pub state: FileState,
}

/// News of a fetch.
#[derive(Debug, Clone)]
pub enum FetchNews {
    /// How far it is; the first one begins it.
    Goes(Box<Fetching>),
    /// All is there, and the job starts: it cannot be cancelled any more.
    Starts,
    /// Nothing is fetched any more; what comes of it is told by others.
    Over,
    /// It was told to end: the job was not started.
    Cancelled,
    /// It came to nothing, and why: the job was not started.
    Failed(String),
}

impl Fetching {
    /// Of what begins now.
    pub fn new(name: String, hubs: Vec<String>) -> Fetching {
        Fetching {
            name,
            hubs,
            stage: Stage::Listing,
            files: Vec::new(),
            count: 0,
            finished: 0,
            total: 0,
            done: 0,
            rate: 0.0,
            left: None,
            note: None,
            waits: Vec::new(),
            is_ending: false,
            starts: false,
        }
    }

    /// From 0 to 1.
    pub fn share(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.done as f64 / self.total as f64 }
    }

    /// Full only when all is there.
    pub fn percent(&self) -> u64 {
        let percent = (self.share() * 100.0) as u64;
        if self.done < self.total { percent.min(99) } else { percent }
    }

    /// `33 %`; `1.20 GB` where the hub does not tell how much there is.
    pub fn far(&self) -> String {
        match (self.total, self.done) {
            (0, 1..) => human::bytes(self.done),
            _ => format!("{} %", self.percent()),
        }
    }

    /// `1.20 GB of 3.67 GB`, or `1.20 GB` where the hub does not tell how much there is; empty until something is known.
    pub fn figures(&self) -> String {
        match self.total {
            0 if self.done == 0 => String::new(),
            0 => human::bytes(self.done),
            total => format!("{} of {}", human::bytes(self.done), human::bytes(total)),
        }
    }

    /// What becomes of what is on the disk.
    fn kept(&self) -> String {
        let what = match self.done {
            0 => "what has come stays".to_owned(),
            _ => format!("{} stay", self.figures()),
        };
        format!("{what}, and the next start goes on from there")
    }

    /// Said when it has been cancelled.
    pub fn cancelled(&self) -> String {
        format!("cancelled: {}", self.kept())
    }

    /// Said on the shell's screen when the cockpit has ended it.
    pub fn parting_words(&self) -> String {
        if self.starts {
            return format!("{} has been fetched, and its job starts: `qwen-tui jobs` shows it", self.name);
        }
        format!("{} was being fetched, and its job was not started; {}", self.name, self.kept())
    }

    /// Said when another start is asked for meanwhile.
    pub fn in_the_way(&self) -> String {
        format!(
            "{} is being fetched for the job that is to start; 2 shows it, Esc there cancels it",
            self.name
        )
    }

    /// What quitting does to it.
    pub fn ends(&self) -> String {
        format!(
            "{} is being fetched. Quitting ends the fetch, and its job is not started; what has come stays, and the next \
             start goes on from there.",
            self.name
        )
    }
}

/// Asked before the end while something is fetched and no job runs; `unsaved` is what would be lost.
pub fn fetching_question(fetching: &Fetching, unsaved: &str, state: &State) -> Question {
    let mut text = fetching.ends();
    match state.queue.waiting().count() {
        0 => {}
        // Nothing starts then.
        _ if state.queue.paused => {}
        1 => text += "\nA job that waits in the queue starts in any case.",
        n => text += &format!("\n{n} jobs that wait in the queue start in any case."),
    }
    if !unsaved.is_empty() {
        text += &format!("\n{unsaved} Quitting loses it.");
    }
    let choices = vec![
        Choice::new('q', "Quit: the fetch ends, the job is not started", vec![Action::Exit]),
        Choice::new('s', "Stay", Vec::new()),
    ];
    Question::new("Quit", text, choices)
}

/// Says why a job was not started, whole.
pub fn not_started(why: &str) -> Question {
    Question::new("The training did not start", why, vec![Choice::new('c', "Close", Vec::new())])
}
