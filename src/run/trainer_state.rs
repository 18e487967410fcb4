//! `trainer_state.json` of a checkpoint, as transformers 4.36 writes it: keys sorted, indented by 2.

use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};

use super::files::{pretty_json, read_json, write_atomic};
use super::logging::LogLine;
use crate::error::Result;

/// File name inside a checkpoint.
pub const TRAINER_STATE: &str = "trainer_state.json";

/// Where a training stands. Fields in the file's order.
///
/// A figure that is not finite is written as null, which every JSON reader takes (Python's `NaN` is no JSON);
/// Python's own files are read with `NaN` as null. Keys of other versions are ignored, missing ones get transformers'
/// defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainerState {
    /// Lowest `eval_loss` so far, or highest `eval_rouge-l`.
    pub best_metric: Option<f64>,
    /// Absolute path of its checkpoint.
    pub best_model_checkpoint: Option<String>,
    /// Epochs done.
    pub epoch: Option<f64>,
    #[serde(deserialize_with = "whole")]
    pub eval_steps: u64,
    /// Optimizer steps done.
    #[serde(deserialize_with = "whole")]
    pub global_step: u64,
    pub is_hyper_param_search: bool,
    pub is_local_process_zero: bool,
    pub is_world_process_zero: bool,
    /// See [`LogLine::to_history`].
    pub log_history: Vec<Map<String, Value>>,
    #[serde(deserialize_with = "whole")]
    pub logging_steps: u64,
    /// Optimizer steps of the whole training.
    #[serde(deserialize_with = "whole")]
    pub max_steps: u64,
    #[serde(deserialize_with = "whole")]
    pub num_input_tokens_seen: u64,
    #[serde(deserialize_with = "whole")]
    pub num_train_epochs: u64,
    #[serde(deserialize_with = "whole")]
    pub save_steps: u64,
    pub total_flos: f64,
    pub train_batch_size: Option<u64>,
    pub trial_name: Option<String>,
    pub trial_params: Option<Value>,
}

impl Default for TrainerState {
    fn default() -> Self {
        Self {
            best_metric: None,
            best_model_checkpoint: None,
            epoch: None,
            eval_steps: 500,
            global_step: 0,
            is_hyper_param_search: false,
            is_local_process_zero: true,
            is_world_process_zero: true,
            log_history: Vec::new(),
            logging_steps: 500,
            max_steps: 0,
            num_input_tokens_seen: 0,
            num_train_epochs: 0,
            save_steps: 500,
            total_flos: 0.0,
            train_batch_size: None,
            trial_name: None,
            trial_params: None,
        }
    }
}

/// A count; Python may have written it as 50.0.
fn whole<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    let x = f64::deserialize(d)?;
    if x >= 0.0 && x.fract() == 0.0 && x < 9e15 {
        Ok(x as u64)
    } else {
        Err(de::Error::custom(format!("{x} is not a count")))
    }
}

impl TrainerState {
    /// Appends to `log_history`.
    pub fn log(&mut self, line: &LogLine) {
        self.log_history.push(line.to_history());
    }

    /// Writes `trainer_state.json` into the directory `checkpoint`.
    pub fn write(&self, checkpoint: &Path) -> Result<()> {
        write_atomic(&checkpoint.join(TRAINER_STATE), &pretty_json(self, 2)?)
    }

    /// Reads it from there. Errors: `Error::User` where it is missing or is no trainer state.
    pub fn read(checkpoint: &Path) -> Result<TrainerState> {
        read_json(&checkpoint.join(TRAINER_STATE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn it_comes_back_and_a_nan_is_null() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = TrainerState {
            best_metric: Some(0.25),
            best_model_checkpoint: Some("/runs/检查点/checkpoint-50".into()),
            epoch: Some(0.4),
            global_step: 50,
            max_steps: 125,
            train_batch_size: Some(1),
            ..Default::default()
        };
        let nan = f64::NAN;
        state.log(&LogLine::Train {
            step: 5,
            epoch: 0.04,
            loss: 1.5,
            acc: 0.5,
            learning_rate: 1e-4,
            grad_norm: nan,
        });
        state.write(dir.path()).unwrap();
        assert_eq!(TrainerState::read(dir.path()).unwrap(), state);
        assert_eq!(state.log_history[0]["grad_norm"], Value::Null);
        state.best_metric = Some(nan);
        state.write(dir.path()).unwrap();
        assert_eq!(TrainerState::read(dir.path()).unwrap().best_metric, None);
        let text = fs::read_to_string(dir.path().join(TRAINER_STATE)).unwrap();
        let keys: Vec<String> = serde_json::from_str::<Map<_, _>>(&text).unwrap().keys().cloned().collect();
        assert!(keys.is_sorted() && text.ends_with("}\n") && text.contains("检查点"), "{text}");
    }

    #[test]
    fn a_file_of_transformers_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"best_metric": NaN, "best_model_checkpoint": null, "epoch": 0.98, "eval_steps": 10.0,
            "global_step": 37, "is_hyper_param_search": false, "is_local_process_zero": true,
            "is_world_process_zero": true, "log_history": [{"epoch": 0.03, "loss": Infinity, "step": 1}],
            "logging_steps": 1, "max_steps": 37, "num_input_tokens_seen": 0, "num_train_epochs": 1,
            "save_steps": 10, "total_flos": 1953183744.0, "train_batch_size": 1, "trial_name": null,
            "trial_params": null, "stateful_callbacks": {}}"#;
        fs::write(dir.path().join(TRAINER_STATE), text).unwrap();
        let state = TrainerState::read(dir.path()).unwrap();
        assert_eq!((state.global_step, state.eval_steps, state.best_metric), (37, 10, None));
        assert_eq!(state.log_history[0]["loss"], Value::Null);
        for bad in [r#"{"global_step": -1}"#, r#"{"global_step": 1.5}"#, r#"{"max_steps": "x"}"#, "[", ""] {
            fs::write(dir.path().join(TRAINER_STATE), bad).unwrap();
            let e = TrainerState::read(dir.path()).unwrap_err();
            assert!(e.exit_code() == 2 && e.to_string().contains(TRAINER_STATE), "{e}");
        }
    }
}
