//! A short question to the engine: what it is. It is answered in time or not at all.

use std::io::Read;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::job::human;

/// An engine answers within a second or two; from a cold disk it may take several. One that waits for a card's driver
/// may never.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How often it is looked whether it has answered.
const POLL: Duration = Duration::from_millis(20);
/// Bytes that are read of what it prints.
const MOST: u64 = 1 << 20;

/// How an engine ended, and what it printed.
#[derive(Debug)]
pub struct Answer {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `engine info --json`, for as long as `patience` has it.
///
/// # Errors
/// Words that follow "it is there, but": it cannot be run, or did not answer in time. What it says is not judged here.
pub fn info(engine: &Path, patience: Duration) -> Result<Answer, String> {
    let mut child = Command::new(engine)
        .args(["info", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("it cannot be run: {e}"))?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let began = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if began.elapsed() < patience => thread::sleep(POLL),
            Ok(None) => {
                let _ = child.kill();
                // One that hangs in the kernel does not die either.
                thread::spawn(move || child.wait());
                return Err(format!("it did not answer within {}", human::duration(patience.as_secs_f64())));
            }
            Err(e) => return Err(format!("its end cannot be awaited: {e}")),
        }
    };
    let [stdout, stderr] = [stdout, stderr].map(|reader| reader.join().unwrap_or_default());
    Ok(Answer { status, stdout, stderr })
}

/// Reads a pipe to its end on a thread of its own, so that a full pipe holds nobody up.
fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(MOST).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
