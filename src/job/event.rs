//! The events of a run: what the worker writes to `events.jsonl` and every viewer reads.
//!
//! Events carry numbers, never formatted text; a viewer decides how to show them. Times are seconds, sizes bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::run::NlgScores;

/// One thing that happened in a run. On disk each is a JSON object with `seq`, `time` and `kind` beside these keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A worker began (or went on with) the run.
    Started {
        pid: u32,
        /// Version of the engine.
        version: String,
        /// Version of the libtorch that is loaded, such as `2.11.0`.
        libtorch: String,
        /// `cpu` or `cuda:N`.
        device: String,
        /// The processor's or the card's name for people.
        device_name: String,
        /// Threads used within one operation on the CPU.
        threads: usize,
        /// Steps done before: those of the checkpoint it goes on from. What the log tells of later steps is void.
        #[serde(default)]
        step: u64,
    },
    /// What the worker turned to.
    Stage {
        stage: Stage,
    },
    /// The base model is loaded and the adapter attached.
    Model {
        /// Parameters in all, adapter included.
        parameters: u64,
        trainable: u64,
        /// `fp32`, `bf16` or `fp16`: the dtype of the base weights.
        dtype: String,
        /// Memory of the weights.
        bytes: u64,
        seconds: f64,
    },
    /// The rows are read and tokenized.
    Dataset {
        train: Rows,
        validation: Rows,
    },
    /// How long the run will be.
    Plan {
        total_steps: u64,
        warmup_steps: u64,
        /// Micro-batches of an epoch, as SWIFT counts them.
        micro_batches: u64,
        accumulation: u64,
        learning_rate: f64,
        scheduler: String,
    },
    /// One optimizer step.
    Step {
        step: u64,
        /// Epochs done, such as 0.43.
        epoch: f64,
        #[serde(with = "number")]
        loss: f64,
        #[serde(with = "number")]
        acc: f64,
        /// The learning rate after the step, as SWIFT logs it.
        learning_rate: f64,
        /// Global norm before clipping.
        #[serde(with = "number")]
        grad_norm: f64,
        rows: u64,
        /// Tokens of the rows, padding not counted.
        tokens: u64,
        seconds: f64,
    },
    /// A line of `logging.jsonl`: the means since the line before.
    Log {
        step: u64,
        epoch: f64,
        #[serde(with = "number")]
        loss: f64,
        #[serde(with = "number")]
        acc: f64,
        learning_rate: f64,
        #[serde(with = "number")]
        grad_norm: f64,
    },
    /// An evaluation has got so far.
    EvalProgress {
        step: u64,
        done: u64,
        rows: u64,
    },
    /// An evaluation on the validation rows.
    Eval {
        step: u64,
        epoch: f64,
        #[serde(with = "number")]
        loss: f64,
        #[serde(with = "number")]
        acc: f64,
        /// Of the answers, where the arguments ask for them (`predict_with_generate`).
        #[serde(skip_serializing_if = "Option::is_none", default)]
        scores: Option<NlgScores>,
        rows: u64,
        seconds: f64,
    },
    /// A checkpoint stands whole on disk.
    Checkpoint {
        step: u64,
        /// Relative to the run directory, such as `checkpoint-50`.
        path: String,
        bytes: u64,
        seconds: f64,
        /// Whether it is the best so far: lowest `eval_loss`, or with `predict_with_generate` highest `eval_rouge-l`.
        best: bool,
    },
    /// Rotation removed a checkpoint (`save_total_limit`).
    CheckpointRemoved {
        step: u64,
    },
    /// What the machine is doing.
    Resources {
        /// Resident memory of the worker.
        rss: u64,
        /// Memory the machine has left.
        available: u64,
        /// Cores the worker keeps busy, such as 1.8.
        cores: f64,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        gpu: Option<Gpu>,
    },
    /// A step whose loss or gradient was not finite: no weight was changed.
    StepSkipped {
        step: u64,
        #[serde(with = "number")]
        loss: f64,
        #[serde(with = "number")]
        grad_norm: f64,
    },
    /// Something the user should know and the run goes on after.
    Warning {
        message: String,
    },
    Paused {
        step: u64,
    },
    Resumed {
        step: u64,
    },
    /// It has been told to stop, by whomever: it finishes what is at hand, saves and ends.
    Stopping,
    /// Something could not be written, since the disk is full or a quota used up; the run waits until it can.
    NoRoom {
        message: String,
    },
    /// It could be written; the run goes on.
    RoomAgain,
    /// The run ended as planned, or was told to stop and has saved.
    Finished {
        step: u64,
        seconds: f64,
        /// True where a user or a signal stopped it before its last step.
        stopped: bool,
        last_checkpoint: Option<String>,
        best_checkpoint: Option<String>,
        /// `eval_loss`, or `eval_rouge-l`, of the best checkpoint.
        best_metric: Option<f64>,
    },
    /// The run ended in an error; `exit_code` 2 where the user can mend it.
    Failed {
        exit_code: i32,
        message: String,
    },
}

impl Event {
    /// Whether it tells of a step.
    pub fn is_step(&self) -> bool {
        matches!(self, Event::Step { .. } | Event::StepSkipped { .. })
    }

    /// Whether it tells why a run does not go on: on a full disk too, into the room that the log keeps for it.
    pub fn is_last_word(&self) -> bool {
        matches!(self, Event::NoRoom { .. } | Event::Finished { .. } | Event::Failed { .. })
    }
}

/// What a worker is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    ReadingData,
    LoadingModel,
    Tokenizing,
    Training,
    Evaluating,
    Saving,
}

impl Stage {
    /// In a word or two.
    pub fn word(self) -> &'static str {
        match self {
            Stage::ReadingData => "reading the data",
            Stage::LoadingModel => "loading the model",
            Stage::Tokenizing => "tokenizing",
            Stage::Training => "training",
            Stage::Evaluating => "evaluating",
            Stage::Saving => "saving",
        }
    }
}

/// Rows of one split after tokenization.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    pub rows: u64,
    /// Broken rows left out.
    pub skipped: u64,
    /// Rows dropped because they are longer than `max_length`.
    pub too_long: u64,
    pub tokens: TokenLengths,
    /// Rows per response, where there are few different ones.
    pub labels: BTreeMap<String, u64>,
}

/// Token lengths of the rows, as SWIFT's `dataset_info` gives them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenLengths {
    pub mean: f64,
    pub std: f64,
    pub min: u64,
    pub max: u64,
    pub total: u64,
}

/// A card as NVML sees it; what a card does not tell is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    pub name: String,
    pub memory_used: Option<u64>,
    pub memory_total: Option<u64>,
    /// Percent.
    pub utilization: Option<u32>,
    /// Degrees Celsius.
    pub temperature: Option<u32>,
}

/// What a viewer may ask of a worker, one JSON object a line on its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    Pause,
    Resume,
    /// Save a checkpoint after the step at hand.
    Save,
    /// Finish the step at hand, save, end.
    Stop,
}

/// JSON has no NaN and no infinity: they are written as the strings `NaN`, `Infinity` and `-Infinity`.
pub mod number {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(x: &f64, s: S) -> Result<S::Ok, S::Error> {
        match x {
            x if x.is_nan() => s.serialize_str("NaN"),
            x if *x == f64::INFINITY => s.serialize_str("Infinity"),
            x if *x == f64::NEG_INFINITY => s.serialize_str("-Infinity"),
            x => s.serialize_f64(*x),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(f64),
            Word(String),
        }
        match Raw::deserialize(d)? {
            Raw::Number(x) => Ok(x),
            Raw::Word(w) => match w.as_str() {
                "NaN" => Ok(f64::NAN),
                "Infinity" => Ok(f64::INFINITY),
                "-Infinity" => Ok(f64::NEG_INFINITY),
                _ => Err(de::Error::custom(format!("not a number: {w:?}"))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_non_finite_loss_survives_the_log() {
        let event = Event::StepSkipped { step: 3, loss: f64::NAN, grad_norm: f64::INFINITY };
        let line = serde_json::to_string(&event).unwrap();
        assert!(line.contains(r#""loss":"NaN""#), "{line}");
        let Event::StepSkipped { loss, grad_norm, .. } = serde_json::from_str(&line).unwrap() else {
            panic!()
        };
        assert!(loss.is_nan() && grad_norm == f64::INFINITY);
    }
}
