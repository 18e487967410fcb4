//! What a start begins from: nothing, a run that it goes on with, or the weights of a checkpoint.

use std::fs;
use std::path::{Path, PathBuf};

use crate::args::SftArgs;
use crate::error::{Error, Result, shown};
use crate::job::find::LAST;
use crate::job::go_on::with_its_weights;
use crate::job::initial_adapter::same_strength;
use crate::job::inputs::check_model_dir;
use crate::job::newest::{Wanted, newest};
use crate::job::resume::{Resume, runs};
use crate::run::{Needed, RunDir, find_adapter, verify};

/// What a start begins from.
#[derive(Debug)]
pub enum Begin {
    /// A new run.
    New {
        /// Where it takes the weights of a checkpoint, they name the adapter or the model.
        args: Box<SftArgs>,
        /// What the user should know.
        notes: Vec<String>,
    },
    /// A run goes on.
    Resume { resume: Box<Resume>, args: Box<SftArgs> },
}

impl Begin {
    /// What `resume_from_checkpoint` and `resume_only_model` of `args` ask for.
    ///
    /// # Errors
    /// `Error::User`: there is no such run or checkpoint, it is damaged, or its weights are not what `args` train.
    pub fn from(mut args: SftArgs) -> Result<Begin> {
        let Some(from) = args.resume_from_checkpoint.take() else { return Ok(Begin::new(args)) };
        if std::mem::take(&mut args.resume_only_model) {
            return weights_alone(args, &from);
        }
        let found = if from == LAST { Resume::last(&args)? } else { Some(Resume::of(Path::new(&from))?) };
        Ok(match found {
            Some(resume) => Begin::Resume { resume: Box::new(resume), args: Box::new(args) },
            None => {
                let output_dir = std::path::absolute(&args.output_dir).unwrap_or_default();
                let note =
                    format!("no run to go on with in {}: starting from the beginning", shown(&output_dir));
                Begin::New { args: Box::new(args), notes: vec![note] }
            }
        })
    }

    fn new(args: SftArgs) -> Begin {
        Begin::New { args: Box::new(args), notes: Vec::new() }
    }
}

/// A new run of `args` with the weights of the checkpoint that `from` is, or of the newest one of the run that it is. An
/// adapter becomes `init_adapter`, a whole model takes the base model's place: so the run's arguments tell all of it,
/// and it can be gone on with as any other.
fn weights_alone(mut args: SftArgs, from: &str) -> Result<Begin> {
    let (checkpoint, mut notes) = checkpoint(&args, from)?;
    if let Some(adapter) = &args.init_adapter {
        notes.push(format!(
            "warning: init_adapter {adapter} is left out: resume_only_model true takes the weights of {}",
            shown(&checkpoint)
        ));
    }
    if args.sft_type == "full" {
        let path = text(&checkpoint)?;
        (args.model_id_or_path, args.model_cache_dir) = (Some(path), None);
    } else {
        args.init_adapter = Some(text(&find_adapter(&checkpoint)?.weights)?);
    }
    notes.push(format!("starting a new run from the weights of {}", shown(&checkpoint)));
    Ok(Begin::New { args: Box::new(args), notes })
}

/// The checkpoint meant, and what is to be told of others.
fn checkpoint(args: &SftArgs, from: &str) -> Result<(PathBuf, Vec<String>)> {
    let fits = |dir: &Path| fits(args, dir);
    let of_run = |run: &RunDir| -> Result<Option<(PathBuf, Vec<String>)>> {
        let found = newest(run, Wanted::Weights, fits)?;
        Ok(found.step.map(|step| (run.checkpoint(step), found.warnings)))
    };
    if from == LAST {
        for root in runs(args) {
            if let Some(found) = of_run(&RunDir::open(&root)?)? {
                return Ok(found);
            }
        }
        let output_dir = std::path::absolute(&args.output_dir).unwrap_or_default();
        return Err(Error::user(format!(
            "resume_from_checkpoint: last: no run in {} has a checkpoint; name one, or leave out resume_only_model",
            shown(&output_dir)
        )));
    }
    let dir = fs::canonicalize(from).map_err(|e| {
        Error::user(format!(
            "resume_from_checkpoint: {from}: {e}; give the directory of a run, of one of its checkpoints or of an \
             adapter, or {LAST}"
        ))
    })?;
    let holds_weights = dir.join("config.json").is_file() || find_adapter(&dir).is_ok();
    if let Some(run) = RunDir::open(&dir).ok().filter(|_| !holds_weights) {
        return of_run(&run)?.ok_or_else(|| {
            Error::user(format!("resume_from_checkpoint: {} has no whole checkpoint yet", shown(&dir)))
        });
    }
    verify(&dir, Needed::Weights).map_err(|e| with_its_weights(e, &dir))?;
    fits(&dir)?;
    Ok((dir, Vec::new()))
}

/// Whether the weights in `dir` are of the kind that `args` train.
fn fits(args: &SftArgs, dir: &Path) -> Result<()> {
    let whole = dir.join("config.json").is_file();
    if args.sft_type == "full" {
        return match whole {
            true => check_model_dir(dir),
            false => Err(Error::user(format!(
                "resume_only_model: {} holds no whole model, and sft_type full trains one: give a checkpoint of full \
                 training, or sft_type lora",
                shown(dir)
            ))),
        };
    }
    let adapter = find_adapter(dir).map_err(|e| match whole {
        true => Error::user(format!(
            "resume_only_model: {} is a whole model, and sft_type lora trains an adapter: give it as \
             model_id_or_path instead, or sft_type full",
            shown(dir)
        )),
        false => Error::user(format!("resume_only_model: {e}")),
    })?;
    same_strength(args.lora_rank, args.lora_alpha, &adapter.config, &adapter.config_file)
        .map_err(|e| e.context("resume_only_model"))
}

/// A path for the arguments.
fn text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::user(format!("{}: the path is not UTF-8; rename or link it", shown(path))))
}

#[cfg(test)]
#[path = "begin_tests.rs"]
mod tests;
