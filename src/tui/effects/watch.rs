//! Following a run: its event log, and whether a worker is at it.

use std::path::Path;
use std::time::Duration;

use crate::args::ARGS_FILE;
use crate::job::event::Event;
use crate::job::worker::recorded_end;
use crate::job::{Worker as Child, runs};
use crate::run::{EVENTS, Follower, check_place, list_checkpoints_in, resumable};
use crate::tui::action::Notice;
use crate::tui::message::Message;
use crate::tui::model::Worker;

/// How often the event log is looked at.
const POLL: Duration = Duration::from_millis(100);
/// How often a worker of this program's that is not followed any more is asked whether it has ended.
const REAP: Duration = Duration::from_secs(1);
/// Looks at the log for each look at the lock of a worker that this program has not started.
const LOCK_EVERY: u32 = 5;
/// Where nobody saw a worker end that has not said why.
const HINT: &str =
    "How it ended is not known. Killed, out of memory, a machine switched off: `dmesg` may tell.";

/// Follows the run in `dir` (absolute) while it is `wanted`. `own` is its worker where this program has started it.
pub fn watch(dir: &Path, own: Option<Child>, wanted: &dyn Fn() -> bool, send: &dyn Fn(Message)) {
    follow(dir, own, false, wanted, send);
}

/// [`watch`] of a run that `worker` begins. Where the worker goes before its first event, the following ends with why.
pub fn watch_new(
    dir: &Path,
    worker: Child,
    wanted: &dyn Fn() -> bool,
    send: &dyn Fn(Message),
) -> Option<String> {
    follow(dir, Some(worker), true, wanted, send)
}

fn follow(
    dir: &Path,
    mut own: Option<Child>,
    is_new: bool,
    wanted: &dyn Fn() -> bool,
    send: &dyn Fn(Message),
) -> Option<String> {
    let why = look_on(dir, &mut own, is_new, wanted, send);
    // Whoever started a process has to hear of its end: the system keeps it in its table until then.
    while let Some(Ok(None)) = own.as_mut().map(Child::try_wait) {
        std::thread::sleep(REAP);
    }
    why
}

fn look_on(
    dir: &Path,
    own: &mut Option<Child>,
    is_new: bool,
    wanted: &dyn Fn() -> bool,
    send: &dyn Fn(Message),
) -> Option<String> {
    send(Message::Opened(dir.to_owned()));
    // Before an earlier worker's events.
    let mut told = own.as_ref().map(|_| Worker::Starting);
    for worker in told.iter().cloned() {
        send(Message::Worker { run: dir.to_owned(), worker });
    }
    let mut events = Follower::<Event>::open(&dir.join(EVENTS));
    let (mut has_begun, mut unreadable, mut any, mut polls) = (own.is_none(), false, false, 0);
    let mut ended = None;
    while wanted() {
        // Asked before the log is read, so that what it wrote before its end is told before its end.
        let worker = match own {
            Some(child) => match child.try_wait() {
                Ok(None) if !has_begun => Some(Worker::Starting),
                Ok(None) => Some(Worker::Alive),
                Ok(Some(status)) => {
                    ended = Some(status);
                    Some(Worker::Gone { why: child.explain(status).to_string() })
                }
                Err(e) => Some(Worker::Gone { why: e.to_string() }),
            },
            None if polls % LOCK_EVERY == 0 => Some(look_from_outside(dir)),
            None => None,
        };
        if polls % LOCK_EVERY == 0 && !dir.exists() {
            send(Message::Deleted(dir.to_owned()));
            if matches!(worker, Some(Worker::Starting | Worker::Alive))
                && let Some(child) = own
            {
                let (pid, dir) = (child.pid(), dir.display());
                let text = format!("{dir} is gone while it is trained: its worker (pid {pid}) ends");
                send(Message::Notice(Notice::error(text)));
            }
            return None;
        }
        polls = polls.wrapping_add(1);
        match events.poll() {
            Ok(records) if records.is_empty() => {}
            Ok(records) => {
                any = true;
                // It has made its socket before.
                let pid = own.as_ref().map(Child::pid);
                has_begun |= records
                    .iter()
                    .any(|r| matches!(&r.event, Event::Started { pid: p, .. } if Some(*p) == pid));
                // A new worker may have come and gone between two looks.
                told = told.filter(|t| *t == Worker::Alive);
                send(Message::Events { run: dir.to_owned(), records });
            }
            Err(e) if !unreadable => {
                unreadable = true;
                send(Message::Notice(Notice::error(e.to_string())));
            }
            Err(_) => {}
        }
        if let Some(worker) = worker {
            let was_own = own.is_some();
            let worker = match worker {
                Worker::Gone { why } if !any && !was_own => match runs::untold(dir) {
                    Some(why) => Worker::Untold { why },
                    None => Worker::Gone { why },
                },
                worker => worker,
            };
            let gone = matches!(worker, Worker::Gone { .. });
            if let (Worker::Gone { why }, true, false) = (&worker, is_new && was_own, any || unreadable) {
                // Its log goes with the run directory.
                let alone = own.as_ref().zip(ended).map(|(child, end)| child.explain_alone(end).to_string());
                return Some(alone.unwrap_or_else(|| why.clone()));
            }
            // Others may start the next worker of this run.
            own.take_if(|_| gone);
            // A directory in which nothing has happened has lost no worker; and why an own one went was told. A worker
            // that went before its first event has left its words.
            let said_before = gone && matches!(told, Some(Worker::Gone { .. }));
            if (!gone || any || was_own || !runs::last_words(dir).is_empty())
                && !said_before
                && told.as_ref() != Some(&worker)
            {
                told = Some(worker.clone());
                send(Message::Worker { run: dir.to_owned(), worker: with_advice(worker, dir) });
            }
        }
        std::thread::sleep(POLL);
    }
    None
}

/// What the lock and the log say of a worker.
fn look_from_outside(dir: &Path) -> Worker {
    if runs::worker_alive(dir) {
        return Worker::Alive;
    }
    if let Some(end) = recorded_end(dir) {
        return Worker::Gone { why: end.to_string() };
    }
    let words = runs::last_words(dir);
    let said = match words.is_empty() {
        true => check_place(dir).err().map_or("It did not say why.".to_owned(), |e| e.to_string()),
        false => format!("The end of worker.log:\n{words}"),
    };
    Worker::Gone { why: format!("{said}\n{HINT}") }
}

/// What can be done where a worker has gone.
fn with_advice(worker: Worker, dir: &Path) -> Worker {
    let line = |advice: Option<&str>| advice.map_or(String::new(), |advice| format!("\n{advice}"));
    match worker {
        Worker::Gone { why } => Worker::Gone { why: why + &line(advice(dir)) },
        Worker::Untold { why } => {
            let try_it = (!list_checkpoints_in(dir).is_empty()).then_some("3, o: try its best checkpoint");
            Worker::Untold { why: why + &line(try_it) + &line(advice(dir)) }
        }
        worker => worker,
    }
}

/// How the run can be gone on with, where it can.
fn advice(dir: &Path) -> Option<&'static str> {
    match list_checkpoints_in(dir).into_iter().max_by_key(|c| c.step) {
        Some(last) => resumable(&last.path).is_ok().then_some("3, R: go on from the last checkpoint"),
        // It begins with its own arguments.
        None => dir.join(ARGS_FILE).is_file().then_some("3, R: train it from the beginning"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const STARTED: &str = r#"{"seq":1,"time":10,"kind":"started","pid":1,"version":"0","libtorch":"2","device":"cpu","device_name":"","threads":1}"#;

    /// The messages until `n` have come, as words.
    fn hear(dir: &Path, n: usize, then: impl Fn(usize)) -> Vec<String> {
        let heard = Mutex::new(Vec::new());
        watch(dir, None, &|| heard.lock().unwrap().len() < n, &|message| {
            let word = match message {
                Message::Opened(_) => "opened".to_owned(),
                Message::Events { records, .. } => format!("{} events", records.len()),
                Message::Worker { worker: Worker::Alive, .. } => "alive".to_owned(),
                Message::Worker { worker: Worker::Gone { why }, .. } => format!("gone: {why}"),
                Message::Worker { worker: Worker::Untold { why }, .. } => format!("untold: {why}"),
                other => format!("{other:?}"),
            };
            let mut heard = heard.lock().unwrap();
            heard.push(word);
            then(heard.len());
        });
        heard.into_inner().unwrap()
    }

    #[test]
    fn a_worker_that_goes_is_told_after_what_it_wrote() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("events.jsonl"), format!("{STARTED}\n")).unwrap();
        let lock = std::fs::File::create(dir.path().join("worker.lock")).unwrap();
        lock.lock().unwrap();
        let heard = hear(dir.path(), 5, |n| {
            if n == 3 {
                let mut log = std::fs::read_to_string(dir.path().join("events.jsonl")).unwrap();
                log += &format!("{STARTED}\n");
                std::fs::write(dir.path().join("events.jsonl"), log).unwrap();
                std::fs::write(dir.path().join("worker.log"), "terminate called\n").unwrap();
                lock.unlock().unwrap();
            }
        });
        assert_eq!(
            heard,
            [
                "opened",
                "1 events",
                "alive",
                "1 events",
                &format!("gone: The end of worker.log:\nterminate called\n{HINT}")
            ]
        );
    }

    #[test]
    fn a_run_whose_directory_goes_is_deleted_and_has_not_crashed() {
        let out = tempfile::tempdir().unwrap();
        let dir = out.path().join("run");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("events.jsonl"), format!("{STARTED}\n")).unwrap();
        let heard = hear(&dir, 4, |n| {
            if n == 3 {
                std::fs::remove_dir_all(&dir).unwrap();
            }
        });
        assert_eq!((heard[1].as_str(), &heard[3]), ("1 events", &format!("Deleted({dir:?})")));
    }

    #[test]
    fn a_worker_that_went_before_its_first_event_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("worker.log"), "lib.so is missing\n").unwrap();
        let heard = hear(dir.path(), 2, |_| {});
        let told = format!("gone: The end of worker.log:\nlib.so is missing\n{HINT}");
        assert_eq!(heard[1], told);
        // With its arguments it can be trained, though nothing was saved.
        std::fs::write(dir.path().join(ARGS_FILE), "{}").unwrap();
        let heard = hear(dir.path(), 2, |_| {});
        assert_eq!(heard[1], format!("{told}\n3, R: train it from the beginning"));
    }
    #[test]
    fn a_log_that_tells_nothing_is_told_and_what_can_be_done() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("events.jsonl");
        assert!(hear(dir.path(), 2, |_| {})[1].starts_with("untold: There is no "));
        std::fs::write(&log, [0; 99]).unwrap();
        std::fs::write(dir.path().join(ARGS_FILE), "{}").unwrap();
        let told = "untold: events.jsonl is damaged: no line of it is an event.";
        assert_eq!(hear(dir.path(), 2, |_| {})[1], format!("{told}\n3, R: train it from the beginning"));
        let checkpoint = dir.path().join("checkpoint-5");
        std::fs::create_dir(&checkpoint).unwrap();
        for file in [crate::run::OPTIMIZER, crate::run::PROGRESS] {
            std::fs::write(checkpoint.join(file), "x").unwrap();
        }
        // A worker that comes, writes and goes is told as any other.
        let heard = hear(dir.path(), 4, |n| {
            if n == 2 {
                std::fs::write(&log, format!("\0\0\n{STARTED}\n")).unwrap();
            }
        });
        assert!(heard[1].starts_with(told), "{heard:?}");
        assert_eq!(heard[2], "1 events");
        assert!(heard[3].starts_with("gone: It did not say why."), "{heard:?}");
    }
}
