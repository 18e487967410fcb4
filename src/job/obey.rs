//! A command from the shell: given to a run's worker, and waited for until the event log says that it was obeyed.

use std::path::Path;
use std::time::{Duration, Instant};

use super::event::{Command, Event, Stage};
use super::go_on::what_it_does;
use super::human;
use super::runs::{RunStatus, worker_alive};
use super::socket::{POINTER, SOCKET};
use super::standing::{Standing, now};
use super::tell::tell;
use super::worker::recorded_end;
use crate::error::{Error, Result, shown};
use crate::run::{EVENTS, Follower};

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
    tell(run, standing.pid, command, &standing.way_out())?;
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
                }
                return answer.map_err(|e| e.context(name));
            }
        }
        if !alive {
            let why = recorded_end(run).unwrap_or_else(|| Error::internal("its worker ended without a word"));
            return Err(why.context(name));
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

/// A worker that has just begun makes it in a moment; without one only signals reach it.
fn wait_for_the_socket(run: &Path) {
    let began = Instant::now();
    let is_there = || [SOCKET, POINTER].iter().any(|name| run.join(name).symlink_metadata().is_ok());
    while !is_there() && worker_alive(run) && began.elapsed() < BEGIN {
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
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::job::runs::tests::{STARTED, run};

    fn refused(dir: &Path, command: Command) -> String {
        let e = obey(dir, command, &mut |_| {}).unwrap_err();
        assert_eq!(e.exit_code(), 2, "{e}");
        e.to_string()
    }

    #[test]
    fn a_run_without_a_worker_takes_no_command_and_says_what_to_do() {
        let out = tempfile::tempdir().unwrap();
        let failed = r#"{"seq":9,"time":30,"kind":"failed","exit_code":2,"message":"m"}"#;
        for (lines, words) in [(&[STARTED][..], "crashed"), (&[STARTED, failed], "failed")] {
            let dir = run(out.path(), words, lines);
            let e = refused(&dir, Command::Save);
            assert!(
                e.contains(words) && e.contains("it cannot be gone on with: ") && e.contains("sft_args.json"),
                "{e}"
            );
        }
        let e = refused(&run(out.path(), "new", &[]), Command::Stop);
        assert!(e.contains("no worker") && e.contains("qwen-tui jobs"), "{e}");
    }

    #[test]
    fn a_worker_that_lives_and_does_not_answer_is_told_with_the_way_out() {
        let out = tempfile::tempdir().unwrap();
        let stage = r#"{"seq":2,"time":11,"kind":"stage","stage":"training"}"#;
        let dir = run(out.path(), "v0", &[STARTED, stage]);
        let lock = std::fs::File::create(dir.join("worker.lock")).unwrap();
        lock.lock().unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(dir.join(crate::job::socket::SOCKET)).unwrap();
        for command in [Command::Pause, Command::Save, Command::Stop, Command::Resume] {
            let e = refused(&dir, command);
            assert!(
                e.contains("does not answer") && e.contains("`kill -9 1` ends it; checkpoint-5 stays"),
                "{e}"
            );
        }
    }

    #[test]
    fn what_is_waited_for_is_said_until_it_is_obeyed() {
        let out = tempfile::tempdir().unwrap();
        let stage = r#"{"seq":2,"time":11,"kind":"stage","stage":"training"}"#;
        let dir = run(out.path(), "v0", &[STARTED, stage]);
        let lock = std::fs::File::create(dir.join("worker.lock")).unwrap();
        lock.lock().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(dir.join(SOCKET)).unwrap();
        let worker = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = [0; 100];
            let n = stream.read(&mut line).unwrap();
            stream.write_all(b"{\"ok\":true}\n").unwrap();
            String::from_utf8_lossy(&line[..n]).into_owned()
        });
        let mut said = Vec::new();
        let mut say = |words: &str| {
            said.push(words.to_owned());
            let mut log = std::fs::OpenOptions::new().append(true).open(dir.join(EVENTS)).unwrap();
            log.write_all(b"{\"seq\":3,\"time\":12,\"kind\":\"paused\",\"step\":4}\n").unwrap();
        };
        assert_eq!(obey(&dir, Command::Pause, &mut say).unwrap(), "is paused at step 4");
        assert!(said.len() == 1 && said[0].starts_with("waiting for the step at hand"), "{said:?}");
        assert_eq!(worker.join().unwrap(), "{\"command\":\"pause\"}\n");
    }

    #[test]
    fn a_run_that_waits_for_room_says_so_to_whoever_commands_it() {
        let out = tempfile::tempdir().unwrap();
        let stage = r#"{"seq":2,"time":11,"kind":"stage","stage":"saving"}"#;
        let no_room = r#"{"seq":3,"time":12,"kind":"no_room","message":"checkpoint-5: no space left"}"#;
        let dir = run(out.path(), "v0", &[STARTED, stage, no_room]);
        let lock = std::fs::File::create(dir.join("worker.lock")).unwrap();
        lock.lock().unwrap();
        assert_eq!(
            Standing::read(&dir).trouble(13.0).unwrap(),
            "waiting for room: checkpoint-5: no space left"
        );
        let listener = std::os::unix::net::UnixListener::bind(dir.join(SOCKET)).unwrap();
        let worker = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 100]).unwrap();
            stream.write_all(b"{\"ok\":true}\n").unwrap();
        });
        let mut said = Vec::new();
        let mut say = |words: &str| {
            said.push(words.to_owned());
            let mut log = std::fs::OpenOptions::new().append(true).open(dir.join(EVENTS)).unwrap();
            let after = "{\"seq\":4,\"time\":13,\"kind\":\"room_again\"}\n\
                         {\"seq\":5,\"time\":13,\"kind\":\"paused\",\"step\":4}\n";
            log.write_all(after.as_bytes()).unwrap();
        };
        assert_eq!(obey(&dir, Command::Pause, &mut say).unwrap(), "is paused at step 4");
        assert_eq!(
            said,
            ["the run waits for room: checkpoint-5: no space left; it comes to the command then"]
        );
        assert_eq!(Standing::read(&dir).no_room, None);
        worker.join().unwrap();
    }

    #[test]
    fn before_the_training_there_is_nothing_to_save() {
        let out = tempfile::tempdir().unwrap();
        let stage = r#"{"seq":2,"time":11,"kind":"stage","stage":"loading_model"}"#;
        let dir = run(out.path(), "v0", &[STARTED, stage]);
        let lock = std::fs::File::create(dir.join("worker.lock")).unwrap();
        lock.lock().unwrap();
        let e = refused(&dir, Command::Save);
        assert!(e.contains("is loading the model: there is nothing to save yet"), "{e}");
    }

    #[test]
    fn a_pause_has_no_step_at_hand() {
        let told = |command, paused| awaited(command, Some(Stage::Training), paused);
        assert_eq!(told(Command::Stop, false), "the step at hand");
        assert_eq!(told(Command::Stop, true), "the checkpoint to be saved");
        assert_eq!(told(Command::Resume, true), "the pause to end");
    }

    #[test]
    fn what_an_event_says_to_a_command() {
        let paused = Event::Paused { step: 7 };
        assert_eq!(answer(Command::Pause, &paused).unwrap().unwrap(), "is paused at step 7");
        assert!(answer(Command::Save, &paused).is_none());
        let end = Event::Finished {
            step: 9,
            seconds: 1.0,
            stopped: false,
            last_checkpoint: Some("checkpoint-9".to_owned()),
            best_checkpoint: None,
            best_metric: None,
        };
        assert_eq!(answer(Command::Pause, &end).unwrap().unwrap_err().exit_code(), 2);
        let told = answer(Command::Stop, &end).unwrap().unwrap();
        assert_eq!(told, "had just finished at step 9; checkpoint-9 is its last checkpoint");
        let failed = Event::Failed { exit_code: 1, message: "bad".to_owned() };
        assert_eq!(answer(Command::Stop, &failed).unwrap().unwrap_err().exit_code(), 1);
    }
}
