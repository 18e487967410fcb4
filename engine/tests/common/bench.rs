//! A small job that tests train as they like.

use std::collections::BTreeMap;
use std::path::PathBuf;

use qwen_tui::args::{SftArgs, load_sft};
use qwen_tui::error::Result;
use qwen_tui::job::event::Event;
use qwen_tui::run::RunDir;
use serde_json::json;
use tch::Tensor;

use super::{SMALL, one_thread, tensors, train_as, write_model, write_vocabulary};

/// A model and rows to train it on.
pub struct Bench {
    dir: tempfile::TempDir,
}

/// What came of a run.
pub struct Ran {
    pub run: RunDir,
    pub events: Vec<Event>,
}

impl Bench {
    /// 24 rows of different length, all of them for training.
    pub fn new() -> Self {
        one_thread();
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        write_vocabulary(&bench.path("vocabulary"), &["很好", "太差"]);
        write_model(&bench.path("model"), SMALL, &bench.path("vocabulary"));
        let row = |i: usize| {
            let (text, label) = [("很好用", "positive"), ("太差了", "negative")][i % 2];
            json!({"query": format!("{}{i}", text.repeat(i % 7 + 1)), "response": label})
        };
        bench.write("rows.jsonl", (0..24).map(row));
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, rows: impl Iterator<Item = serde_json::Value>) {
        std::fs::write(self.path(name), rows.map(|row| format!("{row}\n")).collect::<String>()).unwrap();
    }

    pub fn copy(&self, from: &str, to: &str) {
        std::fs::copy(self.path(from), self.path(to)).unwrap();
    }

    /// Arguments for 6 steps of 4 rows, or as `more` says.
    pub fn args(&self, more: &[&str]) -> Result<SftArgs> {
        let path = |name: &str| self.path(name).display().to_string();
        let (model, rows, out) = (path("model"), path("rows.jsonl"), path("out"));
        #[rustfmt::skip]
        let always = [
            "--model_type", "qwen-1_8b", "--model_id_or_path", &model, "--dtype", "fp32", "--device", "cpu",
            "--threads", "1", "--custom_train_dataset_path", &rows, "--train_dataset_sample", "-1",
            "--dataset_test_ratio", "0", "--lora_dropout_p", "0", "--learning_rate", "1e-2",
            "--gradient_accumulation_steps", "4", "--logging_steps", "1", "--output_dir", &out,
        ];
        let flags: Vec<String> = always.iter().chain(more).map(|&flag| flag.to_owned()).collect();
        Ok(load_sft(None, &flags)?.args)
    }

    pub fn try_run(&self, more: &[&str]) -> Result<Ran> {
        let (run, events) = train_as(&self.args(more)?)?;
        Ok(Ran { run, events })
    }

    #[track_caller]
    pub fn run(&self, more: &[&str]) -> Ran {
        self.try_run(more).unwrap()
    }

    /// The message that a run is refused with.
    #[track_caller]
    pub fn refused(&self, more: &[&str]) -> String {
        let Err(e) = self.try_run(more) else { panic!("{more:?} was accepted") };
        assert_eq!(e.exit_code(), 2, "{e}");
        e.to_string()
    }
}

impl Ran {
    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.events.iter().filter(|e| matches!(e, Event::Step { .. })).count() as u64
    }

    pub fn losses(&self) -> Vec<f64> {
        let loss = |e: &Event| match e {
            Event::Step { loss, .. } => Some(*loss),
            _ => None,
        };
        self.events.iter().filter_map(loss).collect()
    }

    /// The learning rates of the log.
    pub fn rates(&self) -> Vec<f64> {
        let rate = |e: &Event| match e {
            Event::Log { learning_rate, .. } => Some(*learning_rate),
            _ => None,
        };
        self.events.iter().filter_map(rate).collect()
    }

    /// The file with the weights of the last checkpoint.
    pub fn weights_file(&self) -> PathBuf {
        let last = self.run.checkpoint(self.steps());
        let mut files = ["default/adapter_model.safetensors", "model.safetensors"]
            .map(|name| last.join(name))
            .into_iter();
        files.find(|file| file.is_file()).unwrap()
    }

    /// The weights of the last checkpoint.
    pub fn weights(&self) -> BTreeMap<String, Tensor> {
        tensors(&self.weights_file())
    }
}
