//! The client's end of the REPL server.

use std::collections::VecDeque;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::{LINE_LIMIT, Reply, Request};
use crate::error::{Context, Error, Result};
use crate::job::engine::find_engine;
use crate::job::frames::Frames;
use crate::job::libraries::Unusable;
use crate::job::worker::signal_name;

/// How long an engine that has closed its output may take to end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Lines of its standard error that are remembered.
const REMEMBERED: usize = 12;

/// A REPL server that this program has started; it ends when this is dropped.
///
/// The first reply is [`Reply::Ready`] (loading can take a while) or the error that loading ended in.
#[derive(Debug)]
pub struct Repl {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    frames: Frames,
    waiting: VecDeque<Reply>,
    said: Arc<Mutex<VecDeque<String>>>,
    stderr: Option<JoinHandle<()>>,
}

impl Repl {
    /// Starts `qwen-tui-engine repl ARGS...` (the arguments of `infer`).
    ///
    /// # Errors
    /// `Error::User` where there is no engine or it cannot be run.
    pub fn spawn<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Result<Repl> {
        Self::spawn_engine(&find_engine()?, args)
    }

    /// [`spawn`](Self::spawn) with an engine that has been found already.
    pub fn spawn_engine<S: AsRef<std::ffi::OsStr>>(engine: &Path, args: &[S]) -> Result<Repl> {
        let mut child = Command::new(engine)
            .arg("repl")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is the client's to answer.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .user(format!("cannot run the engine {}", engine.display()))?;
        let missing = || Error::internal("the engine's pipes are not there");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let said = Arc::new(Mutex::new(VecDeque::new()));
        let listening = tokio::spawn(listen(stderr, Arc::clone(&said)));
        let frames = Frames::new(LINE_LIMIT);
        Ok(Repl { child, stdin, stdout, frames, waiting: VecDeque::new(), said, stderr: Some(listening) })
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends one request. Not cancel safe: await it to its end.
    ///
    /// # Errors
    /// Why the engine ended, where it has.
    pub async fn send(&mut self, request: &Request) -> Result<()> {
        let mut line = serde_json::to_vec(request).internal("writing a request")?;
        if line.len() > LINE_LIMIT {
            return Err(Error::user("the text is too long to be sent; shorten it"));
        }
        line.push(b'\n');
        match self.stdin.write_all(&line).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.ending().await),
        }
    }

    /// The next reply. Cancel safe, so it can stand in a `select!`.
    ///
    /// # Errors
    /// Why the engine ended, with its last words; it answers nothing more.
    pub async fn receive(&mut self) -> Result<Reply> {
        let mut buffer = [0; 8192];
        loop {
            if let Some(reply) = self.waiting.pop_front() {
                return Ok(reply);
            }
            match self.stdout.read(&mut buffer).await {
                Err(_) | Ok(0) => return Err(self.ending().await),
                Ok(n) => {
                    let lines = self.frames.push(&buffer[..n]);
                    // What a native library may print is no reply.
                    self.waiting
                        .extend(lines.into_iter().flatten().filter_map(|l| serde_json::from_slice(&l).ok()));
                }
            }
        }
    }

    /// Ends the server: its input ends, and what lives after `grace` is killed.
    pub async fn close(self, grace: Duration) {
        let Repl { mut child, stdin, stdout, .. } = self;
        drop((stdin, stdout));
        if tokio::time::timeout(grace, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }

    /// Why the engine ended.
    async fn ending(&mut self) -> Error {
        let status = tokio::time::timeout(LAST_WORDS, self.child.wait()).await;
        if let Some(mut stderr) = self.stderr.take() {
            let _ = tokio::time::timeout(LAST_WORDS, &mut stderr).await;
        }
        let said: Vec<String> =
            self.said.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        match status {
            Ok(Ok(status)) => explain(status, &said),
            _ => Error::internal(format!("the engine answers no more{}", last_words(&said))),
        }
    }
}

/// Remembers the last lines of the engine's standard error.
async fn listen(mut stderr: ChildStderr, said: Arc<Mutex<VecDeque<String>>>) {
    let mut frames = Frames::new(16 << 10);
    let mut buffer = [0; 4096];
    loop {
        let n = stderr.read(&mut buffer).await.unwrap_or(0);
        let mut lines: Vec<Vec<u8>> = frames.push(&buffer[..n]).into_iter().flatten().collect();
        if n == 0 {
            lines.extend(frames.finish());
        }
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend(lines.iter().map(|l| String::from_utf8_lossy(l).trim_end().to_owned()));
        let over = said.len().saturating_sub(REMEMBERED);
        said.drain(..over);
        if n == 0 {
            return;
        }
    }
}

fn last_words(said: &[String]) -> String {
    if said.is_empty() { String::new() } else { format!("; its last words:\n  {}", said.join("\n  ")) }
}

fn explain(status: ExitStatus, said: &[String]) -> Error {
    use std::os::unix::process::ExitStatusExt;
    let text = said.join("\n");
    if let Some(unusable) = Unusable::from_loader(&text) {
        return unusable.error();
    }
    let message = said.iter().rev().find_map(|l| l.strip_prefix("error: "));
    match (status.code(), status.signal(), message) {
        (Some(2), _, Some(message)) => Error::user(message),
        (Some(code), ..) => {
            Error::internal(format!("the engine ended with status {code}{}", last_words(said)))
        }
        (None, Some(signal), _) => {
            Error::internal(format!("the engine was ended by {}{}", signal_name(signal), last_words(said)))
        }
        (None, None, _) => Error::internal(format!("the engine ended ({status}){}", last_words(said))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A server played by a shell script; tried again where another test forked while it was being written.
    fn play(script: &str) -> (Repl, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let engine = dir.path().join("engine");
        std::fs::write(&engine, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&engine, std::fs::Permissions::from_mode(0o755)).unwrap();
        loop {
            match Repl::spawn_engine(&engine, &["--ckpt_dir", "x"]) {
                Err(e) if e.to_string().contains("Text file busy") => continue,
                repl => return (repl.unwrap(), dir),
            }
        }
    }

    #[tokio::test]
    async fn replies_come_in_order_and_noise_is_passed_over() {
        let (mut repl, _dir) = play(
            r#"echo "$@" >&2
            echo '{"ready":true,"model":"m","device":"cpu","seconds":0.5}'
            read line
            echo 'a warning of some library'
            echo '{"id":1,"text":"a"}'; printf '{"id":1,"te'; sleep 0.2; echo 'xt":"b"}'
            case "$line" in *'"cancel":1'*) exit 0;; esac; exit 9"#,
        );
        assert!(matches!(repl.receive().await.unwrap(), Reply::Ready { .. }));
        repl.send(&Request::Cancel { id: 1 }).await.unwrap();
        assert_eq!(repl.receive().await.unwrap(), Reply::Text { id: 1, text: "a".into() });
        // Dropped in the middle of a line, as a `select!` does it.
        let _ = tokio::time::timeout(Duration::from_millis(50), repl.receive()).await;
        assert_eq!(repl.receive().await.unwrap(), Reply::Text { id: 1, text: "b".into() });
        let end = repl.receive().await.unwrap_err().to_string();
        assert!(end.contains("status 0") && end.contains("repl --ckpt_dir x"), "{end}");
    }

    #[tokio::test]
    async fn an_engine_that_dies_leaves_its_last_words() {
        for (script, status, words) in [
            ("echo 'warning: w' >&2; echo 'error: no such model' >&2; exit 2", 2, "no such model"),
            ("echo 'terminate called' >&2; kill -ABRT $$", 1, "SIGABRT"),
            ("echo 'terminate called' >&2; kill -ABRT $$", 1, "terminate called"),
            ("echo 'e: error while loading shared libraries: libc10.so: no' >&2; exit 127", 2, "libc10.so"),
        ] {
            let (mut repl, _dir) = play(script);
            let error = repl.receive().await.unwrap_err();
            assert_eq!(error.exit_code(), status, "{error}");
            assert!(error.to_string().contains(words), "{error}");
            // It is no panic and no wait to go on with a dead one.
            assert!(repl.send(&Request::Cancel { id: 1 }).await.is_err());
            assert!(repl.receive().await.is_err());
        }
    }

    #[tokio::test]
    async fn a_closed_server_ends_by_itself_or_is_killed() {
        let (mut polite, dir) =
            play("echo '{\"ready\":true,\"model\":\"m\",\"device\":\"cpu\",\"seconds\":0}'; read line");
        polite.receive().await.unwrap();
        polite.close(Duration::from_secs(60)).await;
        drop(dir);
        let (deaf, _dir) = play("exec sleep 100");
        let pid = rustix::process::Pid::from_raw(deaf.pid().unwrap() as i32).unwrap();
        deaf.close(Duration::from_millis(20)).await;
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[tokio::test]
    async fn the_engine_ends_with_its_client() {
        let (repl, _dir) = play("exec sleep 100");
        let pid = rustix::process::Pid::from_raw(repl.pid().unwrap() as i32).unwrap();
        drop(repl);
        for _ in 0..200 {
            if rustix::process::test_kill_process(pid).is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it lives on");
    }
}
