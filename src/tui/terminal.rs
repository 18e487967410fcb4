//! The terminal: taken over, and given back on every way out.

use std::io::{BufWriter, Stdout, stdout};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::Show;
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use crate::error::{Context, Result};

/// Whether the terminal is ours now.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal while the cockpit has it. Dropping it gives it back.
pub struct Screen {
    /// Never dropped: it would tell on stderr that a terminal which has gone cannot show its cursor, and panic there.
    pub terminal: ManuallyDrop<Terminal<CrosstermBackend<BufWriter<Stdout>>>>,
}

impl Screen {
    /// Takes the terminal over; from now on a panic of this thread gives it back before it is told.
    ///
    /// # Errors
    /// `Error::User` where standard output is no terminal that can do it.
    pub fn open() -> Result<Screen> {
        restore_on_panic();
        enable_raw_mode().user("cannot take over the terminal")?;
        TAKEN.store(true, Ordering::SeqCst);
        let opened = execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste).and_then(|()| {
            // One write a picture, whatever its size.
            Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(1 << 16, stdout())))
        });
        match opened {
            Ok(terminal) => Ok(Screen { terminal: ManuallyDrop::new(terminal) }),
            Err(e) => {
                restore();
                Err(e).user("cannot take over the terminal")
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, once. A terminal that has gone takes nothing back, which is no error.
fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
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
