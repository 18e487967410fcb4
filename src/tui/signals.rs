//! Signals: those that end the cockpit, stop it and let it go on. None leaves the terminal as the cockpit has it.

use std::sync::OnceLock;
use std::{mem, ptr};

use libc::{c_int, c_void, sigaction, siginfo_t};
use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{self, SignalKind, signal};

use super::terminal;
use crate::error::{Context, Result};
use crate::job::stop::HUNG_UP;

/// Those that end the cockpit as SIGTERM does.
const ENDING: [c_int; 6] =
    [libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM];
/// Those after which nothing of the program can be relied on, or that nobody sends on purpose: it dies by them.
const FATAL: [c_int; 14] = [
    libc::SIGABRT,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGSTKFLT,
    libc::SIGPWR,
];
/// Those that stop it.
const STOPPING: [c_int; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// What stood in the place of the handler of a signal; of some, what the standard library does about a stack that is full.
static PREVIOUS: OnceLock<Vec<(c_int, sigaction)>> = OnceLock::new();

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To quit, as the key does.
    Quit,
    /// To end with this exit status.
    End(i32),
    /// The program was stopped and goes on.
    Continue,
}

/// The signals that the cockpit hears between two pictures.
pub struct Signals {
    heard: Vec<(unix::Signal, Asked)>,
}

impl Signals {
    /// Hears them from now on, and handles those that cannot wait.
    ///
    /// # Errors
    /// `Error::Internal` where the system refuses.
    pub fn new() -> Result<Signals> {
        handle()?;
        end_without_terminal()?;
        let ending = ENDING.map(|number| (number, Asked::End(128 + number)));
        let others = [(libc::SIGINT, Asked::Quit), (libc::SIGCONT, Asked::Continue)];
        let hear = |(number, asked)| {
            signal(SignalKind::from_raw(number)).map(|s| (s, asked)).internal("catching signals")
        };
        let heard = ending.into_iter().chain(others).map(hear).collect::<Result<_>>()?;
        Ok(Signals { heard })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Asked {
        std::future::poll_fn(|cx| {
            for (signal, asked) in &mut self.heard {
                if signal.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*asked);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// Ends the program at SIGHUP where the terminal has gone. Between two pictures may be too late: crossterm 0.29 reads a
/// terminal that has gone again and again, and never returns.
fn end_without_terminal() -> Result<()> {
    let end = |_: &siginfo_t| {
        if terminal::is_gone() {
            // SAFETY: _exit(2) is async-signal-safe, and nothing is left to give back.
            unsafe { libc::_exit(HUNG_UP) };
        }
    };
    // SAFETY: the handler asks the terminal with one ioctl(2), and ends.
    unsafe { signal_hook_registry::register_sigaction(libc::SIGHUP, end) }
        .map(drop)
        .internal("catching SIGHUP")
}

/// Handles what cannot wait for the next picture.
fn handle() -> Result<()> {
    let mut previous = Vec::new();
    for number in FATAL.into_iter().chain(STOPPING) {
        // SAFETY: a `sigaction` of zeros is a valid one; both pointers are to one that lives through the call, and the
        // handler calls nothing that is not async-signal-safe.
        let (failed, before) = unsafe {
            let (mut action, mut before): (sigaction, sigaction) = (mem::zeroed(), mem::zeroed());
            action.sa_sigaction = on_signal as *const () as usize;
            // On a stack of its own, where there is one: the usual one may be full.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
            libc::sigemptyset(&mut action.sa_mask);
            (libc::sigaction(number, &action, &mut before), before)
        };
        if failed != 0 {
            return Err(std::io::Error::last_os_error()).internal("catching signals");
        }
        previous.push((number, before));
    }
    PREVIOUS.get_or_init(|| previous);
    Ok(())
}

/// Gives the terminal back, then stops, or dies by the signal. Calls nothing that is not async-signal-safe.
extern "C" fn on_signal(number: c_int, info: *mut siginfo_t, _: *mut c_void) {
    terminal::give_back();
    if STOPPING.contains(&number) {
        // Here it stands until SIGCONT.
        let _ = kill_process(getpid(), Signal::STOP);
        return;
    }
    // SAFETY: the kernel hands a valid `siginfo_t` to a handler with SA_SIGINFO.
    let is_fault = unsafe { (*info).si_code } > 0 && matches!(number, libc::SIGSEGV | libc::SIGBUS);
    let before = PREVIOUS.get().and_then(|all| all.iter().find(|(n, _)| *n == number));
    // SAFETY: as in `handle`; sigaction(2) and raise(3) are async-signal-safe.
    unsafe {
        match before {
            // After the return the same instruction faults again, and whoever was here before tells of it.
            Some((_, before)) if is_fault => _ = libc::sigaction(number, before, ptr::null_mut()),
            _ => {
                let default: sigaction = mem::zeroed();
                libc::sigaction(number, &default, ptr::null_mut());
                // It waits until the handler has returned.
                libc::raise(number);
            }
        }
    }
}
