//! `logging.jsonl` as SWIFT writes it, and the same figures as the trainer state's `log_history`.
//!
//! SWIFT rounds every figure of this file to 8 decimals and the epoch to 2; `grad_norm` is ours and stands last.
//! A figure that is not finite is written as null: Python writes `NaN` there, which no other JSON reader accepts.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::files::AppendFile;
use crate::error::{Context, Result};

/// One line of the log. Times are seconds.
#[derive(Debug, Clone, PartialEq)]
pub enum LogLine {
    /// Every `logging_steps`: means since the line before.
    Train { step: u64, epoch: f64, loss: f64, acc: f64, learning_rate: f64, grad_norm: f64 },
    /// An evaluation of `rows` rows in `batches` batches.
    Eval {
        step: u64,
        epoch: f64,
        loss: f64,
        acc: f64,
        /// In the place of `acc` where answers were written.
        scores: Option<NlgScores>,
        runtime: f64,
        rows: u64,
        batches: u64,
    },
    /// The end: `loss` is the mean over all steps; `rows` are those of all epochs, `steps` the planned ones.
    End { step: u64, epoch: f64, loss: f64, runtime: f64, rows: u64, steps: u64 },
}

/// How written answers compare with the labels, in percent, under the names of SWIFT's `compute_nlg_metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NlgScores {
    #[serde(rename = "rouge-1")]
    pub rouge_1: f64,
    #[serde(rename = "rouge-2")]
    pub rouge_2: f64,
    #[serde(rename = "rouge-l")]
    pub rouge_l: f64,
    #[serde(rename = "bleu-4")]
    pub bleu_4: f64,
}

impl NlgScores {
    /// Under the log's keys.
    fn figures(&self) -> [(&'static str, f64); 4] {
        [
            ("eval_rouge-1", self.rouge_1),
            ("eval_rouge-2", self.rouge_2),
            ("eval_rouge-l", self.rouge_l),
            ("eval_bleu-4", self.bleu_4),
        ]
    }
}

impl LogLine {
    /// The object of `logging.jsonl`, keys in SWIFT's order, such as
    /// `{"loss":14.31546211,"acc":0.0,"learning_rate":0.0005,"epoch":0.03,"global_step":1,"grad_norm":6.92667437}`.
    pub fn to_log(&self) -> Map<String, Value> {
        let mut log = Map::new();
        let (figures, step) = self.figures();
        for (key, x) in figures {
            log.insert(key.into(), round(x, 8).into());
        }
        log.insert("global_step".into(), step.into());
        if let Some(norm) = self.grad_norm() {
            log.insert("grad_norm".into(), round(norm, 8).into());
        }
        log
    }

    /// The entry of `log_history`, keys sorted: `step` in the place of `global_step`, and only a training line's
    /// loss and accuracy rounded.
    pub fn to_history(&self) -> Map<String, Value> {
        let training = matches!(self, LogLine::Train { .. });
        let (figures, step) = self.figures();
        let mut entries: Vec<(String, Value)> = figures
            .into_iter()
            .chain(self.grad_norm().map(|norm| ("grad_norm", norm)))
            .map(|(key, x)| {
                let rounded = training && matches!(key, "loss" | "acc");
                (key.to_owned(), if rounded { round(x, 8) } else { x }.into())
            })
            .chain([("step".to_owned(), step.into())])
            .collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries.into_iter().collect()
    }

    fn grad_norm(&self) -> Option<f64> {
        match self {
            LogLine::Train { grad_norm, .. } => Some(*grad_norm),
            _ => None,
        }
    }

    /// SWIFT's figures in its order, and the step.
    fn figures(&self) -> (Vec<(&'static str, f64)>, u64) {
        // transformers leaves the speeds out where no time has passed.
        let speeds = |keys: [&'static str; 2], rows: u64, steps: u64, runtime: f64| {
            let pairs = [(keys[0], rows), (keys[1], steps)].into_iter();
            pairs.filter(move |_| runtime != 0.0).map(move |(key, n)| (key, round(n as f64 / runtime, 3)))
        };
        let (mut figures, epoch, step) = match *self {
            LogLine::Train { step, epoch, loss, acc, learning_rate, .. } => {
                (vec![("loss", loss), ("acc", acc), ("learning_rate", learning_rate)], epoch, step)
            }
            LogLine::Eval { step, epoch, loss, acc, scores, runtime, rows, batches } => {
                let mut f = vec![("eval_loss", loss)];
                match scores {
                    Some(scores) => f.extend(scores.figures()),
                    None => f.push(("eval_acc", acc)),
                }
                f.push(("eval_runtime", round(runtime, 4)));
                f.extend(speeds(
                    ["eval_samples_per_second", "eval_steps_per_second"],
                    rows,
                    batches,
                    runtime,
                ));
                (f, epoch, step)
            }
            LogLine::End { step, epoch, loss, runtime, rows, steps } => {
                let mut f = vec![("train_runtime", round(runtime, 4))];
                f.extend(speeds(
                    ["train_samples_per_second", "train_steps_per_second"],
                    rows,
                    steps,
                    runtime,
                ));
                // SWIFT's total_flos is left out: floating-point operations are not counted here.
                f.push(("train_loss", loss));
                (f, epoch, step)
            }
        };
        figures.push(("epoch", round(epoch, 2)));
        (figures, step)
    }
}

/// `x` rounded to `digits` decimals as Python's `round` does it: exactly, from the binary value.
fn round(x: f64, digits: usize) -> f64 {
    // A number printed with fixed decimals parses; NaN and the infinities do too.
    format!("{x:.digits$}").parse().unwrap_or(x)
}

/// Whether a line is one of the steps up to `step`.
fn is_before(line: &[u8], step: u64) -> bool {
    let Ok(line) = serde_json::from_slice::<Value>(line) else { return false };
    line.get("train_runtime").is_none()
        && line.get("global_step").and_then(Value::as_u64).is_some_and(|at| at <= step)
}

/// The file, opened for appending.
#[derive(Debug)]
pub struct Logging {
    file: AppendFile,
}

impl Logging {
    /// Opens or creates it; a torn last line is cut off.
    pub fn open(path: &Path) -> Result<Logging> {
        Ok(Logging { file: AppendFile::open(path)?.0 })
    }

    /// Cuts off what a run that goes on after `step` writes again: the lines of later steps, and an end.
    /// A file that is not there is none too long.
    pub fn cut(path: &Path, step: u64) -> Result<()> {
        if !path.exists() {
            return Ok(());
        }
        let (mut file, content) = AppendFile::open(path)?;
        let kept = content.split_inclusive(|b| *b == b'\n').take_while(|line| is_before(line, step));
        file.cut(kept.map(|line| line.len() as u64).sum())
    }

    /// Makes everything appended so far survive a power cut.
    pub fn sync(&self) -> Result<()> {
        self.file.sync()
    }

    pub fn append(&mut self, line: &LogLine) -> Result<()> {
        let mut bytes = serde_json::to_vec(&line.to_log()).internal("writing a log line")?;
        bytes.push(b'\n');
        self.file.append(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(map: Map<String, Value>) -> String {
        serde_json::to_string(&map).unwrap()
    }

    #[test]
    fn a_training_line_has_swifts_keys_and_rounding() {
        // Step 1 of the reference run.
        let line = LogLine::Train {
            step: 1,
            epoch: 1.0 / 37.5,
            loss: 14.315462112426758,
            acc: 0.0,
            learning_rate: 5e-4,
            grad_norm: 6.9266743659973145,
        };
        assert_eq!(
            text(line.to_log()),
            r#"{"loss":14.31546211,"acc":0.0,"learning_rate":0.0005,"epoch":0.03,"global_step":1,"grad_norm":6.92667437}"#
        );
        assert_eq!(
            text(line.to_history()),
            r#"{"acc":0.0,"epoch":0.03,"grad_norm":6.9266743659973145,"learning_rate":0.0005,"loss":14.31546211,"step":1}"#
        );
    }

    #[test]
    fn evaluation_and_end_have_swifts_keys_and_rounding() {
        let eval = LogLine::Eval {
            step: 10,
            epoch: 0.2666,
            loss: 0.123456789012,
            acc: 2.0 / 3.0,
            scores: None,
            runtime: 1.23456,
            rows: 60,
            batches: 60,
        };
        assert_eq!(
            text(eval.to_log()),
            concat!(
                r#"{"eval_loss":0.12345679,"eval_acc":0.66666667,"eval_runtime":1.2346,"#,
                r#""eval_samples_per_second":48.6,"eval_steps_per_second":48.6,"epoch":0.27,"global_step":10}"#
            )
        );
        assert_eq!(eval.to_history()["eval_loss"], json!(0.123456789012));
        let scores = NlgScores { rouge_1: 50.0, rouge_2: 0.0, rouge_l: 37.5, bleu_4: 12.34567 };
        let written = LogLine::Eval {
            step: 1,
            epoch: 0.5,
            loss: 1.0,
            acc: 0.5,
            scores: Some(scores),
            runtime: 0.0,
            rows: 1,
            batches: 1,
        };
        assert_eq!(
            text(written.to_log()),
            concat!(
                r#"{"eval_loss":1.0,"eval_rouge-1":50.0,"eval_rouge-2":0.0,"eval_rouge-l":37.5,"eval_bleu-4":12.34567,"#,
                r#""eval_runtime":0.0,"epoch":0.5,"global_step":1}"#
            )
        );
        let end = LogLine::End { step: 37, epoch: 0.98, loss: 3.5, runtime: 53.02661, rows: 600, steps: 37 };
        assert_eq!(
            text(end.to_log()),
            concat!(
                r#"{"train_runtime":53.0266,"train_samples_per_second":11.315,"train_steps_per_second":0.698,"#,
                r#""train_loss":3.5,"epoch":0.98,"global_step":37}"#
            )
        );
    }

    #[test]
    fn rounding_is_pythons() {
        // Python: round(2.675, 2) == 2.67, round(0.125, 2) == 0.12, round(0.375, 2) == 0.38, round(-0.5, 0) == -0.0
        for (x, digits, y) in [(2.675, 2, 2.67), (0.125, 2, 0.12), (0.375, 2, 0.38), (1e300, 8, 1e300)] {
            assert_eq!(round(x, digits), y);
        }
        assert!(round(f64::NAN, 8).is_nan() && round(f64::INFINITY, 8) == f64::INFINITY);
    }

    #[test]
    fn what_is_written_again_is_cut_off_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logging.jsonl");
        Logging::cut(&path, 3).unwrap();
        assert!(!path.exists());
        let whole = concat!(
            "{\"loss\":1.0,\"global_step\":1}\n{\"eval_loss\":1.0,\"global_step\":2}\n{\"loss\":1.0,\"global_step\":3}\n",
            "{\"train_runtime\":9.0,\"global_step\":3}\n",
        );
        for (step, lines) in [(9, 3), (3, 3), (2, 2), (1, 1), (0, 0)] {
            std::fs::write(&path, format!("{whole}{{\"lo")).unwrap();
            Logging::cut(&path, step).unwrap();
            let left = std::fs::read_to_string(&path).unwrap();
            assert_eq!(left.lines().count(), lines, "{left}");
            assert!(whole.starts_with(&left));
        }
    }

    #[test]
    fn the_file_grows_by_lines_and_a_nan_is_null() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logging.jsonl");
        std::fs::write(&path, "{\"loss\":1.0}\n{\"lo").unwrap();
        let nan = f64::NAN;
        let line =
            LogLine::Train { step: 2, epoch: 0.1, loss: nan, acc: 0.5, learning_rate: 1e-4, grad_norm: nan };
        Logging::open(&path).unwrap().append(&line).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!((lines.len(), &lines[1]["loss"], &lines[1]["acc"]), (2, &Value::Null, &json!(0.5)));
    }
}
