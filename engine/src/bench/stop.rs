//! A benchmark that is ended by a signal: its processes end too, and its folder goes.

use std::process::Child;
use std::sync::{Mutex, PoisonError};

use qwen_tui::error::{Context, Error, Result};
use qwen_tui::job::engine::HangUp;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// The processes that are at work, and the signal that has come.
#[derive(Default)]
struct State {
    children: Vec<Pid>,
    came: Option<i32>,
}

static STATE: Mutex<State> = Mutex::new(State { children: Vec::new(), came: None });

fn with<T>(look: impl FnOnce(&mut State) -> T) -> T {
    look(&mut STATE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Listens for SIGINT, SIGTERM and SIGHUP from now on: whoever waits for a process then finds that it has ended.
///
/// # Errors
/// Signals that cannot be caught.
pub fn listen() -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().internal("starting tokio")?;
    let (mut interrupt, mut terminate, mut hang_up) = runtime.block_on(async {
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        let caught = "catching signals";
        Ok::<_, Error>((interrupt.internal(caught)?, terminate.internal(caught)?, HangUp::listen()?))
    })?;
    std::thread::spawn(move || {
        let number = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
                _ = hang_up.recv() => SignalKind::hangup(),
            }
        });
        with(|state| {
            state.came = Some(number.as_raw_value());
            // One that has gone already is no matter.
            for pid in state.children.drain(..) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
    });
    Ok(())
}

/// The exit status that the signal that has come asks for, as shells have it.
pub fn status() -> Option<i32> {
    with(|state| state.came).map(|number| 128 + number)
}

/// Ends `child` when a signal comes.
///
/// # Errors
/// One has come already: the child is ended.
pub fn ends(child: &mut Child) -> Result<()> {
    let came = with(|state| {
        state.children.extend(Pid::from_raw(child.id() as i32));
        state.came.is_some()
    });
    if !came {
        return Ok(());
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(Error::user("the benchmark was ended"))
}

/// `child` has been waited for: its number may be another's from now on.
pub fn forget(child: &Child) {
    with(|state| state.children.retain(|pid| Some(*pid) != Pid::from_raw(child.id() as i32)));
}
