//! Where a merged model may go: what is refused, and what is replaced.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use qwen_tui::error::{Context, Error, Result};
use qwen_tui::job::human;
use qwen_tui::run::{Contents, free_bytes};

use super::Job;
use super::record::{Record, own_files};

/// Room for what lies beside the weights.
const BESIDE_BYTES: u64 = 16_000_000;

/// What a merge may take with it: the files that it wrote. The answers that `infer` put beside them go along.
pub const CONTENTS: Contents = Contents { own: own_files, kept: is_answers };

fn is_answers(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("infer_result_") && name.ends_with(".jsonl"))
}

/// The directory that `target` names, where it is a link that which it leads to.
///
/// # Errors
/// A link that leads nowhere.
pub fn behind_links(target: &Path) -> Result<PathBuf> {
    let target = std::path::absolute(target).user(target.display())?;
    if let Some(link) = target.ancestors().find(|path| path.is_symlink() && !path.exists()) {
        let there = link.read_link().user(link.display())?;
        return Err(Error::user(format!(
            "{}: is a link to {}, which is not there: make that directory, remove the link, or give another --output",
            link.display(),
            there.display()
        )));
    }
    if target.is_symlink() {
        return target.canonicalize().user(target.display());
    }
    Ok(target)
}

/// Whether nothing is at `target`, or an empty directory.
pub fn is_free(target: &Path) -> bool {
    !target.exists() || target.read_dir().is_ok_and(|mut entries| entries.next().is_none())
}

/// Refuses a target that is in the way of what is merged, or not to be replaced.
pub fn check_target(job: &Job, target: &Path) -> Result<()> {
    let there = target.canonicalize().unwrap_or_else(|_| target.to_owned());
    for (what, dir) in [("base model", &job.base), ("checkpoint", &job.checkpoint)] {
        let dir = dir.canonicalize().user(dir.display())?;
        if there == dir || dir.starts_with(&there) || there.starts_with(&dir) {
            return Err(Error::user(format!(
                "{}: the merged model cannot take the place of the {what} {}, lie in it or hold it: give another \
                 --output",
                target.display(),
                dir.display()
            )));
        }
    }
    if is_free(target) {
        return Ok(());
    }
    if !Record::is_in(target) {
        return Err(Error::user(format!(
            "{}: is there already, and merge-lora has not made it: remove it yourself, or give another --output",
            target.display()
        )));
    }
    if !job.overwrite {
        return Err(Error::user(format!(
            "{}: is there already: --overwrite replaces it, --output DIR writes elsewhere",
            target.display()
        )));
    }
    let foreign = CONTENTS.foreign(target)?;
    if foreign.is_empty() {
        return Ok(());
    }
    Err(Error::user(format!(
        "{}: --overwrite replaces what merge-lora wrote, and this directory also holds {}: move that elsewhere first, or \
         give another --output",
        target.display(),
        listed(&foreign)
    )))
}

/// The first of `names`, for people.
pub fn listed(names: &[OsString]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| name.display().to_string()).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Refuses a disk without room for `bytes` of weights.
pub fn check_room(target: &Path, bytes: u64) -> Result<()> {
    let needed = bytes + BESIDE_BYTES;
    match free_bytes(target) {
        Some(free) if free < needed => Err(Error::user(format!(
            "{}: the merged model has {} of weights, {} are asked for beside them (tokenizer, settings), and {} are free \
             there: make room, or give --output on another disk",
            target.display(),
            human::bytes(bytes),
            human::bytes(BESIDE_BYTES),
            human::bytes(free)
        ))),
        _ => Ok(()),
    }
}
