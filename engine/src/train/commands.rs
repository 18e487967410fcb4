//! Commands to a run, obeyed between steps.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use qwen_tui::error::Result;
use qwen_tui::job::event::{Command, Event};

use super::Sink;

/// What the commands ask for after a step; what comes later outweighs what comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    Nothing,
    Save,
    Stop,
}

/// Where commands come in. Who waits for something else than all of them leaves the others for later.
pub struct Inbox<'a> {
    received: &'a Receiver<Command>,
    kept: RefCell<VecDeque<Command>>,
}

/// What ended a [sleep](Inbox::sleep).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    Slept,
    Resume,
    Stop,
}

impl<'a> Inbox<'a> {
    pub fn new(received: &'a Receiver<Command>) -> Self {
        Self { received, kept: RefCell::default() }
    }

    pub fn try_recv(&self) -> Result<Command, TryRecvError> {
        self.kept.borrow_mut().pop_front().map_or_else(|| self.received.try_recv(), Ok)
    }

    /// The next command, waited for; none where no more can come.
    fn recv(&self) -> Result<Command, TryRecvError> {
        let kept = self.kept.borrow_mut().pop_front();
        kept.map_or_else(|| self.received.recv().map_err(|_| TryRecvError::Disconnected), Ok)
    }

    /// Waits for `time`, or until a command to go on or to stop comes; other commands are kept.
    pub fn sleep(&self, time: Duration) -> Woken {
        let began = Instant::now();
        loop {
            match self.received.recv_timeout(time.saturating_sub(began.elapsed())) {
                Ok(Command::Resume) => {
                    // A pause that it has not come to yet is taken back by this.
                    self.kept.borrow_mut().retain(|kept| *kept != Command::Pause);
                    return Woken::Resume;
                }
                Ok(Command::Stop) => return Woken::Stop,
                Ok(other) => self.kept.borrow_mut().push_back(other),
                Err(RecvTimeoutError::Timeout) => return Woken::Slept,
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(time.saturating_sub(began.elapsed()));
                    return Woken::Slept;
                }
            }
        }
    }
}

/// The commands that come in.
pub struct Commands<'a> {
    received: &'a Inbox<'a>,
    paused: bool,
    waited: Duration,
}

impl<'a> Commands<'a> {
    pub fn new(received: &'a Inbox<'a>) -> Commands<'a> {
        Commands { received, paused: false, waited: Duration::ZERO }
    }

    /// Obeys what came in since the last look. A pause waits here until it ends, or until there is something to save:
    /// then [`paused`](Self::paused) says that it has not ended, and the next call goes on with it.
    pub fn obey(&mut self, emit: &mut Sink<'_>, step: u64) -> Result<Asked> {
        let mut asked = Asked::Nothing;
        loop {
            let command = match self.paused {
                true => {
                    let began = Instant::now();
                    let received = self.received.recv();
                    self.waited += began.elapsed();
                    received
                }
                false => self.received.try_recv(),
            };
            match command {
                Ok(Command::Stop) => return Ok(Asked::Stop),
                Ok(Command::Save) if self.paused => return Ok(Asked::Save),
                Ok(Command::Save) => asked = Asked::Save,
                Ok(Command::Pause) if !self.paused => {
                    emit(Event::Paused { step })?;
                    self.paused = true;
                    if asked == Asked::Save {
                        return Ok(asked);
                    }
                }
                Ok(Command::Resume) | Err(TryRecvError::Disconnected) if self.paused => {
                    emit(Event::Resumed { step })?;
                    self.paused = false;
                }
                Ok(Command::Pause | Command::Resume) => {}
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(asked),
            }
        }
    }

    /// Whether the last [`obey`](Self::obey) returned in the middle of a pause.
    pub fn paused(&self) -> bool {
        self.paused
    }

    /// How long all pauses have lasted so far.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Where they come in.
    pub fn inbox(&self) -> &'a Inbox<'a> {
        self.received
    }

    /// [`obey`](Self::obey) where there is nothing to save yet: whether to stop.
    pub fn stop(&mut self, emit: &mut Sink<'_>, step: u64) -> Result<bool> {
        loop {
            let asked = self.obey(emit, step)?;
            if asked == Asked::Stop || !self.paused {
                return Ok(asked == Asked::Stop);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn saving_within_a_pause_does_not_end_it() {
        let (sender, received) = channel();
        let inbox = Inbox::new(&received);
        let mut commands = Commands::new(&inbox);
        let mut told = Vec::new();
        let mut emit = |event: Event| {
            told.push(event);
            Ok(())
        };
        use Command::{Pause, Resume, Save, Stop};
        assert_eq!(commands.obey(&mut emit, 7).unwrap(), Asked::Nothing);
        for command in [Save, Pause, Pause, Save, Resume, Save, Resume] {
            sender.send(command).unwrap();
        }
        assert_eq!((commands.obey(&mut emit, 7).unwrap(), commands.paused()), (Asked::Save, true));
        assert_eq!((commands.obey(&mut emit, 7).unwrap(), commands.paused()), (Asked::Save, true));
        assert_eq!((commands.obey(&mut emit, 7).unwrap(), commands.paused()), (Asked::Save, false));
        for command in [Pause, Save, Stop] {
            sender.send(command).unwrap();
        }
        assert!(commands.stop(&mut emit, 7).unwrap());
        let kinds: Vec<_> = told.iter().map(|e| matches!(e, Event::Paused { step: 7 })).collect();
        assert_eq!(kinds, [true, false, true]);
        assert!(matches!(told[1], Event::Resumed { step: 7 }));
    }

    #[test]
    fn a_pause_whose_commander_has_gone_ends() {
        let (sender, received) = channel();
        let inbox = Inbox::new(&received);
        let mut commands = Commands::new(&inbox);
        sender.send(Command::Pause).unwrap();
        drop(sender);
        assert_eq!(commands.obey(&mut |_| Ok(()), 1).unwrap(), Asked::Nothing);
        assert!(!commands.paused());
    }

    #[test]
    fn the_time_of_a_pause_is_counted() {
        let (sender, received) = channel();
        let inbox = Inbox::new(&received);
        let mut commands = Commands::new(&inbox);
        let pause = Duration::from_millis(30);
        sender.send(Command::Pause).unwrap();
        let resuming = std::thread::spawn(move || {
            std::thread::sleep(pause);
            sender.send(Command::Resume).unwrap();
        });
        // It may have begun to wait a moment after the other thread began to sleep.
        let began = Instant::now();
        commands.obey(&mut |_| Ok(()), 1).unwrap();
        let outside = began.elapsed();
        resuming.join().unwrap();
        assert!(commands.waited() > Duration::ZERO && commands.waited() <= outside);
        let so_far = commands.waited();
        commands.obey(&mut |_| Ok(()), 1).unwrap();
        assert_eq!(commands.waited(), so_far, "without a pause nothing is added");
    }
}
