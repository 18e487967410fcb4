//! Folding a checkpoint's adapter into its base model, by an engine of its own that outlives who started it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Context, Error, Result};

/// What the engine says on standard error, where that is no terminal, before the percentage.
pub const PROGRESS: &str = "merging: ";

/// Runs `qwen-tui-engine merge-lora` on `checkpoint`; `told` hears how far it is, in percent. Returns the merged model's
/// directory and what the engine said of it last.
///
/// # Errors
/// The engine's own message, or that it could not be run.
pub fn merge(
    engine: &Path,
    checkpoint: &Path,
    overwrite: bool,
    told: &mut dyn FnMut(u64),
) -> Result<(String, String)> {
    let mut command = Command::new(engine);
    command.args(["merge-lora", "--ckpt_dir"]).arg(checkpoint).args(["--overwrite", &overwrite.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: between fork and exec only setsid(2) is called, which is async-signal-safe.
    unsafe { command.pre_exec(|| rustix::process::setsid().map(drop).map_err(Into::into)) };
    let mut child = command.spawn().user(format!("cannot run the engine {}", engine.display()))?;
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
    let status = child.wait().internal("waiting for the engine")?;
    match (status.success(), said.strip_prefix("error: ")) {
        (true, _) => Ok((dir.trim().to_owned(), said)),
        (false, Some(message)) if status.code() == Some(2) => Err(Error::user(message)),
        (false, message) => {
            let message = message.unwrap_or(&said);
            Err(Error::internal(format!("the merge ended badly ({status}): {message}")))
        }
    }
}
