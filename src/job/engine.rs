//! Finding the engine: by `QWEN_TUI_ENGINE`, else beside the running program.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Context, Error, Result};
use crate::job::libraries;
use crate::job::stop::ignores_hang_up;

/// The engine's file name.
pub const ENGINE: &str = "qwen-tui-engine";
/// The environment variable that names another engine.
pub const ENGINE_VARIABLE: &str = "QWEN_TUI_ENGINE";

/// The engine's path.
///
/// # Errors
/// `Error::User` where there is none, with how to get one.
pub fn find_engine() -> Result<PathBuf> {
    let own = std::env::current_exe().internal("finding this program's own path")?;
    find(std::env::var_os(ENGINE_VARIABLE).map(PathBuf::from), &own)
}

/// [`find_engine`], and a look at its libraries: asked before a run directory is made, and before the loader could put
/// its own words on the terminal.
///
/// # Errors
/// Also `Error::User` where a library is missing, damaged or of another version.
pub fn ready_engine() -> Result<PathBuf> {
    let engine = find_engine()?;
    libraries::check(&engine)?;
    Ok(engine)
}

/// Runs `qwen-tui-engine SUBCOMMAND ARGS...` on this program's own stdin, stdout and stderr; returns its exit status
/// (128 + the signal's number where a signal ended it, as shells have it).
///
/// # Errors
/// `Error::User` where there is no engine, or the loader does not find its libraries.
pub fn run_engine(subcommand: &str, args: &[OsString]) -> Result<i32> {
    let engine = ready_engine()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .internal("starting the async runtime")?;
    runtime.block_on(async {
        let sent = sent_interrupts()?;
        // Caught, not ignored: an ignored signal would stay ignored in the engine, which gets Ctrl-C by itself.
        let mut interrupt = signal(SignalKind::interrupt()).internal("catching SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).internal("catching SIGTERM")?;
        let mut hang_up = HangUp::listen()?;
        let mut child = tokio::process::Command::new(&engine)
            .arg(subcommand)
            .args(args)
            .spawn()
            .user(format!("cannot run the engine {}", engine.display()))?;
        loop {
            let passed_on = tokio::select! {
                status = child.wait() => return exit_status(status.internal("waiting for the engine")?),
                _ = interrupt.recv() => if sent.load(Ordering::SeqCst) { Signal::INT } else { continue },
                _ = terminate.recv() => Signal::TERM,
                _ = hang_up.recv() => Signal::HUP,
            };
            if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id as i32)) {
                // It may have ended by itself just now.
                let _ = kill_process(pid, passed_on);
            }
        }
    })
}

/// SIGHUP, where it is not ignored: `nohup` has it so, and it is to stay so.
pub struct HangUp(Option<tokio::signal::unix::Signal>);

impl HangUp {
    /// Listens from now on, on the runtime at hand.
    ///
    /// # Errors
    /// The signal cannot be caught.
    pub fn listen() -> Result<HangUp> {
        if ignores_hang_up() {
            return Ok(HangUp(None));
        }
        signal(SignalKind::hangup()).map(|heard| HangUp(Some(heard))).internal("catching SIGHUP")
    }

    /// Waits for the next one.
    pub async fn recv(&mut self) {
        match &mut self.0 {
            Some(heard) => drop(heard.recv().await),
            None => std::future::pending().await,
        }
    }
}

/// Whether the newest SIGINT came from a process (`kill -INT PID`), and so perhaps to this program alone: what a terminal
/// sends reaches the engine too.
fn sent_interrupts() -> Result<Arc<AtomicBool>> {
    let sent = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&sent);
    let note = move |info: &libc::siginfo_t| noted.store(info.si_code <= 0, Ordering::SeqCst);
    // SAFETY: the handler does no more than store to an atomic, which is async-signal-safe.
    unsafe { signal_hook_registry::register_sigaction(libc::SIGINT, note) }.internal("catching SIGINT")?;
    Ok(sent)
}

/// Runs `qwen-tui-engine SUBCOMMAND ARGS...` with `input` as its standard input; returns its standard output, of which
/// `told` hears the number of lines so far.
///
/// # Errors
/// The engine's own message, or why it could not start.
pub fn ask_engine(
    subcommand: &str,
    args: &[String],
    input: &str,
    told: &mut dyn FnMut(usize),
) -> Result<String> {
    let engine = find_engine()?;
    let mut child = std::process::Command::new(&engine)
        .arg(subcommand)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .user(format!("cannot run the engine {}", engine.display()))?;
    // Written beside the reading: two full pipes would wait for each other.
    let writer = child.stdin.take().map(|mut stdin| {
        let input = input.to_owned();
        std::thread::spawn(move || stdin.write_all(input.as_bytes()))
    });
    let errors = child.stderr.take().map(|mut stderr| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            bytes
        })
    });
    let mut answer = String::new();
    if let Some(stdout) = child.stdout.take() {
        for (n, line) in BufReader::new(stdout).lines().enumerate() {
            answer += &line.internal("the engine's answer")?;
            answer.push('\n');
            told(n + 1);
        }
    }
    let status = child.wait().internal("waiting for the engine")?;
    if let Some(writer) = writer {
        // An engine that ended early has said why.
        let _ = writer.join();
    }
    if status.success() {
        return Ok(answer);
    }
    let said = errors.and_then(|errors| errors.join().ok()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let message =
        said.lines().rev().find_map(|l| l.strip_prefix("error: ")).unwrap_or(said.trim()).to_owned();
    match exit_status(status)? {
        2 => Err(Error::User(message)),
        status => Err(Error::Internal(format!("the engine ended with status {status}: {message}"))),
    }
}

fn exit_status(status: ExitStatus) -> Result<i32> {
    match status.code() {
        // The loader's own exit status; what it missed stands on stderr already.
        Some(127) => Err(Error::user(
            "the engine could not start, its libraries are missing or do not fit: `qwen-tui doctor` says what to do",
        )),
        Some(code) => Ok(code),
        None => Ok(128 + status.signal().unwrap_or(0)),
    }
}

fn find(named: Option<PathBuf>, own: &Path) -> Result<PathBuf> {
    if let Some(path) = named.filter(|p| !p.as_os_str().is_empty()) {
        return match executable(&path) {
            Ok(()) => Ok(path),
            Err(wrong) => Err(Error::user(format!(
                "{ENGINE_VARIABLE}={} {wrong}. Unset it to use the engine beside qwen-tui, or name one that `make build` made",
                path.display()
            ))),
        };
    }
    // A link in ~/bin leads to the folder where both programs are.
    let own = own.canonicalize().unwrap_or_else(|_| own.to_path_buf());
    let path = own.with_file_name(ENGINE);
    match executable(&path) {
        Ok(()) => Ok(path),
        Err(wrong) => Err(Error::user(format!(
            "the engine, which does the training, is not there: {} {wrong}. `make build` makes it beside qwen-tui; \
             {ENGINE_VARIABLE} names one elsewhere; `qwen-tui doctor` looks for what is missing",
            path.display()
        ))),
    }
}

fn executable(path: &Path) -> Result<(), String> {
    let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_string(),
        _ => format!("cannot be read ({e})"),
    })?;
    if !meta.is_file() {
        Err("is not a file".to_string())
    } else if meta.permissions().mode() & 0o111 == 0 {
        Err("is not executable".to_string())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_stands_beside_the_program_even_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (bin, links) = (dir.path().join("bin"), dir.path().join("links"));
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(&links).unwrap();
        std::fs::write(bin.join("qwen-tui"), "").unwrap();
        let link = links.join("qwen-tui");
        std::os::unix::fs::symlink(bin.join("qwen-tui"), &link).unwrap();

        let error = find(None, &link).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("make build") && error.to_string().contains("doctor"), "{error}");

        let engine = bin.join(ENGINE);
        std::fs::write(&engine, "").unwrap();
        assert!(find(None, &link).unwrap_err().to_string().contains("not executable"));
        std::fs::set_permissions(&engine, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(None, &link).unwrap(), engine.canonicalize().unwrap());
    }

    #[test]
    fn a_named_engine_that_is_not_there_is_never_passed_over_in_silence() {
        let error = find(Some("/nowhere/engine".into()), Path::new("/bin/sh")).unwrap_err();
        assert!(error.to_string().contains("QWEN_TUI_ENGINE=/nowhere/engine does not exist"), "{error}");
    }
}
