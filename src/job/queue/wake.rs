//! One runner at a time, started by whoever finds work for it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::process::{Command, Stdio};

use super::folder::{Queue, is_held};
use crate::error::{Context, Error, Result};
use crate::job::runs::take_lock;
use crate::job::worker::in_own_session;

const RUNNER_LOCK: &str = "runner.lock";
const RUNNER_LOG: &str = "runner.log";
/// A log longer than this begins anew.
const LOG_LIMIT: u64 = 1 << 20;

impl Queue {
    /// Starts a runner, in a session of its own, where there is work for one and none is there.
    ///
    /// # Errors
    /// `Error::User` where the folder cannot be used, or this program cannot be started.
    pub fn wake(&self) -> Result<()> {
        if !self.list()?.has_work() || self.has_runner() {
            return Ok(());
        }
        let path = self.dir().join(RUNNER_LOG);
        let is_long = fs::metadata(&path).is_ok_and(|m| m.len() > LOG_LIMIT);
        let log = OpenOptions::new().create(true).append(!is_long).write(true).truncate(is_long).open(&path);
        let log = log.map_err(|e| self.refused("write", &path, &e))?;
        let program = std::env::current_exe().internal("finding this program's own path")?;
        let mut command = Command::new(&program);
        let errors = log.try_clone().internal("duplicating the log's file descriptor")?;
        command.args(["queue", "run"]).stdin(Stdio::null()).stdout(log).stderr(errors);
        in_own_session(&mut command);
        let started = command.spawn();
        let mut runner = started.user(format!("cannot start {} to run the queue", program.display()))?;
        // So that it does not stay behind as a zombie of a cockpit that is open for longer.
        std::thread::spawn(move || drop(runner.wait()));
        Ok(())
    }

    /// Whether a runner is at work.
    pub fn has_runner(&self) -> bool {
        is_held(&self.dir().join(RUNNER_LOCK))
    }

    /// The lock of the one runner; none where another has it.
    ///
    /// # Errors
    /// The folder cannot be written, or its file system knows no locks.
    pub(super) fn lock_runner(&self) -> Result<Option<File>> {
        let path = self.dir().join(RUNNER_LOCK);
        let file = match OpenOptions::new().create(true).append(true).open(&path) {
            Ok(file) => file,
            // There is no queue.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.refused("open", &path, &e)),
        };
        if take_lock(&file) {
            return Ok(Some(file));
        }
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(self.refused("lock", &path, &e)),
        }
    }

    /// Gives the lock back where there is no work: whoever adds a job after that finds no runner, and starts one.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(super) fn leave(&self, lock: &File) -> Result<bool> {
        if !self.dir().exists() {
            return Ok(true);
        }
        self.locked(|| {
            if self.list()?.has_work() {
                return Ok(false);
            }
            lock.unlock().map_err(|e| Error::internal(format!("the runner's lock: {e}")))?;
            Ok(true)
        })
    }
}
