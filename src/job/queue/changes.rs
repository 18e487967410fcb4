//! Changes of the queue: jobs come, move, go.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt;

use super::folder::{Listing, ORDER, Order, PAUSED, Queue};
use super::put::follows;
use super::state::{Job, State, arguments_file, own_directory, state_file};
use crate::args::SftArgs;
use crate::error::{Error, Result, shown};
use crate::shell;

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

impl Queue {
    /// Puts a job at the end. All paths in `args` are absolute.
    ///
    /// # Errors
    /// `Error::User` or `Error::NoRoom` where the folder cannot be written; `Error::User` where another job of the queue
    /// trains in its directory, or will.
    pub fn add(&self, args: &SftArgs) -> Result<Added> {
        let mut builder = DirBuilder::new();
        // What lies there is started in the user's name.
        builder.recursive(true).mode(0o700);
        builder.create(&self.dir).map_err(|e| self.refused("make", &self.dir, &e))?;
        self.locked(|| {
            self.clean();
            let listing = self.list()?;
            let args = args.to_json();
            own_directory(&args).map_or(Ok(()), |dir| listing.leaves(&dir))?;
            let mut order = self.order();
            let above = listing.jobs.iter().map(|j| j.number.saturating_add(1)).max();
            let number = order.next.max(above.unwrap_or(1)).max(1);
            order.next = number.saturating_add(1);
            order.order = listing.waiting().map(|j| j.number).chain([number]).collect();
            let place = order.order.len();
            // First: without its file a number means nothing.
            self.write(&self.dir.join(ORDER), &order)?;
            self.write(&arguments_file(&self.dir, number), &args)?;
            Ok(Added { number, place })
        })
    }

    /// Moves a waiting job; returns its new place, from 1.
    ///
    /// # Errors
    /// `Error::User` where it does not wait (any more), a job that goes on with what another leaves would come before that,
    /// or the folder cannot be written.
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
            for other in &waiting[at.min(place)..=at.max(place)] {
                let (earlier, later) = if place < at { (*other, number) } else { (number, *other) };
                let jobs = listing.job(later).zip(listing.job(earlier)).filter(|_| later != earlier);
                if jobs.is_some_and(|(later, earlier)| follows(later, earlier)) {
                    return Err(Error::user(format!(
                        "job {later} goes on with what job {earlier} leaves, so it cannot come before job {earlier}: move the \
                         other jobs, or take one of these two out (`qwen-tui queue remove`)"
                    )));
                }
            }
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
            let job = listing.job(number).filter(failed);
            if let Some(dir) = job.and_then(|job| own_directory(&job.what.as_ref().ok()?.args)) {
                listing.leaves(&dir)?;
            }
            if job.is_none() {
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

    /// Why a job cannot be moved or removed.
    fn not_waiting(&self, listing: &Listing, number: u64) -> Error {
        Error::user(match listing.job(number) {
            None => format!("there is no job {number} in the queue, or no more: `qwen-tui queue` lists it"),
            Some(job) => match (&job.state, job.run()) {
                (Ok(State::Taken { .. }), Some(run)) => {
                    let (run, word) = (shown(run), shell::word(run));
                    format!("job {number} is being trained in {run}: `qwen-tui stop {word}` ends it")
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
                let number = place.parse().map_err(|_| {
                    Error::user(format!(
                        "{place:?} is no place in the queue: give up, down, first, last, or to and a number from 1"
                    ))
                })?;
                To::Place(number)
            }
        })
    }
}
