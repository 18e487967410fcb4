//! Checkpoints that stand whole on disk or not at all.
//!
//! A checkpoint is filled under a hidden name, synced, and renamed to `checkpoint-N`. Hidden names, all beginning
//! with `.checkpoint-N.` and ending in the writer's process id: `tmp` is being filled (or, after an exchange, was
//! replaced), `old` was moved aside to be replaced, `rm` is being removed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::checksums::{CHECKSUMS, Checksum, Checksums, Needed, check_sizes, checksum};
use super::dir::RunDir;
use super::files::{file_error, make_room, pretty_json, sync_dir, unnamed_by};
use super::whole::{Temporary, is_dead, put, remove};
use crate::error;
use crate::error::{Error, Result};

/// The optimizer's state in a checkpoint.
pub const OPTIMIZER: &str = "optimizer.safetensors";
/// What else a run needs to go on from a checkpoint as if it had never ended.
pub const PROGRESS: &str = "resume.json";

/// A whole checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointInfo {
    /// Optimizer steps done.
    pub step: u64,
    pub path: PathBuf,
    /// Of all its files.
    pub bytes: u64,
    /// When it was written, Unix seconds.
    pub written: f64,
    /// Whether it has checksums (SWIFT's checkpoints have none).
    pub checksums: bool,
}

/// Writes `checkpoint-N`: `fill` puts the files into the directory it is given. Returns the checkpoint's path and
/// its size in bytes.
///
/// After the return the checkpoint survives a power cut; before, an existing `checkpoint-N` stays as it was. On an
/// error, of `fill` or of the disk (`Error::User`, `Error::NoRoom` where it is full), nothing is left behind.
pub fn write_checkpoint(
    run: &RunDir,
    step: u64,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<(PathBuf, u64)> {
    let target = run.checkpoint(step);
    let tmp = Temporary(hidden(run, step, "tmp"));
    write_by(run, step, &tmp, &target, fill).map_err(|e| named(e, step, &tmp.0, &target))
}

/// The error of a checkpoint's writing under the name that a person knows, with what to do about a full disk.
fn named(e: Error, step: u64, tmp: &Path, target: &Path) -> Error {
    if matches!(e, Error::Internal(_)) {
        return e;
    }
    let (tmp, shown) = (error::shown(tmp), error::shown(target));
    let message = e.to_string();
    // The errors of other libraries come as texts.
    let full = [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT].map(|e| io::Error::from(e).to_string());
    let told = matches!(e, Error::User(_)) && full.iter().any(|full| message.contains(full));
    let about = match message.contains(&tmp) || told {
        true => format!("checkpoint-{step} is not saved: "),
        false => String::new(),
    };
    let advice = if told { make_room(target) } else { String::new() };
    let text = format!("{about}{}{advice}", message.replace(&tmp, &shown));
    match e {
        Error::User(_) if !told => Error::User(text),
        _ => Error::NoRoom(text),
    }
}

/// Seconds that a checkpoint is written after the one before it at least.
const LATER: f64 = 1e-3;

/// Held while a checkpoint gets its name.
static NAMING: Mutex<()> = Mutex::new(());

/// From its return on this process gives no checkpoint its name any more, whatever its threads are at: what lies on the
/// disk then is what stays. For a process that is about to end.
pub fn no_more_checkpoints() {
    std::mem::forget(NAMING.lock().unwrap_or_else(PoisonError::into_inner));
}

fn write_by(
    run: &RunDir,
    step: u64,
    tmp: &Temporary,
    target: &Path,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<(PathBuf, u64)> {
    remove(&tmp.0)?;
    fs::create_dir(&tmp.0).map_err(|e| file_error("create", &tmp.0, &e))?;
    fill(&tmp.0)?;
    let mut files = BTreeMap::new();
    seal(&tmp.0, "", &mut files)?;
    // `fill` may have begun with a copy of another checkpoint.
    files.remove(CHECKSUMS);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
    // The one written last is gone on from: a clock that was set back must not make it another.
    let before = list_checkpoints(run).iter().map(|c| c.written).fold(0.0, f64::max);
    let written = now.max(before + LATER);
    let json = pretty_json(&Checksums { written, files }, 2)?;
    let list = tmp.0.join(CHECKSUMS);
    File::create(&list)
        .and_then(|mut f| f.write_all(&json).and_then(|()| f.sync_all()))
        .map_err(|e| file_error("write", &list, &e))?;
    sync_dir(&tmp.0);
    let bytes = size(&tmp.0).map_err(|e| file_error("read", &tmp.0, &e))?;
    {
        let _naming = NAMING.lock().unwrap_or_else(PoisonError::into_inner);
        put(&tmp.0, target, &hidden(run, step, "old")).map_err(|e| file_error("create", target, &e))?;
    }
    sync_dir(run.path());
    Ok((target.to_owned(), bytes))
}

pub(super) fn hidden(run: &RunDir, step: u64, state: &str) -> PathBuf {
    run.path().join(format!(".checkpoint-{step}.{state}-{}", std::process::id()))
}

/// Syncs every file and directory under `dir` and lists the files, named relative to the checkpoint.
fn seal(dir: &Path, prefix: &str, files: &mut BTreeMap<String, Checksum>) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(|e| file_error("read", dir, &e))? {
        let entry = entry.map_err(|e| file_error("read", dir, &e))?;
        let path = entry.path();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if path.is_dir() {
            seal(&path, &format!("{name}/"), files)?;
        } else {
            let sum = checksum(&path).and_then(|sum| File::open(&path)?.sync_all().map(|()| sum));
            files.insert(name, sum.map_err(|e| file_error("read", &path, &e))?);
        }
    }
    sync_dir(dir);
    Ok(())
}

fn size(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0u64;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // A link to a directory may lead back to here.
        // Files with holes may say that they are as long as they like.
        bytes = bytes.saturating_add(match entry.file_type()?.is_dir() {
            true => size(&entry.path())?,
            false => fs::metadata(entry.path())?.len(),
        });
    }
    Ok(bytes)
}

/// The step of a directory named `checkpoint-N`.
pub fn step_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("checkpoint-")?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The whole checkpoints of a run, by step. One with checksums is whole when all files named there have their
/// sizes; their content is [`verify_checkpoint`](super::verify_checkpoint)'s business. One without is SWIFT's, and whole
/// unless empty.
pub fn list_checkpoints(run: &RunDir) -> Vec<CheckpointInfo> {
    list_checkpoints_in(run.path())
}

/// [`list_checkpoints`] of a directory that need not be a run's: checkpoints may have been copied without it.
pub fn list_checkpoints_in(dir: &Path) -> Vec<CheckpointInfo> {
    look_at_checkpoints(dir, Needed::All).0
}

/// All that is named as a checkpoint in `dir`: by step those of which what is `needed` is whole, and what is wrong with
/// the others.
pub fn look_at_checkpoints(dir: &Path, needed: Needed) -> (Vec<CheckpointInfo>, Vec<(u64, Error)>) {
    let (mut whole, mut broken) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Some(step) = step_of(&entry.file_name().to_string_lossy()) else { continue };
        match inspect(step, entry.path(), needed) {
            Ok(info) => whole.push(info),
            Err(e) => broken.push((step, e)),
        }
    }
    whole.sort_by_key(|c| c.step);
    broken.sort_by_key(|(step, _)| *step);
    (whole, broken)
}

fn inspect(step: u64, path: PathBuf, needed: Needed) -> Result<CheckpointInfo> {
    let unreadable = |e| file_error("read", &path, &e);
    let bytes = size(&path).map_err(unreadable)?;
    if bytes == 0 {
        return Err(Error::user(format!("{} is empty", error::shown(&path))));
    }
    let sums = check_sizes(&path, needed)?;
    let written = match &sums {
        Some(sums) => sums.written,
        None => {
            let modified = fs::metadata(&path).and_then(|m| m.modified()).map_err(unreadable)?;
            modified.duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
        }
    };
    Ok(CheckpointInfo { step, bytes, written, checksums: sums.is_some(), path })
}

/// Whether a run can go on from a checkpoint: it holds more than weights.
///
/// # Errors
/// `Error::User` that says why not.
pub fn resumable(checkpoint: &Path) -> Result<()> {
    if [OPTIMIZER, PROGRESS].iter().all(|file| checkpoint.join(file).is_file()) {
        return Ok(());
    }
    let why = match ["optimizer.pt", "scheduler.pt"].iter().any(|file| checkpoint.join(file).is_file()) {
        true => "its optimizer.pt is a Python pickle, which is never loaded",
        false => "it was saved with save_only_model true, or by a version without resume",
    };
    Err(Error::user(format!(
        "{} holds weights and no state of the training ({why}): no run can go on from it exactly; a new run can start \
         from its weights alone (resume_only_model true)",
        error::shown(checkpoint)
    )))
}

/// Removes what dead writers left half-written or half-removed, files and checkpoints, and puts back a checkpoint that was moved aside and
/// not replaced.
///
/// For a worker that holds the run's lock, before its first checkpoint: a name with this process's own id must then
/// be an earlier process's (in a container the ids repeat). Failures are left for the next time.
pub fn clean_partial(run: &RunDir) {
    clean_files(run.path());
    clean_files(&run.images_dir());
    let Ok(entries) = fs::read_dir(run.path()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some((step, state, pid)) = parse_hidden(&name.to_string_lossy()) else { continue };
        if !is_dead(pid) {
            continue;
        }
        if state == "old" && !run.checkpoint(step).exists() {
            let _ = fs::rename(entry.path(), run.checkpoint(step));
        } else {
            let _ = remove(&entry.path());
        }
    }
}

/// Removes the files in `dir` that dead writers have not given their names.
fn clean_files(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_left = unnamed_by(&entry.file_name().to_string_lossy()).is_some_and(is_dead);
        if is_left && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Step, state and process id of `.checkpoint-N.STATE-PID`.
fn parse_hidden(name: &str) -> Option<(u64, &'static str, i32)> {
    let (checkpoint, rest) = name.strip_prefix('.')?.split_once('.')?;
    let (state, pid) = rest.split_once('-')?;
    let state = ["tmp", "old", "rm"].into_iter().find(|s| *s == state)?;
    Some((step_of(checkpoint)?, state, pid.parse().ok().filter(|p| *p > 0)?))
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
