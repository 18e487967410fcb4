//! What a run leaves for other programs and for people to look at: TensorBoard's files and the plots.
//!
//! A training is worth more than its report: once begun, what cannot be written is warned of, once, and left out. A
//! full disk is waited for, as with the rest of the run.

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;

use qwen_tui::args::SftArgs;
use qwen_tui::error::{Context, Error, Result};
use qwen_tui::plain;
use qwen_tui::run::training_args::Facts;
use qwen_tui::run::{self, EventFile, RunDir, plots, tensorboard};
use serde_json::{Map, Value};

/// An entry of `log_history`.
type Entry = Map<String, Value>;

/// The reports of a run that is being trained.
#[derive(Debug)]
pub struct Reports {
    tensorboard: Option<EventFile>,
    images: PathBuf,
    /// What there is to warn of.
    warning: Option<String>,
}

impl Reports {
    /// Makes the place of the event files, or refuses it: to be asked before the model is loaded, which takes a while.
    ///
    /// # Errors
    /// Error::User that names `logging_dir`.
    pub fn look(args: &SftArgs, run: &RunDir) -> Result<()> {
        match args.reports_to_tensorboard() {
            true => {
                // Otherwise it would be made again.
                if !run.path().is_dir() {
                    run::still_there(run.path())?;
                }
                tensorboard::make_dir(&run.tensorboard_dir(args)).map_err(|e| e.context("logging_dir"))
            }
            false => Ok(()),
        }
    }

    /// Writes `training_args.json` and begins an event file, for a run that goes on after `step` with `history`.
    ///
    /// # Errors
    /// Error::User where they cannot be made.
    pub fn open(args: &SftArgs, facts: &Facts<'_>, step: u64, history: &[Entry]) -> Result<Self> {
        let all = run::training_args(args, facts)?;
        run::write_training_args(facts.run, &all)?;
        let training = serde_json::to_string_pretty(&all).internal("the training arguments as a text")?;
        let model =
            plain::read_text(&facts.model_dir.join("config.json"), plain::SETTINGS).unwrap_or_default();
        let texts = [("args", training.as_str()), ("model_config", &model)];
        let tensorboard = match args.reports_to_tensorboard() {
            true => {
                Some(begin(args, facts.run, step, history, &texts).map_err(|e| e.context("logging_dir"))?)
            }
            false => None,
        };
        Ok(Self { tensorboard, images: facts.run.images_dir(), warning: None })
    }

    /// Tells of a new entry of the history.
    ///
    /// # Errors
    /// Error::NoRoom alone; it can be told again.
    pub fn log(&mut self, entry: &Entry) -> Result<()> {
        let written = self.tensorboard.as_mut().map(|file| file.log(entry));
        self.note(written)
    }

    /// Makes what was told survive a power cut.
    ///
    /// # Errors
    /// As for [`log`](Self::log).
    pub fn sync(&mut self) -> Result<()> {
        let synced = self.tensorboard.as_ref().map(EventFile::sync);
        self.note(synced)
    }

    fn note(&mut self, written: Option<Result<()>>) -> Result<()> {
        match written {
            None | Some(Ok(())) => {}
            Some(Err(e @ Error::NoRoom(_))) => return Err(e),
            Some(Err(e)) => {
                self.tensorboard = None;
                self.warning = Some(format!("TensorBoard hears no more of this run: {e}"));
            }
        }
        Ok(())
    }

    /// Draws the plots of the whole history.
    ///
    /// # Errors
    /// As for [`log`](Self::log).
    pub fn draw(&mut self, history: &[Entry]) -> Result<()> {
        // The library that draws is not known never to panic.
        let drawn = panic::catch_unwind(AssertUnwindSafe(|| plots::draw(&self.images, history)));
        let drawn = drawn.unwrap_or_else(|_| Err(Error::internal("drawing failed (worker.log says how)")));
        match drawn {
            Err(e @ Error::NoRoom(_)) => return Err(e),
            Err(e) => self.warning = Some(format!("not all plots could be drawn: {e}")),
            Ok(()) => {}
        }
        Ok(())
    }

    /// What there is to warn of, told once.
    pub fn warning(&mut self) -> Option<String> {
        self.warning.take()
    }
}

/// An event file with `texts` (tag and text). Where the run goes on, what older files tell of `step` and later ones is
/// void, and `step` is told again from the history: an older file may also have an end there.
fn begin(
    args: &SftArgs,
    run: &RunDir,
    step: u64,
    history: &[Entry],
    texts: &[(&str, &str)],
) -> Result<EventFile> {
    let dir = run.tensorboard_dir(args);
    // Files in the run's own folder are of workers that ended before their first checkpoint.
    let goes_on = step > 0 || (args.logging_dir.is_none() && tensorboard::has_event_files(&dir));
    let mut file = EventFile::create(&dir)?;
    if goes_on {
        file.begin_again(step)?;
    }
    texts.iter().try_for_each(|(tag, text)| file.text(tag, text))?;
    let at_step = |entry: &&Entry| entry.get("step").and_then(Value::as_u64) == Some(step);
    history.iter().filter(at_step).try_for_each(|entry| file.log(entry))?;
    Ok(file)
}
