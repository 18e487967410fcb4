//! Folding a checkpoint's adapter into its base model, by an engine of its own that outlives who started it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Context, Error, Result};
use crate::job::worker::in_own_session;

/// What the engine says on standard error, where that is no terminal, before the percentage.
pub const PROGRESS: &str = "merging: ";

/// The end of the directory's name that a checkpoint's merge gets.
pub const SUFFIX: &str = "-merged";

/// Where a checkpoint's merge goes if nothing else is said: `checkpoint-N-merged`, beside it.
pub fn usual_target(checkpoint: &Path) -> PathBuf {
    let mut name: OsString = checkpoint.file_name().unwrap_or_default().to_owned();
    name.push(SUFFIX);
    checkpoint.with_file_name(name)
}

/// The merges at work that this program has started: their checkpoints and engines.
#[derive(Debug, Default)]
pub struct AtWork(Mutex<Vec<(PathBuf, u32)>>);

impl AtWork {
    /// The checkpoint in `target`, or `target` itself, that is being merged.
    pub fn of(&self, target: &Path) -> Option<PathBuf> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reads_or_makes = |c: &&PathBuf| c.starts_with(target) || usual_target(c) == target;
        all.iter().map(|(checkpoint, _)| checkpoint).find(reads_or_makes).cloned()
    }

    /// Asks all of them to end; they leave nothing behind.
    pub fn stop(&self) {
        // Held so that none is waited for meanwhile: its id stays its own.
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for pid in all.iter().filter_map(|(_, pid)| Pid::from_raw(*pid as i32)) {
            // One that has just ended needs no signal.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    fn begin(&self, checkpoint: &Path, pid: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((checkpoint.to_owned(), pid));
    }

    fn end(&self, pid: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(_, of)| *of != pid);
    }
}

/// Runs `qwen-tui-engine merge-lora` on `checkpoint`; `told` hears how far it is, in percent; until its engine
/// has ended it is among those `at_work`. Returns the merged model's
/// directory and what the engine said of it last.
///
/// # Errors
/// The engine's own message, or that it could not be run.
pub fn merge(
    engine: &Path,
    checkpoint: &Path,
    overwrite: bool,
    at_work: &AtWork,
    told: &mut dyn FnMut(u64),
) -> Result<(String, String)> {
    let mut command = Command::new(engine);
    command.args(["merge-lora", "--ckpt_dir"]).arg(checkpoint).args(["--overwrite", &overwrite.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    in_own_session(&mut command);
    let mut child = command.spawn().user(format!("cannot run the engine {}", engine.display()))?;
    at_work.begin(checkpoint, child.id());
    let heard = hear(&mut child, told);
    at_work.end(child.id());
    let (dir, said) = heard?;
    let status = child.wait().internal("waiting for the engine")?;
    match (status.success(), said.strip_prefix("error: ")) {
        (true, _) => Ok((dir, said)),
        (false, Some(message)) if status.code() == Some(2) => Err(Error::user(message)),
        (false, message) => {
            let message = message.unwrap_or(&said);
            Err(Error::internal(format!("the merge ended badly ({status}): {message}")))
        }
    }
}

/// What it says until it ends: the directory, and the last that is no percentage.
fn hear(child: &mut Child, told: &mut dyn FnMut(u64)) -> Result<(String, String)> {
    let mut said = String::new();
    for line in child.stderr.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        let line = line.internal("the engine's words")?;
        let percent = line.strip_prefix(PROGRESS).and_then(|rest| rest.split(' ').next()?.parse().ok());
        match percent {
            Some(percent) => told(percent),
            None => said = line,
        }
    }
    // One line, which waits in the pipe.
    let mut dir = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut dir).internal("the engine's answer")?;
    }
    Ok((dir.trim().to_owned(), said))
}
