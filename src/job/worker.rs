//! Starting a worker on a run directory, and saying why it ended when it did not say so itself.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::Signal;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::job::engine::{ENGINE_VARIABLE, find_engine};
use crate::job::libraries::Unusable;
use crate::job::runs::is_chatter;
use crate::run::{EVENTS, WORKER_EXIT, WORKER_LOG, check_place, file_error, read_json, write_json};

/// Whether a worker lives and dies with the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// In the terminal's process group: Ctrl-C reaches it. That the terminal goes away does it no harm.
    Foreground,
    /// In a session of its own: neither Ctrl-C nor a lost connection reaches it.
    Background,
}

/// Neither Ctrl-C nor a lost connection reaches what `command` starts.
pub(super) fn in_own_session(command: &mut Command) {
    // SAFETY: between fork and exec only setsid(2) is called, which is async-signal-safe.
    unsafe { command.pre_exec(|| rustix::process::setsid().map(drop).map_err(Into::into)) };
}

/// A terminal that is closed before `command` hears signals itself does not end it.
fn outlive_the_terminal(command: &mut Command) {
    let ignore = || {
        // SAFETY: signal(2) is async-signal-safe, and no handler is given.
        let before = unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
        if before == libc::SIG_ERR { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: between fork and exec only signal(2) is called.
    unsafe { command.pre_exec(ignore) };
}

/// How a worker ended, in `worker.exit`: who started it writes it down where that was badly, for those who look later.
#[derive(Debug, Serialize, Deserialize)]
struct Exit {
    pid: u32,
    /// Its exit status, or the signal that ended it.
    code: Option<i32>,
    signal: Option<i32>,
    /// Where its own words begin in `worker.log`.
    log_start: u64,
}

/// A worker this program has started. Dropping it does not end it.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    log: PathBuf,
    /// The log, which can be read when it has been deleted too.
    file: File,
    /// Length of `worker.log` before the start: an earlier worker's words explain nothing about this one.
    log_start: u64,
}

impl Worker {
    /// Starts `qwen-tui-engine worker RUN_DIR`; what it prints goes to `RUN_DIR/worker.log`.
    ///
    /// # Errors
    /// `Error::User` where there is no engine, it cannot be run, or the log cannot be written.
    pub fn start(run_dir: &Path, session: Session) -> Result<Worker> {
        Self::start_engine(&find_engine()?, run_dir, session)
    }

    /// [`start`](Self::start) with an engine that has been found already.
    pub fn start_engine(engine: &Path, run_dir: &Path, session: Session) -> Result<Worker> {
        Self::start_at(engine, run_dir, session, None)
    }

    /// [`start_engine`](Self::start_engine) on a run that goes on from `checkpoint-STEP`.
    pub fn start_at(engine: &Path, run_dir: &Path, session: Session, step: Option<u64>) -> Result<Worker> {
        Self::spawn(engine, run_dir, session, step, Stdio::null())
    }

    /// [`start_at`](Self::start_at) in the background, with the open file `held`, and so with the lock on it, from before
    /// its first instruction to its end.
    pub fn start_holding(engine: &Path, run_dir: &Path, step: Option<u64>, held: File) -> Result<Worker> {
        // A worker reads nothing there.
        Self::spawn(engine, run_dir, Session::Background, step, held.into())
    }

    fn spawn(
        engine: &Path,
        run_dir: &Path,
        session: Session,
        step: Option<u64>,
        stdin: Stdio,
    ) -> Result<Worker> {
        let log = run_dir.join(WORKER_LOG);
        let open = || OpenOptions::new().create(true).append(true).read(true).open(&log);
        let out = open().map_err(|e| unwritable(&log, &e))?;
        let clone = || out.try_clone().internal("duplicating the log's file descriptor");
        let (err, file) = (clone()?, clone()?);
        let log_start = out.metadata().map(|m| m.len()).unwrap_or(0);
        // The end of the worker before says nothing of this one's.
        let _ = fs::remove_file(run_dir.join(WORKER_EXIT));
        let mut command = Command::new(engine);
        command.arg("worker").arg(run_dir);
        if let Some(step) = step {
            command.arg("--resume-at").arg(step.to_string());
        }
        command.stdin(stdin).stdout(out).stderr(err);
        match session {
            Session::Background => in_own_session(&mut command),
            Session::Foreground => outlive_the_terminal(&mut command),
        }
        let child = command.spawn().user(format!("cannot run the engine {}", engine.display()))?;
        Ok(Worker { child, log, file, log_start })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, where it has ended; a bad one is also written down beside the log.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait().internal("waiting for the worker")?;
        if let Some(status) = status.filter(|s| !s.success()) {
            let (code, signal) = (status.code(), status.signal());
            let exit = Exit { pid: self.pid(), code, signal, log_start: self.log_start };
            // Without it those who look later are told that it is not known.
            let _ = write_json(&self.log.with_file_name(WORKER_EXIT), &exit);
        }
        Ok(status)
    }

    /// Asks it to finish the step at hand, save and end (SIGTERM).
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw) {
            // It may have ended by itself just now.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Why it ended, for a worker that ended without a `Finished` or `Failed` event.
    pub fn explain(&self, status: ExitStatus) -> Error {
        let said = self.own_log();
        // Where it could not even say why: the disk that its log is on tells.
        if status.code().is_some()
            && said.lines().all(|line| line.trim().is_empty() || is_chatter(line))
            && let Some(Err(e)) = self.log.parent().map(check_place)
        {
            return e;
        }
        explain(status, &said, Some(&self.log))
    }

    fn own_log(&self) -> String {
        own_log(&self.file, self.log_start).unwrap_or_default()
    }

    /// [`explain`](Self::explain) where the log goes with the run directory: all that it says is said here.
    pub fn explain_alone(&self, status: ExitStatus) -> Error {
        explain(status, &self.own_log(), None)
    }
}

/// Why a worker's log cannot be written, and so nothing else of the run can be. The directory of a new run has just been
/// made: this is one that goes on, and it lies where it lies.
fn unwritable(log: &Path, e: &std::io::Error) -> Error {
    let run = log.parent().unwrap_or(log).display();
    match e.kind() {
        ErrorKind::ReadOnlyFilesystem => Error::user(format!(
            "cannot write {}: {e}; a run goes on where it lies: make that disk writable, or copy {run} to one that is, and \
             go on with it there (--resume_from_checkpoint)",
            log.display()
        )),
        ErrorKind::PermissionDenied => Error::user(format!(
            "cannot write {}: {e}; a run goes on where it lies: change its permissions, or copy {run} to a directory of your \
             own, and go on with it there (--resume_from_checkpoint)",
            log.display()
        )),
        _ => file_error("write", log, e),
    }
}

/// Why the newest worker of the run in `dir` ended, where who started it has written down how.
pub fn recorded_end(dir: &Path) -> Option<Error> {
    let (file, log) = (dir.join(WORKER_EXIT), dir.join(WORKER_LOG));
    let modified = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    // A worker that nobody waited for has written to the log since.
    let is_old = modified(&dir.join(EVENTS)) > modified(&file);
    let exit: Exit = read_json(&file).ok().filter(|_| !is_old)?;
    let raw = exit.signal.or(exit.code.map(|code| (code & 0xff) << 8))?;
    let said = File::open(&log).and_then(|file| own_log(&file, exit.log_start)).unwrap_or_default();
    Some(explain(ExitStatus::from_raw(raw), &said, Some(&log)))
}

/// Bytes of a worker's words that are read, from their end.
const WORDS: u64 = 16 << 10;

/// The end of what a worker has printed to `log` from `start` on.
fn own_log(log: &File, start: u64) -> std::io::Result<String> {
    let length = log.metadata()?.len();
    let start = start.max(length.saturating_sub(WORDS));
    let mut bytes = vec![0; length.saturating_sub(start) as usize];
    log.read_exact_at(&mut bytes, start)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Why a worker ended that has printed `output`; `log` is where that stands and stays.
fn explain(status: ExitStatus, output: &str, log: Option<&Path>) -> Error {
    if let Some(unusable) = Unusable::from_loader(output) {
        return unusable.error();
    }
    // Chatter is left out where it can be looked up.
    let is_word = |l: &&str| !l.is_empty() && (log.is_none() || !is_chatter(l));
    let lines: Vec<&str> = output.lines().map(str::trim_end).filter(is_word).collect();
    let last = lines[lines.len().saturating_sub(12)..].join("\n  ");
    let place = log.map_or(String::new(), |log| format!(" ({})", log.display()));
    let said = match (last.is_empty(), log) {
        (true, _) if !output.trim().is_empty() => format!("; it did not say why{place}"),
        (true, _) => format!("; it printed nothing{place}{}", suspect()),
        (false, Some(log)) => format!("; the end of {}:\n  {last}", log.display()),
        (false, None) => format!("; its last words:\n  {last}"),
    };
    match (status.code(), status.signal()) {
        // Where it never began, the run directory may be removed, and the log with it.
        (Some(2), _) if !last.is_empty() => match lines.iter().rposition(|l| l.starts_with("error: ")) {
            Some(at) => Error::user(lines[at..].join("\n")["error: ".len()..].to_owned()),
            None => Error::user(format!("the worker refused to run:\n  {last}")),
        },
        (Some(2), _) => Error::user(format!("the worker refused to run, and did not say why{}", suspect())),
        (Some(code), _) => Error::internal(format!("the worker ended with exit status {code}{said}")),
        // A limit is the user's to raise.
        (None, Some(25)) => Error::user(format!("the worker was ended by {}{said}", signal_name(25))),
        (None, Some(signal)) => {
            Error::internal(format!("the worker was ended by {}{said}", signal_name(signal)))
        }
        (None, None) => Error::internal(format!("the worker ended ({status}){said}")),
    }
}

/// A hint for an engine that ends without a word: it may be none.
fn suspect() -> String {
    match std::env::var(ENGINE_VARIABLE) {
        Ok(path) if !path.is_empty() => format!(". {ENGINE_VARIABLE}={path} names it: is that the engine?"),
        _ => String::new(),
    }
}

pub(crate) fn signal_name(signal: i32) -> String {
    let (name, hint) = match signal {
        1 => ("SIGHUP", "the terminal went away"),
        2 => ("SIGINT", "Ctrl-C"),
        4 => ("SIGILL", "this processor lacks an instruction that libtorch uses"),
        6 => ("SIGABRT", "a failure inside libtorch"),
        7 => ("SIGBUS", "a file it had mapped shrank, or the disk is full"),
        9 => ("SIGKILL", "most often the machine ran out of memory: `dmesg` tells"),
        11 => ("SIGSEGV", "a failure inside libtorch"),
        15 => ("SIGTERM", "somebody ended it"),
        25 => ("SIGXFSZ", "a file grew beyond the limit that `ulimit -f` shows"),
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal} ({name}: {hint})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(raw: i32, output: &str) -> Error {
        explain(ExitStatus::from_raw(raw), output, Some(Path::new("/run/worker.log")))
    }

    #[test]
    fn how_a_worker_ended_is_known_to_those_who_look_later() {
        let dir = tempfile::tempdir().unwrap();
        let ends = |script: &str| {
            let engine = dir.path().join("engine");
            fs::write(&engine, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&engine, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            let mut worker = Worker::start_engine(&engine, dir.path(), Session::Foreground).unwrap();
            while worker.try_wait().unwrap().is_none() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            recorded_end(dir.path()).map(|e| e.to_string())
        };
        assert!(ends("echo first; kill -9 $$").unwrap().contains("SIGKILL"));
        let told = ends("echo second; exit 3").unwrap();
        assert!(
            told.contains("exit status 3") && told.contains("second") && !told.contains("first"),
            "{told}"
        );
        // A newer worker, which somebody else has started.
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(dir.path().join("events.jsonl"), "").unwrap();
        assert!(recorded_end(dir.path()).is_none());
        assert_eq!(ends("exit 0"), None);
    }

    /// A worker whose log is deleted under it, and one that has no place to say it.
    #[test]
    fn what_became_of_a_directory_that_is_gone_is_known() {
        let out = tempfile::tempdir().unwrap();
        let engine = out.path().join("engine");
        for (words, told) in [("echo error: my words", "my words"), ("true", "the run's directory is gone")] {
            let run = out.path().join("run");
            fs::create_dir(&run).unwrap();
            let script = format!("#!/bin/sh\nrm -r {}\n{words}\nexit 2\n", run.display());
            fs::write(&engine, script).unwrap();
            fs::set_permissions(&engine, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            let mut worker = Worker::start_engine(&engine, &run, Session::Foreground).unwrap();
            let status = loop {
                match worker.try_wait().unwrap() {
                    Some(status) => break status,
                    None => std::thread::sleep(std::time::Duration::from_millis(5)),
                }
            };
            let e = worker.explain(status);
            assert!(e.exit_code() == 2 && e.to_string().contains(told), "{e}");
            assert!(!run.exists());
        }
    }

    #[test]
    fn a_signal_and_the_end_of_the_log_are_told() {
        let log: String = (0..40).map(|i| format!("line {i}\n")).collect();
        let error = ended(9, &log);
        assert_eq!(error.exit_code(), 1);
        let text = error.to_string();
        assert!(text.contains("SIGKILL") && text.contains("memory"), "{text}");
        assert!(text.contains("line 39") && text.contains("line 28") && !text.contains("line 27"), "{text}");
        assert!(
            ended(3 << 8, "").to_string().contains("exit status 3; it printed nothing (/run/worker.log)")
        );
        assert_eq!(ended(2 << 8, "bad argument").exit_code(), 2);
        // Where the log goes, its words are told and it is not named.
        let alone = |output: &str| explain(ExitStatus::from_raw(1 << 8), output, None).to_string();
        assert_eq!(alone("bad luck"), "the worker ended with exit status 1; its last words:\n  bad luck");
        assert!(alone("").starts_with("the worker ended with exit status 1; it printed nothing"));
        // The engine's own message is said once, and alone.
        let told = ended(2 << 8, "INFO loading\nerror: a.json: not there\n  give another");
        assert_eq!(told.to_string(), "a.json: not there\n  give another");
    }
}
