//! A run in progress: the parts of the recipe that need all of it.

use std::path::Path;
use std::time::Instant;

use qwen_tui::args::SftArgs;
use qwen_tui::data::template::Example;
use qwen_tui::error::{Error, Result};
use qwen_tui::job::event::{Event, Stage};
use qwen_tui::run::{RunDir, list_checkpoints};
use tch::Kind;

use super::answering::Answering;
use super::gradient::Gradient;
use super::metrics::AccStrategy;
use super::micro::MicroBatches;
use super::minutes::Minutes;
use super::optimizer::Optimizer;
use super::reports::Reports;
use super::resume::Progress;
use super::room::Waiting;
use super::{Asked, Commands, Sink, checkpoint};
use crate::model::{Qwen, QwenConfig, Trainable, adapter, weights};

/// A run in progress.
pub struct Trainer<'a> {
    pub args: &'a SftArgs,
    /// The base model's directory.
    pub model_dir: &'a Path,
    pub run: &'a RunDir,
    pub emit: &'a mut Sink<'a>,
    pub commands: Commands<'a>,
    pub started: Instant,
    pub config: QwenConfig,
    pub base: weights::Named,
    pub kind: Kind,
    pub trainable: Trainable,
    /// The model of its passes, where nothing but adapters is trained.
    pub explicit: Option<Qwen>,
    /// The gradient of the step after this one, where it was asked for early.
    pub next: Option<Result<Gradient>>,
    pub optimizer: Optimizer,
    pub micro: MicroBatches,
    pub acc: AccStrategy,
    pub checkpoints: checkpoint::Keeper,
    /// When the clock asks for one.
    pub minutes: Minutes,
    pub reports: Reports,
    /// Token id of the end of text.
    pub eos: u32,
    /// Where the training stands.
    pub progress: Progress,
    /// Seconds of training before this worker began.
    pub seconds_before: f64,
    /// Steps in all.
    pub total: u64,
    pub validation: Vec<Example>,
    /// Where evaluations write answers too.
    pub answering: Option<Answering>,
}

impl Trainer<'_> {
    /// Whether the arguments ask for an evaluation after the step at hand.
    fn evaluation_is_due(&self) -> bool {
        let step = self.progress.step;
        self.args.evaluation_strategy == "steps"
            && !self.validation.is_empty()
            && step > 0
            && (step.is_multiple_of(self.args.eval_steps) || step == self.total)
    }

    /// Whether the step gone on from was saved without the evaluation that is due there.
    pub fn owes_evaluation(&self) -> bool {
        self.evaluation_is_due() && !self.checkpoints.has_evaluated(self.progress.step)
    }

    /// Commands, evaluation and checkpoint after a step. Returns whether the run is to stop.
    pub fn close_step(&mut self) -> Result<bool> {
        let step = self.progress.step;
        let mut asked = self.commands.obey(self.emit, step)?;
        let (last, due) = (step == self.total, self.evaluation_is_due());
        if due && asked != Asked::Stop {
            asked = asked.max(self.evaluate()?);
        }
        let planned =
            self.args.save_strategy == "steps" && (step.is_multiple_of(self.args.save_steps) || last);
        if planned || asked != Asked::Nothing || self.minutes.due(Instant::now()) {
            self.save(planned)?;
        }
        while self.commands.paused() && asked != Asked::Stop {
            asked = self.commands.obey(self.emit, step)?;
            if asked != Asked::Nothing {
                self.save(false)?;
            }
        }
        // Asked for during the last evaluation, it leaves that out.
        Ok(asked == Asked::Stop && (due || !last))
    }

    /// An event that is also a line of `logging.jsonl`.
    pub fn log(&mut self, event: Event) -> Result<()> {
        self.checkpoints.log(&event, self.args.eval_batch_size);
        self.patiently(Waiting::new(), |t| t.checkpoints.write_log(t.run))?;
        (self.emit)(event)?;
        self.report()
    }

    /// Tells TensorBoard of the newest line of the log.
    fn report(&mut self) -> Result<()> {
        self.patiently(Waiting::new(), |t| {
            t.checkpoints.history().last().map_or(Ok(()), |entry| t.reports.log(entry))
        })?;
        self.warn()
    }

    /// Does what writes to the disk; where that is full, `waiting` for room.
    ///
    /// # Errors
    /// Those of `attempt` that are not about room; of a command to stop that comes meanwhile.
    fn patiently<T>(
        &mut self,
        mut waiting: Waiting,
        mut attempt: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<T> {
        loop {
            match attempt(self) {
                Err(e @ Error::NoRoom(_)) => waiting.wait(e, self.commands.inbox(), self.emit)?,
                done => {
                    waiting.over(self.emit)?;
                    return done;
                }
            }
        }
    }

    /// What is said of a checkpoint that stays where a run ends; empty where there is none.
    fn kept(&self) -> String {
        let best = self.checkpoints.best().map(|(best, _)| best);
        best.or_else(|| self.last_good()).map_or(String::new(), |good| format!("; {good} is kept"))
    }

    /// The newest checkpoint whose weights have been seen to work: a step was computed with them that was finite.
    fn last_good(&self) -> Option<String> {
        let finite = self.progress.step.saturating_sub(self.progress.skipped.into());
        let all = list_checkpoints(self.run).into_iter().rev();
        all.map(|c| c.step).find(|step| *step < finite).map(checkpoint::name)
    }

    /// Emits what the reports have to warn of.
    fn warn(&mut self) -> Result<()> {
        self.reports.warning().map_or(Ok(()), |message| (self.emit)(Event::Warning { message }))
    }

    /// Seconds of training, those of earlier workers included.
    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    /// Writes a checkpoint of the step at hand.
    ///
    /// # Errors
    /// The disk's; weights that nobody could use.
    fn save(&mut self, planned: bool) -> Result<()> {
        // A step without a finite gradient changes nothing, one with a huge one can end in weights that are not finite.
        let finite = bool::try_from(self.trainable.theta().0.isfinite().all()).unwrap_or(false);
        let (skipped, step) = (u64::from(self.progress.skipped), self.progress.step);
        if !finite {
            return Err(
                self.ruined(&format!("the trained weights are not finite at step {step}, so none are saved"))
            );
        }
        if skipped >= step && step == self.total {
            return Err(self.diverged());
        }
        (self.emit)(Event::Stage { stage: Stage::Saving })?;
        self.progress.seconds = self.seconds();
        // As with the log: what the checkpoint goes on from is on disk before it is.
        self.patiently(Waiting::new(), |t| t.reports.sync())?;
        self.warn()?;
        let model_dir = self.model_dir;
        let events = self.patiently(Waiting::with_much(self.run.path()), |t| {
            let state = checkpoint::State {
                args: t.args,
                trainable: &t.trainable,
                optimizer: &t.optimizer,
                kind: t.kind,
                model_dir,
                eos: t.eos,
                epoch: t.micro.epoch(t.progress.step),
                progress: t.progress.clone(),
                planned,
            };
            t.checkpoints.save(t.run, t.progress.step, state)
        })?;
        for event in events {
            (self.emit)(event)?;
        }
        self.minutes.saved(Instant::now());
        (self.emit)(Event::Stage { stage: Stage::Training })
    }

    /// Why steps without a finite gradient are the end.
    pub fn diverged(&self) -> Error {
        let (skipped, step) = (self.progress.skipped, self.progress.step);
        let what = match skipped {
            0 => format!("the model's outputs are not finite after step {step}"),
            1 => format!("loss or gradient was not finite at step {step}"),
            n => format!("loss or gradient was not finite for {n} steps in a row (up to step {step})"),
        };
        self.ruined(&what)
    }

    /// The end of a run whose numbers have gone: what was seen, and what to do.
    fn ruined(&self, what: &str) -> Error {
        let dtype = match self.kind {
            Kind::Half => ", or use dtype bf16 or fp32",
            Kind::BFloat16 => ", or use dtype fp32",
            _ => "",
        };
        Error::user(format!(
            "{what}: lower learning_rate{dtype}, and look whether the base model{} is whole{}",
            if self.args.init_adapter.is_some() { " (or init_adapter)" } else { "" },
            self.kept()
        ))
    }

    /// Loads the best adapter, as the reference does at the end, and says how the run ended.
    pub fn finish(mut self, stopped: bool) -> Result<()> {
        let best = self.checkpoints.best();
        if let Some((path, _)) = &best
            && !stopped
        {
            adapter::load(&self.run.path().join(path), &mut self.trainable)?;
        }
        // A worker that was killed between its last save and what that leaves no room for has left it to this one.
        let removed = self.patiently(Waiting::new(), |t| t.checkpoints.rotate(t.run, t.progress.skipped))?;
        for event in removed {
            (self.emit)(event)?;
        }
        let (step, seconds) = (self.progress.step, self.seconds());
        self.checkpoints.log_end(step, self.micro.epoch(step), seconds, &self.progress.window);
        self.patiently(Waiting::new(), |t| t.checkpoints.write_log(t.run))?;
        self.report()?;
        self.patiently(Waiting::new(), |t| t.reports.draw(t.checkpoints.history()))?;
        self.warn()?;
        (self.emit)(Event::Finished {
            step,
            seconds,
            stopped,
            last_checkpoint: self.checkpoints.last(),
            best_checkpoint: best.as_ref().map(|(path, _)| path.clone()),
            best_metric: best.map(|(_, metric)| metric),
        })
    }
}
