//! Deleting checkpoints and runs, and nothing else.
//!
//! What goes is first renamed to a hidden name beside it (`.checkpoint-5.rm-PID`, as rotation does): it is there or it
//! is not, and what a deletion that was cut off leaves is taken away by the next one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::job::checkpoints::bytes;
use crate::job::merge;
use crate::job::runs::{has_run_files, is_run, list_runs, take_lock};
use crate::run::{MERGED, WORKER_LOCK, has_ended, is_being_written, step_of};

/// Why something that a merge reads or replaces stays.
const MERGING: &str = "it is being merged; that ends by itself";

/// Deletes the checkpoint, merged model or run in `target`, an absolute path without links; returns its size in bytes.
///
/// # Errors
/// `Error::User` where it is none of these beneath `output_dir`, where a worker is at the run or a merge at it, or
/// where the disk refuses.
pub fn remove(target: &Path, output_dir: &Path) -> Result<u64> {
    let what = check(target, output_dir)?;
    let run = match what {
        What::InRun => target.parent().unwrap_or(target),
        What::Run => target,
    };
    // Held until the rename: no worker begins on what is about to go.
    let lock = File::open(run.join(WORKER_LOCK)).ok();
    if lock.as_ref().is_some_and(|file| !take_lock(file)) {
        return Err(Error::user(format!("{} is being trained: stop it first", run.display())));
    }
    clear_leavings(target);
    let size = bytes(target);
    let aside = aside(target)?;
    fs::rename(target, &aside).user(format!("cannot delete {}", target.display()))?;
    drop(lock);
    fs::remove_dir_all(&aside).user(format!(
        "{} is gone from the list, but not all of it could be deleted; the rest is {}",
        target.display(),
        aside.display()
    ))?;
    Ok(size)
}

/// Why the run or checkpoint `target` stays where it is, if that follows from its path alone; both paths without links.
pub(super) fn stays(target: &Path, root: &Path) -> Option<String> {
    if target == root {
        return Some("it is the whole output directory".to_owned());
    }
    let beneath = target.parent().is_some_and(|parent| parent.starts_with(root));
    (!beneath).then(|| format!("it is not beneath the output directory {}", root.display()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// A checkpoint or a merged model.
    InRun,
    Run,
}

/// What `target` is, where it may be deleted.
fn check(target: &Path, output_dir: &Path) -> Result<What> {
    let refuse = |why: &str| Err(Error::user(format!("{} is not deleted: {why}", target.display())));
    let root = fs::canonicalize(output_dir).user(format!("output directory {}", output_dir.display()))?;
    let meta = fs::symlink_metadata(target).user(format!("cannot delete {}", target.display()))?;
    if !meta.is_dir() {
        return refuse("it is no directory");
    }
    // The path names what it says: no links, no `..`.
    let real = fs::canonicalize(target).user(format!("cannot delete {}", target.display()))?;
    if real != target {
        return refuse(&format!("it lies elsewhere, at {}", real.display()));
    }
    if let Some(why) = stays(target, &root) {
        return refuse(&why);
    }
    let Some((parent, name)) = target.parent().zip(target.file_name()) else {
        return refuse("it is the root of the file system");
    };
    let name = name.to_string_lossy();
    if step_of(&name).is_some() {
        return match is_run(parent) {
            true if is_being_written(&merge::usual_target(target)) => refuse(MERGING),
            true => Ok(What::InRun),
            false => refuse("it is not in a run directory"),
        };
    }
    if name.strip_suffix(merge::SUFFIX).and_then(step_of).is_some() && is_run(parent) {
        return match target.join(MERGED).is_file() {
            true if is_being_written(target) => refuse(MERGING),
            true => Ok(What::InRun),
            false => refuse("merge-lora has not made it; delete it yourself"),
        };
    }
    if !has_run_files(target) {
        return refuse("it is neither a checkpoint nor a run directory");
    }
    if let Some(step) = steps(target).find(|c| is_being_written(&merge::usual_target(c))) {
        return refuse(&format!("{} in it is being merged", step.file_name().unwrap_or_default().display()));
    }
    // What a link in it leads to stays.
    let others =
        list_runs(target).into_iter().filter(|run| run.path != target && run.path.starts_with(target));
    if let Some(other) = others.into_iter().next() {
        return refuse(other.problem.as_deref().unwrap_or("there are other runs in it"));
    }
    Ok(What::Run)
}

/// The checkpoints in a run.
fn steps(run: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(run).into_iter().flatten().flatten();
    entries.filter(|e| step_of(&e.file_name().to_string_lossy()).is_some()).map(|e| e.path())
}

/// The hidden name that `target` gets.
fn aside(target: &Path) -> Result<PathBuf> {
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let own = std::process::id();
    let free = (0..100).find_map(|i| {
        let again = if i == 0 { String::new() } else { format!("{i}.") };
        let path = target.with_file_name(format!(".{name}.{again}rm-{own}"));
        fs::symlink_metadata(&path).is_err().then_some(path)
    });
    free.ok_or_else(|| Error::user(format!("clear away .{name}.*rm-{own} beside {}", target.display())))
}

/// Takes away what deletions by programs that are no more have left beside `target`.
fn clear_leavings(target: &Path) {
    let entries = target.parent().and_then(|p| fs::read_dir(p).ok()).into_iter().flatten().flatten();
    for entry in entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let pid = name.strip_prefix('.').and_then(|n| n.rsplit_once(".rm-")?.1.parse().ok());
        if pid.is_some_and(has_ended) {
            // The rest stays hidden, and for the next time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// An output directory with a run of two checkpoints; the run's path is without links.
    fn output() -> (tempfile::TempDir, PathBuf) {
        let out = tempfile::tempdir().unwrap();
        let run = fs::canonicalize(out.path()).unwrap().join("qwen-demo/v0-a");
        for step in [5, 10] {
            fs::create_dir_all(run.join(format!("checkpoint-{step}/default"))).unwrap();
            fs::write(run.join(format!("checkpoint-{step}/default/weights")), "12345").unwrap();
        }
        for file in [
            "events.jsonl",
            "worker.lock",
            "training_args.json",
            "runs/events.out.tfevents.1.a.1.0",
            "images/train_loss.png",
        ] {
            fs::create_dir_all(run.join(file).parent().unwrap()).unwrap();
            fs::write(run.join(file), "").unwrap();
        }
        (out, run)
    }

    #[track_caller]
    fn refused(target: &Path, out: &Path, why: &str) {
        let error = remove(target, out).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(why), "{error}");
    }

    #[test]
    fn a_checkpoint_goes_and_then_the_run() {
        let (out, run) = output();
        // What a deletion of a process that is no more has left.
        let left = run.join(".checkpoint-3.rm-999999999");
        fs::create_dir_all(left.join("default")).unwrap();
        assert_eq!(remove(&run.join("checkpoint-5"), out.path()).unwrap(), 5);
        let mut names: Vec<_> = fs::read_dir(&run).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        let left = ["checkpoint-10", "events.jsonl", "images", "runs", "training_args.json", "worker.lock"];
        assert_eq!(names, left);
        assert_eq!(remove(&run, out.path()).unwrap(), 5);
        assert_eq!(fs::read_dir(run.parent().unwrap()).unwrap().count(), 0);
        refused(&run, out.path(), "cannot delete");
    }

    #[test]
    fn nothing_of_a_running_run_goes() {
        let (out, run) = output();
        let lock = File::open(run.join("worker.lock")).unwrap();
        lock.lock().unwrap();
        refused(&run.join("checkpoint-5"), out.path(), "is being trained");
        refused(&run, out.path(), "is being trained");
        assert!(run.join("checkpoint-5/default/weights").exists());
        lock.unlock().unwrap();
        remove(&run.join("checkpoint-5"), out.path()).unwrap();
    }

    #[test]
    fn what_is_merged_stays_until_that_is_done_and_a_merged_model_goes() {
        let (out, run) = output();
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let tmp = run.join(format!(".checkpoint-5-merged.tmp-{}", other.id()));
        fs::create_dir(&tmp).unwrap();
        let merged = run.join("checkpoint-5-merged");
        fs::create_dir(&merged).unwrap();
        fs::write(merged.join("merged.json"), "{}").unwrap();
        refused(&run.join("checkpoint-5"), out.path(), "it is being merged");
        refused(&merged, out.path(), "it is being merged");
        refused(&run, out.path(), "checkpoint-5 in it is being merged");
        remove(&run.join("checkpoint-10"), out.path()).unwrap();
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(remove(&merged, out.path()).unwrap(), 2);
        assert!(!merged.exists() && run.join("checkpoint-5").exists());
        remove(&run.join("checkpoint-5"), out.path()).unwrap();
    }

    #[test]
    fn nothing_but_checkpoints_and_runs_goes() {
        let (out, run) = output();
        let root = fs::canonicalize(out.path()).unwrap();
        fs::create_dir_all(root.join("notes/checkpoint-x")).unwrap();
        fs::create_dir_all(run.join("checkpoint-5-merged")).unwrap();
        fs::write(run.join("checkpoint-7"), "a file").unwrap();
        refused(&run.join("images"), &root, "neither");
        refused(&run.join("runs"), &root, "neither");
        refused(&root.join("notes"), &root, "neither");
        fs::create_dir_all(root.join("copied/checkpoint-5")).unwrap();
        refused(&root.join("copied"), &root, "neither");
        remove(&root.join("copied/checkpoint-5"), &root).unwrap();
        refused(&root.join("notes/checkpoint-x"), &root, "neither");
        refused(&run.join("checkpoint-5-merged"), &root, "merge-lora has not made it");
        refused(&run.join("checkpoint-7"), &root, "no directory");
        refused(&run.join("checkpoint-5/default"), &root, "neither");
        refused(&root, &root, "whole output directory");
        // A run that holds others, as where an output directory was trained into without a suffix.
        fs::write(root.join("qwen-demo/sft_args.json"), "{}").unwrap();
        refused(&root.join("qwen-demo"), &root, "other runs");
        assert!(run.join("checkpoint-10").exists());
    }

    #[test]
    fn nothing_outside_the_output_directory_goes() {
        let (out, run) = output();
        let (elsewhere, other) = output();
        let root = fs::canonicalize(out.path()).unwrap();
        refused(&other, &root, "not beneath");
        refused(&other.join("checkpoint-5"), &root, "not beneath");
        // By a way round, and by links: to a run, to a checkpoint, and a directory on the way.
        let round = root.join("..").join(elsewhere.path().file_name().unwrap()).join("qwen-demo/v0-a");
        refused(&round, &root, "elsewhere");
        symlink(&other, root.join("qwen-demo/v1-b")).unwrap();
        symlink(other.join("checkpoint-5"), run.join("checkpoint-6")).unwrap();
        symlink(other.parent().unwrap(), root.join("link")).unwrap();
        refused(&root.join("qwen-demo/v1-b"), &root, "no directory");
        refused(&root.join("qwen-demo/v1-b/checkpoint-5"), &root, "elsewhere");
        refused(&run.join("checkpoint-6"), &root, "no directory");
        refused(&root.join("link/v0-a"), &root, "elsewhere");
        assert!(other.join("checkpoint-5/default/weights").exists());
        // A link inside what goes is a link that goes.
        symlink(&other, run.join("checkpoint-5/link")).unwrap();
        remove(&run, &root).unwrap();
        assert!(other.join("checkpoint-5/default/weights").exists() && !run.exists());
    }
}
