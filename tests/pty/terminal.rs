//! A program in a pseudo-terminal, and its screen as a terminal emulator shows it.
#![allow(dead_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, Winsize};

/// How long anything but a training may take.
pub const SOON: Duration = Duration::from_secs(30);

pub struct Terminal {
    child: Child,
    /// `None` once the terminal has been closed.
    master: Option<File>,
    /// Held open so that the terminal's modes can be read when the program has ended.
    slave: Option<OwnedFd>,
    emulator: Arc<Mutex<vt100::Parser>>,
    reader: Option<Reader>,
    began: Instant,
}

/// Reads what the program writes, until it is told that the terminal is gone.
struct Reader {
    gone: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn start(mut output: File, shown: Arc<Mutex<vt100::Parser>>) -> Self {
        let gone = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&gone);
        let thread = std::thread::spawn(move || {
            let mut bytes = [0; 1 << 14];
            while !told.load(Ordering::Relaxed) {
                let mut wanted = libc::pollfd { fd: output.as_raw_fd(), events: libc::POLLIN, revents: 0 };
                // SAFETY: one descriptor, which is open, in a struct that outlives the call.
                if unsafe { libc::poll(&mut wanted, 1, 20) } == 0 {
                    continue;
                }
                // An error is the end: nobody has the other side open any more.
                let Ok(n @ 1..) = output.read(&mut bytes) else { return };
                shown.lock().unwrap().process(&bytes[..n]);
            }
        });
        Self { gone, thread }
    }

    fn stop(self) {
        self.gone.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

fn size(columns: u16, rows: u16) -> (NonZeroU16, NonZeroU16) {
    (NonZeroU16::new(rows).unwrap(), NonZeroU16::new(columns).unwrap())
}

impl Terminal {
    /// Starts `command` as the leader of a session of its own, on a terminal of this size.
    pub fn start(mut command: Command, columns: u16, rows: u16) -> Terminal {
        let master =
            rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let slave = rustix::pty::ioctl_tiocgptpeer(
            &master,
            OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
        )
        .unwrap();
        resize(&master, columns, rows);
        let end = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end()).env_remove("NO_COLOR");
        if command.get_envs().all(|(name, _)| name != "TERM") {
            command.env("TERM", "xterm-256color");
        }
        // SAFETY: between fork and exec only setsid(2) and ioctl(2) are called, which are async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
                Ok(())
            })
        };
        let began = Instant::now();
        let child = command.spawn().unwrap();
        let (height, width) = size(columns, rows);
        let emulator = Arc::new(Mutex::new(vt100::Parser::new(height, width, 0)));
        let master = File::from(master);
        let reader = Some(Reader::start(master.try_clone().unwrap(), Arc::clone(&emulator)));
        Terminal { child, master: Some(master), slave: Some(slave), emulator, reader, began }
    }

    /// The program's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn text(&self) -> String {
        self.emulator.lock().unwrap().screen().contents()
    }

    /// Waits until the screen is as wanted; returns the seconds since the start.
    #[track_caller]
    pub fn wait(&mut self, what: &str, limit: Duration, wanted: impl Fn(&str) -> bool) -> f64 {
        let (began, mut gone) = (Instant::now(), None);
        loop {
            let text = self.text();
            if wanted(&text) {
                return self.began.elapsed().as_secs_f64();
            }
            let ended = self.child.try_wait().unwrap();
            // What it wrote last may be on its way still.
            gone = gone.or(ended.map(|_| Instant::now()));
            assert!(
                began.elapsed() < limit && gone.is_none_or(|since| since.elapsed() < Duration::from_secs(2)),
                "not seen: {what} (ended: {ended:?}); the screen is\n{text}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until all of `words` stand on the screen.
    #[track_caller]
    pub fn see(&mut self, words: &[&str]) -> f64 {
        self.wait(&format!("{words:?}"), SOON, |text| words.iter().all(|w| text.contains(w)))
    }

    /// Types; a key that is no character as the terminal sends it.
    pub fn press(&mut self, keys: &str) {
        self.master.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Pastes, as a terminal with bracketed paste does.
    pub fn paste(&mut self, text: &str) {
        self.press(&format!("\x1b[200~{text}\x1b[201~"));
    }

    pub fn resize(&mut self, columns: u16, rows: u16) {
        let (height, width) = size(columns, rows);
        self.emulator.lock().unwrap().set_size(height, width);
        resize(self.master.as_ref().unwrap(), columns, rows);
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops the program, and waits until it stands: a SIGCONT that comes before that is lost.
    #[track_caller]
    pub fn stop(&self, signal: Signal) {
        self.signal(signal);
        let (began, stat) = (Instant::now(), format!("/proc/{}/stat", self.id()));
        let stands =
            || std::fs::read_to_string(&stat).is_ok_and(|s| s.rsplit_once(") ").unwrap().1.starts_with('T'));
        while !stands() {
            assert!(began.elapsed() < SOON, "it is not stopped; the screen is\n{}", self.text());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Takes the terminal away, as a lost connection does: the kernel sends SIGHUP to the session when the last of this
    /// side's files is closed.
    pub fn hang_up(&mut self) {
        self.slave = None;
        self.master = None;
        self.reader.take().expect("it has a terminal still").stop();
    }

    /// Kills the program as nothing it could catch.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < SOON, "it does not end; the screen is\n{}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The program has ended, or is stopped, and the terminal is as before: the shell's screen, its cursor, lines and
    /// echo. What it did last may be on its way still.
    #[track_caller]
    pub fn assert_clean(&mut self) {
        let slave = self.slave.as_ref().unwrap().as_fd();
        let usual = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        let began = Instant::now();
        loop {
            let modes = rustix::termios::tcgetattr(slave).unwrap().local_modes;
            let emulator = self.emulator.lock().unwrap();
            let screen = emulator.screen();
            let drawn = screen.alternate_screen() || screen.hide_cursor() || screen.bracketed_paste();
            if modes.contains(usual) && !drawn {
                return;
            }
            assert!(
                began.elapsed() < Duration::from_secs(2),
                "the terminal is left as it was, with {modes:?}:\n{}",
                screen.contents()
            );
            drop(emulator);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(master: &impl AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(master, size).unwrap();
}
