//! The cockpit: a picture of a run and hands on its worker. It is a client: what it shows is the fold of the run's
//! events and of the keys, and the worker goes on without it.
//!
//! Keys and messages go into `app`, actions come out, `effects` does them and answers with messages. Only `terminal`,
//! `signals`, `effects` and this file touch the world; the rest is plain data, so a test is a recorded log and a few keys.

pub mod action;
pub mod app;
mod chrome;
pub mod component;
pub mod configs;
pub mod effects;
pub mod fetching;
pub mod keys;
mod log;
pub mod message;
pub mod model;
mod opening;
mod parting;
pub mod popups;
mod questions;
pub mod repl;
mod signals;
pub mod state;
mod tabs;
mod terminal;
pub mod text;
pub mod theme;
mod widgets;

use std::future::poll_fn;
use std::path::PathBuf;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossterm::event::EventStream;
use futures::StreamExt;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::MissedTickBehavior;

use crate::args::typed;
use crate::error::{Context, Error, Result};
use crate::job::stop::HUNG_UP;
use crate::stderr::note;
use action::Action;
use app::App;
use effects::Effects;
use fetching::FetchNews;
use message::Message;
use signals::{Asked, Signals};
use state::{Clock, State};
use terminal::Screen;
use theme::Theme;

/// Keys and messages taken in before the next picture.
const BATCH: usize = 256;

/// How the cockpit is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The run to open; without one the running job, or else the newest run.
    pub run: Option<PathBuf>,
    /// Where runs are looked for.
    pub output_dir: PathBuf,
    /// The file of arguments that the form begins with; without one `configs/jd-sentiment.json`, if that is there.
    pub config: Option<PathBuf>,
    /// Arguments over that file, as on the command line of `sft`.
    pub flags: Vec<String>,
}

/// Runs the cockpit on this terminal; returns the exit status.
///
/// # Errors
/// `Error::User` where `run` is none, `config` cannot be read or the terminal cannot be used. The terminal is as it was before in any case.
pub fn run(options: Options) -> Result<i32> {
    run_with(options, |_| {})
}

/// [`run`], with the application changed before it is shown.
///
/// # Errors
/// As [`run`].
pub fn run_with(options: Options, change: impl FnOnce(&mut App)) -> Result<i32> {
    let run = options.run.as_deref().map(|run| effects::run_dir(&typed(run))).transpose()?;
    let config = effects::first_config(options.config.as_deref().map(typed), &options.flags)?;
    let output_dir = typed(&options.output_dir);
    let output_dir = std::path::absolute(&output_dir).unwrap_or(output_dir);
    let mut state = State::new(Theme::from_env(), Clock::Local, output_dir, now());
    if let Some(run) = &run {
        state.look_around(run);
    }
    let mut app = App::new(state, run.is_none());
    if options.config.is_some() {
        app.want_form();
    }
    change(&mut app);
    let first = app.message(&config);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .internal("starting the async runtime")?;
    // Before the terminal is taken: a signal that comes then must give it back.
    let signals = runtime.block_on(async { Signals::new() })?;
    let mut screen = Screen::open()?;
    let _log = log::start();
    let ended = runtime.block_on(run_on(&mut screen, &mut app, run, first, signals));
    // Heard of by a key or a picture before the signal: that the terminal has gone is no error of the cockpit's.
    let ended = if ended.is_err() && terminal::is_gone() { Ok(HUNG_UP) } else { ended };
    drop(screen);
    if let Some(words) = app.parting_words() {
        // Where the terminal has gone, nobody reads it.
        note(&words);
    }
    ended
}

async fn run_on(
    screen: &mut Screen,
    app: &mut App,
    run: Option<PathBuf>,
    first: Vec<Action>,
    signals: Signals,
) -> Result<i32> {
    draw(screen, app)?;
    let (sender, mut messages) = unbounded_channel();
    let mut effects = Effects::new(sender);
    effects.start(run.as_deref(), &app.state);
    first.into_iter().for_each(|a| effects.act(a, &app.state));
    let ended = until_the_end(screen, app, &mut effects, &mut messages, signals).await;
    // Ends the fetches: a job that starts all the same has said so before this returns.
    drop(effects);
    while let Ok(message) = messages.try_recv() {
        if matches!(message, Message::Fetch(FetchNews::Starts)) {
            app.message(&message);
        }
    }
    ended
}

async fn until_the_end(
    screen: &mut Screen,
    app: &mut App,
    effects: &mut Effects,
    messages: &mut UnboundedReceiver<Message>,
    mut signals: Signals,
) -> Result<i32> {
    let mut keys = EventStream::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let actions = tokio::select! {
            key = keys.next() => match key {
                Some(Ok(key)) => app.input(key),
                Some(Err(e)) => return Err(e).user("cannot read from the terminal"),
                None => return Ok(0),
            },
            Some(message) = messages.recv() => match message {
                Message::Exit => return Ok(0),
                message => app.message(&message),
            },
            _ = tick.tick() => app.message(&Message::Tick(now())),
            asked = signals.next() => match asked {
                Asked::Quit => app.quit(),
                // A job goes on; that is what it has a session of its own for.
                Asked::End(status) => return Ok(status),
                Asked::Continue => {
                    screen.take_again()?;
                    draw(screen, app)?;
                    Vec::new()
                }
            },
        };
        actions.into_iter().for_each(|a| effects.act(a, &app.state));
        if take_in_what_waits(app, effects, &mut keys, messages).await? {
            return Ok(0);
        }
        if app.take_changed() {
            draw(screen, app)?;
        }
    }
}

/// Takes in what has come already, so that a burst costs one picture; true where the cockpit should end.
async fn take_in_what_waits(
    app: &mut App,
    effects: &mut Effects,
    keys: &mut EventStream,
    messages: &mut UnboundedReceiver<Message>,
) -> Result<bool> {
    for _ in 0..BATCH {
        // Asked with this task's own waker: the stream remembers who asked first, and nobody else would be woken.
        let key = poll_fn(|cx| Poll::Ready(keys.poll_next_unpin(cx))).await;
        let actions: Vec<Action> = if let Poll::Ready(Some(key)) = key {
            app.input(key.user("cannot read from the terminal")?)
        } else {
            match messages.try_recv() {
                Ok(Message::Exit) => return Ok(true),
                Ok(message) => app.message(&message),
                Err(_) => break,
            }
        };
        actions.into_iter().for_each(|a| effects.act(a, &app.state));
    }
    Ok(false)
}

fn draw(screen: &mut Screen, app: &App) -> Result<()> {
    // Let go on in the background, it has nothing to draw on.
    if !terminal::is_taken() {
        return Ok(());
    }
    let drawn = screen.terminal.draw(|frame| app.draw(frame));
    drawn.map(drop).map_err(|e| Error::user(format!("cannot draw on the terminal: {e}")))
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}
