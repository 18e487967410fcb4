//! The cockpit's hands: whatever an action does to the world is done here, away from the screen's thread, and what
//! comes of it comes back as a message.

mod checkpoints;
mod config;
mod fetching;
mod job;
mod looks;
mod queue;
mod repl;
mod watch;

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::action::{Action, Notice};
use super::configs::{ConfigNews, ConfigWork};
use super::log;
use super::message::Message;
use super::repl::{News, Order};
use super::state::State;
use crate::error::{Error, Result};
use crate::hub::latest;
use crate::job::event::Command;
use crate::job::merge::AtWork;
use crate::job::register;
use crate::job::tell::tell;
use crate::job::{Worker, ready_engine};
use crate::run::RunDir;

pub use config::first_config;
use fetching::Fetches;
use looks::{Looks, Place, is_news, known_jobs};

/// How long the cockpit stays for commands that are on their way.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where messages go; may be cloned into any thread.
pub type Sender = UnboundedSender<Message>;

/// Does what actions ask for.
pub struct Effects {
    sender: Sender,
    /// Counts the runs followed; the thread that follows one ends when the next begins.
    followed: Arc<AtomicU64>,
    looks: Arc<Looks>,
    turns: Arc<config::Turns>,
    fetches: Arc<Fetches>,
    repl: repl::Thread,
    merges: Arc<AtWork>,
    queue: Arc<queue::Told>,
    /// Held by each command that is on its way to a worker.
    telling: Arc<()>,
}

impl Effects {
    pub fn new(sender: Sender) -> Effects {
        Effects {
            sender,
            followed: Arc::default(),
            looks: Arc::default(),
            turns: Arc::default(),
            fetches: Arc::default(),
            repl: repl::Thread::default(),
            merges: Arc::default(),
            queue: Arc::default(),
            telling: Arc::default(),
        }
    }

    /// What is done once, after the first picture: looks for the engine and for runs; `run` is opened.
    pub fn start(&mut self, run: Option<&Path>, state: &State) {
        self.background(|send| send(Message::Engine(ready_engine().map_err(|e| e.to_string()))));
        self.background(|send| send(Message::Repl(repl::remembered())));
        let (told, sender) = (Arc::clone(&self.queue), self.sender.clone());
        self.background(move |send| queue::watch(&told, &|| !sender.is_closed(), send));
        if let Some(run) = run {
            self.act(Action::OpenRun(run.to_owned()), state);
        }
        self.act(Action::ListRuns, state);
    }

    /// Begins an action; never waits for it.
    pub fn act(&mut self, action: Action, state: &State) {
        match action {
            Action::ListRuns => {
                let (place, looks) = (Place::of(state), Arc::clone(&self.looks));
                self.background(move |send| looks.list(place, send));
            }
            Action::LookForJobs => {
                let (place, looks, known) = (Place::of(state), Arc::clone(&self.looks), known_jobs(state));
                self.background(move |send| {
                    if is_news(&known) {
                        looks.list(place, send);
                    }
                });
            }
            Action::OpenRun(path) => {
                let followed = Arc::clone(&self.followed);
                self.background(move |send| match RunDir::open(&path) {
                    Ok(run) => follow(run.path(), None, &followed, send),
                    Err(e) => send(Message::Notice(Notice::error(e.to_string()))),
                });
            }
            Action::StartJob { args, beside } => {
                // What runs is not known yet.
                let looks_first = !beside && state.runs.is_none();
                let (followed, fetches) = (Arc::clone(&self.followed), Arc::clone(&self.fetches));
                let sender = self.sender.clone();
                self.background(move |send| {
                    if looks_first && !register::running().is_empty() {
                        return send(Message::Config(ConfigNews::Occupied(args)));
                    }
                    match fetches.for_job(send, |fetch, wanted| job::start(&args, fetch, wanted)) {
                        None => {}
                        Some(Ok(mut started)) => {
                            if let Some(model) = started.model.take() {
                                // Beside the job, which waits for no hub.
                                let tell = move |told| drop(sender.send(Message::Notice(Notice::info(told))));
                                let ask = move || latest::newer(&model).into_iter().for_each(tell);
                                drop(std::thread::Builder::new().name("newer".to_owned()).spawn(ask));
                            }
                            follow_new(started, &followed, send);
                        }
                        Some(Err(e)) => send(Message::Config(ConfigNews::NotStarted(e.to_string()))),
                    }
                });
            }
            Action::Queue(work) => {
                let told = Arc::clone(&self.queue);
                self.background(move |send| queue::work(work, &told, send));
            }
            // At once: what is asked after it is waited for.
            Action::Config(ConfigWork::StopAsking) => self.turns.stop_asking(),
            Action::Config(work) => {
                let (turns, asked) = (Arc::clone(&self.turns), self.turns.asked());
                self.background(move |send| config::work(work, &turns, asked, send));
            }
            Action::Send(command) => self.tell_worker(command, state, None),
            Action::StopAndExit(_) => self.tell_worker(Command::Stop, state, Some(Message::Exit)),
            Action::InspectRun(run) => {
                let looks = Arc::clone(&self.looks);
                self.background(move |send| {
                    let _turn = looks.turn();
                    checkpoints::inspect(&run, send);
                });
            }
            Action::Delete(target) => {
                let (place, looks) = (Place::of(state), Arc::clone(&self.looks));
                let followed = Arc::clone(&self.followed);
                // Where it is the run that is followed, nobody follows it any more, unless another has taken its place.
                let this = followed.load(Ordering::Relaxed);
                let is_followed = state.run.as_ref().is_some_and(|r| r.path == target);
                let gone = move || {
                    if is_followed {
                        let (at, next) = (Ordering::Relaxed, this + 1);
                        let _ = followed.compare_exchange(this, next, at, at);
                    }
                };
                let merges = Arc::clone(&self.merges);
                self.background(move |send| {
                    checkpoints::delete(&target, &place, &merges, gone, &looks, send);
                });
            }
            Action::Resume(checkpoint) => {
                let (followed, fetches) = (Arc::clone(&self.followed), Arc::clone(&self.fetches));
                self.background(move |send| {
                    match fetches
                        .for_job(send, |fetch, wanted| crate::job::resume(&checkpoint, fetch, wanted))
                    {
                        None => {}
                        Some(Ok((run, worker, notes))) => {
                            notes.into_iter().for_each(|note| send(Message::Notice(Notice::info(note))));
                            follow(&run, Some(worker), &followed, send);
                        }
                        Some(Err(e)) => send(Message::Notice(Notice::error(e.to_string()))),
                    }
                });
            }
            Action::CancelFetch => self.fetches.cancel(),
            Action::Merge { checkpoint, overwrite } => {
                let engine = state.engine.clone();
                let looks = Arc::clone(&self.looks);
                let merges = Arc::clone(&self.merges);
                self.background(move |send| match engine {
                    Some(Ok(engine)) => {
                        checkpoints::merge(&engine, &checkpoint, overwrite, &merges, &looks, send);
                    }
                    Some(Err(why)) => send(Message::Notice(Notice::error(why))),
                    None => send(Message::Notice(Notice::info("the engine is still being looked for"))),
                });
            }
            Action::OpenInRepl(dir) => drop(self.sender.send(Message::Repl(News::Chosen(dir)))),
            Action::Repl(Order::List(runs)) => {
                self.background(move |send| send(Message::Repl(News::Models(repl::list(&runs)))));
            }
            Action::Repl(order) => {
                let engine = state.engine.as_ref().and_then(|e| e.as_ref().ok());
                self.repl.order(order, engine, &self.sender);
            }
            Action::StopMergesAndExit => {
                self.merges.stop();
                drop(self.sender.send(Message::Exit));
            }
            Action::Exit => {
                let telling = Arc::downgrade(&self.telling);
                self.background(move |send| {
                    let began = Instant::now();
                    while telling.strong_count() > 1 && began.elapsed() < LAST_WORDS {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    send(Message::Exit);
                });
            }
            Action::Suspend => {
                if let Err(why) = suspend() {
                    let _ = self.sender.send(Message::Notice(Notice::error(why)));
                }
            }
            // The application's own.
            Action::Show(_)
            | Action::Ask(_)
            | Action::Tell(_)
            | Action::LoadConfig(_)
            | Action::NameBase(_)
            | Action::ShowQueue(_)
            | Action::Order(..)
            | Action::Leave
            | Action::Quit => {}
        }
    }

    /// Sends `command` to the worker of the run that is followed, then `after`.
    fn tell_worker(&self, command: Command, state: &State, after: Option<Message>) {
        let Some(run) = &state.run else { return };
        let (path, pid, way_out) = (run.path.clone(), run.machine.as_ref().map(|m| m.pid), run.way_out());
        let telling = Arc::clone(&self.telling);
        self.background(move |send| {
            match tell(&path, pid, command, &way_out) {
                Ok(()) => after.into_iter().for_each(send),
                Err(e) => send(Message::Notice(Notice::error(e.to_string()))),
            }
            drop(telling);
        });
    }

    /// Runs `work` on a thread of its own, which the end of the program does not wait for.
    fn background(&self, work: impl FnOnce(&dyn Fn(Message)) + Send + 'static) {
        let sender = self.sender.clone();
        let run = move || {
            // Once the cockpit has gone nobody listens, which is no error.
            let send = |message| drop(sender.send(message));
            if catch_unwind(AssertUnwindSafe(|| work(&send))).is_err() {
                let log = log::path().map(|path| format!("; {} has more", path.display()));
                let words = format!("an error inside the cockpit{}", log.unwrap_or_default());
                send(Message::Notice(Notice::error(words)));
            }
        };
        if let Err(e) = std::thread::Builder::new().name("effect".to_owned()).spawn(run) {
            let notice = Notice::error(format!("cannot start a thread: {e}"));
            let _ = self.sender.send(Message::Notice(notice));
        }
    }
}

impl Drop for Effects {
    fn drop(&mut self) {
        self.followed.fetch_add(1, Ordering::Relaxed);
        self.fetches.end();
    }
}

/// Follows a new run; where its worker goes before its first event, nothing is left of it but what it said.
fn follow_new(started: job::Started, followed: &AtomicU64, send: &dyn Fn(Message)) {
    let job::Started { run, worker, there_before, notes, .. } = started;
    let this = followed.fetch_add(1, Ordering::Relaxed) + 1;
    let wanted = || followed.load(Ordering::Relaxed) == this;
    notes.into_iter().for_each(|note| send(Message::Notice(Notice::info(note))));
    if let Some(why) = watch::watch_new(run.path(), worker, &wanted, send) {
        let path = run.path().to_owned();
        run.discard(&there_before);
        send(Message::Deleted(path));
        let why = format!("{why}\nThe run directory is removed again.");
        send(Message::Config(ConfigNews::NotStarted(why)));
    }
}

/// Follows `run` in the place of the one before. Only now: where the new one did not come to be, the old one stays.
fn follow(run: &Path, own: Option<Worker>, followed: &AtomicU64, send: &dyn Fn(Message)) {
    let this = followed.fetch_add(1, Ordering::Relaxed) + 1;
    watch::watch(run, own, &|| followed.load(Ordering::Relaxed) == this, send);
}

/// Stops the whole job of the shell that this program is a part of, such as `make` before it.
fn suspend() -> std::result::Result<(), String> {
    use rustix::process::{Signal, getpgrp, getsid, kill_current_process_group};
    // A session's first group has no shell above it that could let it go on.
    if getsid(None).is_ok_and(|session| session == getpgrp()) {
        return Err("no shell has started this, so none could let it go on: it is not suspended".to_owned());
    }
    kill_current_process_group(Signal::TSTP).map_err(|e| format!("cannot suspend: {e}"))
}

/// A run directory as it was typed, made absolute.
///
/// # Errors
/// `Error::User` where there is no run.
pub fn run_dir(path: &Path) -> Result<PathBuf> {
    let known =
        "give a run's directory: `qwen-tui jobs` lists those under `output`, and those that run elsewhere";
    match RunDir::open(path) {
        Ok(run) => Ok(run.path().to_owned()),
        Err(Error::User(_)) if path.symlink_metadata().is_err_and(|e| e.kind() == ErrorKind::NotFound) => {
            Err(Error::user(format!("--run: there is no directory {}; {known}", path.display())))
        }
        Err(Error::User(message)) => Err(Error::user(format!("--run: {message}; {known}"))),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Session;
    use std::sync::Mutex;

    #[test]
    fn what_is_no_run_is_told_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("评论.csv");
        std::fs::write(&file, "").unwrap();
        for (path, told) in [
            (dir.path().join("nope"), "there is no directory "),
            (file.join("v0"), "Not a directory"),
            (file, "is a file, not a run directory"),
            (dir.path().to_owned(), "is not a run directory: it has no sft_args.json"),
        ] {
            let error = run_dir(&path).unwrap_err();
            let words = error.to_string();
            assert_eq!(error.exit_code(), 2);
            assert!(words.starts_with("--run: ") && words.contains(told), "{words}");
            assert!(words.contains("; give a run's directory: `qwen-tui jobs` lists"), "{words}");
        }
    }

    #[test]
    fn a_run_whose_worker_goes_before_its_first_event_leaves_its_words_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(&dir.path().join("out"), "qwen-demo", true).unwrap();
        let path = run.path().to_owned();
        std::fs::write(run.args_file(), "{}").unwrap();
        let worker = Worker::start_engine(Path::new("/bin/false"), &path, Session::Background).unwrap();
        let heard = Mutex::new(Vec::new());
        let started =
            job::Started { run, worker, there_before: dir.path().to_owned(), notes: Vec::new(), model: None };
        follow_new(started, &AtomicU64::new(0), &|message| heard.lock().unwrap().push(message));
        let heard = heard.into_inner().unwrap();
        assert!(matches!(&heard[0], Message::Opened(opened) if *opened == path), "{heard:?}");
        match &heard[heard.len() - 2..] {
            [Message::Deleted(gone), Message::Config(ConfigNews::NotStarted(why))] => {
                assert!(*gone == path && why.contains("status 1"), "{why}");
                assert!(!why.contains("worker.log"), "it is there no more: {why}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
