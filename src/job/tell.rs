//! Telling a worker something: by its socket, and to stop also by a signal.

use std::path::Path;

use crate::error::{Context, Error, Result};
use crate::job::event::Command;
use crate::job::socket;

/// Gives the worker of `run` a command. `Stop` also goes without a socket: as SIGTERM to `pid`.
///
/// # Errors
/// The socket's, where the command could not be given; of a worker that hangs with the `way_out`.
pub fn tell(run: &Path, pid: Option<u32>, command: Command, way_out: &str) -> Result<()> {
    match (command, socket::send(run, command)) {
        // A worker that does not answer its socket answers no signal either, though one waits for it.
        (Command::Stop, Err(socket::Untaken::Silent(e))) => {
            let _ = terminate(run, pid);
            Err(Error::user(format!("{e}. It ends when it goes on; if it does not, {way_out}")))
        }
        (_, Err(socket::Untaken::Silent(e))) => {
            Err(Error::user(format!("{e}. If it does not go on, {way_out}")))
        }
        (Command::Stop, Err(e)) => terminate(run, pid).map_err(|_| e.into()),
        (_, sent) => Ok(sent?),
    }
}

/// SIGTERM to `pid`, if that is still a process that works on `run`.
fn terminate(run: &Path, pid: Option<u32>) -> Result<()> {
    let pid = pid.ok_or_else(|| Error::user("the worker has not told its process id yet; try again"))?;
    // A number may have gone to another process since the log named it.
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).user(format!("process {pid}"))?;
    let named = line.split(|b| *b == 0).any(|word| word == run.as_os_str().as_encoded_bytes());
    let process = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).filter(|_| named);
    let process = process.ok_or_else(|| Error::user(format!("process {pid} is not this run's worker")))?;
    rustix::process::kill_process(process, rustix::process::Signal::TERM).user(format!("process {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn without_a_socket_stop_is_a_signal_and_only_for_the_runs_own_worker() {
        let dir = tempfile::tempdir().unwrap();
        let worker = || {
            let mut sh = std::process::Command::new("sh");
            sh.args(["-c", "sleep 60; :", "worker"]).arg(dir.path());
            let child = sh.spawn().unwrap();
            // The new program's arguments can be read a moment after it has been started.
            let arguments = || std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
            let wanted = dir.path().as_os_str().as_encoded_bytes();
            while !arguments().windows(wanted.len()).any(|w| w == wanted) {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            child
        };
        let (mut own, mut other) = (worker(), std::process::Command::new("sleep").arg("60").spawn().unwrap());
        let tell = |pid, command| tell(dir.path(), pid, command, "");
        assert!(tell(Some(other.id()), Command::Stop).is_err());
        assert!(tell(None, Command::Stop).is_err());
        assert!(tell(Some(own.id()), Command::Pause).is_err());
        assert!(other.try_wait().unwrap().is_none() && own.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
        tell(Some(own.id()), Command::Stop).unwrap();
        assert_eq!(own.wait().unwrap().signal(), Some(15));
    }

    #[test]
    fn a_worker_that_hangs_is_told_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(dir.path().join(socket::SOCKET)).unwrap();
        let e = tell(dir.path(), None, Command::Stop, "`kill -9 7` ends it").unwrap_err();
        assert!(
            e.to_string().contains("does not answer within")
                && e.to_string().ends_with("`kill -9 7` ends it"),
            "{e}"
        );
    }
}
