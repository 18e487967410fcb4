//! Waiting for room on a disk that is full: a run is worth more than the moment at which it could not be saved.

use std::path::{Path, PathBuf};
use std::time::Duration;

use qwen_tui::error::{Error, Result};
use qwen_tui::job::event::Event;
use qwen_tui::run::free_bytes;

use super::Sink;
use super::commands::{Inbox, Woken};

/// How long until it is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// What would write much is tried where there is more room than when it failed, and in any case every so many times: a
/// quota does not show in what is free.
const ANYWAY: u32 = 12;

/// The waiting of one thing that found no room.
pub struct Waiting {
    told: bool,
    /// Where much is to be written.
    large: Option<PathBuf>,
}

impl Waiting {
    /// Of something small, such as a line.
    pub fn new() -> Self {
        Self { told: false, large: None }
    }

    /// Of something large in `dir`.
    pub fn with_much(dir: &Path) -> Self {
        Self { told: false, large: Some(dir.to_owned()) }
    }

    /// Tells that there is no room, and returns when it is to be tried again: after a while, or at once on the command
    /// to go on.
    ///
    /// # Errors
    /// `error`, what was found, where a command to stop comes meanwhile; any error that is not about room.
    pub fn wait(&mut self, error: Error, inbox: &Inbox<'_>, emit: &mut Sink<'_>) -> Result<()> {
        let Error::NoRoom(message) = error else { return Err(error) };
        if !self.told {
            tracing::warn!("waiting for room: {message}");
        }
        let free = || self.large.as_deref().and_then(free_bytes);
        let left = free();
        for _ in 0..ANYWAY {
            // Where even this finds no room it is told later.
            self.told = self.told || emit(Event::NoRoom { message: message.clone() }).is_ok();
            match inbox.sleep(AGAIN) {
                Woken::Stop => {
                    return Err(Error::NoRoom(format!("stopped while it waited for room: {message}")));
                }
                Woken::Resume => break,
                Woken::Slept if left.is_none() || free() > left => break,
                Woken::Slept => {}
            }
        }
        Ok(())
    }

    /// Tells that there is room again, where the opposite was told.
    pub fn over(self, emit: &mut Sink<'_>) -> Result<()> {
        if self.told { emit(Event::RoomAgain) } else { Ok(()) }
    }
}

/// Emits `event`; where the log's own disk is full, waits for room.
///
/// # Errors
/// Those of [`Waiting::wait`] and of `emit`.
pub fn emit_patiently(event: Event, inbox: &Inbox<'_>, emit: &mut Sink<'_>) -> Result<()> {
    let tells_of_it = matches!(event, Event::NoRoom { .. });
    let mut waiting = Waiting::new();
    loop {
        match emit(event.clone()) {
            // Who tells of the waiting waits already.
            Err(e @ Error::NoRoom(_)) if !tells_of_it => waiting.wait(e, inbox, emit)?,
            Ok(()) => return waiting.over(emit),
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use qwen_tui::job::event::Command;

    use super::*;

    /// A log that finds no room for the first `full` events other than last words.
    fn log(told: &mut Vec<Event>, mut full: usize) -> impl FnMut(Event) -> Result<()> + '_ {
        move |event| {
            if !event.is_last_word() && full > 0 {
                full -= 1;
                return Err(Error::NoRoom("the disk is full".to_owned()));
            }
            told.push(event);
            Ok(())
        }
    }

    #[test]
    fn an_event_waits_for_room_and_is_told_then() {
        let (sender, received) = channel();
        let inbox = Inbox::new(&received);
        for command in [Command::Pause, Command::Resume, Command::Save, Command::Resume] {
            sender.send(command).unwrap();
        }
        let (paused, mut told) = (Event::Paused { step: 3 }, Vec::new());
        emit_patiently(paused.clone(), &inbox, &mut log(&mut told, 2)).unwrap();
        let message = "the disk is full".to_owned();
        assert_eq!(told, [Event::NoRoom { message }, paused, Event::RoomAgain]);
        // What it has not obeyed is there for others, but for a pause that was taken back.
        assert_eq!(inbox.try_recv(), Ok(Command::Save));
        assert!(inbox.try_recv().is_err());
    }

    #[test]
    fn a_stop_ends_the_waiting() {
        let (sender, received) = channel();
        let inbox = Inbox::new(&received);
        sender.send(Command::Save).unwrap();
        sender.send(Command::Stop).unwrap();
        let mut told = Vec::new();
        let e = emit_patiently(Event::Paused { step: 3 }, &inbox, &mut log(&mut told, 9)).unwrap_err();
        assert!(matches!(e, Error::NoRoom(_)) && e.to_string().contains("the disk is full"), "{e:?}");
        assert_eq!(told.len(), 1);
    }

    #[test]
    fn other_errors_are_not_waited_for() {
        let (_sender, received) = channel();
        let inbox = Inbox::new(&received);
        let mut broken = |_| Err(Error::user("read-only"));
        let e = emit_patiently(Event::Paused { step: 3 }, &inbox, &mut broken).unwrap_err();
        assert_eq!(e.to_string(), "read-only");
    }
}
