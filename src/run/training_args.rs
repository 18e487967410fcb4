//! `training_args.json` of a run: transformers' `Seq2SeqTrainingArguments` (4.36) as SWIFT fills and dumps them.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::dir::RunDir;
use super::files::{pretty_json, write_atomic};
use super::generation_config::generation_config;
use crate::args::{GradientCheckpointing, SftArgs};
use crate::error::{Context, Result};

/// All names in the file's order, with the values that transformers and SWIFT's trainer give them unless they are told
/// others.
const DEFAULTS: &str = include_str!("training_args_defaults.json");

/// The arguments that have the same name and value there.
const SAME: [&str; 32] = [
    "gradient_accumulation_steps",
    "learning_rate",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "max_grad_norm",
    "num_train_epochs",
    "max_steps",
    "lr_scheduler_type",
    "warmup_ratio",
    "logging_steps",
    "save_strategy",
    "save_steps",
    "save_total_limit",
    "save_safetensors",
    "save_on_each_node",
    "save_only_model",
    "seed",
    "ddp_backend",
    "eval_steps",
    "dataloader_num_workers",
    "disable_tqdm",
    "optim",
    "push_to_hub",
    "resume_from_checkpoint",
    "hub_model_id",
    "hub_private_repo",
    "push_hub_strategy",
    "neftune_noise_alpha",
    "predict_with_generate",
    "train_sampler_random",
    "acc_strategy",
];

/// What the arguments do not say.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub run: &'a RunDir,
    pub model_dir: &'a Path,
    /// Token id of the end of text.
    pub eos: u32,
    /// Whether there are rows to validate on.
    pub validation: bool,
    /// Dtype of the base weights: `bf16`, `fp16` or `fp32`.
    pub dtype: &'a str,
    /// Whether blocks are computed again on the way back.
    pub recompute: bool,
}

/// The file's content. `seed` is the one that is trained with (SWIFT leaves the trainer's at 42 whatever its own is).
/// What only a PyTorch process has (`distributed_state`, `_n_gpu`) is left out, and so is the hub's key.
///
/// # Errors
/// `Error::Internal` where the list of defaults is no object.
pub fn training_args(args: &SftArgs, facts: &Facts<'_>) -> Result<Map<String, Value>> {
    let mut all: Map<String, Value> =
        serde_json::from_str(DEFAULTS).internal("the defaults of training_args.json")?;
    let known = args.to_json();
    let mut put = |key: &str, value: Value| all.insert(key.to_owned(), value);
    for key in SAME {
        put(key, known.get(key).cloned().unwrap_or_default());
    }
    let evaluates = facts.validation && args.evaluation_strategy != "no";
    let place = facts.run.path().display().to_string();
    put("output_dir", place.clone().into());
    put("run_name", place.into());
    put("logging_dir", facts.run.tensorboard_dir(args).display().to_string().into());
    put("do_eval", evaluates.into());
    put("evaluation_strategy", if evaluates { "steps" } else { "no" }.into());
    put("load_best_model_at_end", evaluates.into());
    put("metric_for_best_model", if args.predict_with_generate { "rouge-l" } else { "loss" }.into());
    put("greater_is_better", args.predict_with_generate.into());
    put("per_device_train_batch_size", args.batch_size.into());
    put("per_device_eval_batch_size", args.eval_batch_size.into());
    put("bf16", (facts.dtype == "bf16").into());
    put("fp16", (facts.dtype == "fp16").into());
    put("report_to", if args.reports_to_tensorboard() { json!(["tensorboard"]) } else { json!([]) });
    let recompute = match args.gradient_checkpointing {
        GradientCheckpointing::Auto => facts.recompute,
        asked => asked == GradientCheckpointing::On,
    };
    put("gradient_checkpointing", recompute.into());
    // Always so in SWIFT.
    put("logging_first_step", true.into());
    put("remove_unused_columns", false.into());
    put("sortish_sampler", true.into());
    // An object of Python, as it shows itself.
    let generation = pretty_json(&generation_config(args, facts.eos, facts.model_dir), 2)?;
    put("generation_config", format!("GenerationConfig {}", String::from_utf8_lossy(&generation)).into());
    Ok(all)
}

/// Writes `training_args.json` into the run.
pub fn write_training_args(run: &RunDir, all: &Map<String, Value>) -> Result<()> {
    write_atomic(&run.training_args_file(), &pretty_json(all, 2)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// `tests/data/training_args_swift.json` is what SWIFT's code makes of `sft_args_swift.json` with transformers 4.36.2
    /// (without PyTorch, so without the devices of its process).
    #[test]
    fn it_is_what_swift_dumps() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let swift = fs::read_to_string(data.join("training_args_swift.json")).unwrap();
        let mut swift: Map<String, Value> = serde_json::from_str(&swift).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let args = fs::read_to_string(data.join("sft_args_swift.json")).unwrap();
        fs::write(dir.path().join("sft_args.json"), args).unwrap();
        let own = r#"{"chat_format": "raw", "stop_words_ids": [[151643]]}"#;
        fs::write(dir.path().join("generation_config.json"), own).unwrap();
        let mut args = SftArgs::from_run_dir(dir.path()).unwrap();
        // The file names a folder on SWIFT's machine.
        args.logging_dir = None;
        let run = RunDir::open(dir.path()).unwrap();
        let facts = Facts {
            run: &run,
            model_dir: dir.path(),
            eos: 151_643,
            validation: true,
            dtype: "bf16",
            recompute: false,
        };
        let ours = training_args(&args, &facts).unwrap();
        let place = run.path().display().to_string();
        for (key, value) in [
            ("output_dir", place.clone()),
            ("run_name", place.clone()),
            ("logging_dir", format!("{place}/runs")),
        ] {
            swift.insert(key.to_owned(), value.into());
        }
        assert_eq!(ours.keys().collect::<Vec<_>>(), swift.keys().collect::<Vec<_>>());
        for (key, value) in &swift {
            let same = ours[key] == *value || ours[key].as_f64().is_some_and(|x| value.as_f64() == Some(x));
            assert!(same, "{key}: {} and {value}", ours[key]);
        }
        let alone = training_args(&args, &Facts { validation: false, dtype: "fp32", ..facts }).unwrap();
        for (key, value) in [
            ("evaluation_strategy", json!("no")),
            ("do_eval", json!(false)),
            ("load_best_model_at_end", json!(false)),
            ("bf16", json!(false)),
        ] {
            assert_eq!(alone[key], value, "{key}");
        }
    }
}
