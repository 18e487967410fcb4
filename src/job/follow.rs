//! A run in the foreground: a worker is started, and its event log shown until it ends.

use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::process::Signal;
use rustix::termios::tcgetwinsize;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Context, Error, Result, escaped, shown};
use crate::job::branch::kept;
use crate::job::engine::{HangUp, find_engine};
use crate::job::event::Event;
use crate::job::lines::Lines;
use crate::job::stop::{Beginning, HUNG_UP, SAME_INTERRUPT};
use crate::job::worker::{Session, Worker};
use crate::run::{EVENTS, Follower, Record};
use crate::stderr::{QuietKeys, note};

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
pub(super) const POLL: Duration = Duration::from_millis(100);
/// How long a worker that is to stop at once may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts a worker on `run_dir` and shows the run on stderr until it ends: with `bar` a progress bar on a terminal, lines
/// elsewhere.
///
/// Ctrl-C makes the worker save and end; this keeps following until it has. A second one ends the worker at once. None
/// where a signal came before the worker was started, or ended it before it did anything. SIGHUP ends the program, and
/// the worker trains on.
///
/// # Errors
/// What the worker's `Failed` event says, or why it ended without one.
pub fn run_foreground(run_dir: &Path, bar: bool, beginning: &Beginning) -> Result<Option<Outcome>> {
    resume_foreground(run_dir, None, bar, beginning)
}

/// [`run_foreground`] on a run that goes on from `checkpoint-STEP`.
pub fn resume_foreground(
    run_dir: &Path,
    step: Option<u64>,
    bar: bool,
    beginning: &Beginning,
) -> Result<Option<Outcome>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .internal("starting the async runtime")?;
    runtime.block_on(follow(&find_engine()?, run_dir, step, beginning, Screen::for_stderr(run_dir, bar)))
}

async fn follow(
    engine: &Path,
    run_dir: &Path,
    step: Option<u64>,
    beginning: &Beginning,
    mut screen: Screen,
) -> Result<Option<Outcome>> {
    let mut events = Follower::<Event>::open(&run_dir.join(EVENTS));
    // A resumed run has a log already; its end is not this worker's.
    events.poll()?;
    // Before the worker starts: a Ctrl-C in between must not end this program and leave it alone.
    let mut interrupt = signal(SignalKind::interrupt()).internal("catching SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).internal("catching SIGTERM")?;
    let mut hang_up = HangUp::listen()?;
    // Those that have come are not heard again.
    if beginning.stopped() {
        screen.close();
        return Ok(None);
    }
    let mut worker = Worker::start_at(engine, run_dir, Session::Foreground, step)?;
    let mut tick = tokio::time::interval(POLL);
    let mut end = None;
    let (mut interrupts, mut terminated, mut seen) = (0, false, false);
    let (mut first_interrupt, mut hurried): (Option<Instant>, Option<Instant>) = (None, None);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = interrupt.recv() => {
                if first_interrupt.get_or_insert_with(Instant::now).elapsed() < SAME_INTERRUPT && interrupts > 0 {
                    continue;
                }
                interrupts += 1;
                match interrupts {
                    1 => {
                        let what = match screen.lines.total_steps {
                            // It has not come to a step.
                            0 => "stopping",
                            _ => "stopping: the step at hand is finished and saved",
                        };
                        screen.say(&format!("{what}; Ctrl-C again stops at once"));
                        // `kill -INT` reaches this program alone; after Ctrl-C, this asks the worker once more.
                        worker.terminate();
                    }
                    2 => {
                        screen.say("stopping at once");
                        hurried = Some(Instant::now());
                    }
                    _ => {}
                }
                continue;
            }
            _ = hang_up.recv() => {
                screen.close();
                // The terminal is to be left as it was, where there is one.
                drop(screen);
                std::process::exit(HUNG_UP);
            }
            _ = terminate.recv() => {
                terminated = true;
                worker.terminate();
                continue;
            }
        }
        // The worker stops at once at its second SIGINT, of which it may have had none so far.
        match hurried {
            Some(since) if since.elapsed() > PATIENCE => worker.signal(Signal::KILL),
            Some(_) => worker.signal(Signal::INT),
            None => {}
        }
        // Asked before the log is read, so that nothing written before the end is missed.
        let status = worker.try_wait()?;
        for record in events.poll()? {
            // Ctrl-C has been answered already.
            match record.event {
                Event::Stopping if interrupts > 0 => screen.pass(&record),
                _ => screen.show(&record),
            }
            seen = true;
            end = ending(record.event).or(end);
        }
        if let Some(status) = status {
            screen.close();
            let asked = interrupts > 0 || terminated;
            return match (end, status.signal()) {
                (Some(end), _) => end.map(Some),
                // Signals that a worker which has begun would have answered.
                (None, Some(2 | 15)) if asked && !seen => Ok(None),
                (None, Some(2 | 9)) if hurried.is_some() => {
                    Err(Error::internal(format!("stopped at once{}", kept(run_dir))))
                }
                _ => Err(worker.explain(status)),
            };
        }
    }
}

/// What an event says of the run's end, where it does.
pub(super) fn ending(event: Event) -> Option<Result<Outcome>> {
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
pub(super) struct Screen {
    run_dir: PathBuf,
    lines: Lines,
    bar: Option<ProgressBar>,
    _quiet: Option<QuietKeys>,
}

impl Screen {
    pub(super) fn for_stderr(run_dir: &Path, bar: bool) -> Screen {
        let dumb = std::env::var("TERM").is_ok_and(|t| t == "dumb");
        let bar = (bar && std::io::stderr().is_terminal() && !dumb).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(spinner());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let quiet = bar.as_ref().and_then(|_| QuietKeys::new());
        Screen { run_dir: run_dir.to_owned(), lines: Lines::default(), bar, _quiet: quiet }
    }

    /// Takes in an event without a word.
    pub(super) fn pass(&mut self, record: &Record<Event>) {
        self.lines.see(&record.event);
    }

    pub(super) fn show(&mut self, record: &Record<Event>) {
        self.lines.see(&record.event);
        // Not before: a run that is refused leaves no directory.
        if let Event::Plan { .. } = &record.event {
            self.say(&format!("run directory: {}", shown(&self.run_dir)));
        }
        if let Some(line) = self.lines.line(&record.event, self.bar.is_some()) {
            self.say(&line);
        }
        let Some(bar) = &self.bar else { return };
        if let Event::Plan { total_steps, .. } = &record.event {
            bar.set_length(*total_steps);
            bar.set_style(steps());
        }
        bar.set_position(self.lines.step);
        bar.set_message(self.lines.status(room(self.lines.step, self.lines.total_steps)));
    }

    pub(super) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(escaped(line)),
            // A closed stderr is no reason to leave the worker alone.
            None => note(line),
        }
    }

    pub(super) fn close(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Cells of the bar itself.
const BAR: usize = 14;

/// Cells that stand beside the bar and the steps.
fn room(step: u64, steps: u64) -> usize {
    let size = tcgetwinsize(std::io::stderr()).map(|size| usize::from(size.ws_col));
    let columns = size.ok().filter(|columns| *columns > 0).unwrap_or(80);
    columns.saturating_sub(BAR + format!(" {step}/{steps}  ").len())
}

fn steps() -> ProgressStyle {
    ProgressStyle::with_template(&format!("{{bar:{BAR}}} {{pos}}/{{len}}  {{wide_msg}}"))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests;
