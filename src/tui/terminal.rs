//! The terminal: taken over, and given back on every way out.

use std::io::{BufWriter, Stdout, Write, stdout};
use std::mem::ManuallyDrop;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::Show;
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::execute;
use crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::stdio;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use crate::error::{Context, Result};

/// Whether the terminal is ours now.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// What it was before, for every thread and for the handlers of signals.
static BEFORE: OnceLock<Before> = OnceLock::new();

/// How the terminal is put back.
struct Before {
    modes: Termios,
    /// What is written to it.
    sequences: Vec<u8>,
}

type Out = Terminal<CrosstermBackend<BufWriter<Stdout>>>;

/// The terminal while the cockpit has it. Dropping it gives it back.
pub struct Screen {
    /// Never dropped: it would tell on stderr that a terminal which has gone cannot show its cursor, and panic there.
    pub terminal: ManuallyDrop<Out>,
}

impl Screen {
    /// Takes the terminal over; from now on a panic of this thread gives it back before it is told.
    ///
    /// # Errors
    /// `Error::User` where standard output is no terminal that can do it.
    pub fn open() -> Result<Screen> {
        restore_on_panic();
        let modes = tcgetattr(stdio::stdin()).user("cannot take over the terminal")?;
        let mut sequences = Vec::new();
        execute!(sequences, DisableBracketedPaste, LeaveAlternateScreen, Show)
            .internal("writing to memory")?;
        BEFORE.get_or_init(|| Before { modes, sequences });
        Ok(Screen { terminal: ManuallyDrop::new(take()?) })
    }

    /// Takes the terminal over once more, after this program was stopped and goes on. Nothing is on it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn take_again(&mut self) -> Result<()> {
        *self.terminal = take()?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Whether the terminal is ours now. It is not from a stop until it has been taken again.
pub fn is_taken() -> bool {
    TAKEN.load(Ordering::SeqCst)
}

/// Whether the terminal has gone: its connection was lost, or its window closed.
pub fn is_gone() -> bool {
    matches!(tcgetattr(stdio::stdin()), Err(Errno::IO | Errno::NXIO))
}

/// Raw mode and the alternate screen, empty. In the background it stops this program until that is in the foreground.
fn take() -> Result<Out> {
    let refused = "cannot take over the terminal";
    let mut raw = tcgetattr(stdio::stdin()).user(refused)?;
    raw.make_raw();
    tcsetattr(stdio::stdin(), OptionalActions::Now, &raw).user(refused)?;
    // It sets what is set already, and remembers it: else crossterm takes the byte of Ctrl+J for Enter's.
    enable_raw_mode().user(refused)?;
    TAKEN.store(true, Ordering::SeqCst);
    let taken = execute!(stdout(), EnterAlternateScreen, Clear(ClearType::All), EnableBracketedPaste);
    // One write a picture, whatever its size.
    let buffered = || CrosstermBackend::new(BufWriter::with_capacity(1 << 16, stdout()));
    taken.and_then(|()| Terminal::new(buffered())).inspect_err(|_| restore()).user(refused)
}

/// Gives the terminal back, once. A terminal that has gone takes nothing back, which is no error.
fn restore() {
    let _ = stdout().flush();
    give_back();
}

/// Gives the terminal back, once; a handler of a signal may call it. Another program's, in whose background this one
/// is, is left alone.
pub fn give_back() {
    let is_ours = tcgetpgrp(stdio::stdin()).is_ok_and(|foreground| foreground == getpgrp());
    if let Some(before) = BEFORE.get()
        && TAKEN.swap(false, Ordering::SeqCst)
        && is_ours
    {
        let mut rest = &before.sequences[..];
        while let Ok(n @ 1..) = rustix::io::write(stdio::stdout(), rest) {
            rest = &rest[n..];
        }
        let _ = tcsetattr(stdio::stdin(), OptionalActions::Now, &before.modes);
    }
}

/// A panic of the screen's thread ends the program, so the terminal is given back first and the panic told on it.
/// One of another thread does not, so it is told to the log alone.
fn restore_on_panic() {
    let screen = std::thread::current().id();
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("{panic}");
        if std::thread::current().id() == screen {
            restore();
            tell(panic);
        }
    }));
}
