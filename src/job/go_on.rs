//! What can be done with a run that no worker is at, or with a checkpoint that none can go on from, in words.

use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

use crate::args::{ARGS_FILE, SftArgs, read_object};
use crate::error::Error;
use crate::job::resume::Resume;
use crate::run::{CHECKSUMS, EVENTS, Needed, find_adapter, verify};
use crate::shell;

/// The command that goes on with the run in `dir` from its newest whole checkpoint.
pub fn command(dir: &Path) -> String {
    format!("{SFT} --resume_from_checkpoint {}", shell::word(dir))
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
    let run = checkpoint.parent().map(|run| run.join(ARGS_FILE)).filter(|file| file.is_file());
    let config = run.unwrap_or_else(|| checkpoint.join(ARGS_FILE));
    if verify(checkpoint, Needed::Weights).is_ok() {
        let begin = match TYPED.get() {
            Some(typed) => typed.command(None),
            // Its arguments are found beside it.
            None => format!("{SFT}{}", new_place(&config).unwrap_or_default()),
        };
        return Some(format!(
            "its weights alone can begin a new run: `{begin} --resume_from_checkpoint {} --resume_only_model true`",
            shell::word(checkpoint)
        ));
    }
    let list = checkpoint.join(CHECKSUMS);
    let lost = !list.exists();
    if !lost && read_object(&list).is_ok_and(|list| list.contains_key("files")) {
        return None;
    }
    // Nothing shows whether they are whole. As a checkpoint they are refused, as an adapter by itself they are taken.
    find_adapter(checkpoint).ok()?;
    let command = match TYPED.get() {
        Some(typed) if typed.names_config => typed.command(None),
        Some(typed) => read_object(&config).ok().map(|_| typed.command(Some(&config)))?,
        None => new_run(&config)?,
    };
    let first = if lost { "" } else { "with that file moved away " };
    Some(format!(
        "{first}its weights can begin a new run, though nothing shows whether they are whole: `{command} --init_adapter {}`",
        shell::word(checkpoint)
    ))
}

/// The command that begins a new run with the arguments of a run's `file`; none where it cannot be read. `NEW_DIR` stands
/// for a directory where the file names the run's own.
pub(super) fn new_run(file: &Path) -> Option<String> {
    Some(format!("{SFT} --config {}{}", shell::word(file), new_place(file)?))
}

const SFT: &str = "qwen-tui sft";
const NEW_PLACE: &str = " --output_dir NEW_DIR";

/// What names another directory, where a run's `file` names the run's own; none where it cannot be read.
fn new_place(file: &Path) -> Option<&'static str> {
    let is_own = read_object(file).ok()?.get("add_output_dir_suffix") == Some(&Value::Bool(false));
    Some(if is_own { NEW_PLACE } else { "" })
}

/// What was typed after `sft`, without what asks to go on: advice keeps it, as a new run is wanted with it too.
#[derive(Debug)]
pub struct Typed {
    words: Vec<String>,
    names_config: bool,
    /// A run lies in the one directory that these arguments leave to a new one.
    place_is_taken: bool,
}

/// Of the command that this process is; none in a process that was not asked by one.
static TYPED: OnceLock<Typed> = OnceLock::new();

impl Typed {
    /// From now on the process gives advice for a command of these `words`, whose arguments are `args`; with
    /// `--config` where it `names_config`.
    pub fn keep(words: &[String], names_config: bool, args: &SftArgs) {
        let (mut kept, mut words) = (Vec::new(), words.iter().peekable());
        while let Some(word) = words.next() {
            let name = word.split('=').next().unwrap_or_default().replace('-', "_");
            if !["__resume_from_checkpoint", "__resume_only_model"].contains(&name.as_str()) {
                kept.push(word.clone());
            } else if !word.contains('=') {
                let _value = words.next_if(|next| !next.starts_with("--"));
            }
        }
        let place_is_taken = !args.add_output_dir_suffix
            && Path::new(&args.output_dir).join(EVENTS).symlink_metadata().is_ok();
        // Only one command line is read.
        let _ = TYPED.set(Typed { words: kept, names_config, place_is_taken });
    }

    /// The command, with `config` named before what was typed.
    fn command(&self, config: Option<&Path>) -> String {
        let mut command = SFT.to_owned();
        let config = config.map(|file| ["--config".to_owned(), shell::word(file)]).into_iter().flatten();
        for word in config.chain(self.words.iter().map(|word| shell::word(Path::new(word)))) {
            command += &format!(" {word}");
        }
        command + if self.place_is_taken { NEW_PLACE } else { "" }
    }
}
