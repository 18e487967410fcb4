//! How far a pull is, for whoever watches.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::hub::client::{Notes, RemoteFile, Wait};

/// What a pull does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The hub is asked what there is.
    Listing,
    /// Another process fetches the same.
    Waiting,
    /// What lies there already is compared with the hub's checksums.
    Checking,
    Fetching,
    /// All is there and right, and is moved to its place.
    Placing,
}

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// Its turn has not come.
    Open,
    Fetching,
    /// Its checksum is counted.
    Checking,
    Done,
}

/// How far a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProgress {
    pub path: String,
    /// Bytes; 0 where the hub does not tell.
    pub size: u64,
    pub done: u64,
    pub state: FileState,
}

/// How far a pull is.
#[derive(Debug, Clone)]
pub struct Progress {
    pub stage: Stage,
    pub files: Vec<FileProgress>,
    /// Bytes of all files, where the hub tells them of each, and those that are there.
    pub total: Option<u64>,
    pub done: u64,
    /// Bytes a second that came of late.
    pub rate: f64,
    /// Until all is there at that rate.
    pub left: Option<Duration>,
    /// What happened since the last time: connections that were cut, and the like.
    pub notes: Vec<String>,
    /// What is waited for before it is tried again.
    pub waits: Vec<Wait>,
}

/// Time that the rate is taken over.
const WINDOW: Duration = Duration::from_secs(10);
/// Seconds after which the rate says something.
const SETTLED: f64 = 1.0;

/// What the tasks of a pull write down.
pub struct Shared {
    state: Mutex<State>,
    notes: Notes,
}

struct State {
    stage: Stage,
    files: Vec<FileProgress>,
    /// Bytes of all files, where each is known.
    total: Option<u64>,
    /// Bytes that came over the network.
    came: u64,
    marks: VecDeque<(Instant, u64)>,
}

impl Shared {
    /// `notes` are told with how far it is.
    pub fn new(notes: Notes) -> Self {
        let state = State {
            stage: Stage::Listing,
            files: Vec::new(),
            total: None,
            came: 0,
            marks: VecDeque::from([(Instant::now(), 0)]),
        };
        Self { state: Mutex::new(state), notes }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nobody stops half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn stage(&self, stage: Stage) {
        let mut state = self.state();
        state.stage = stage;
        if stage == Stage::Fetching {
            state.marks = VecDeque::from([(Instant::now(), state.came)]);
        }
    }

    pub fn files<'a>(&self, files: impl Iterator<Item = &'a RemoteFile>) {
        let file = |f: &RemoteFile| FileProgress {
            path: f.path.clone(),
            size: f.size.unwrap_or(0),
            done: 0,
            state: FileState::Open,
        };
        let mut total = Some(0u64);
        let files = files.map(|f| {
            total = total.zip(f.size).map(|(total, size)| total.saturating_add(size));
            file(f)
        });
        let files = files.collect();
        let mut state = self.state();
        (state.files, state.total) = (files, total);
    }

    pub fn note(&self, note: String) {
        self.notes.say(note);
    }

    pub fn set(&self, path: &str, done: u64, state: FileState) {
        self.change(path, |file| {
            file.done = done;
            file.state = state;
        });
    }

    /// Bytes that were there from before.
    pub fn had(&self, path: &str, done: u64) {
        self.change(path, |file| file.done = done);
    }

    /// Bytes that came, the last `more` of them just now.
    pub fn got(&self, path: &str, done: u64, more: u64) {
        self.change(path, |file| file.done = done);
        self.state().came += more;
    }

    fn change(&self, path: &str, change: impl FnOnce(&mut FileProgress)) {
        if let Some(file) = self.state().files.iter_mut().find(|file| file.path == path) {
            change(file);
        }
    }

    /// What is to be told now.
    pub fn progress(&self) -> Progress {
        let mut state = self.state();
        let (now, came) = (Instant::now(), state.came);
        state.marks.push_back((now, came));
        while state.marks.len() > 2 && now - state.marks[1].0 > WINDOW {
            state.marks.pop_front();
        }
        let (since, before) = state.marks.front().copied().unwrap_or((now, came));
        let seconds = (now - since).as_secs_f64();
        let rate = if seconds > 0.0 { (came - before) as f64 / seconds } else { 0.0 };
        let total = state.total;
        let done = state.files.iter().map(|file| file.done).sum();
        let open = total.map_or(0.0, |total| total as f64 - done as f64);
        let left = (rate > 1.0 && open > 0.0 && seconds >= SETTLED)
            .then(|| Duration::try_from_secs_f64(open / rate).ok())
            .flatten();
        Progress {
            stage: state.stage,
            files: state.files.clone(),
            total,
            done,
            rate,
            left,
            notes: self.notes.take(),
            waits: self.notes.waits(),
        }
    }
}
