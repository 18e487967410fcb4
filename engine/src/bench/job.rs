//! What all candidates are given: one JSON file, which the Python script reads too.

use std::path::{Path, PathBuf};

use qwen_tui::args::{SftArgs, load_sft};
use qwen_tui::bench::BenchArguments;
use qwen_tui::data::template::Example;
use qwen_tui::data::{load, sentiment_prompt};
use qwen_tui::error::{Context, Error, Result};
use qwen_tui::job::human::counted;
use qwen_tui::run::read_json;
use serde::{Deserialize, Serialize};

use crate::model::QwenConfig;
use crate::train::MicroBatches;

/// The reference run's arguments, over which those of the benchmark are laid.
const REFERENCE: &str = include_str!("../../../configs/jd-sentiment.json");

/// Texts that are labelled before the clock starts.
pub const WARM_TEXTS: usize = 5;

/// Token ids of a row and their labels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobRow {
    pub ids: Vec<u32>,
    pub labels: Vec<i64>,
}

impl From<&Example> for JobRow {
    fn from(example: &Example) -> Self {
        Self { ids: example.ids.clone(), labels: example.labels.clone() }
    }
}

impl JobRow {
    pub fn example(&self) -> Example {
        Example { ids: self.ids.clone(), labels: self.labels.clone() }
    }
}

/// The model's sizes, for those who make their own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sizes {
    pub layers: i64,
    pub hidden: i64,
    pub heads: i64,
    /// Width of each MLP matrix.
    pub mlp: i64,
    pub vocab: i64,
    pub seq_length: i64,
    pub eps: f64,
}

impl From<&QwenConfig> for Sizes {
    fn from(config: &QwenConfig) -> Self {
        Self {
            layers: config.num_hidden_layers,
            hidden: config.hidden_size,
            heads: config.num_attention_heads,
            mlp: config.mlp_size(),
            vocab: config.vocab_size,
            seq_length: config.seq_length,
            eps: config.layer_norm_epsilon,
        }
    }
}

/// The job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The run's arguments, as `sft` is given them.
    pub flags: Vec<String>,
    pub work: PathBuf,
    pub model_dir: PathBuf,
    pub model: Sizes,
    pub device: String,
    pub dtype: String,
    pub threads: usize,
    pub seed: u64,
    pub lora_rank: usize,
    pub lora_alpha: f64,
    pub lora_dropout: f64,
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub max_grad_norm: f64,
    pub eos: u32,
    /// Steps before the clock starts; they are the first of `steps`.
    pub warmup: usize,
    /// The rows of every step.
    pub steps: Vec<Vec<JobRow>>,
    pub validation: Vec<JobRow>,
    /// Texts to label, each with its prompt's token ids.
    pub texts: Vec<String>,
    pub prompts: Vec<Vec<u32>>,
    pub warm_prompts: Vec<Vec<u32>>,
}

impl Job {
    /// The job of `arguments` with the model in `model_dir` and rows in `[training, validation]` files.
    ///
    /// # Errors
    /// Rows or a model that are none; arguments that `sft` would refuse.
    pub fn new(
        arguments: &BenchArguments,
        work: &Path,
        model_dir: &Path,
        [train, validation]: [&Path; 2],
        [device, dtype]: [&str; 2],
        threads: usize,
    ) -> Result<Self> {
        let reference = work.join("reference.json");
        std::fs::write(&reference, REFERENCE).user(reference.display())?;
        // An evaluation in the middle, so that the last one is not the first.
        let middle = arguments.warmup + arguments.rounds.div_ceil(2) * arguments.steps;
        let flags = flags(&[
            ("config", reference.display().to_string()),
            ("model_id_or_path", model_dir.display().to_string()),
            ("dataset", train.display().to_string()),
            ("train_dataset_sample", "-1".to_owned()),
            ("custom_val_dataset_path", validation.display().to_string()),
            ("val_dataset_sample", arguments.validation.to_string()),
            ("device", device.to_owned()),
            ("dtype", dtype.to_owned()),
            ("threads", threads.to_string()),
            ("seed", arguments.seed.to_string()),
            ("gradient_checkpointing", arguments.gradient_checkpointing.clone()),
            ("gradient_accumulation_steps", arguments.accumulation.to_string()),
            // One more than is timed: the gradient of the step after the last is asked for early on a GPU.
            ("max_steps", (arguments.total() + 1).to_string()),
            ("eval_steps", middle.to_string()),
            ("save_strategy", "no".to_owned()),
            ("output_dir", work.join("output").display().to_string()),
        ]);
        let args = load_sft(None, &flags)?.args;
        let config = QwenConfig::load(model_dir)?;
        let tokenizer = config.tokenizer(model_dir)?;
        let rows = load::read(&(&args).into())?;
        let encoded = load::encode(&args, &tokenizer, &rows)?;
        if encoded.train.is_empty() || encoded.validation.is_empty() {
            return Err(Error::user(format!("{}: no row to train on", train.display())));
        }
        let (there, wanted) = (encoded.train.len(), arguments.accumulation);
        if there < wanted {
            return Err(Error::user(format!(
                "{}: {} to train on, and a step takes {wanted}: give more rows, or a lower --accumulation",
                train.display(),
                counted(there as u64, "row")
            )));
        }
        let mut micro = MicroBatches::of(&args, there);
        let steps = (0..arguments.total())
            .map(|step| {
                micro.of_step(step as u64).concat().iter().map(|&i| JobRow::from(&encoded.train[i])).collect()
            })
            .collect();
        let queries = rows.train.iter().map(|row| row.query.as_str()).cycle();
        let texts: Vec<String> = queries.take(arguments.texts.max(1)).map(sentence).collect();
        let prompts: Vec<Vec<u32>> =
            texts.iter().map(|text| tokenizer.encode(&sentiment_prompt(text))).collect();
        Ok(Self {
            flags,
            work: work.to_owned(),
            model_dir: model_dir.to_owned(),
            model: Sizes::from(&config),
            device: device.to_owned(),
            dtype: dtype.to_owned(),
            threads,
            seed: args.seed,
            lora_rank: args.lora_rank,
            lora_alpha: args.lora_alpha,
            lora_dropout: args.lora_dropout_p,
            learning_rate: args.learning_rate,
            weight_decay: args.weight_decay,
            max_grad_norm: args.max_grad_norm,
            eos: tokenizer.eos(),
            warmup: arguments.warmup,
            steps,
            validation: encoded.validation.iter().map(JobRow::from).collect(),
            warm_prompts: prompts.iter().take(WARM_TEXTS).cloned().collect(),
            texts,
            prompts,
        })
    }

    pub fn read(path: &Path) -> Result<Self> {
        read_json(path)
    }

    /// The arguments that `sft` runs with.
    pub fn args(&self) -> Result<SftArgs> {
        load_sft(None, &self.flags).map(|loaded| loaded.args)
    }
}

/// `--NAME VALUE` of each.
pub fn flags(of: &[(&str, String)]) -> Vec<String> {
    of.iter().flat_map(|(name, value)| [format!("--{name}"), value.clone()]).collect()
}

/// The sentence of a query in the task's prompt; another query is its own.
fn sentence(query: &str) -> String {
    const MARK: &str = "\0";
    let prompt = sentiment_prompt(MARK);
    let inside =
        prompt.split_once(MARK).and_then(|(before, after)| query.strip_prefix(before)?.strip_suffix(after));
    inside.unwrap_or(query).to_owned()
}
