//! A command from the shell: given to a run's worker, and waited for until the event log says that it was obeyed.

use std::path::Path;
use std::time::{Duration, Instant};

use super::event::{Command, Event, Stage};
use super::go_on::what_it_does;
use super::human;
use super::runs::{RunStatus, head_and_tail, worker_alive};
use super::socket::{POINTER, SOCKET};
use super::standing::{Standing, now};
use super::tell::tell;
use super::worker::recorded_end;
use crate::error::{Error, Result, shown};
use crate::run::{EVENTS, Follower, Record};

/// How often the event log is looked at.
const POLL: Duration = Duration::from_millis(50);
/// After how long it is said what is waited for.
const SAY: Duration = Duration::from_secs(1);
/// How long a worker that has begun may take to make its socket.
const BEGIN: Duration = Duration::from_secs(2);
/// How long a worker that has said its end may take to go.
const LEAVE: Duration = Duration::from_secs(10);

/// Gives the worker of the run in `run` a command and waits until it has obeyed; returns what it did, for people.
/// `say` hears what is waited for.
///
/// # Errors
/// `Error::User` where no worker trains the run, the command makes no sense to it now, it hangs (with the way out), or
/// it ends without having obeyed.
pub fn obey(run: &Path, command: Command, say: &mut dyn FnMut(&str)) -> Result<String> {
    let mut events = Follower::<Event>::at_end(&run.join(EVENTS))?;
    let mut standing = Standing::read(run);
    if !standing.is_running() {
        return Err(nobody(&standing));
    }
    let name = shown(run);
    match command {
        Command::Pause if standing.paused => {
            return Ok(format!("is paused already, at step {}", standing.run.step));
        }
        Command::Save if !standing.trains() => {
            let doing = standing.stage.map_or("starting", Stage::word);
            return Err(Error::user(format!(
                "{name} is {doing}: there is nothing to save yet; try again when it trains"
            )));
        }
        _ => {}
    }
    wait_for_the_socket(run);
    if let Err(e) = tell(run, standing.pid, command, &standing.way_out()) {
        // Its socket and its process go before its lock is seen to be free.
        wait_for_the_ending(run);
        let stopped = |record: Record<Event>| answer(command, &record.event)?.ok();
        return match events.poll()?.into_iter().find_map(stopped) {
            Some(done) if command == Command::Stop => Ok(done),
            _ => Err(ended(run).unwrap_or(e)),
        };
    }
    if command == Command::Resume && !standing.paused {
        // A pause that it has not come to yet is taken back by this.
        return Ok(match standing.no_room {
            Some(_) => "is not paused: it waits for room, and tries again at once".to_owned(),
            None => "is not paused".to_owned(),
        });
    }
    let (began, mut told, mut told_room) = (Instant::now(), false, None);
    loop {
        // Asked before the log is read, so that nothing written before the end is missed.
        let alive = worker_alive(run);
        for record in events.poll()? {
            standing.see(&record);
            if let Some(answer) = answer(command, &record.event) {
                if matches!(record.event, Event::Finished { .. }) {
                    wait_for_the_end(run);
                    // What goes on with it.
                    return answer.map_err(|e| ended(run).unwrap_or_else(|| e.context(name)));
                }
                return answer.map_err(|e| e.context(name));
            }
        }
        if !alive {
            let why =
                || recorded_end(run).unwrap_or_else(|| Error::internal("its worker ended without a word"));
            // Its last word was said before this listened.
            return Err(ended(run).unwrap_or_else(|| why().context(name)));
        }
        if standing.hung(now()).is_some() {
            let way_out = standing.way_out();
            return Err(Error::user(format!("{name}: its worker took the command and hangs: {way_out}")));
        }
        if standing.no_room.is_some() && standing.no_room != told_room {
            told_room.clone_from(&standing.no_room);
            let message = told_room.as_deref().unwrap_or_default();
            let then = match command {
                Command::Stop => "it ends without that checkpoint",
                _ => "it comes to the command then",
            };
            say(&format!("the run waits for room: {message}; {then}"));
            told = true;
        }
        if !told && began.elapsed() > SAY {
            told = true;
            say(&format!(
                "waiting for {}; Ctrl-C ends the waiting, and the command stands",
                awaited(command, standing.stage, standing.paused)
            ));
        }
        std::thread::sleep(POLL);
    }
}

/// What the event says to the command; none where nothing.
fn answer(command: Command, event: &Event) -> Option<Result<String>> {
    Some(Ok(match (command, event) {
        (Command::Pause, Event::Paused { step }) => format!("is paused at step {step}"),
        (Command::Resume, Event::Resumed { step }) => format!("goes on at step {step}"),
        (Command::Save, Event::Checkpoint { path, bytes, .. }) => {
            format!("has saved {path} ({})", human::bytes(*bytes))
        }
        (Command::Stop, Event::Finished { step, stopped, last_checkpoint, .. }) => {
            let how = if *stopped { "has stopped" } else { "had just finished" };
            let saved = last_checkpoint
                .as_ref()
                .map_or("nothing was saved".to_owned(), |last| format!("{last} is its last checkpoint"));
            format!("{how} at step {step}; {saved}")
        }
        (_, Event::Finished { step, .. }) => {
            return Some(Err(Error::user(format!(
                "the run ended at step {step} before it came to the command"
            ))));
        }
        (_, Event::Failed { exit_code: 2, message }) => return Some(Err(Error::user(message))),
        (_, Event::Failed { message, .. }) => return Some(Err(Error::internal(message))),
        _ => return None,
    }))
}

fn has_socket(run: &Path) -> bool {
    [SOCKET, POINTER].iter().any(|name| run.join(name).symlink_metadata().is_ok())
}

/// A worker that has just begun makes it in a moment; without one only signals reach it.
fn wait_for_the_socket(run: &Path) {
    let began = Instant::now();
    while !has_socket(run) && worker_alive(run) && began.elapsed() < BEGIN {
        std::thread::sleep(POLL);
    }
}

/// A script that goes on with the run must not find its lock held by a worker that is about to go.
fn wait_for_the_end(run: &Path) {
    let began = Instant::now();
    while worker_alive(run) && began.elapsed() < LEAVE {
        std::thread::sleep(POLL);
    }
}

/// The same of one that has said its last word, or is about to: it has been told to stop.
fn wait_for_the_ending(run: &Path) {
    let began = Instant::now();
    let ends = || {
        let events = head_and_tail(&run.join(EVENTS)).unwrap_or_default();
        let newest = events.into_iter().rev().map(|r| r.event).find(|e| {
            matches!(
                e,
                Event::Started { .. } | Event::Stopping | Event::Finished { .. } | Event::Failed { .. }
            )
        });
        newest.is_some_and(|e| !matches!(e, Event::Started { .. }))
    };
    // One that only hangs keeps its socket.
    let patience = || if has_socket(run) { SAY } else { LEAVE };
    while worker_alive(run) && ends() && began.elapsed() < patience() {
        std::thread::sleep(POLL);
    }
}

/// What to do with a run whose worker has ended by its own word; none where one is there, or has gone without one.
fn ended(run: &Path) -> Option<Error> {
    let standing = Standing::read(run);
    let by_its_word =
        matches!(standing.run.status, RunStatus::Finished | RunStatus::Stopped | RunStatus::Failed);
    by_its_word.then(|| nobody(&standing))
}

/// What stands before a command.
fn awaited(command: Command, stage: Option<Stage>, paused: bool) -> &'static str {
    match stage {
        // Nothing is at hand then.
        _ if paused && command == Command::Resume => "the pause to end",
        _ if paused => "the checkpoint to be saved",
        None => "the engine to start",
        Some(Stage::ReadingData) => "the data to be read",
        Some(Stage::Tokenizing) => "the rows to be tokenized",
        Some(Stage::LoadingModel) => "the model to be loaded",
        Some(Stage::Training) => "the step at hand",
        Some(Stage::Evaluating) if command == Command::Save => "the evaluation at hand",
        Some(Stage::Evaluating) => "the batch of the evaluation at hand",
        Some(Stage::Saving) => "the checkpoint at hand",
    }
}

/// Why a run without a worker takes no command, and what to do.
fn nobody(standing: &Standing) -> Error {
    let path = shown(&standing.run.path);
    let go_on = || what_it_does(&standing.run.path);
    Error::user(match standing.run.status {
        RunStatus::Finished => format!("{path} is finished: no worker is training it; {}", go_on()),
        RunStatus::Stopped => format!("{path} is stopped: no worker is training it; {}", go_on()),
        RunStatus::Failed | RunStatus::Crashed => {
            format!("{path} has {}: no worker is training it; {}", standing.run.status.word(), go_on())
        }
        _ => format!("{path}: no worker is training this run; `qwen-tui jobs` lists those that run"),
    })
}

#[cfg(test)]
#[path = "obey_tests.rs"]
mod tests;
