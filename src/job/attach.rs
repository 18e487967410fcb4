//! A run that somebody else has started, followed as lines: whoever looks leaves it as it is.

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};

use super::event::Event;
use super::follow::{Outcome, POLL, Screen, ending};
use super::runs::worker_alive;
use super::standing::{Standing, now};
use super::worker::recorded_end;
use crate::error::{Context, Error, Result, shown};
use crate::run::{EVENTS, Follower};

/// Shows the run in `run` on stderr as lines until its worker has gone: how its newest worker began, the newest line of
/// its log, then what comes. None where a signal (Ctrl-C) ended the following; the job goes on.
///
/// # Errors
/// What the worker's `Failed` event says, or why it ended without one; no worker has begun on the run.
pub fn attach(run: &Path) -> Result<Option<Outcome>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .internal("starting the async runtime")?;
    runtime.block_on(follow(run, Screen::for_stderr(run, false)))
}

async fn follow(run: &Path, mut screen: Screen) -> Result<Option<Outcome>> {
    let mut interrupt = signal(SignalKind::interrupt()).internal("catching SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).internal("catching SIGTERM")?;
    let mut events = Follower::<Event>::open(&run.join(EVENTS));
    let mut standing = Standing::read(run);
    let mut tick = tokio::time::interval(POLL);
    let (mut history, mut end, mut hangs) = (true, None, false);
    loop {
        // Asked before the log is read, so that nothing written before the end is missed.
        let alive = worker_alive(run);
        let records = events.poll()?;
        // Of what was before only the newest worker's beginning and where it stands.
        let from =
            records.iter().rposition(|r| history && matches!(r.event, Event::Started { .. })).unwrap_or(0);
        let newest = records.iter().rposition(|r| matches!(r.event, Event::Log { .. }));
        for (n, record) in records.into_iter().enumerate() {
            let old =
                history && (n < from || (matches!(record.event, Event::Log { .. }) && Some(n) != newest));
            if old {
                screen.pass(&record)
            } else {
                screen.show(&record)
            }
            standing.see(&record);
            if matches!(record.event, Event::Started { .. }) {
                end = None;
            }
            end = ending(record.event).or(end);
        }
        history = false;
        if !alive {
            screen.close();
            return end.unwrap_or_else(|| Err(ended(run, &standing))).map(Some);
        }
        let trouble = standing.hung(now()).and_then(|_| standing.trouble(now()));
        if let Some(trouble) = trouble.as_ref().filter(|_| !hangs) {
            screen.say(&format!("warning: the worker {trouble}"));
        }
        hangs = trouble.is_some();
        tokio::select! {
            _ = tick.tick() => {}
            _ = interrupt.recv() => return Ok(None),
            _ = terminate.recv() => return Ok(None),
        }
    }
}

/// Why a worker went that did not say how it ended.
fn ended(run: &Path, standing: &Standing) -> Error {
    if standing.pid.is_none() {
        return Error::user(format!("{}: no worker has begun on this run", shown(run)));
    }
    // Who started it writes that down a moment later.
    std::thread::sleep(3 * POLL);
    let crashed = || {
        let trouble = Standing::read(run).trouble(now());
        Error::internal(trouble.unwrap_or_else(|| "its worker ended without a word".to_owned()))
    };
    recorded_end(run).unwrap_or_else(crashed).context(shown(run))
}
