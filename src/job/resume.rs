//! Going on with a run: which run, from which of its checkpoints, and whether the arguments are still its own.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

use crate::args::{ARGS_FILE, SftArgs};
use crate::error::{Error, Result};
use crate::job::branch::Branch;
use crate::job::engine::ready_engine;
use crate::job::inputs::{Inputs, Missing};
use crate::job::runs::{RunStatus, inspect};
use crate::job::worker::{Session, Worker};
use crate::run::{EVENTS, RunDir, list_checkpoints, resumable, step_of, verify_checkpoint};

/// A run to go on with.
#[derive(Debug)]
pub struct Resume {
    pub run: RunDir,
    /// Its arguments.
    pub args: SftArgs,
    /// The step of the checkpoint it goes on from; none where it has none and starts from the beginning.
    pub step: Option<u64>,
    /// It has come to its end: there is nothing to go on with.
    pub finished: bool,
    /// Checkpoints that were passed over, and why.
    pub warnings: Vec<String>,
}

impl Resume {
    /// The run in `dir`, from its newest whole checkpoint; or, where `dir` is a checkpoint, from that one.
    ///
    /// # Errors
    /// `Error::User`: no such run or checkpoint, a damaged one or one without the training's state; a run that a worker
    /// is at.
    pub fn of(dir: &Path) -> Result<Resume> {
        let dir = fs::canonicalize(dir).map_err(|e| {
            Error::user(format!(
                "resume_from_checkpoint: {}: {e}; give the directory of a run or of one of its checkpoints, or last",
                dir.display()
            ))
        })?;
        let step = dir.file_name().and_then(|name| step_of(&name.to_string_lossy()));
        let (Some(step), Some(root)) = (step, dir.parent()) else { return Self::open(&dir)?.at_newest() };
        let mut resume = Self::open(root)?;
        if !resume.finished {
            verify_checkpoint(&dir)?;
            resumable(&dir)?;
            resume.step = Some(step);
        }
        Ok(resume)
    }

    /// The newest run in `args.output_dir` that has these arguments, from its newest whole checkpoint; none where there
    /// is no unfinished run.
    ///
    /// # Errors
    /// As [`of`](Self::of); `Error::User` where there are unfinished runs and all have other arguments.
    pub fn last(args: &SftArgs) -> Result<Option<Resume>> {
        let mut other = None;
        for root in runs(args) {
            let Ok(mine) = SftArgs::from_run_dir(&root) else { continue };
            let Err(refused) = same(&root, &mine, args) else {
                return Self::open(&root)?.at_newest().map(Some);
            };
            if inspect(&root).status != RunStatus::Finished {
                other.get_or_insert(refused);
            }
        }
        other.map_or(Ok(None), Err)
    }

    fn open(root: &Path) -> Result<Resume> {
        let run = RunDir::open(root)?;
        let args = SftArgs::from_run_dir(run.path())?;
        let status = inspect(run.path()).status;
        if status == RunStatus::Running {
            return Err(Error::user(format!(
                "{}: a worker is training this run; follow it instead",
                run.path().display()
            )));
        }
        let finished = status == RunStatus::Finished;
        Ok(Resume { run, args, step: None, finished, warnings: Vec::new() })
    }

    fn at_newest(mut self) -> Result<Resume> {
        if !self.finished {
            let Newest { step, warnings } = newest(&self.run, resumable)?;
            (self.step, self.warnings) = (step, warnings);
        }
        Ok(self)
    }

    /// Whether `args` are still those of the run.
    ///
    /// # Errors
    /// `Error::User` names the first argument that would make another run, and both values.
    pub fn fits(&self, args: &SftArgs) -> Result<()> {
        same(self.run.path(), &self.args, args)
    }

    /// Takes over what `args` may change, for the worker to read.
    ///
    /// # Errors
    /// `Error::User` names the first argument that would make another run, and both values.
    pub fn take(&mut self, args: SftArgs) -> Result<()> {
        self.fits(&args)?;
        let args = SftArgs {
            resume_from_checkpoint: None,
            output_dir: self.args.output_dir.clone(),
            add_output_dir_suffix: self.args.add_output_dir_suffix,
            ..args
        };
        if args != self.args {
            self.run.write_args(&args.to_json())?;
            self.args = args;
        }
        Ok(())
    }
}

/// The newest checkpoint of a run that is of use.
#[derive(Debug)]
pub(super) struct Newest {
    pub step: Option<u64>,
    /// Those that were passed over, and why.
    pub warnings: Vec<String>,
}

/// The newest whole checkpoint of `run` that is `usable`, by the time of writing. A run that went on from an earlier
/// checkpoint has left those of later steps behind: they come after all that it comes from.
///
/// # Errors
/// There are whole ones and none of them is usable: that of the newest.
pub(super) fn newest(run: &RunDir, usable: impl Fn(&Path) -> Result<()>) -> Result<Newest> {
    let mut whole = list_checkpoints(run);
    let broken = steps(run).into_iter().filter(|step| !whole.iter().any(|c| c.step == *step));
    let mut warnings: Vec<String> =
        broken.map(|step| format!("{} is not whole and left out", run.checkpoint(step).display())).collect();
    let branch = Branch::read(run.path());
    branch.sort(&mut whole);
    let mut refused = None;
    for checkpoint in whole {
        if let Err(e) = verify_checkpoint(&checkpoint.path) {
            warnings.push(format!("checkpoint-{} is left out: {e}", checkpoint.step));
        } else if let Err(e) = usable(&checkpoint.path) {
            refused.get_or_insert(e);
        } else {
            if branch.has_left(checkpoint.step, checkpoint.written) {
                warnings.push(format!(
                    "the run had gone back from checkpoint-{}; no other whole one is left",
                    checkpoint.step
                ));
            }
            return Ok(Newest { step: Some(checkpoint.step), warnings });
        }
    }
    refused.map_or(Ok(Newest { step: None, warnings }), Err)
}

/// Goes on with the run that `dir` is, or is a checkpoint of, in a session of its own.
///
/// # Errors
/// `Error::User` as [`Resume::of`], and where the run is finished or there is no engine.
pub fn resume(dir: &Path) -> Result<(PathBuf, Worker)> {
    let engine = ready_engine()?;
    let resume = Resume::of(dir)?;
    let run = resume.run.path();
    if resume.finished {
        return Err(Error::user(format!(
            "{}: this run is finished; nothing is left to train",
            run.display()
        )));
    }
    look(&resume.args)?;
    let worker = Worker::start_at(&engine, run, Session::Background, resume.step)?;
    Ok((run.to_owned(), worker))
}

/// Whether a worker on the run in `dir` has arguments that it can read, a model and data: without them its first word
/// would be that it has failed.
///
/// # Errors
/// `Error::User` names what is wrong.
pub fn ready(dir: &Path) -> Result<()> {
    look(&SftArgs::from_run_dir(dir)?)
}

fn look(args: &SftArgs) -> Result<()> {
    let missing = |m: Missing| {
        Error::user(format!(
            "{}. A run goes on with the arguments that it began with: put it there, or start a new run with others",
            m.message
        ))
    };
    Inputs::from(args).look().map_err(missing)
}

/// Refuses arguments that would make another run of the one in `root`.
fn same(root: &Path, old: &SftArgs, new: &SftArgs) -> Result<()> {
    let changes = old.changes(new);
    let Some(first) = changes.first() else { return Ok(()) };
    let more = match changes.len() - 1 {
        0 => String::new(),
        n => format!(" ({n} more differ)"),
    };
    Err(Error::user(format!(
        "{} is {} here and was {} when {} began{more}: a run goes on as it began; give the old value, or leave out \
         resume_from_checkpoint to start anew",
        first.key,
        first.new,
        first.old,
        root.display()
    )))
}

/// The runs that `args` could have made, newest first.
pub(super) fn runs(args: &SftArgs) -> Vec<PathBuf> {
    let is_run = |dir: &PathBuf| [EVENTS, ARGS_FILE].iter().all(|file| dir.join(file).is_file());
    let output_dir = Path::new(&args.output_dir);
    if !args.add_output_dir_suffix {
        return [output_dir.to_owned()].into_iter().filter(is_run).collect();
    }
    let number = |dir: &PathBuf| -> Option<u64> {
        let name = dir.file_name()?.to_str()?.strip_prefix('v')?.split('-').next()?;
        name.parse().ok()
    };
    let entries = fs::read_dir(output_dir.join(&args.model_type)).into_iter().flatten().flatten();
    let mut runs: Vec<_> = entries.map(|e| e.path()).filter(is_run).collect();
    runs.retain(|dir| number(dir).is_some());
    runs.sort_by_key(|dir| Reverse((number(dir), dir.clone())));
    runs
}

/// The steps of all directories that are named as checkpoints.
fn steps(run: &RunDir) -> Vec<u64> {
    let entries = fs::read_dir(run.path()).into_iter().flatten().flatten();
    entries.filter_map(|e| step_of(&e.file_name().to_string_lossy())).collect()
}

#[cfg(test)]
#[path = "resume_tests.rs"]
mod tests;
