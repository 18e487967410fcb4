//! Signals that ask to stop, heard from the first moment on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libc::c_int;
use signal_hook_registry::SigId;

use crate::error::{Context, Result};

/// The exit status where the terminal has gone, as shells have it.
pub const HUNG_UP: c_int = 128 + libc::SIGHUP;
/// A SIGINT within this time after the first one is the same wish, come another way: `timeout` signals its child and then
/// the group, and what passes Ctrl-C on adds its own to the terminal's. Nobody presses a key twice so fast and means more.
pub const SAME_INTERRUPT: Duration = Duration::from_millis(250);
/// How often [`Beginning`] looks whether a signal came.
const POLL: Duration = Duration::from_millis(20);

/// Hears signals, which do nothing else then: once caught they do not end the program any more, unless something else
/// hears them.
pub struct Stop {
    came: Arc<AtomicBool>,
    caught: Vec<SigId>,
}

impl Stop {
    /// # Errors
    /// Signals cannot be caught.
    pub fn catch(signals: &[c_int]) -> Result<Self> {
        let mut stop = Self { came: Arc::new(AtomicBool::new(false)), caught: Vec::new() };
        for &signal in signals {
            let came = Arc::clone(&stop.came);
            // SAFETY: the handler does no more than store to an atomic, which is async-signal-safe.
            let id =
                unsafe { signal_hook_registry::register(signal, move || came.store(true, Ordering::SeqCst)) };
            stop.caught.push(id.internal("catching signals")?);
        }
        Ok(stop)
    }

    /// Whether one came.
    pub fn came(&self) -> bool {
        self.came.load(Ordering::SeqCst)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        for id in self.caught.drain(..) {
            signal_hook_registry::unregister(id);
        }
    }
}

/// The signals that ask a program to stop. A SIGHUP that is ignored stays so.
pub fn asking_to_stop() -> Vec<c_int> {
    let hang_up = (!ignores_hang_up()).then_some(libc::SIGHUP);
    [libc::SIGINT, libc::SIGTERM].into_iter().chain(hang_up).collect()
}

/// Whether SIGHUP is ignored: `nohup` has it so, and it is to stay so.
pub(super) fn ignores_hang_up() -> bool {
    // SAFETY: zeroes are a valid sigaction, which is only written to; no handler is given.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    let asked = unsafe { libc::sigaction(libc::SIGHUP, std::ptr::null(), &mut now) };
    asked == 0 && now.sa_sigaction == libc::SIG_IGN
}

/// What a job that begins has come to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is made that would have to be taken away.
    Free,
    /// Something is being done that looks for the signal itself.
    Held,
    /// There is something to take away, which its maker does.
    Begun,
}

/// The time before a job has a worker, in which SIGINT, SIGTERM and SIGHUP end the program: at once while nothing is
/// made, and else where whoever makes something has taken it away again.
pub struct Beginning {
    stop: Arc<Stop>,
    phase: Arc<Mutex<Phase>>,
}

impl Beginning {
    /// Hears the signals from now on. Where one comes while nothing is made, `end` is called on a thread of its own, and
    /// ends the program.
    ///
    /// # Errors
    /// Signals cannot be caught.
    pub fn watched(end: impl Fn() + Send + 'static) -> Result<Beginning> {
        let beginning = Beginning::in_phase(Phase::Free)?;
        let (stop, phase) = (Arc::clone(&beginning.stop), Arc::clone(&beginning.phase));
        std::thread::spawn(move || {
            loop {
                {
                    // Held while the program ends: nothing is begun meanwhile.
                    let phase = locked(&phase);
                    match *phase {
                        Phase::Begun => return,
                        Phase::Free if stop.came() => end(),
                        Phase::Free | Phase::Held => {}
                    }
                }
                std::thread::sleep(POLL);
            }
        });
        Ok(beginning)
    }

    /// Hears the signals of a job of which something is about to be made.
    ///
    /// # Errors
    /// As [`watched`](Self::watched).
    pub fn begun() -> Result<Beginning> {
        Beginning::in_phase(Phase::Begun)
    }

    fn in_phase(phase: Phase) -> Result<Beginning> {
        Ok(Beginning { stop: Arc::new(Stop::catch(&asking_to_stop())?), phase: Arc::new(Mutex::new(phase)) })
    }

    /// Whether a signal came: whoever has begun something takes it away and ends.
    pub fn stopped(&self) -> bool {
        self.stop.came()
    }

    /// Does what looks for the signal itself, by [`stopped`](Self::stopped).
    pub fn hold<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = std::mem::replace(&mut *locked(&self.phase), Phase::Held);
        let done = work();
        *locked(&self.phase) = before;
        done
    }

    /// From now on there may be something to take away.
    pub fn begin(&self) {
        *locked(&self.phase) = Phase::Begun;
    }
}

fn locked(phase: &Mutex<Phase>) -> MutexGuard<'_, Phase> {
    phase.lock().unwrap_or_else(PoisonError::into_inner)
}
