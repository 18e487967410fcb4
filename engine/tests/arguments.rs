//! Arguments of the training, each by what it does to a run: a test fails where it does nothing.

mod common;

use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::path::PathBuf;

use qwen_tui::error::Result;
use qwen_tui::job::event::Event;
use qwen_tui::run::RunDir;
use serde_json::json;
use tch::Tensor;

use common::{SMALL, one_thread, tensors, try_train, write_model, write_vocabulary};

/// A model and rows to train it on.
struct Bench {
    dir: tempfile::TempDir,
}

/// What came of a run.
struct Ran {
    run: RunDir,
    events: Vec<Event>,
}

impl Bench {
    /// 24 rows of different length, all of them for training.
    fn new() -> Self {
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

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, rows: impl Iterator<Item = serde_json::Value>) {
        std::fs::write(self.path(name), rows.map(|row| format!("{row}\n")).collect::<String>()).unwrap();
    }

    fn copy(&self, from: &str, to: &str) {
        std::fs::copy(self.path(from), self.path(to)).unwrap();
    }

    /// Trains 6 steps of 4 rows, or as `more` says.
    fn try_run(&self, more: &[&str]) -> Result<Ran> {
        let path = |name: &str| self.path(name).display().to_string();
        let (model, rows, out) = (path("model"), path("rows.jsonl"), path("out"));
        #[rustfmt::skip]
        let always = [
            "--model_type", "qwen-1_8b", "--model_id_or_path", &model, "--dtype", "fp32", "--device", "cpu",
            "--threads", "1", "--custom_train_dataset_path", &rows, "--train_dataset_sample", "-1",
            "--dataset_test_ratio", "0", "--lora_dropout_p", "0", "--learning_rate", "1e-2",
            "--gradient_accumulation_steps", "4", "--logging_steps", "1", "--output_dir", &out,
        ];
        let (run, events) = try_train(&[&always[..], more].concat())?;
        Ok(Ran { run, events })
    }

    #[track_caller]
    fn run(&self, more: &[&str]) -> Ran {
        self.try_run(more).unwrap()
    }

    /// The message that a run is refused with.
    #[track_caller]
    fn refused(&self, more: &[&str]) -> String {
        let Err(e) = self.try_run(more) else { panic!("{more:?} was accepted") };
        assert_eq!(e.exit_code(), 2, "{e}");
        e.to_string()
    }
}

impl Ran {
    /// Steps done.
    fn steps(&self) -> u64 {
        self.events.iter().filter(|e| matches!(e, Event::Step { .. })).count() as u64
    }

    fn losses(&self) -> Vec<f64> {
        let loss = |e: &Event| match e {
            Event::Step { loss, .. } => Some(*loss),
            _ => None,
        };
        self.events.iter().filter_map(loss).collect()
    }

    /// The learning rates of the log.
    fn rates(&self) -> Vec<f64> {
        let rate = |e: &Event| match e {
            Event::Log { learning_rate, .. } => Some(*learning_rate),
            _ => None,
        };
        self.events.iter().filter_map(rate).collect()
    }

    /// The weights of the last checkpoint.
    fn weights(&self) -> BTreeMap<String, Tensor> {
        let last = self.run.checkpoint(self.steps());
        let files = ["default/adapter_model.safetensors", "model.safetensors"].map(|name| last.join(name));
        tensors(files.iter().find(|file| file.is_file()).unwrap())
    }
}

const FULL: [&str; 4] = ["--sft_type", "full", "--learning_rate", "1e-3"];

#[test]
fn each_optimizer_trains_and_no_two_alike() {
    let bench = Bench::new();
    let run = |flags: &[&str]| {
        let ran = bench.run(&[&FULL[..], flags].concat());
        let losses = ran.losses();
        assert!(losses.last() < losses.first(), "{flags:?}: {losses:?}");
        ran.weights()
    };
    let plain = run(&[]);
    assert!(run(&["--optim", "adamw_torch_fused"]) == plain);
    // Each argument of an optimizer changes what comes out.
    let others = [
        &["--optim", "adamw_hf", "--adam_epsilon", "1e-3"][..],
        &["--adam_epsilon", "1e-3"],
        &["--optim", "adafactor"],
        &["--optim", "sgd", "--learning_rate", "0.1"],
        &["--adam_beta1", "0.5"],
        &["--adam_beta2", "0.9"],
        &["--weight_decay", "0.5"],
        &["--optim", "adafactor", "--weight_decay", "0.5"],
        &["--optim", "sgd", "--learning_rate", "0.1", "--weight_decay", "0.5"],
    ];
    let mut seen = vec![plain];
    for flags in others {
        let weights = run(flags);
        assert!(!seen.contains(&weights), "{flags:?} changed nothing");
        seen.push(weights);
    }
}

/// The logged rate is the one after the step. Twelve steps, two of them warm-up, from 1e-2.
#[test]
fn each_schedule_is_its_closed_form() {
    let bench = Bench::new();
    let (top, warmup, total) = (1e-2, 2.0, 12.0);
    let rising = |step: f64, then: f64| if step < warmup { top * step / warmup } else { then };
    let done = |step: f64| (step - warmup) / (total - warmup);
    type Form<'a> = &'a dyn Fn(f64) -> f64;
    let forms: [(&str, Form<'_>); 7] = [
        ("linear", &|s| rising(s, top * (1.0 - done(s)))),
        ("cosine", &|s| rising(s, top * 0.5 * (1.0 + (PI * done(s)).cos()))),
        // One cycle: at its end the rate is 0, as the cosine's.
        ("cosine_with_restarts", &|s| rising(s, top * 0.5 * (1.0 + (PI * done(s)).cos()))),
        ("polynomial", &|s| rising(s, (top - 1e-7) * (1.0 - done(s)) + 1e-7)),
        ("constant", &|_| top),
        ("constant_with_warmup", &|s| rising(s, top)),
        ("inverse_sqrt", &|s| rising(s, top * (warmup / s).sqrt())),
    ];
    for (name, form) in forms {
        let flags = ["--lr_scheduler_type", name, "--max_steps", "12", "--warmup_ratio", "0.15"];
        let ran = bench.run(&flags);
        let rates = ran.rates();
        assert_eq!(rates.len(), 12);
        let log = std::fs::read_to_string(ran.run.logging_file()).unwrap();
        let written: Vec<f64> = log
            .lines()
            .filter_map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["learning_rate"].as_f64()
            })
            .collect();
        let worst =
            (1..=12u32).map(|step| (rates[step as usize - 1] - form(step.into())).abs()).fold(0.0, f64::max);
        println!("{name}: largest difference from the closed form {worst:.1e}");
        assert!(worst < 1e-15, "{name}: {rates:?}");
        assert!(written.iter().zip(&rates).all(|(a, b)| (a - b).abs() < 1e-8) && written.len() == 12);
    }
}

/// The noise is in the training's losses and not in the evaluation's of the same weights.
#[test]
fn neftune_is_noise_in_training_alone() {
    let bench = Bench::new();
    bench.copy("rows.jsonl", "val.jsonl");
    let validation = bench.path("val.jsonl").display().to_string();
    let run = |flags: &[&str]| {
        let still =
            ["--learning_rate", "1e-12", "--eval_steps", "6", "--custom_val_dataset_path", &validation];
        let ran = bench.run(&[&still[..], flags].concat());
        let evaluation = ran.events.iter().find_map(|e| match e {
            Event::Eval { loss, .. } => Some(*loss),
            _ => None,
        });
        (ran.losses(), evaluation.unwrap())
    };
    let (plain, evaluated) = run(&[]);
    let (noisy, noisy_evaluated) = run(&["--neftune_noise_alpha", "5"]);
    assert!(plain.iter().zip(&noisy).all(|(a, b)| (a - b).abs() > 1e-4 * a), "{plain:?} {noisy:?}");
    assert!((evaluated - noisy_evaluated).abs() < 1e-9 * evaluated);
    assert_eq!(run(&["--neftune_alpha", "5"]).0, noisy, "its other name");
    assert_eq!(run(&["--neftune_noise_alpha", "0"]).0, plain);
    assert_ne!(run(&["--neftune_noise_alpha", "5", "--seed", "43"]).0, noisy);
}
