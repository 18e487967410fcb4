//! An evaluation within a run.

use std::collections::VecDeque;
use std::time::Instant;

use qwen_tui::error::Result;
use qwen_tui::job::event::{Event, Stage};

use super::Asked;
use super::fit;
use super::metrics::{Tally, weigh_evaluation};
use super::step::{self, Pending, WeightedRow};
use super::trainer::Trainer;
use crate::model::Mode;
use crate::model::dropout::mix;

impl Trainer<'_> {
    /// Loss and accuracy on the validation rows, and how their answers compare where they are wanted; a command to stop gives them up. Returns what was asked for meanwhile.
    pub fn evaluate(&mut self) -> Result<Asked> {
        let step = self.progress.step;
        let epoch = self.micro.epoch(step);
        let mut asked = Asked::Nothing;
        (self.emit)(Event::Stage { stage: Stage::Evaluating })?;
        let (began, waited) = (Instant::now(), self.commands.waited());
        let rows = weigh_evaluation(&self.validation, self.args.eval_batch_size);
        let model = tch::no_grad(|| self.trainable.assemble(&self.config, &self.base));
        let mut tally = Tally::new(rows.len());
        // With answers each row is looked at twice.
        let all = rows.len() as u64 * if self.answering.is_some() { 2 } else { 1 };
        let mut done = 0;
        let mut told = Instant::now();
        let alone_beyond = Some(self.config.seq_length as usize);
        let mut batches = VecDeque::from(step::plan(&rows, self.progress.passes.evaluation, alone_beyond));
        // On a GPU the next pass is asked for before this one's figures are read.
        let mut pending: Option<(Vec<usize>, Pending)> = None;
        while let Some(batch) = batches.pop_front() {
            asked = asked.max(self.commands.obey(self.emit, step)?);
            if asked == Asked::Stop {
                return Ok(asked);
            }
            let part: Vec<WeightedRow<'_>> = batch.iter().map(|&i| rows[i]).collect();
            let outcome = fit::caught(|| {
                let outcome = step::forward(&model, &part, &Mode::default());
                #[cfg(test)]
                fit::tests::hold(&part, false);
                outcome
            });
            match outcome {
                Ok(found) => {
                    let rows = batch.len() as u64;
                    if let Some((before, found)) = pending.replace((batch, found)) {
                        tally.add(&before, &found.outcome());
                    }
                    done += rows;
                }
                Err(error) => {
                    let limits = self.progress.passes.evaluation;
                    let Some(limits) = fit::halved(limits, &rows, &batch) else {
                        let row = format!("validation row {}", batch[0] + 1);
                        return Err(self.too_long(&row, part[0].ids, &error));
                    };
                    self.progress.passes.evaluation = limits;
                    let message = fit::told(&batch, limits, model.device(), &error);
                    (self.emit)(Event::Warning { message })?;
                    let left: Vec<usize> = batch.into_iter().chain(batches.into_iter().flatten()).collect();
                    let of_left: Vec<WeightedRow<'_>> = left.iter().map(|&i| rows[i]).collect();
                    let plan = step::plan(&of_left, limits, alone_beyond).into_iter();
                    batches = plan.map(|batch| batch.into_iter().map(|i| left[i]).collect()).collect();
                    continue;
                }
            }
            if told.elapsed().as_secs() >= 1 {
                told = Instant::now();
                (self.emit)(Event::EvalProgress { step, done, rows: all })?;
            }
        }
        if let Some((last, found)) = &pending {
            tally.add(last, &found.outcome());
        }
        let mut scores = None;
        if let Some(answering) = &self.answering {
            let mut pause = |answered: u64, whole: bool| {
                asked = asked.max(self.commands.obey(self.emit, step)?);
                if whole && told.elapsed().as_secs() >= 1 {
                    told = Instant::now();
                    (self.emit)(Event::EvalProgress { step, done: done + answered, rows: all })?;
                }
                Ok(asked != Asked::Stop)
            };
            let seed = mix(self.args.seed, step);
            let Some(found) = answering.score(&model, &self.validation, seed, &mut pause)? else {
                return Ok(asked);
            };
            scores = found.scores;
            if let Some(message) = found.warning {
                (self.emit)(Event::Warning { message })?;
            }
        }
        // A pause is no part of it.
        let seconds = began.elapsed().saturating_sub(self.commands.waited() - waited).as_secs_f64();
        let event = Event::Eval {
            step,
            epoch,
            loss: tally.loss,
            acc: tally.accuracy(self.acc),
            scores,
            rows: rows.len() as u64,
            seconds,
        };
        self.checkpoints.note_evaluation(step, tally.loss, scores.map(|s| s.rouge_l));
        self.log(event)?;
        if !tally.loss.is_finite() {
            return Err(self.diverged());
        }
        (self.emit)(Event::Stage { stage: Stage::Training })?;
        Ok(asked)
    }
}
