//! What can be done with a run that no worker is at, or with a checkpoint that none can go on from, in words.

use std::path::Path;

use serde_json::Value;

use crate::args::{ARGS_FILE, read_object};
use crate::error::Error;
use crate::job::resume::Resume;
use crate::run::{CHECKSUMS, Needed, find_adapter, verify};
use crate::shell;

/// The command that goes on with the run in `dir` from its newest whole checkpoint.
pub fn command(dir: &Path) -> String {
    format!("qwen-tui sft --resume_from_checkpoint {}", shell::word(dir))
}

/// What [`command`] would do with the run in `dir`, with what it would warn of. Reads the checkpoint that it would go on
/// from.
pub fn what_it_does(dir: &Path) -> String {
    let command = command(dir);
    match Resume::of(dir) {
        Ok(resume) if resume.finished => match &resume.warnings[..] {
            [] => "nothing is left to train".to_owned(),
            warnings => format!("nothing is left to train, but {}", warnings.join("; ")),
        },
        Ok(Resume { step: Some(step), warnings, .. }) => match &warnings[..] {
            [] => format!("`{command}` goes on with it"),
            warnings => {
                format!("`{command}` goes on with it from checkpoint-{step}: {}", warnings.join("; "))
            }
        },
        Ok(_) => format!("`{command}` begins it again, as it has no checkpoint"),
        Err(e) => format!("it cannot be gone on with: {e}"),
    }
}

/// `e`, for which no training can go on from `checkpoint`, with what can still be done with its weights.
pub(super) fn with_its_weights(e: Error, checkpoint: &Path) -> Error {
    e.map(|message| match its_weights(checkpoint) {
        Some(advice) => format!("{message}; {advice}"),
        None => message,
    })
}

/// What can still be done with the weights of `checkpoint`; none where they are damaged too, or nothing is known to work.
pub(super) fn its_weights(checkpoint: &Path) -> Option<String> {
    if verify(checkpoint, Needed::Weights).is_ok() {
        return Some("its weights alone can begin a new run (resume_only_model true)".to_owned());
    }
    let list = checkpoint.join(CHECKSUMS);
    let lost = !list.exists();
    if !lost && read_object(&list).is_ok_and(|list| list.contains_key("files")) {
        return None;
    }
    // Nothing shows whether they are whole. As a checkpoint they are refused, as an adapter by itself they are taken.
    find_adapter(checkpoint).ok()?;
    let run = checkpoint.parent().map(|run| run.join(ARGS_FILE)).filter(|file| file.is_file());
    let config = run.unwrap_or_else(|| checkpoint.join(ARGS_FILE));
    let command = new_run(&config)?;
    let first = if lost { "" } else { "with that file moved away " };
    Some(format!(
        "{first}its weights can begin a new run, though nothing shows whether they are whole: `{command} --init_adapter {}`",
        shell::word(checkpoint)
    ))
}

/// The command that begins a new run with the arguments of a run's `file`; none where it cannot be read. `NEW_DIR` stands
/// for a directory where the file names the run's own.
pub(super) fn new_run(file: &Path) -> Option<String> {
    let args = read_object(file).ok()?;
    let is_own = args.get("add_output_dir_suffix") == Some(&Value::Bool(false));
    let place = if is_own { " --output_dir NEW_DIR" } else { "" };
    Some(format!("qwen-tui sft --config {}{place}", shell::word(file)))
}
