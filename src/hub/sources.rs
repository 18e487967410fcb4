//! What a run was given to read: `sources.json` in its directory, for its worker, and for whoever goes on with it.
//!
//! A run's `sft_args.json` keeps the names that somebody gave, as SWIFT's does. The engine is told directories: it looks
//! for nothing and asks nobody.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::find::Wanted;
use crate::args::SftArgs;
use crate::error::{Error, Result};
use crate::run::{SOURCES, read_json, write_json};

/// Where model and data lie, for arguments that name them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// What was asked for.
    pub wanted: Wanted,
    /// The base model's directory.
    pub model: PathBuf,
    /// Files of training rows, in the place of `dataset`.
    pub train: Vec<PathBuf>,
    /// Files of the data sets' own validation rows.
    pub validation: Vec<PathBuf>,
}

impl Sources {
    /// What lies in the run's directory; none where its arguments name nothing but paths, or it is SWIFT's.
    ///
    /// # Errors
    /// `Error::User` where the file is broken.
    pub fn read(run: &Path) -> Result<Option<Sources>> {
        let file = run.join(SOURCES);
        match file.symlink_metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => read_json(&file).map(Some),
        }
    }

    /// What the run was given that the checkpoint in `dir` is of.
    pub fn of_checkpoint(dir: &Path) -> Option<Sources> {
        let dir = dir.canonicalize().ok()?;
        Sources::read(dir.parent()?).ok()?
    }

    /// Writes `sources` into the run's directory; none takes away what an earlier start has left there.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn write(sources: Option<&Sources>, run: &Path) -> Result<()> {
        let file = run.join(SOURCES);
        match sources {
            Some(sources) => write_json(&file, sources),
            // Not asked for where there is none: on a read-only disk that would be refused.
            None if file.symlink_metadata().is_err() => Ok(()),
            None => match fs::remove_file(&file) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    Err(Error::user(format!("cannot remove {}: {e}", file.display())))
                }
                _ => Ok(()),
            },
        }
    }

    /// Whether it was `wanted` that this answers.
    pub fn answers(&self, wanted: &Wanted) -> bool {
        self.wanted == *wanted
    }

    /// `args` with paths in the place of names: what is read by, and never written down.
    ///
    /// # Errors
    /// A path that is not UTF-8.
    pub fn apply(&self, args: &SftArgs) -> Result<SftArgs> {
        let mut validation = texts(&self.validation)?;
        validation.extend(args.custom_val_dataset_path.iter().cloned());
        Ok(SftArgs {
            model_cache_dir: match self.model.as_os_str().is_empty() {
                true => args.model_cache_dir.clone(),
                false => Some(text(&self.model)?),
            },
            dataset: texts(&self.train)?,
            custom_val_dataset_path: validation,
            ..args.clone()
        })
    }

    /// Flags that put paths in the place of names, for the commands of the engine that take the arguments of `infer`.
    ///
    /// # Errors
    /// A path that is not UTF-8.
    pub fn flags(&self, custom_validation: &[String]) -> Result<Vec<String>> {
        let mut flags = vec!["--model_cache_dir".to_owned(), text(&self.model)?];
        if !self.train.is_empty() {
            flags.push("--dataset".to_owned());
            flags.extend(texts(&self.train)?);
        }
        if !self.validation.is_empty() {
            flags.push("--custom_val_dataset_path".to_owned());
            flags.extend(texts(&self.validation)?);
            flags.extend(custom_validation.iter().cloned());
        }
        Ok(flags)
    }
}

/// The arguments that the run in `dir` reads by: `args`, with what [`Sources`] lies there.
///
/// # Errors
/// A broken `sources.json`.
pub fn reading(dir: &Path, args: &SftArgs) -> Result<SftArgs> {
    let sources = Sources::read(dir)?.filter(|sources| sources.answers(&args.into()));
    sources.map_or_else(|| Ok(args.clone()), |sources| sources.apply(args))
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::user(format!("{}: the path is not UTF-8; rename or link it", path.display())))
}

fn texts(paths: &[PathBuf]) -> Result<Vec<String>> {
    paths.iter().map(|path| text(path)).collect()
}
