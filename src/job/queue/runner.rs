//! The runner: starts the waiting jobs, each when its device is free, and ends where there is nothing left to do.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use super::device::{Device, Devices};
use super::fetching::{Fetching, absent};
use super::folder::{Listing, Queue};
use super::held::Held;
use super::own::Own;
use super::start::{End, Start, put_aside, settle, start};
use super::state::{Job, State, arguments_file};
use crate::error::Result;
use crate::hub::{Absent, Failed};
use crate::job::register;

/// How often the queue and the workers are looked at.
const POLL: Duration = Duration::from_millis(500);
/// How long a job that could not be started for no fault of its own is left alone.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// The same of one that could not be fetched for, at most: it is twice as long each time.
const FETCH_AGAIN: Duration = Duration::from_secs(300);
/// How long a device is kept free for the job that something is fetched for: what is small has come by then, and what no
/// hub answers for is known.
const KEPT_FREE: Duration = Duration::from_secs(10);

/// Starts the jobs of `queue` one after another, and waits for their ends. `say` hears what is done. Returns at once where
/// another runner is at work. Killed at any moment, it leaves everything as the next one needs it.
///
/// # Errors
/// The queue's folder cannot be used at all.
pub fn run(queue: &Queue, say: &mut dyn FnMut(&str)) -> Result<()> {
    let Some(lock) = queue.lock_runner()? else {
        let there = queue.has_runner();
        say(if there { "another process runs the queue already" } else { "the queue is empty" });
        return Ok(());
    };
    let mut runner = Runner {
        queue,
        devices: Devices::default(),
        own: HashMap::new(),
        held: HashMap::new(),
        fetching: None,
        fetched: HashSet::new(),
        lacking: HashMap::new(),
        told: None,
    };
    loop {
        match runner.step(say) {
            // It may pass: a disk that is full has room again some time.
            Err(e) => runner.say_once(&e.to_string(), say),
            Ok(true) => {}
            Ok(false) => match queue.leave(&lock) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(e) => runner.say_once(&e.to_string(), say),
            },
        }
        std::thread::sleep(POLL);
    }
}

struct Runner<'a> {
    queue: &'a Queue,
    devices: Devices,
    /// The workers that this runner has started.
    own: HashMap<u64, Own>,
    /// The jobs that could not be started.
    held: HashMap<u64, Held>,
    /// The job that models or data are fetched for.
    fetching: Option<Fetching>,
    /// The jobs of which nothing has to be fetched any more.
    fetched: HashSet<u64>,
    /// The jobs that lack something, each with what that is.
    lacking: HashMap<u64, Vec<Absent>>,
    /// What was said last of what may pass.
    told: Option<String>,
}

impl Runner<'_> {
    fn say_once(&mut self, words: &str, say: &mut dyn FnMut(&str)) {
        if self.told.as_deref() != Some(words) {
            say(words);
            self.told = Some(words.to_owned());
        }
    }

    /// Looks at everything once; whether there is work.
    fn step(&mut self, say: &mut dyn FnMut(&str)) -> Result<bool> {
        let listing = self.queue.list()?;
        for job in &listing.jobs {
            if let Ok(state @ State::Taken { .. }) = &job.state {
                self.look_after(job, state, say)?;
            }
        }
        let listing = self.queue.list()?;
        if listing.has_work() {
            self.fetch(&listing, say)?;
            self.start_waiting(&listing, say)?;
        }
        Ok(listing.has_work())
    }

    /// Puts down how a job that was taken has ended.
    fn look_after(&mut self, job: &Job, state: &State, say: &mut dyn FnMut(&str)) -> Result<()> {
        let is_new = matches!(state, State::Taken { new: true, .. });
        let told = match self.own.get_mut(&job.number) {
            None => None,
            Some(own) => match own.ended(is_new)? {
                None => return Ok(()),
                told => told,
            },
        };
        let end = settle(self.queue, job.number, state, told)?;
        if end != End::Lives {
            self.own.remove(&job.number);
        }
        let number = job.number;
        match end {
            End::Lives => {}
            End::Ended => say(&format!("job {number} has ended")),
            End::Again => say(&format!("job {number} was not begun: it waits again")),
            End::Failed(why) => say(&format!("job {number} was refused: {why}")),
        }
        Ok(())
    }

    /// Fetches what the first waiting jobs lack, for one job at a time; what trains meanwhile trains on, and what is ready
    /// starts.
    fn fetch(&mut self, listing: &Listing, say: &mut dyn FnMut(&str)) -> Result<()> {
        // A job that was taken out of the queue needs it no more.
        self.fetching.take_if(|fetching| !listing.waiting().any(|job| job.number == fetching.job));
        if let Some(outcome) = self.fetching.as_mut().and_then(Fetching::outcome)
            && let Some(fetching) = self.fetching.take()
        {
            let job = fetching.job;
            match outcome {
                Ok(()) => {
                    self.held.remove(&job);
                    self.fetched.insert(job);
                }
                Err(Failed::Cancelled) => {}
                Err(Failed::ForNow(e, asked)) => {
                    // Where bytes come, the count begins anew.
                    let before = self.held.get(&job).filter(|_| !fetching.moves()).map(|held| held.wait * 2);
                    let wait = before.unwrap_or(TRY_AGAIN).min(FETCH_AGAIN);
                    self.hold(job, e.to_string(), (wait, asked), say);
                }
                Err(Failed::ForGood(e)) => {
                    say(&format!("job {job} cannot be started: {e}"));
                    put_aside(self.queue, job, e)?;
                    // It does not wait any more, which the list at hand does not know.
                    return Ok(());
                }
            }
        }
        self.look_for(listing);
        if self.fetching.is_some() || listing.paused {
            return Ok(());
        }
        let lacks = |job: &&Job| self.lacking.contains_key(&job.number) && !self.rests(job.number);
        if let Some(number) = listing.waiting().find(lacks).map(|job| job.number)
            && let Some(absent) = self.lacking.get(&number)
        {
            // Tried again, it has been said.
            if !self.held.contains_key(&number) {
                absent.iter().for_each(|absent| say(&format!("job {number}: {}", absent.told())));
            }
            self.fetching = Some(Fetching::begin(number, absent.clone()));
        }
        Ok(())
    }

    /// Looks what the waiting jobs lack: it may have come for another one, or by hand.
    fn look_for(&mut self, listing: &Listing) {
        let waiting: Vec<&Job> = listing.waiting().collect();
        let waits = |number: &u64| waiting.iter().any(|job| job.number == *number);
        // Where one waits again some time, nothing is known of it.
        self.fetched.retain(waits);
        self.held.retain(|number, _| waits(number));
        self.lacking.clear();
        // The last first: what comes meanwhile is there for the earlier ones too, and no job overtakes one of the same names.
        for number in waiting.iter().rev().map(|job| job.number) {
            if self.fetched.contains(&number) {
                continue;
            }
            let absent = absent(&arguments_file(self.queue.dir(), number));
            if absent.is_empty() {
                self.held.remove(&number);
                self.fetched.insert(number);
            } else {
                self.lacking.insert(number, absent);
            }
        }
    }

    /// Whether a job was held so lately that it is left alone.
    fn rests(&self, job: u64) -> bool {
        self.held.get(&job).is_some_and(Held::rests)
    }

    /// Leaves a job alone for a while: its own, or what was asked for where that is longer. The same reason is said once.
    fn hold(
        &mut self,
        job: u64,
        why: String,
        (wait, asked): (Duration, Duration),
        say: &mut dyn FnMut(&str),
    ) {
        let held = Held::now(why.clone(), wait, asked);
        if self.held.insert(job, held).is_none_or(|before| before.why != why) {
            say(&format!("job {job} cannot be started yet: {why}"));
        }
    }

    /// Starts the first waiting job of each device that is free.
    fn start_waiting(&mut self, listing: &Listing, say: &mut dyn FnMut(&str)) -> Result<()> {
        let mut busy = self.busy(listing);
        for job in listing.waiting() {
            let Ok(what) = &job.what else { continue };
            let device = match self.devices.named(&what.device) {
                Ok(device) => device,
                Err(e) => {
                    self.note(job, Some(&format!("what device `auto` is, is not known: {e}")));
                    continue;
                }
            };
            if let Some(note) = self.lacks(job) {
                self.note(job, Some(&note));
                let fetching = self.fetching.as_ref().filter(|fetching| fetching.job == job.number);
                // The order is the user's: a moment may be given to it.
                if fetching.is_some_and(|f| f.began.elapsed() < KEPT_FREE)
                    && !self.held.contains_key(&job.number)
                {
                    busy.push((device, None));
                }
                continue;
            }
            if let Some((_, by)) = busy.iter().find(|(d, _)| *d == device) {
                let note =
                    by.as_ref().map(|run| format!("waits for {device}, where {} is trained", run.display()));
                self.note(job, note.as_deref());
                continue;
            }
            let why = self.held.get(&job.number).map(|held| held.why.as_str());
            self.note(job, why);
            if self.rests(job.number) || listing.paused {
                busy.push((device, None));
                continue;
            }
            match start(self.queue, job.number)? {
                Start::Started(run, worker) => {
                    say(&format!("job {} is trained in {}", job.number, run.display()));
                    self.own.insert(job.number, Own::new(&run, worker));
                    busy.push((device, Some(run)));
                }
                Start::Held(why) => {
                    self.note(job, Some(&why));
                    self.hold(job.number, why, (TRY_AGAIN, Duration::ZERO), say);
                    busy.push((device, None));
                }
                Start::Failed(why) => say(&format!("job {} cannot be started: {why}", job.number)),
                Start::Done(run) => {
                    say(&format!(
                        "job {} is done: {} is finished, nothing is left to train",
                        job.number,
                        run.display()
                    ));
                }
                Start::Gone => {}
            }
        }
        Ok(())
    }

    /// What is to be said of a job that cannot be started for what it lacks; none of one that lacks nothing.
    fn lacks(&self, job: &Job) -> Option<String> {
        let absent = self.lacking.get(&job.number)?.first()?;
        let own = self.fetching.as_ref().filter(|fetching| fetching.job == job.number);
        let words = match (own, self.held.get(&job.number)) {
            // Tried again, the reason stays until something comes.
            (Some(own), held) => own.words().or_else(|| held.map(|held| held.why.clone())),
            (None, held) => held.map(Held::words),
        };
        Some(words.unwrap_or_else(|| match self.fetching.as_ref().filter(|_| own.is_none()) {
            Some(other) => format!("{} is fetched after what job {} lacks", absent.called(), other.job),
            None => format!("fetching {}", absent.called()),
        }))
    }

    /// The devices that are in use, each with the run that is trained there.
    fn busy(&mut self, listing: &Listing) -> Vec<(Device, Option<PathBuf>)> {
        let mut busy = Vec::new();
        for run in register::running() {
            // Where it cannot be told, nothing is waited for.
            if let Ok(device) = self.devices.of_run(&run) {
                busy.push((device, Some(run)));
            }
        }
        // A worker is registered only once it has loaded its libraries.
        for job in listing.jobs.iter().filter(|j| j.is_taken()) {
            let named = job.what.as_ref().ok().and_then(|what| self.devices.named(&what.device).ok());
            busy.extend(named.map(|device| (device, job.run().map(PathBuf::from))));
        }
        busy
    }

    /// Puts down what a waiting job waits for. Where that cannot be written, it waits all the same.
    fn note(&self, job: &Job, note: Option<&str>) {
        let State::Waiting { note: before } = job.state.as_ref().unwrap_or(&State::waiting()).clone() else {
            return;
        };
        if before.as_deref() != note {
            let state = State::Waiting { note: note.map(str::to_owned) };
            let _ = self.queue.set_state(job.number, State::is_waiting, &state);
        }
    }
}
