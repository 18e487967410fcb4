//! Whether a checkpoint is as it was written: names, sizes and checksums of its files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::checkpoint::{OPTIMIZER, PROGRESS};
use super::configuration::CONFIGURATION;
use super::files::{file_error, read_json, sha256};
use super::trainer_state::TRAINER_STATE;
use crate::args::ARGS_FILE;
use crate::error::{Error, Result, shown};

/// Names, sizes and checksums of a checkpoint's files.
pub const CHECKSUMS: &str = "checksums.json";

/// What can be done without it.
const RESTORE: &str = "put it back from a copy of the checkpoint";

/// [`CHECKSUMS`]' content.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Checksums {
    /// Unix seconds.
    pub written: f64,
    /// By path inside the checkpoint, with `/` between its parts.
    pub files: BTreeMap<String, Checksum>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Checksum {
    bytes: u64,
    /// Lower-case hexadecimal.
    sha256: String,
}

/// Which of a checkpoint's files somebody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    All,
    /// What another training begins with: weights, what says how they are used, the tokenizer.
    Weights,
}

impl Needed {
    fn has(self, name: &str) -> bool {
        let of_the_training = [OPTIMIZER, PROGRESS, ARGS_FILE, TRAINER_STATE, CONFIGURATION];
        self == Needed::All || !of_the_training.contains(&name)
    }
}

pub(super) fn checksum(path: &Path) -> io::Result<Checksum> {
    let (bytes, sha256) = sha256(path)?;
    Ok(Checksum { bytes, sha256 })
}

/// The file `name` of the checkpoint; None where the name leads out of it.
fn inside(checkpoint: &Path, name: &str) -> Option<PathBuf> {
    Path::new(name).components().all(|c| matches!(c, Component::Normal(_))).then(|| checkpoint.join(name))
}

/// The list in the checkpoint `path`, whose files are there with their sizes; none in SWIFT's checkpoints.
///
/// # Errors
/// `Error::User` naming the list where it makes no sense or is missing from a checkpoint of ours, or the first file that is missing or of another size.
pub(super) fn check_sizes(path: &Path, needed: Needed) -> Result<Option<Checksums>> {
    let list = path.join(CHECKSUMS);
    if !list.exists() {
        // SWIFT writes none; who writes that file writes both.
        return match path.join(PROGRESS).exists() {
            true => Err(Error::user(format!("{} is missing; {RESTORE}", shown(&list)))),
            false => Ok(None),
        };
    }
    let sums: Checksums = read_json(&list).map_err(|e| e.map(|m| format!("{m}; {RESTORE}")))?;
    for (name, expected) in sums.files.iter().filter(|(name, _)| needed.has(name)) {
        let file = inside(path, name)
            .ok_or_else(|| Error::user(format!("{} names a file outside it: {name:?}", shown(&list))))?;
        let found = match fs::metadata(&file) {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::user(format!("{} is missing", shown(&file))));
            }
            Err(e) => return Err(file_error("read", &file, &e)),
        };
        if !found.is_file() || found.len() != expected.bytes {
            return Err(Error::user(format!(
                "{} is damaged: it has {} bytes, written were {}",
                shown(&file),
                found.len(),
                expected.bytes
            )));
        }
    }
    Ok(Some(sums))
}

/// Compares the files of a checkpoint that are `needed` with its checksums; one without checksums (SWIFT's) passes.
/// Files added later, such as answers of an inference, are no fault.
///
/// # Errors
/// `Error::User` naming the first file that is missing or damaged.
pub fn verify(path: &Path, needed: Needed) -> Result<()> {
    if !path.is_dir() {
        return Err(Error::user(format!("there is no checkpoint {}", shown(path))));
    }
    let Some(sums) = check_sizes(path, needed)? else { return Ok(()) };
    for (name, expected) in sums.files.iter().filter(|(name, _)| needed.has(name)) {
        let file = path.join(name);
        let found = checksum(&file).map_err(|e| file_error("read", &file, &e))?;
        if found.bytes != expected.bytes || found.sha256 != expected.sha256 {
            return Err(Error::user(format!(
                "{} is damaged: {} bytes with sha256 {}, written were {} bytes with sha256 {}",
                shown(&file),
                found.bytes,
                found.sha256,
                expected.bytes,
                expected.sha256
            )));
        }
    }
    Ok(())
}

/// [`verify`] of all files, for whoever has named this one checkpoint.
pub fn verify_checkpoint(path: &Path) -> Result<()> {
    let there = path.is_dir();
    verify(path, Needed::All).map_err(|e| match there {
        true => e.map(|message| format!("{message}; use another checkpoint")),
        false => e,
    })
}
