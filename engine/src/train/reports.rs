//! What a run leaves for other programs and for people to look at: TensorBoard's files and the plots.
//!
//! A training is worth more than its report: once begun, what cannot be written is warned of, once, and left out.

use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;

use qwen_tui::args::SftArgs;
use qwen_tui::error::Result;
use qwen_tui::run::{EventFile, RunDir, plots, tensorboard};
use serde_json::{Map, Value};

use crate::worker::panic_text;

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
    /// Begins an event file with `texts` (tag and text). For a run that goes on after `step` it voids what older files
    /// tell of that step and later ones, and tells of the step again from its history: an older file may also have an
    /// end there.
    ///
    /// # Errors
    /// Error::User where the file cannot be made: the place is an argument.
    pub fn open(
        args: &SftArgs,
        run: &RunDir,
        step: u64,
        history: &[Entry],
        texts: &[(&str, &str)],
    ) -> Result<Self> {
        let mut reports = Self { tensorboard: None, images: run.images_dir(), warning: None };
        if !args.reports_to_tensorboard() {
            return Ok(reports);
        }
        let dir = run.tensorboard_dir(args);
        // Files in the run's own folder are of workers that ended before their first checkpoint.
        let goes_on = step > 0 || (args.logging_dir.is_none() && tensorboard::has_event_files(&dir));
        let begin = || -> Result<EventFile> {
            let mut file = EventFile::create(&dir)?;
            if goes_on {
                file.begin_again(step)?;
            }
            for (tag, text) in texts {
                file.text(tag, text)?;
            }
            let at_step = |entry: &&Entry| entry.get("step").and_then(Value::as_u64) == Some(step);
            history.iter().filter(at_step).try_for_each(|entry| file.log(entry))?;
            Ok(file)
        };
        reports.tensorboard = Some(begin().map_err(|e| e.context("logging_dir"))?);
        Ok(reports)
    }

    /// Tells of a new entry of the history.
    pub fn log(&mut self, entry: &Entry) {
        let written = self.tensorboard.as_mut().map(|file| file.log(entry));
        self.note(written);
    }

    /// Makes what was told survive a power cut.
    pub fn sync(&mut self) {
        let synced = self.tensorboard.as_ref().map(EventFile::sync);
        self.note(synced);
    }

    fn note(&mut self, written: Option<Result<()>>) {
        if let Some(Err(e)) = written {
            self.tensorboard = None;
            self.warning = Some(format!("TensorBoard hears no more of this run: {e}"));
        }
    }

    /// Draws the plots of the whole history.
    pub fn draw(&mut self, history: &[Entry]) {
        let failed = |why: &dyn Display| Some(format!("not all plots could be drawn: {why}"));
        // The library that draws is not known never to panic.
        self.warning = match panic::catch_unwind(AssertUnwindSafe(|| plots::draw(&self.images, history))) {
            Ok(Ok(())) => return,
            Ok(Err(e)) => failed(&e),
            Err(panic) => failed(&panic_text(panic.as_ref())),
        };
    }

    /// What there is to warn of, told once.
    pub fn warning(&mut self) -> Option<String> {
        self.warning.take()
    }
}
