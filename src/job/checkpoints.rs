//! A run in detail, as a page of it shows it: its checkpoints with their figures, its arguments, its curves.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde_json::{Map, Value};

use crate::args;
use crate::job::branch::Branch;
use crate::job::curves::{self, Curves};
use crate::job::merge::SUFFIX;
use crate::job::resume::ready;
use crate::run::{CheckpointInfo, MERGED, list_checkpoints_in, resumable, step_of};

/// Arguments longer than this are none.
const ARGS: u64 = 16 << 20;

/// A checkpoint as a list shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointSummary {
    pub step: u64,
    pub path: PathBuf,
    /// Of all its files.
    pub bytes: u64,
    /// Unix seconds.
    pub written: f64,
    /// Of the evaluation at its step, where there was one; may be NaN.
    pub eval_loss: Option<f64>,
    pub eval_acc: Option<f64>,
    /// The lowest `eval_loss` of the run, or else of those that are still there.
    pub best: bool,
    /// The newest of those that the run comes from.
    pub last: bool,
    /// The run has gone back to an earlier step since, and does not come from it.
    pub left: bool,
    /// Whether all its files are there.
    pub whole: bool,
    /// Why no training can go on from it, where that is so.
    pub resumable: Result<(), String>,
}

/// What lies where a checkpoint's merge goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// The checkpoint's, which may be gone.
    pub step: u64,
    pub path: PathBuf,
    /// Of all its files.
    pub bytes: u64,
    /// Unix seconds.
    pub written: f64,
    /// Whether it is a model, and whether `merge-lora` has made it.
    pub is_model: bool,
    pub is_ours: bool,
}

/// The model that a run began with.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// A directory, or a hub's name for it.
    pub name: String,
    /// Where it lies, if it is here.
    pub path: Option<PathBuf>,
}

/// All of a run that stands on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct RunDetails {
    /// The run directory.
    pub path: PathBuf,
    /// By step.
    pub checkpoints: Vec<CheckpointSummary>,
    /// By step.
    pub merged: Vec<Merged>,
    /// Of everything in the run directory.
    pub bytes: u64,
    pub base: Option<Base>,
    /// The file of its arguments: its own, or a checkpoint's.
    pub args_file: PathBuf,
    /// What differs from the defaults, as name and value, or why it cannot be told.
    pub args: Result<Vec<(&'static str, String)>, String>,
    /// Why no training can go on with the run, from whichever checkpoint, where that is so: its arguments cannot be
    /// read, or its model or data are not there.
    pub ready: Result<(), String>,
    pub curves: Curves,
}

impl RunDetails {
    /// Reads the run in `dir`. What is broken or missing is left out; nothing is read without a limit.
    pub fn read(dir: &Path) -> RunDetails {
        let mut whole = list_checkpoints_in(dir);
        let branch = Branch::read(dir);
        branch.sort(&mut whole);
        let newest = whole.first();
        let curves = Curves::read(dir, newest.map(|c| c.path.as_path()));
        let last = newest.map(|c| c.step);
        let damaged = damaged(dir, &whole);
        let mut checkpoints: Vec<_> =
            whole.into_iter().map(|c| summary(c, &curves, &branch)).chain(damaged).collect();
        checkpoints.sort_by_key(|c| c.step);
        // One step may be there twice, as `checkpoint-5` and `checkpoint-05`; the first is the one meant.
        checkpoints.dedup_by_key(|c| c.step);
        let best = best(&checkpoints, &curves);
        for checkpoint in &mut checkpoints {
            checkpoint.best = Some(checkpoint.step) == best;
            checkpoint.last = Some(checkpoint.step) == last;
        }
        // Where a run was copied without its own file, a checkpoint has the same.
        let with_args = |d: &&Path| d.join(args::ARGS_FILE).is_file();
        let places = [dir].into_iter().chain(checkpoints.iter().map(|c| c.path.as_path()));
        let place = places.into_iter().find(with_args).unwrap_or(dir);
        let args = args::chosen(place).map_err(|e| e.to_string());
        let (base, args_file) = (base(place), place.join(args::ARGS_FILE));
        let ready = ready(dir).map_err(|e| e.to_string());
        let (path, bytes, merged) = (dir.to_owned(), bytes(dir), merged(dir));
        RunDetails { path, bytes, base, args_file, args, ready, curves, checkpoints, merged }
    }

    /// The best checkpoint, or else the last.
    pub fn best_or_last(&self) -> Option<&CheckpointSummary> {
        let find = |wanted: fn(&CheckpointSummary) -> bool| self.checkpoints.iter().find(|c| wanted(c));
        find(|c| c.best).or_else(|| find(|c| c.last))
    }
}

fn summary(info: CheckpointInfo, curves: &Curves, branch: &Branch) -> CheckpointSummary {
    let left = branch.has_left(info.step, info.written);
    // What the curves have at that step is another one's.
    let eval =
        curves.eval(info.step).filter(|_| !left).copied().or_else(|| curves::eval_in(&info.path, info.step));
    CheckpointSummary {
        step: info.step,
        resumable: resumable(&info.path).map_err(|e| e.to_string()),
        path: info.path,
        bytes: info.bytes,
        written: info.written,
        eval_loss: eval.map(|e| e.loss),
        eval_acc: eval.map(|e| e.acc),
        best: false,
        last: false,
        left,
        whole: true,
    }
}

/// The directories named `checkpoint-N` that are not among the `whole` ones.
fn damaged(dir: &Path, whole: &[CheckpointInfo]) -> Vec<CheckpointSummary> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let damaged = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).filter_map(|entry| {
        let step =
            step_of(&entry.file_name().to_string_lossy()).filter(|s| whole.iter().all(|c| c.step != *s))?;
        Some(CheckpointSummary {
            step,
            bytes: bytes(&entry.path()),
            path: entry.path(),
            written: modified(&entry),
            eval_loss: None,
            eval_acc: None,
            best: false,
            last: false,
            left: false,
            whole: false,
            resumable: Err("files are missing or cut short".to_owned()),
        })
    });
    damaged.collect()
}

/// When it was changed, in Unix seconds; 0 where that is not known.
fn modified(entry: &fs::DirEntry) -> f64 {
    let time = entry.metadata().and_then(|m| m.modified()).ok();
    time.and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0.0, |d| d.as_secs_f64())
}

/// What is named `checkpoint-N-merged` in a run; an empty directory is in nobody's way.
fn merged(dir: &Path) -> Vec<Merged> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut merged: Vec<Merged> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let step = step_of(entry.file_name().to_string_lossy().strip_suffix(SUFFIX)?)?;
            if fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none()) {
                return None;
            }
            let (bytes, written) = (bytes(&path), modified(&entry));
            let is_model = path.join("config.json").is_file();
            Some(Merged { step, bytes, written, is_model, is_ours: path.join(MERGED).is_file(), path })
        })
        .collect();
    merged.sort_by_key(|m| m.step);
    merged
}

fn best(all: &[CheckpointSummary], curves: &Curves) -> Option<u64> {
    let named = curves.best.as_deref().and_then(step_of);
    if let Some(named) = all.iter().find(|c| c.whole && Some(c.step) == named) {
        return Some(named.step);
    }
    let loss = |c: &&CheckpointSummary| c.eval_loss.filter(|l| l.is_finite());
    let judged = all.iter().filter(|c| !c.left && loss(c).is_some());
    judged.min_by(|a, b| loss(a).unwrap_or(0.0).total_cmp(&loss(b).unwrap_or(0.0))).map(|c| c.step)
}

fn base(dir: &Path) -> Option<Base> {
    let file = dir.join(args::ARGS_FILE);
    let length = fs::metadata(&file).ok().filter(|m| m.is_file())?.len();
    let text = (length <= ARGS).then(|| fs::read(&file).ok())??;
    let object: Map<String, Value> = serde_json::from_slice(&text).ok()?;
    let named = ["model_cache_dir", "model_id_or_path"].into_iter();
    let name = named.filter_map(|key| object.get(key)?.as_str()).find(|s| !s.is_empty())?.to_owned();
    let path = Path::new(&name).is_absolute().then(|| PathBuf::from(&name)).filter(|p| p.is_dir());
    Some(Base { name, path })
}

/// Bytes of all files under `dir`; links are not followed.
pub fn bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes(&entry.path()),
        Ok(_) => entry.metadata().map_or(0, |m| m.len()),
        Err(_) => 0,
    };
    entries.map(size).fold(0, u64::saturating_add)
}

#[cfg(test)]
#[path = "checkpoints_tests.rs"]
mod tests;
