//! The queue's folder: listed without a lock, changed under one.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::state::{Job, State, arguments_file, lock_file, number_of, read_state, state_file};
use crate::args::SftArgs;
use crate::error::{Context, Error, Result};
use crate::job::register::of_this_machine;
use crate::run::{free_bytes, pretty_json, put_atomic};

const QUEUE: &str = "queue";
const ORDER: &str = "order.json";
const PAUSED: &str = "paused";
const LOCK: &str = "lock";
/// A change takes milliseconds; whoever holds the lock for longer has been stopped.
const PATIENCE: Duration = Duration::from_secs(10);
const TRY_AGAIN: Duration = Duration::from_millis(5);
/// Bytes that a change needs.
const ROOM: u64 = 64 << 10;

/// This user's queue on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    dir: PathBuf,
}

/// What is in the queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listing {
    /// Those that have been taken, those that wait in their order, then the rest.
    pub jobs: Vec<Job>,
    pub paused: bool,
    /// What keeps the whole queue from going on.
    pub trouble: Option<String>,
}

/// A job that has been put into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    pub number: u64,
    /// Among those that wait, from 1.
    pub place: usize,
}

/// Where to move a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    Up,
    Down,
    First,
    Last,
    /// From 1.
    Place(usize),
}

/// `order.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Order {
    /// The number of the next job.
    next: u64,
    /// The waiting jobs.
    order: Vec<u64>,
}

impl Listing {
    /// The waiting jobs, in their order.
    pub fn waiting(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(|j| j.is_waiting())
    }

    pub fn job(&self, number: u64) -> Option<&Job> {
        self.jobs.iter().find(|j| j.number == number)
    }

    /// The place of a waiting job, from 1.
    pub fn place(&self, number: u64) -> Option<usize> {
        self.waiting().position(|j| j.number == number).map(|i| i + 1)
    }

    /// Whether there is something to do for a runner.
    pub fn has_work(&self) -> bool {
        self.jobs.iter().any(Job::is_taken) || (!self.paused && self.waiting().next().is_some())
    }
}

impl Queue {
    /// The queue of this user on this machine; it need not be there yet.
    ///
    /// # Errors
    /// `Error::User` where there is no place for it.
    pub fn of_user() -> Result<Queue> {
        let dir = of_this_machine(QUEUE).ok_or_else(|| {
            Error::user("there is no place for a queue: set HOME or XDG_STATE_HOME to a directory")
        })?;
        Ok(Queue { dir })
    }

    /// The queue in `dir`.
    pub fn at(dir: &Path) -> Queue {
        Queue { dir: dir.to_owned() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is in it. Files that are no jobs are passed over; what cannot be read of a job is told in its place.
    ///
    /// # Errors
    /// `Error::User` where the folder is there and cannot be read.
    pub fn list(&self) -> Result<Listing> {
        let names = match fs::read_dir(&self.dir) {
            Ok(entries) => entries.flatten().map(|e| e.file_name()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
            Err(e) => return Err(self.refused("read", &self.dir, &e)),
        };
        let numbers: Vec<u64> = names.filter_map(|n| number_of(n.to_str()?, ".json")).collect();
        // Jobs that are moved meanwhile are there before and after.
        let order = self.order();
        let mut jobs: Vec<Job> = numbers.into_iter().filter_map(|n| Job::read(&self.dir, n)).collect();
        let place = |n: u64| order.order.iter().position(|o| *o == n).unwrap_or(usize::MAX);
        jobs.sort_by_key(|job| {
            let rank = if job.is_taken() { 0 } else { 2 - u8::from(job.is_waiting()) };
            (rank, if rank == 1 { place(job.number) } else { 0 }, job.number)
        });
        Ok(Listing { jobs, paused: self.is_paused(), trouble: self.trouble() })
    }

    /// Why nothing in it can be changed.
    fn trouble(&self) -> Option<String> {
        let dir = self.dir.display();
        if rustix::fs::access(&self.dir, rustix::fs::Access::WRITE_OK).is_err() {
            return Some(format!("{dir} cannot be written: no job of the queue can be started"));
        }
        let is_full = free_bytes(&self.dir).is_some_and(|left| left < ROOM);
        is_full.then(|| format!("the disk of {dir} is full: the queue goes on when there is room"))
    }

    /// Puts a job at the end. All paths in `args` are absolute.
    ///
    /// # Errors
    /// `Error::User` or `Error::NoRoom` where the folder cannot be written.
    pub fn add(&self, args: &SftArgs) -> Result<Added> {
        let mut builder = DirBuilder::new();
        // What lies there is started in the user's name.
        builder.recursive(true).mode(0o700);
        builder.create(&self.dir).map_err(|e| self.refused("make", &self.dir, &e))?;
        self.locked(|| {
            self.clean();
            let listing = self.list()?;
            let mut order = self.order();
            let above = listing.jobs.iter().map(|j| j.number.saturating_add(1)).max();
            let number = order.next.max(above.unwrap_or(1)).max(1);
            order.next = number.saturating_add(1);
            order.order = listing.waiting().map(|j| j.number).chain([number]).collect();
            let place = order.order.len();
            // First: without its file a number means nothing.
            self.write(&self.dir.join(ORDER), &order)?;
            self.write(&arguments_file(&self.dir, number), &args.to_json())?;
            Ok(Added { number, place })
        })
    }

    /// Moves a waiting job; returns its new place, from 1.
    ///
    /// # Errors
    /// `Error::User` where it does not wait (any more), or the folder cannot be written.
    pub fn shift(&self, number: u64, to: To) -> Result<usize> {
        self.locked(|| {
            let listing = self.list()?;
            let mut waiting: Vec<u64> = listing.waiting().map(|j| j.number).collect();
            let at = waiting.iter().position(|n| *n == number);
            let at = at.ok_or_else(|| self.not_waiting(&listing, number))?;
            let last = waiting.len() - 1;
            let place = match to {
                To::Up => at.saturating_sub(1),
                To::Down => (at + 1).min(last),
                To::First => 0,
                To::Last => last,
                To::Place(place) => place.saturating_sub(1).min(last),
            };
            waiting.remove(at);
            waiting.insert(place, number);
            self.write(&self.dir.join(ORDER), &Order { next: self.order().next, order: waiting })?;
            Ok(place + 1)
        })
    }

    /// Takes a job that has not been started out of the queue.
    ///
    /// # Errors
    /// `Error::User` where there is no such job (any more), its worker trains, or the folder cannot be written.
    pub fn remove(&self, number: u64) -> Result<()> {
        self.locked(|| {
            let listing = self.list()?;
            match listing.job(number) {
                Some(job) if !job.is_taken() => self.drop_job(number),
                _ => Err(self.not_waiting(&listing, number)),
            }
        })
    }

    /// Lets a job that has failed wait again, at the end.
    ///
    /// # Errors
    /// `Error::User` where there is no such job, or it has not failed.
    pub fn retry(&self, number: u64) -> Result<usize> {
        self.locked(|| {
            let listing = self.list()?;
            let failed = |j: &&Job| matches!(j.state, Ok(State::Failed { .. }));
            if listing.job(number).filter(failed).is_none() {
                return Err(match listing.place(number) {
                    Some(place) => Error::user(format!("job {number} waits already, at place {place}")),
                    None => self.not_waiting(&listing, number),
                });
            }
            let order: Vec<u64> = listing.waiting().map(|j| j.number).chain([number]).collect();
            let place = order.len();
            self.write(&self.dir.join(ORDER), &Order { next: self.order().next, order })?;
            self.write(&state_file(&self.dir, number), &State::waiting())?;
            Ok(place)
        })
    }

    /// Has no more jobs start, or lets them start again. What trains already trains on.
    ///
    /// # Errors
    /// `Error::User` where the folder cannot be written.
    pub fn set_paused(&self, paused: bool) -> Result<()> {
        if !paused && !self.dir.exists() {
            return Ok(());
        }
        let path = self.dir.join(PAUSED);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|e| self.refused("make", &self.dir, &e))?;
        // Under the lock: a job that is being taken has been taken before.
        self.locked(|| {
            let done = match paused {
                true => OpenOptions::new().create(true).append(true).open(&path).map(drop),
                false => fs::remove_file(&path),
            };
            match done {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.refused("change", &path, &e)),
                _ => Ok(()),
            }
        })
    }

    pub(super) fn is_paused(&self) -> bool {
        self.dir.join(PAUSED).symlink_metadata().is_ok()
    }

    /// Writes the state of a job whose state is as `expected`; false where it is not, or the job has gone.
    pub(super) fn set_state(
        &self,
        number: u64,
        expected: impl Fn(&State) -> bool,
        state: &State,
    ) -> Result<bool> {
        self.locked(|| {
            let is_there = arguments_file(&self.dir, number).symlink_metadata().is_ok();
            if !is_there || !read_state(&self.dir, number).is_ok_and(|now| expected(&now)) {
                return Ok(false);
            }
            self.write(&state_file(&self.dir, number), state)?;
            Ok(true)
        })
    }

    /// Takes a job that has ended out of the queue.
    pub(super) fn dismiss(&self, number: u64) -> Result<()> {
        self.locked(|| self.drop_job(number))
    }

    /// The file of arguments first: the others mean nothing without it.
    fn drop_job(&self, number: u64) -> Result<()> {
        let file = arguments_file(&self.dir, number);
        let is_dir = file.symlink_metadata().is_ok_and(|m| m.is_dir());
        let gone = if is_dir { fs::remove_dir(&file) } else { fs::remove_file(&file) };
        gone.map_err(|e| self.refused("remove", &file, &e))?;
        for file in [state_file(&self.dir, number), lock_file(&self.dir, number)] {
            let _ = fs::remove_file(file);
        }
        Ok(())
    }

    /// Does `change` while nobody else changes anything.
    pub(super) fn locked<T>(&self, change: impl FnOnce() -> Result<T>) -> Result<T> {
        let path = self.dir.join(LOCK);
        let file = match OpenOptions::new().create(true).append(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::user(format!("the queue is empty: there is no {}", self.dir.display())));
            }
            Err(e) => return Err(self.refused("open", &path, &e)),
        };
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => std::thread::sleep(TRY_AGAIN),
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::user(format!(
                        "the queue is being changed by another program that does not come to an end: something holds {}",
                        path.display()
                    )));
                }
                Err(TryLockError::Error(e)) => return Err(self.refused("lock", &path, &e)),
            }
        }
        change()
    }

    /// Takes away what killed programs have left. Under the lock nobody is writing.
    fn clean(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let number = number_of(name, ".state").or_else(|| number_of(name, ".lock"));
            let is_alone = number.is_some_and(|n| {
                let held = is_held(&lock_file(&self.dir, n));
                arguments_file(&self.dir, n).symlink_metadata().is_err() && !held
            });
            if is_alone || (name.starts_with('.') && name.contains(".tmp-")) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Where it is lost, jobs stand by number.
    fn order(&self) -> Order {
        crate::args::read_object(&self.dir.join(ORDER))
            .ok()
            .and_then(|object| serde_json::from_value(object.into()).ok())
            .map(|order: Order| {
                let mut seen = BTreeSet::new();
                Order { order: order.order.into_iter().filter(|n| seen.insert(*n)).collect(), ..order }
            })
            .unwrap_or_default()
    }

    fn write(&self, path: &Path, value: &impl Serialize) -> Result<()> {
        let bytes = pretty_json(value, 2)?;
        put_atomic(path, &bytes).map_err(|e| self.refused("write", path, &e))
    }

    /// Why a job cannot be moved or removed.
    fn not_waiting(&self, listing: &Listing, number: u64) -> Error {
        Error::user(match listing.job(number) {
            None => format!("there is no job {number} in the queue, or no more: `qwen-tui queue` lists it"),
            Some(job) => match (&job.state, job.run()) {
                (Ok(State::Taken { .. }), Some(run)) => {
                    let run = run.display();
                    format!("job {number} is being trained in {run}: `qwen-tui stop {run}` ends it")
                }
                (Ok(State::Taken { .. }), None) => format!("job {number} is being started"),
                (Ok(State::Failed { .. }), _) => {
                    format!(
                        "job {number} has failed and waits no more: `qwen-tui queue retry {number}` puts it back"
                    )
                }
                _ => format!("job {number} is {}: {}", job.word(), job.note().unwrap_or_default()),
            },
        })
    }

    /// Why the folder is not to be used, and what can be done.
    pub(super) fn refused(&self, doing: &str, path: &Path, e: &io::Error) -> Error {
        let elsewhere = "set XDG_STATE_HOME to another one";
        let advice = match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                format!("; free some space on that disk, or {elsewhere}")
            }
            _ => format!("; change that directory's permissions, or {elsewhere}"),
        };
        let message = format!("the queue: cannot {doing} {}: {e}{advice}", path.display());
        match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoRoom(message),
            _ => Error::User(message),
        }
    }
}

/// Whether somebody holds the lock on the file at `path`.
pub(super) fn is_held(path: &Path) -> bool {
    // A named pipe would be waited for.
    let Some(file) = path.metadata().ok().filter(|m| m.is_file()).and_then(|_| File::open(path).ok()) else {
        return false;
    };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

impl std::str::FromStr for To {
    type Err = Error;

    fn from_str(word: &str) -> Result<To> {
        Ok(match word {
            "up" => To::Up,
            "down" => To::Down,
            "first" => To::First,
            "last" => To::Last,
            place => {
                let place: usize = place.parse().user(format!(
                    "{place:?} is no place in the queue: give up, down, first, last or a number from 1"
                ))?;
                To::Place(place)
            }
        })
    }
}
