//! A run in the foreground: a worker is started, and its event log shown until it ends.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Context, Error, Result};
use crate::job::engine::find_engine;
use crate::job::event::Event;
use crate::job::lines::Lines;
use crate::job::worker::{Session, Worker};
use crate::run::{Follower, Record};

/// How a run that did not fail ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    pub step: u64,
    pub seconds: f64,
    /// True where a user or a signal stopped it before its last step.
    pub stopped: bool,
    /// Relative to the run directory.
    pub last_checkpoint: Option<String>,
    pub best_checkpoint: Option<String>,
    pub best_metric: Option<f64>,
}

/// How often the event log is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Starts a worker on `run_dir` and shows the run on stderr until it ends: a progress bar on a terminal, lines elsewhere.
///
/// Ctrl-C makes the worker save and end; this keeps following until it has.
///
/// # Errors
/// What the worker's `Failed` event says, or why it ended without one.
pub fn run_foreground(run_dir: &Path) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .internal("starting the async runtime")?;
    runtime.block_on(follow(&find_engine()?, run_dir, Screen::for_stderr()))
}

async fn follow(engine: &Path, run_dir: &Path, mut screen: Screen) -> Result<Outcome> {
    let mut events = Follower::<Event>::open(&run_dir.join("events.jsonl"));
    // A resumed run has a log already; its end is not this worker's.
    events.poll()?;
    // Before the worker starts: a Ctrl-C in between must not end this program and leave it alone.
    let mut interrupt = signal(SignalKind::interrupt()).internal("catching SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).internal("catching SIGTERM")?;
    let mut worker = Worker::start_engine(engine, run_dir, Session::Foreground)?;
    let mut tick = tokio::time::interval(POLL);
    let mut end = None;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = interrupt.recv() => {
                screen.say("stopping: the step at hand is finished and saved (Ctrl-C)");
                // `kill -INT` reaches this program alone; after Ctrl-C, SIGTERM asks the worker for the same once more.
                worker.terminate();
                continue;
            }
            _ = terminate.recv() => {
                worker.terminate();
                continue;
            }
        }
        // Asked before the log is read, so that nothing written before the end is missed.
        let status = worker.try_wait()?;
        for record in events.poll()? {
            screen.show(&record);
            end = ending(record.event).or(end);
        }
        if let Some(status) = status {
            screen.close();
            return end.unwrap_or_else(|| Err(worker.explain(status)));
        }
    }
}

/// What an event says of the run's end, where it does.
fn ending(event: Event) -> Option<Result<Outcome>> {
    match event {
        Event::Finished { step, seconds, stopped, last_checkpoint, best_checkpoint, best_metric } => {
            Some(Ok(Outcome { step, seconds, stopped, last_checkpoint, best_checkpoint, best_metric }))
        }
        Event::Failed { exit_code: 2, message } => Some(Err(Error::User(message))),
        Event::Failed { message, .. } => Some(Err(Error::Internal(message))),
        _ => None,
    }
}

/// Where the run is shown.
struct Screen {
    lines: Lines,
    bar: Option<ProgressBar>,
}

impl Screen {
    fn for_stderr() -> Screen {
        let dumb = std::env::var("TERM").is_ok_and(|t| t == "dumb");
        let bar = (std::io::stderr().is_terminal() && !dumb).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(spinner());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Screen { lines: Lines::default(), bar }
    }

    fn show(&mut self, record: &Record<Event>) {
        self.lines.see(&record.event);
        if let Some(line) = self.lines.line(&record.event, self.bar.is_some()) {
            self.say(&line);
        }
        let Some(bar) = &self.bar else { return };
        if let Event::Plan { total_steps, .. } = &record.event {
            bar.set_length(*total_steps);
            bar.set_style(steps());
        }
        bar.set_position(self.lines.step);
        bar.set_message(self.lines.status());
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            // A closed stderr is no reason to leave the worker alone.
            None => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }

    fn close(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn steps() -> ProgressStyle {
    ProgressStyle::with_template("{bar:14} {pos}/{len}  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests;
