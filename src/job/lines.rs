//! A run as lines of text: what `sft` prints where there is no cockpit.

use crate::job::event::{Event, Rows, Stage};
use crate::job::human;

/// What has been learned of a run so far, and the line each event deserves.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    pub total_steps: u64,
    pub step: u64,
    /// Seconds a step takes, recent steps weighing more.
    pub seconds_per_step: Option<f64>,
    pub stage: Option<Stage>,
    pub loss: f64,
    pub acc: f64,
    pub learning_rate: f64,
    /// Rows of the running evaluation, done and in all.
    pub evaluating: Option<(u64, u64)>,
}

impl Lines {
    /// Takes in an event.
    pub fn see(&mut self, event: &Event) {
        match event {
            Event::Stage { stage } => {
                self.stage = Some(*stage);
                self.evaluating = None;
            }
            Event::Started { step, .. } => self.step = *step,
            Event::Plan { total_steps, .. } => self.total_steps = *total_steps,
            Event::Step { step, loss, acc, learning_rate, seconds, .. } => {
                self.step = *step;
                (self.loss, self.acc, self.learning_rate) = (*loss, *acc, *learning_rate);
                self.seconds_per_step =
                    Some(self.seconds_per_step.map_or(*seconds, |s| 0.9 * s + 0.1 * seconds));
            }
            Event::StepSkipped { step, loss, .. } => {
                self.step = *step;
                self.loss = *loss;
            }
            Event::EvalProgress { done, rows, .. } => self.evaluating = Some((*done, *rows)),
            Event::Eval { .. } => self.evaluating = None,
            _ => {}
        }
    }

    /// Seconds until the last step, evaluations not counted.
    pub fn seconds_left(&self) -> Option<f64> {
        self.seconds_per_step.map(|s| s * self.total_steps.saturating_sub(self.step) as f64)
    }

    /// What the progress bar says beside the steps, in at most `cells` characters.
    pub fn status(&self, cells: usize) -> String {
        if let Some((done, rows)) = self.evaluating {
            return format!("evaluating, {done} of {rows} rows");
        }
        if self.step == 0 {
            return match self.stage {
                Some(Stage::ReadingData) => "reading the data",
                Some(Stage::LoadingModel) => "loading the model",
                Some(Stage::Tokenizing) => "tokenizing",
                Some(Stage::Evaluating) => "evaluating",
                Some(Stage::Saving) => "saving",
                Some(Stage::Training) => "first step",
                None => "starting the engine",
            }
            .to_string();
        }
        let mut fields = vec![format!("loss {:.4}", self.loss), format!("acc {:.3}", self.acc)];
        if let (Some(seconds), Some(left)) = (self.seconds_per_step, self.seconds_left()) {
            fields.extend([format!("{} left", human::duration(left)), human::speed(seconds)]);
        }
        fields.push(format!("lr {:.2e}", self.learning_rate));
        // On a narrow terminal the last ones are what can be spared, and whole: half a number is another one.
        while fields.len() > 1 && fields.join("  ").len() > cells {
            fields.pop();
        }
        fields.join("  ")
    }

    /// The event's line; `None` for events too frequent or too small for one.
    /// With `bar`, those that the progress bar shows have none either.
    pub fn line(&self, event: &Event, bar: bool) -> Option<String> {
        Some(match event {
            Event::Started { version, libtorch, device, device_name, threads, step, .. } => {
                let threads = if device == "cpu" {
                    format!(", {}", human::counted(*threads as u64, "thread"))
                } else {
                    String::new()
                };
                let from = if *step > 0 { format!(", going on after step {step}") } else { String::new() };
                format!("engine {version}, libtorch {libtorch}, on {device} ({device_name}{threads}){from}")
            }
            Event::Model { parameters, trainable, dtype, bytes, seconds } => format!(
                "model: {} parameters, {} trained ({:.2}%), {dtype} {}, in {}",
                human::count(*parameters),
                human::count(*trainable),
                100.0 * *trainable as f64 / (*parameters).max(1) as f64,
                human::bytes(*bytes),
                human::duration(*seconds)
            ),
            Event::Dataset { train, validation } => {
                format!("data: training {}; validation {}", rows(train), rows(validation))
            }
            Event::Plan { total_steps, warmup_steps, accumulation, learning_rate, scheduler, .. } => format!(
                "plan: {} of {}, learning rate {learning_rate:e} ({scheduler}, warm-up {warmup_steps})",
                human::counted(*total_steps, "step"),
                human::counted(*accumulation, "micro-batch")
            ),
            Event::Log { step, epoch, loss, acc, learning_rate, grad_norm } if !bar => {
                let mut line = format!(
                    "step {step}/{}  epoch {epoch:.2}  loss {loss:.4}  acc {acc:.3}  lr {learning_rate:.3e}  grad {grad_norm:.3}",
                    self.total_steps
                );
                if let (Some(seconds), Some(left)) = (self.seconds_per_step, self.seconds_left()) {
                    line += &format!("  {}  {} left", human::speed(seconds), human::duration(left));
                }
                line
            }
            Event::Eval { step, loss, acc, scores, rows, seconds, .. } => {
                let written = scores.map(|s| format!("  rouge-l {:.2}  bleu-4 {:.2}", s.rouge_l, s.bleu_4));
                format!(
                    "evaluation at step {step}: loss {loss:.4}  acc {acc:.3}{}  ({}, {})",
                    written.unwrap_or_default(),
                    human::counted(*rows, "row"),
                    human::duration(*seconds)
                )
            }
            Event::Checkpoint { path, bytes, best, .. } => {
                let best = if *best { ", the best so far" } else { "" };
                format!("saved {path} ({}{best})", human::bytes(*bytes))
            }
            Event::CheckpointRemoved { step } => format!("removed checkpoint-{step}"),
            Event::StepSkipped { step, loss, grad_norm } => {
                let (loss, norm) = (human::figure(*loss), human::figure(*grad_norm));
                format!("step {step} skipped: loss {loss}, gradient norm {norm}; no weight was changed")
            }
            Event::Warning { message } => format!("warning: {message}"),
            Event::Paused { step } => format!("paused at step {step}"),
            Event::Resumed { step } => format!("going on at step {step}"),
            Event::Stopping => "told to stop".to_owned(),
            Event::NoRoom { message } => format!("waiting for room: {message}"),
            Event::RoomAgain => "there is room again: going on".to_owned(),
            Event::Finished { stopped: true, last_checkpoint: None, .. } => {
                "stopped before its first step: there is nothing to save".to_owned()
            }
            Event::Finished { step, seconds, stopped, .. } => {
                let how = if *stopped { "stopped, with everything saved," } else { "finished" };
                format!("{how} at step {step} after {}", human::duration(*seconds))
            }
            _ => return None,
        })
    }
}

fn rows(r: &Rows) -> String {
    let mut text = human::counted(r.rows, "row");
    let left_out: Vec<String> = [(r.skipped, "broken"), (r.too_long, "too long")]
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, why)| format!("{n} {why}"))
        .collect();
    if !left_out.is_empty() {
        text += &format!(" ({} left out)", left_out.join(", "));
    }
    if r.rows > 0 {
        text += &format!(", {:.0} tokens on average", r.tokens.mean);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::event::TokenLengths;

    fn step(step: u64, loss: f64, seconds: f64) -> Event {
        let (epoch, acc, learning_rate, grad_norm) = (0.1, 0.5, 9.5e-4, 0.7);
        Event::Step { step, epoch, loss, acc, learning_rate, grad_norm, rows: 16, tokens: 900, seconds }
    }

    #[test]
    fn time_left_follows_the_speed_and_a_nan_is_shown() {
        let mut lines = Lines { total_steps: 101, ..Lines::default() };
        lines.see(&step(1, 0.7125, 0.5));
        let all = "loss 0.7125  acc 0.500  50 s left  2.00 steps/s  lr 9.50e-4";
        assert_eq!(lines.status(all.len()), all);
        assert_eq!(lines.status(all.len() - 1), "loss 0.7125  acc 0.500  50 s left  2.00 steps/s");
        assert_eq!(lines.status(0), "loss 0.7125");
        lines.see(&step(2, f64::NAN, 0.5));
        assert!(lines.status(80).starts_with("loss NaN"), "{}", lines.status(80));
        lines.see(&Event::EvalProgress { step: 2, done: 300, rows: 1000 });
        assert_eq!(lines.status(80), "evaluating, 300 of 1000 rows");
        assert!(lines.line(&step(2, 0.1, 1.0), false).is_none());
    }

    #[test]
    fn the_models_line_fits_80_columns() {
        let event = Event::Model {
            parameters: 1_836_828_672,
            trainable: 1_836_828_672,
            dtype: "fp32".into(),
            bytes: 16_400_000_000,
            seconds: 3599.0,
        };
        let line = Lines::default().line(&event, true).unwrap();
        assert!(line.len() <= 80, "{} {line}", line.len());
    }

    #[test]
    fn a_skipped_step_is_told_in_a_persons_digits() {
        let event = Event::StepSkipped { step: 3, loss: 2.345678901234567, grad_norm: f64::INFINITY };
        assert_eq!(
            Lines::default().line(&event, true).unwrap(),
            "step 3 skipped: loss 2.3457, gradient norm inf; no weight was changed"
        );
    }

    #[test]
    fn rows_left_out_are_named() {
        let tokens = TokenLengths { mean: 56.3, ..TokenLengths::default() };
        let train = Rows { rows: 1985, skipped: 3, too_long: 12, tokens, ..Rows::default() };
        let event = Event::Dataset { train, validation: Rows::default() };
        assert_eq!(
            Lines::default().line(&event, true).unwrap(),
            "data: training 1985 rows (3 broken, 12 too long left out), 56 tokens on average; validation 0 rows"
        );
    }
}
