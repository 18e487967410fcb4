//! Starting a job of the queue, and what becomes of it at its end.
//!
//! A job is taken before anything is made for it, and put down with its run directory before its worker begins. The
//! worker holds the lock on `job-N.lock` from its first instruction on. So whoever finds a job taken knows whether its
//! worker lives, and where it does not, by the run's event log whether it ever began: a job is started once.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use super::folder::{Queue, is_held};
use super::own::Told;
use super::state::{State, arguments_file, lock_file};
use crate::args::SftArgs;
use crate::error::{Error, Result, shown};
use crate::hub::Sources;
use crate::hub::find::nothing_is_fetched;
use crate::job::begin::Begin;
use crate::job::engine::ready_engine;
use crate::job::locate::locate;
use crate::job::runs::{head_and_tail, last_words, take_lock};
use crate::job::{Event, Worker};
use crate::run::{EVENTS, RunDir, WORKER_LOG, existing, list_checkpoints};

/// What came of an attempt to start a job.
#[derive(Debug)]
pub(super) enum Start {
    /// Its run directory and its worker.
    Started(PathBuf, Worker),
    /// Nothing is wrong with the job: it waits on, for what the words tell.
    Held(String),
    /// It is put aside with this message.
    Failed(String),
    /// The run that it was to go on with is finished: the job is out of the queue.
    Done(PathBuf),
    /// It does not wait any more, somebody has removed it; or the queue has been paused.
    Gone,
}

/// What a job begins with.
struct Ready {
    args: SftArgs,
    /// What a new run is given to read.
    sources: Option<Sources>,
    /// The run that it goes on with, and the step of the checkpoint; none for a new one.
    resumes: Option<(RunDir, Option<u64>)>,
}

/// What a look at a job finds.
enum Look {
    Ready(Box<Ready>),
    /// The run that it goes on with is finished.
    Finished(PathBuf),
}

/// Starts the job, which waits.
///
/// # Errors
/// The queue's folder cannot be written; nothing has begun.
pub(super) fn start(queue: &Queue, number: u64) -> Result<Start> {
    let engine = match ready_engine() {
        Ok(engine) => engine,
        // It is every job's, not this one's.
        Err(e) => return Ok(Start::Held(e.to_string())),
    };
    let ready = match look(&arguments_file(queue.dir(), number)) {
        Ok(Look::Ready(ready)) => *ready,
        Ok(Look::Finished(run)) => return finish(queue, number, run),
        Err(e) => return put_aside(queue, number, e),
    };
    let output_dir = Path::new(&ready.args.output_dir);
    let (new, kept) = (ready.resumes.is_none(), existing(output_dir));
    let known = match &ready.resumes {
        Some((run, _)) => Some(run.path().to_owned()),
        None if ready.args.add_output_dir_suffix => None,
        // It is known before it is made, and so found again by whoever goes on from here.
        None => Some(output_dir.to_owned()),
    };
    let log = known.as_deref().filter(|_| !new).map(log_length);
    let taken = |run, log| State::Taken { run, new, log, kept: kept.clone(), undone: false };
    let may_start = |state: &State| state.is_waiting() && !queue.is_paused();
    if !queue.set_state(number, may_start, &taken(known, log))? {
        return Ok(Start::Gone);
    }
    let (run, step) = match ready.resumes {
        Some(resumes) => resumes,
        None => match RunDir::create(output_dir, &ready.args.model_type, ready.args.add_output_dir_suffix) {
            Ok(run) => (run, None),
            Err(e) => return put_aside(queue, number, e),
        },
    };
    let path = run.path().to_owned();
    let begun = (|| {
        if new {
            queue.set_state(number, State::is_taken, &taken(Some(path.clone()), Some(log_length(&path))))?;
            run.write_args(&ready.args.to_json())?;
            Sources::write(ready.sources.as_ref(), &path)?;
        }
        let lock = lock_file(queue.dir(), number);
        let held = OpenOptions::new().create(true).append(true).read(true).open(&lock);
        let held = held.map_err(|e| queue.refused("open", &lock, &e))?;
        // Whoever only looks at it has it for a moment.
        if !take_lock(&held) {
            held.try_lock().map_err(|e| queue.refused("lock", &lock, &e.into()))?;
        }
        Worker::start_holding(&engine, &path, step, held)
    })();
    match begun {
        Ok(worker) => Ok(Start::Started(path, worker)),
        Err(e) => {
            if new {
                let log = Some(log_length(&path));
                let state = State::Taken { run: Some(path), new, log, kept: kept.clone(), undone: true };
                queue.set_state(number, State::is_taken, &state)?;
                run.discard(&kept);
            }
            put_aside(queue, number, e)
        }
    }
}

/// Whether everything is there that the job needs.
fn look(file: &Path) -> Result<Look> {
    let args = SftArgs::from_file(file)?;
    match Begin::from(args)? {
        Begin::New { args, .. } => {
            let located = locate(&args, &mut nothing_is_fetched)?;
            // Told now: a run that is there is not this job's.
            vacant(&args)?;
            Ok(Look::Ready(Box::new(Ready { args: *args, sources: located.sources, resumes: None })))
        }
        Begin::Resume { mut resume, args } => {
            resume.take(*args)?;
            if resume.finished {
                return Ok(Look::Finished(resume.run.path().to_owned()));
            }
            resume.locate(&mut nothing_is_fetched)?;
            let resumes = Some((resume.run, resume.step));
            Ok(Look::Ready(Box::new(Ready { args: resume.args, sources: None, resumes })))
        }
    }
}

/// Takes a job out of the queue that has nothing left to train.
fn finish(queue: &Queue, number: u64, run: PathBuf) -> Result<Start> {
    let still_waits = queue.set_state(number, |s| s.is_waiting() && !queue.is_paused(), &State::waiting())?;
    if !still_waits {
        return Ok(Start::Gone);
    }
    queue.dismiss(number)?;
    Ok(Start::Done(run))
}

/// Refuses a new run in a directory that already holds one.
pub(super) fn vacant(args: &SftArgs) -> Result<()> {
    let output_dir = Path::new(&args.output_dir);
    if args.add_output_dir_suffix || output_dir.join(EVENTS).symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Error::user(format!(
        "output_dir {} already holds a run (events.jsonl): choose another output_dir, or leave add_output_dir_suffix true",
        shown(output_dir)
    )))
}

/// Lets the job wait on where there was no room, or else tells in its place why it cannot be started.
pub(super) fn put_aside(queue: &Queue, number: u64, e: Error) -> Result<Start> {
    let (state, start) = match e {
        Error::NoRoom(why) => (State::Waiting { note: Some(why.clone()) }, Start::Held(why)),
        e => (State::Failed { message: e.to_string() }, Start::Failed(e.to_string())),
    };
    queue.set_state(number, |_| true, &state)?;
    Ok(start)
}

/// What became of a job that was taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its worker lives.
    Lives,
    /// It began and has ended; the run tells how.
    Ended,
    /// Its worker never began: it waits again.
    Again,
    /// It was refused before its first step, with this message.
    Failed(String),
}

/// Says what became of a job that was taken and that nobody waits for, or whose worker has ended as `told`; and puts it
/// down.
///
/// # Errors
/// The queue's folder cannot be written.
pub(super) fn settle(queue: &Queue, number: u64, state: &State, told: Option<Told>) -> Result<End> {
    let State::Taken { run, new, log, kept, undone } = state else { return Ok(End::Again) };
    if told.is_none() && is_held(&lock_file(queue.dir(), number)) {
        return Ok(End::Lives);
    }
    let end = match run {
        Some(run) if !undone => end_of(run, *new, *log, told),
        _ => End::Again,
    };
    let discard = || {
        if let (Some(run), true) = (run, *new) {
            RunDir::made(run).discard(kept);
        }
    };
    // Where it is not known to be this job's, not even a worker's empty log may be there.
    let untouched = |run: &PathBuf| {
        let words = run.join(WORKER_LOG).metadata();
        log_length(run) == 0 && words.map_or(true, |m| m.len() == 0 && log.is_some())
    };
    match &end {
        End::Lives => {}
        End::Ended => queue.dismiss(number)?,
        End::Again => {
            if *undone || run.as_ref().is_some_and(untouched) {
                // Killed among what follows, it is found as it is.
                let (run, new, log, kept) = (run.clone(), *new, *log, kept.clone());
                let state = State::Taken { run, new, log, kept, undone: true };
                queue.set_state(number, State::is_taken, &state)?;
                discard();
            }
            queue.set_state(number, State::is_taken, &State::waiting())?;
        }
        End::Failed(message) => {
            queue.set_state(number, State::is_taken, &State::Failed { message: message.clone() })?;
            discard();
        }
    }
    Ok(end)
}

fn end_of(run: &Path, new: bool, log: Option<u64>, told: Option<Told>) -> End {
    let Some(log) = log else { return End::Again };
    // Before it is known that the directory is there: of one that goes in between it would say nothing.
    let length = log_length(run);
    if !run.is_dir() {
        // Deleted or moved. What has trained has its end all the same.
        return match told {
            Some(Told { why, trained: false }) => End::Failed(why.to_string()),
            _ => End::Ended,
        };
    }
    if length != log {
        return match refusal(run).filter(|_| new) {
            Some(message) => End::Failed(message),
            None => End::Ended,
        };
    }
    // Not a word in the log.
    match told {
        Some(told) => End::Failed(told.why.to_string()),
        None if new && run.join(WORKER_LOG).metadata().is_ok_and(|m| m.len() > 0) => End::Failed(format!(
            "its worker ended before its first word of its own; the last it printed: {}",
            last_words(run)
        )),
        None => End::Again,
    }
}

/// Why the run in `dir` was refused before its first step, where that is so: what `sft` would have said.
fn refusal(dir: &Path) -> Option<String> {
    let events = head_and_tail(&dir.join(EVENTS)).unwrap_or_default();
    if events.iter().any(|r| r.event.is_step()) || !list_checkpoints(&RunDir::made(dir)).is_empty() {
        return None;
    }
    match events.last().map(|r| &r.event) {
        Some(Event::Failed { exit_code: 2, message }) => Some(message.clone()),
        _ => None,
    }
}

/// Bytes of the run's event log; 0 where there is none.
fn log_length(run: &Path) -> u64 {
    fs::metadata(run.join(EVENTS)).map_or(0, |m| m.len())
}
