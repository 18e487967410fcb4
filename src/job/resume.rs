//! Going on with a run: which run, from which of its checkpoints, and whether the arguments are still its own.

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::args::{ARGS_FILE, Change, SftArgs};
use crate::error::{Error, Result, shown};
use crate::hub::Fetch;
use crate::job::dying::wait_for_the_dying;
use crate::job::engine::ready_engine;
use crate::job::event::Event;
use crate::job::go_on::{self, new_run, with_its_weights};
use crate::job::inputs::{Inputs, Missing};
use crate::job::newest::{Newest, Wanted, newest};
use crate::job::runs::{RunStatus, head_and_tail, inspect};
use crate::job::worker::{Session, Worker};
use crate::run::{EVENTS, Needed, RunDir, list_checkpoints_in, resumable, step_of, verify};
use crate::shell;

/// What a run that has ended has left: the step of its newest checkpoint that is as it was written, and which are damaged.
pub fn results(run: &RunDir) -> (Option<u64>, Vec<String>) {
    match newest(run, Wanted::Result, |_| Ok(())) {
        Ok(Newest { step, mut warnings }) => {
            match step {
                Some(step) if !warnings.is_empty() => {
                    warnings.push(format!("checkpoint-{step} is its newest whole one"));
                }
                None if warnings.is_empty() && has_saved(run) => {
                    let anew = new_run(&run.args_file()).map_or_else(String::new, |anew| {
                        format!("; `{anew}` trains another run of its arguments")
                    });
                    let run = shown(run.path());
                    warnings
                        .push(format!("{run} has no checkpoint any more: what it has learned is gone{anew}"));
                }
                _ => {}
            }
            (step, warnings)
        }
        Err(e) => (None, vec![e.to_string()]),
    }
}

/// Whether the log of a run that has come to its end names a checkpoint.
fn has_saved(run: &RunDir) -> bool {
    let records = head_and_tail(&run.events_file()).unwrap_or_default();
    records.iter().any(|r| matches!(r.event, Event::Finished { last_checkpoint: Some(_), .. }))
}

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
    /// Of a finished run: the step of its newest checkpoint that is as it was written.
    pub whole: Option<u64>,
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
        let dir = fs::canonicalize(dir).map_err(|e| not_there(dir, &e))?;
        let step = dir.file_name().and_then(|name| step_of(&name.to_string_lossy()));
        let (Some(step), Some(root)) = (step, dir.parent()) else {
            is_no_run(&dir)?;
            return Self::open(&dir)?.at_newest();
        };
        if let Err(e) = RunDir::open(root) {
            return Err(with_its_weights(e, &dir));
        }
        let mut resume = Self::open(root)?;
        if !resume.finished {
            verify(&dir, Needed::All).map_err(|e| with_its_weights(e, &dir))?;
            resumable(&dir)?;
            resume.step = Some(step);
            resume.check_args()?;
        }
        resume.warn_of_damage();
        Ok(resume)
    }

    /// The newest run in `args.output_dir` that has these arguments, or else the newest unfinished one that has them but
    /// for the places of model and data, from its newest whole checkpoint; none where there is no unfinished run.
    ///
    /// # Errors
    /// As [`of`](Self::of); `Error::User` where there are unfinished runs and all have other arguments.
    pub fn last(args: &SftArgs) -> Result<Option<Resume>> {
        let (mut other, mut elsewhere) = (None, None);
        for root in runs(args) {
            let mine = match SftArgs::from_run_dir(&root) {
                Ok(mine) => mine,
                Err(e) => {
                    // Whose it is cannot be told: it is named where no other run fits.
                    if let Some(last) = list_checkpoints_in(&root).pop() {
                        let copy = last.path.join(ARGS_FILE);
                        let advice = format!("; {} is what it was trained with: copy it back", shown(&copy));
                        other.get_or_insert(e.map(|message| message + &advice));
                    }
                    continue;
                }
            };
            let refused = same(&root, mine.changes(args)).err();
            if refused.is_none() && mine.moved(args).is_empty() {
                return Self::open(&root)?.at_newest().map(Some);
            }
            if inspect(&root).status != RunStatus::Finished {
                match refused {
                    Some(refused) => drop(other.get_or_insert(refused)),
                    None => drop(elsewhere.get_or_insert(root)),
                }
            }
        }
        match elsewhere {
            Some(root) => Self::open(&root)?.at_newest().map(Some),
            None => other.map_or(Ok(None), Err),
        }
    }

    fn open(root: &Path) -> Result<Resume> {
        let run = RunDir::open(root)?;
        let args = SftArgs::from_run_dir(run.path())?;
        wait_for_the_dying(run.path())?;
        let status = inspect(run.path()).status;
        if status == RunStatus::Running {
            return Err(Error::user(format!(
                "{}: a worker is training this run; follow it instead (`qwen-tui attach {}`)",
                shown(run.path()),
                shell::word(run.path())
            )));
        }
        let finished = status == RunStatus::Finished;
        Ok(Resume { run, args, step: None, finished, whole: None, warnings: Vec::new() })
    }

    fn at_newest(mut self) -> Result<Resume> {
        if !self.finished {
            let Newest { step, warnings } = newest(&self.run, Wanted::Training, resumable)?;
            (self.step, self.warnings) = (step, warnings);
            self.check_args()?;
        }
        self.warn_of_damage();
        Ok(self)
    }

    /// Of a finished run, whose checkpoints nobody has to go on from: which is its newest whole one, and which are damaged.
    fn warn_of_damage(&mut self) {
        if !self.finished {
            return;
        }
        (self.whole, self.warnings) = results(&self.run);
    }

    /// Looks for what the worker reads. The adapter that the run began with is in its checkpoints.
    ///
    /// # Errors
    /// `Error::User` names what is not there.
    pub fn look(&self) -> Result<()> {
        self.look_by(&self.args)
    }

    /// [`look`](Self::look), by arguments that name the same in another way.
    pub(super) fn look_by(&self, args: &SftArgs) -> Result<()> {
        let init_adapter = args.init_adapter.clone().filter(|_| self.step.is_none());
        look(self.run.path(), &SftArgs { init_adapter, ..args.clone() })
    }

    /// Refuses arguments in the run's own file that are not those its checkpoint was trained with: whoever has edited
    /// it would not get the run that it was.
    fn check_args(&self) -> Result<()> {
        let Some(step) = self.step else { return Ok(()) };
        let checkpoint = self.run.checkpoint(step);
        if !checkpoint.join(ARGS_FILE).is_file() {
            return Ok(());
        }
        let changes = SftArgs::from_run_dir(&checkpoint)?.changes(&self.args);
        let Some(Change { key, old, new }) = changes.first() else { return Ok(()) };
        Err(Error::user(format!(
            "{}: {key} is {new} there and {old} in checkpoint-{step}{}: a run goes on as it began; put the old value back \
             (checkpoint-{step}/{ARGS_FILE} has all of them), or leave out resume_from_checkpoint to start anew",
            shown(&self.run.args_file()),
            more(&changes)
        )))
    }

    /// Whether `args` are still those of the run.
    ///
    /// # Errors
    /// `Error::User` names the first argument that would make another run, and both values; of a run that starts from
    /// the beginning these are the places of model and data too, as nothing shows that they are the same.
    pub fn fits(&self, args: &SftArgs) -> Result<()> {
        same(self.run.path(), self.args.changes(args))?;
        let moved = self.args.moved(args);
        if self.finished || moved.is_empty() {
            return Ok(());
        }
        match self.step {
            None => same(self.run.path(), moved),
            Some(_) => look(self.run.path(), &SftArgs { init_adapter: None, ..args.clone() }),
        }
    }

    /// Takes over what `args` may change, for the worker to read. What a run that is [`finished`](Self::finished) was
    /// trained with stays as it is.
    ///
    /// # Errors
    /// As [`fits`](Self::fits).
    pub fn take(&mut self, args: SftArgs) -> Result<()> {
        self.fits(&args)?;
        if self.finished {
            return Ok(());
        }
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

/// Goes on with the run that `dir` is, or is a checkpoint of, in a session of its own; also returns what was
/// passed over, and what was found where.
/// `fetch` is asked for what is not on this machine, `wanted` then whether the job is to start.
///
/// # Errors
/// `wanted`'s; `Error::User` as [`Resume::of`], and where the run is finished or there is no engine.
pub fn resume(
    dir: &Path,
    fetch: &mut Fetch<'_>,
    wanted: &dyn Fn() -> Result<()>,
) -> Result<(PathBuf, Worker, Vec<String>)> {
    let engine = ready_engine()?;
    let resume = Resume::of(dir)?;
    let run = resume.run.path();
    if resume.finished {
        return Err(Error::user(format!("{}: this run is finished; nothing is left to train", shown(run))));
    }
    let notes = resume.warnings.iter().cloned().chain(resume.locate(fetch)?).collect();
    wanted()?;
    let worker = Worker::start_at(&engine, run, Session::Background, resume.step)?;
    Ok((run.to_owned(), worker, notes))
}

/// Whether a worker on the run in `dir` has arguments that it can read, a model and data: without them its first word
/// would be that it has failed.
///
/// # Errors
/// `Error::User` names what is wrong.
pub fn ready(dir: &Path) -> Result<()> {
    look(dir, &SftArgs::from_run_dir(dir)?)
}

/// Looks for the model and the data of the run in `root`.
fn look(root: &Path, args: &SftArgs) -> Result<()> {
    let missing = |Missing { key, message }| {
        Error::user(format!(
            "{message}. Put it there, or go on with where it is now: {} --{key} PATH",
            go_on::command(root)
        ))
    };
    Inputs::from(args).look().map_err(missing)
}

/// Why `dir` cannot be gone on with, which could not be found; of a checkpoint whose run is there also what becomes of that.
fn not_there(dir: &Path, e: &io::Error) -> Error {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let is_checkpoint = absolute.file_name().is_some_and(|name| step_of(&name.to_string_lossy()).is_some());
    let run = absolute
        .parent()
        .filter(|run| is_checkpoint && e.kind() == io::ErrorKind::NotFound && RunDir::open(run).is_ok());
    let advice = match run {
        Some(run) => format!(
            "its run has removed it (save_total_limit), or never had it. What the run itself has left: {}",
            go_on::what_it_does(run)
        ),
        None => "give the directory of a run or of one of its checkpoints, or last".to_owned(),
    };
    Error::user(format!("resume_from_checkpoint: {}: {e}; {advice}", shown(dir)))
}

/// Refuses `changes` that would make another run of the one in `root`.
fn same(root: &Path, changes: Vec<Change>) -> Result<()> {
    let Some(first) = changes.first() else { return Ok(()) };
    Err(Error::user(format!(
        "{} is {} here and was {} when {} began{}: a run goes on as it began; give the old value, or leave out \
         resume_from_checkpoint to start anew",
        first.key,
        first.new,
        first.old,
        shown(root),
        more(&changes)
    )))
}

/// How many there are beside the first.
fn more(changes: &[Change]) -> String {
    match changes.len() {
        0 | 1 => String::new(),
        n => format!(" ({} more differ)", n - 1),
    }
}

/// Refuses a directory that holds weights itself: a checkpoint under a name of its own, or a whole model.
fn is_no_run(dir: &Path) -> Result<()> {
    let has = |names: &[&str]| names.iter().any(|name| dir.join(name).exists());
    if has(&["configuration.json", "default", "adapter_config.json", "resume.json", "trainer_state.json"]) {
        let e = Error::user(format!(
            "{} is a checkpoint without its run, which is what is gone on with: put it back as checkpoint-N into the \
             run's directory",
            shown(dir)
        ));
        return Err(with_its_weights(e, dir));
    }
    if has(&["config.json"]) {
        return Err(Error::user(format!(
            "{} is a model and no run: give it as model_id_or_path, without resume_from_checkpoint, to train on from it",
            shown(dir)
        )));
    }
    Ok(())
}

/// The runs that `args` could have made, newest first.
pub(super) fn runs(args: &SftArgs) -> Vec<PathBuf> {
    let is_run = |dir: &PathBuf| dir.join(EVENTS).is_file();
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

#[cfg(test)]
#[path = "resume_tests.rs"]
mod tests;
