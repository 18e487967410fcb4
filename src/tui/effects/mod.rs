//! The cockpit's hands: whatever an action does to the world is done here, away from the screen's thread, and what
//! comes of it comes back as a message.

mod checkpoints;
mod config;
mod fetching;
mod follow;
mod job;
mod looks;
mod queue;
mod repl;
mod watch;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
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
use crate::hub::latest;
use crate::job::event::Command;
use crate::job::merge::AtWork;
use crate::job::ready_engine;
use crate::job::register;
use crate::job::tell::tell;
use crate::run::RunDir;

pub use config::first_config;
use fetching::Fetches;
pub use follow::run_dir;
use follow::{follow, follow_new};
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

/// Stops the whole job of the shell that this program is a part of, such as `make` before it.
fn suspend() -> std::result::Result<(), String> {
    use rustix::process::{Signal, getpgrp, getsid, kill_current_process_group};
    // A session's first group has no shell above it that could let it go on.
    if getsid(None).is_ok_and(|session| session == getpgrp()) {
        return Err("no shell has started this, so none could let it go on: it is not suspended".to_owned());
    }
    kill_current_process_group(Signal::TSTP).map_err(|e| format!("cannot suspend: {e}"))
}
