//! The worker: trains one run as an async task, writes its events, takes commands from its socket and from signals.

mod saved;
mod socket;

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use qwen_tui::args::SftArgs;
use qwen_tui::error::{Context, Error, Result};
use qwen_tui::job::branch::kept;
use qwen_tui::job::event::{Command, Event};
use qwen_tui::job::register::register;
use qwen_tui::job::runs;
use qwen_tui::job::stop::SAME_INTERRUPT;
use qwen_tui::run::{EventLog, RunDir, clean_partial, no_more_checkpoints, still_there};
use qwen_tui::shell;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::device::{self, Meter};
use crate::{train, words};
use saved::all_saved;
use socket::{CommandSocket, Commands};

/// Seconds between two [`Event::Resources`].
const METER: Duration = Duration::from_secs(2);

/// A second SIGTERM within this time is the same wish: what ends a whole group (a service manager, `timeout`) reaches
/// the worker itself and through `qwen-tui`, which passes the signal on.
const ECHO: Duration = Duration::from_secs(1);

/// How long a computation that is to stop at once may go on: a save that is nearly done comes to its end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Trains the run in `dir`, whose `sft_args.json` says how, to its end: from its `checkpoint-STEP` on where `resume_at`
/// names one.
///
/// # Errors
/// As [`train::train`]; also written to the event log, with the exit status.
pub fn run(dir: &Path, resume_at: Option<u64>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .internal("tokio")?;
    let began = Instant::now();
    // Before anything else: a signal that comes while files are read must not end the process.
    let signals = runtime.block_on(async { Signals::new() })?;
    let run = RunDir::open(dir)?;
    let _lock = lock(&run)?;
    let _registered = register(run.path());
    clean_partial(&run);
    let events = EventLog::open(&run.events_file())?;
    let log = Arc::new(Mutex::new(Log { events, step: 0, finished: false, no_room: false }));
    let place = run.path().to_owned();
    let training = train_async(run, resume_at, Arc::clone(&log), signals);
    let outcome = runtime.block_on(training);
    // A compute thread that hangs in libtorch must not keep the process.
    runtime.shutdown_timeout(PATIENCE);
    // Where it is still at work, neither a checkpoint nor an event may follow what is said here.
    no_more_checkpoints();
    let mut log = locked(&log);
    let outcome = match outcome {
        // Told to end at once while it ended: the log says that it has, and all is saved.
        _ if log.finished => return Ok(()),
        Ok(End::Ended) => Ok(()),
        Ok(End::AtOnce(why)) => match all_saved(&place, log.step, began.elapsed()) {
            Some(stopped) => return log.events.append_last(&stopped).and_then(|_| log.events.sync()),
            None => Err(Error::internal(format!("{why}: stopped at once{}", kept(&place)))),
        },
        Err(e) => Err(e),
    };
    // Whatever came of a directory that is gone, that is why.
    let outcome = outcome.map_err(|e| still_there(&place).err().unwrap_or(e));
    if let Err(e) = &outcome {
        let event = Event::Failed { exit_code: e.exit_code(), message: e.to_string() };
        let _ = log.events.append_last(&event);
    }
    std::mem::forget(log);
    outcome
}

/// The event log, with what it has told so far.
struct Log {
    events: EventLog,
    /// Steps done.
    step: u64,
    /// Its last word has been said.
    finished: bool,
    /// The run waits for room.
    no_room: bool,
}

fn locked(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a training came to its end.
enum End {
    Ended,
    /// For this reason, and perhaps in the middle of something.
    AtOnce(&'static str),
}

/// The signals a worker obeys.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).internal("SIGINT")?,
            terminate: signal(SignalKind::terminate()).internal("SIGTERM")?,
            hangup: signal(SignalKind::hangup()).internal("SIGHUP")?,
        })
    }
}

/// The lock that lets one worker into a run; the kernel drops it with the process.
fn lock(run: &RunDir) -> Result<File> {
    let path = run.lock();
    let file = File::options().create(true).append(true).open(&path).user(path.display())?;
    if !runs::take_lock(&file) {
        return Err(Error::user(format!(
            "{}: another worker is training this run; `qwen-tui attach {}` shows it",
            run.path().display(),
            shell::word(run.path())
        )));
    }
    Ok(file)
}

fn append(log: &Mutex<Log>, event: &Event) -> Result<()> {
    let mut log = locked(log);
    if event.is_last_word() {
        log.events.append_last(event)?
    } else {
        log.events.append(event)?
    };
    // What a checkpoint goes on from must not be missing from the log after a power cut.
    if matches!(event, Event::Checkpoint { .. } | Event::Finished { .. }) {
        log.events.sync()?;
    }
    match event {
        Event::Started { step, .. } | Event::Step { step, .. } => log.step = *step,
        Event::Finished { .. } => log.finished = true,
        Event::NoRoom { .. } => log.no_room = true,
        Event::RoomAgain => log.no_room = false,
        _ => {}
    }
    Ok(())
}

/// For those who look on; nothing follows the last word. A log that cannot be written ends the training itself at its next
/// event.
fn tell(log: &Mutex<Log>, event: &Event) {
    let mut log = locked(log);
    if !log.finished {
        let _ = log.events.append(event);
    }
}

async fn train_async(
    run: RunDir,
    resume_at: Option<u64>,
    log: Arc<Mutex<Log>>,
    mut signals: Signals,
) -> Result<End> {
    let args = SftArgs::from_run_dir(run.path())?;
    let (commands, received) = mpsc::channel();
    let (told, first) = (Arc::clone(&log), AtomicBool::new(true));
    let commands: Commands = Arc::new(move |command| {
        if command == Command::Stop && first.swap(false, Ordering::SeqCst) {
            tell(&told, &Event::Stopping);
        }
        commands.send(command).is_ok()
    });
    // Without a socket the run is worth as much; signals stop it all the same.
    let _files = match CommandSocket::bind(&run) {
        Ok(socket) => Some(socket.serve(Arc::clone(&commands))),
        Err(e) => {
            append(&log, &Event::Warning { message: format!("no commands but by signals: {e}") })?;
            None
        }
    };
    let mut meter = Meter::new(device::choose(&args.device)?);
    let (events, place) = (Arc::clone(&log), run.path().to_owned());
    let mut compute = tokio::task::spawn_blocking(move || {
        let mut emit = |event: Event| append(&events, &event);
        let from = resume_at.map(|step| run.checkpoint(step));
        train::train(&args, &run, from.as_deref(), &received, &mut emit)
    });
    let mut ticks = tokio::time::interval(METER);
    let mut interrupted: Option<Instant> = None;
    let mut terminated: Option<Instant> = None;
    let mut stopped: Option<Instant> = None;
    let mut stop = || {
        // One wish may come as both signals, and a second one means more: to end without saving, where it waits for room.
        if stopped.is_none_or(|before| before.elapsed() > ECHO) {
            commands(Command::Stop);
        }
        stopped = Some(Instant::now());
    };
    loop {
        tokio::select! {
            ended = &mut compute => {
                let ended = ended.unwrap_or_else(|e| Err(panicked(e).map(|text| text + &kept(&place))));
                return ended.map(|()| End::Ended);
            }
            _ = ticks.tick() => {
                still_there(&place)?;
                // The room that is kept for a full disk is for what matters, and that may last for days.
                if !locked(&log).no_room {
                    tell(&log, &meter.read());
                }
            }
            _ = signals.interrupt.recv() => {
                match interrupted {
                    Some(first) if first.elapsed() < SAME_INTERRUPT => continue,
                    Some(_) => return Ok(End::AtOnce("interrupted twice")),
                    None => interrupted = Some(Instant::now()),
                }
                tracing::info!("SIGINT: finishing the step, saving, ending");
                stop();
            }
            _ = signals.terminate.recv() => {
                if terminated.is_some_and(|first| first.elapsed() > ECHO) {
                    return Ok(End::AtOnce("SIGTERM came twice"));
                }
                terminated.get_or_insert_with(Instant::now);
                tracing::info!("SIGTERM: finishing the step, saving, ending");
                stop();
            }
            _ = signals.hangup.recv() => tracing::info!("SIGHUP: the terminal is gone; training goes on"),
        }
    }
}

/// libtorch's errors reach us as panics of the compute thread: its words without the backtrace.
fn panicked(e: tokio::task::JoinError) -> Error {
    let text = match e.try_into_panic() {
        Ok(payload) => words::of_panic(payload.as_ref()),
        Err(e) => e.to_string(),
    };
    match words::is_of_memory(&text) {
        true => Error::user(format!(
            "the device's memory ran out: {}; end what else takes of it, lower max_length or eval_batch_size, or use dtype \
             bf16 or a device with more memory",
            words::of_memory(&text)
        )),
        false => Error::internal(format!("the computation failed: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn failing(text: &'static str) -> Error {
        let failed = tokio::task::spawn_blocking(move || panic!("{text}"));
        panicked(failed.await.unwrap_err())
    }

    #[tokio::test]
    async fn a_failed_computation_is_told_in_its_own_words() {
        let text = "CUDA error: device-side assert triggered\nException raised from c10_cuda_check";
        let e = failing(text).await;
        assert_eq!(e.exit_code(), 1);
        assert_eq!(e.to_string(), "the computation failed: CUDA error: device-side assert triggered");
        let e = failing("CUDA out of memory. Tried to allocate 2.00 GiB\nException raised from malloc").await;
        assert!(e.exit_code() == 2 && e.to_string().contains("Tried to allocate 2.00 GiB; end"), "{e}");
    }
}
