//! The queue's folder: listed without a lock, changed under one (`changes`).

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::state::{
    Job, State, arguments_file, lock_file, named_directory, number_of, read_state, state_file,
};
use crate::error::{Error, Result, shown};
use crate::job::register::of_this_machine;
use crate::run::{free_bytes, pretty_json, put_atomic};

const QUEUE: &str = "queue";
pub(super) const ORDER: &str = "order.json";
pub(super) const PAUSED: &str = "paused";
const LOCK: &str = "lock";
/// A change takes milliseconds; whoever holds the lock for longer has been stopped.
const PATIENCE: Duration = Duration::from_secs(10);
const TRY_AGAIN: Duration = Duration::from_millis(5);
/// Bytes that a change needs.
const ROOM: u64 = 64 << 10;

/// This user's queue on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub(super) dir: PathBuf,
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

/// `order.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Order {
    /// The number of the next job.
    pub(super) next: u64,
    /// The waiting jobs.
    pub(super) order: Vec<u64>,
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

    /// Refuses a new run in `dir` where a job that waits or trains has it.
    ///
    /// # Errors
    /// `Error::User` names that job.
    pub(super) fn leaves(&self, dir: &Path) -> Result<()> {
        let has = |job: &&Job| {
            (job.is_waiting() || job.is_taken())
                && job.what.as_ref().is_ok_and(|what| named_directory(&what.args).as_deref() == Some(dir))
        };
        let Some(job) = self.jobs.iter().find(has) else { return Ok(()) };
        let out = match job.is_waiting() {
            true => format!(", or take that job out of the queue (`qwen-tui queue remove {}`)", job.number),
            false => String::new(),
        };
        Err(Error::user(format!(
            "output_dir {} is that of job {} of the queue, which is {}, and a directory holds one run: choose another \
             output_dir, leave add_output_dir_suffix true{out}",
            shown(dir),
            job.number,
            job.word(),
        )))
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
    pub(super) fn drop_job(&self, number: u64) -> Result<()> {
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
    pub(super) fn clean(&self) {
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
    pub(super) fn order(&self) -> Order {
        crate::args::read_object(&self.dir.join(ORDER))
            .ok()
            .and_then(|object| serde_json::from_value(object.into()).ok())
            .map(|order: Order| {
                let mut seen = BTreeSet::new();
                Order { order: order.order.into_iter().filter(|n| seen.insert(*n)).collect(), ..order }
            })
            .unwrap_or_default()
    }

    pub(super) fn write(&self, path: &Path, value: &impl Serialize) -> Result<()> {
        let bytes = pretty_json(value, 2)?;
        put_atomic(path, &bytes).map_err(|e| self.refused("write", path, &e))
    }

    /// Why the folder is not to be used, and what can be done.
    pub(super) fn refused(&self, doing: &str, path: &Path, e: &io::Error) -> Error {
        let elsewhere = "set XDG_STATE_HOME to another one";
        let advice = match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                format!("; free some space on that disk, or {elsewhere}")
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                format!("; its disk is read-only: make it writable, or {elsewhere}")
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
