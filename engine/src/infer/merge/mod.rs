//! A checkpoint's adapter folded into its base model: a whole model directory (SWIFT's `merge_lora`).
//!
//! `W' = W + alpha / r * B A`, in fp32 and a block of rows at a time, rounded once to the dtype of `W`. The base's files
//! are mapped and each tensor goes from there to the new file, so memory does not grow with the model.

pub mod command;
mod piece;
mod place;
mod record;
mod shards;

use std::path::{Path, PathBuf};

use qwen_tui::error::{Context, Error, Result};
use qwen_tui::job;
use qwen_tui::job::inputs::check_model_dir;
use qwen_tui::run::{GENERATION_CONFIG, replace_directory, write_configuration, write_json};
use serde_json::{Map, Value};
use tch::{Device, Kind};

use crate::device;
use crate::model::adapter::Adapter;
use crate::model::{QwenConfig, beside, weights};
use piece::{Folded, Piece};
use place::{CONTENTS, behind_links, check_room, check_target};
use record::Record;

/// The most bytes of tensors in one file, unless a single tensor has more (transformers' `max_shard_size` of 2GB).
pub const SHARD_BYTES: u64 = 2_000_000_000;

/// What is merged, and where it goes.
#[derive(Debug, Clone)]
pub struct Job {
    /// The base model's directory.
    pub base: PathBuf,
    pub checkpoint: PathBuf,
    /// The directory to make.
    pub target: PathBuf,
    /// Whether an earlier merge in `target` is replaced.
    pub overwrite: bool,
    /// The dtype of the merged weights; none: each tensor's own.
    pub kind: Option<Kind>,
    pub shard_bytes: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// Modules with a low-rank update.
    pub modules: usize,
    /// Weights that the training has replaced (biases, `modules_to_save`).
    pub replaced: usize,
    /// Files of weights, and the bytes of their tensors.
    pub files: usize,
    pub bytes: u64,
}

/// Hears the bytes done and their total; false ends the merge.
pub type Told<'a> = dyn FnMut(u64, u64) -> bool + 'a;

/// Where a checkpoint's merge goes if nothing else is said: `checkpoint-N-merged`, beside it.
///
/// # Errors
/// A path without a name.
pub fn usual_target(checkpoint: &Path) -> Result<PathBuf> {
    let whole = checkpoint.canonicalize().user(checkpoint.display())?;
    whole.file_name().ok_or_else(|| {
        Error::user(format!(
            "{}: has no name to make the merge's of: give --output DIR",
            checkpoint.display()
        ))
    })?;
    Ok(job::merge::usual_target(&whole))
}

/// Refuses a checkpoint without an adapter.
pub fn check_lora(checkpoint: &Path) -> Result<()> {
    if super::is_whole(checkpoint) {
        return Err(Error::user(format!(
            "{}: there is nothing to merge: it is a whole model already (sft_type full, or merged before); give it as \
             --ckpt_dir or --model_id_or_path as it is",
            checkpoint.display()
        )));
    }
    Ok(())
}

/// Merges as `job` says.
///
/// # Errors
/// No adapter, an adapter that does not fit the base, a broken file beside the base's weights, a target that is there or
/// in the way, too little room, a merged weight that is not finite. Nothing is left behind, and what was at the target stays.
pub fn merge(job: &Job, told: &mut Told<'_>) -> Result<Merged> {
    check_lora(&job.checkpoint)?;
    check_model_dir(&job.base)?;
    let config = QwenConfig::load(&job.base)?;
    config.tokenizer(&job.base)?;
    beside::check(&job.base, &beside::JSON)?;
    beside::check(&job.checkpoint, &[GENERATION_CONFIG])?;
    let target = behind_links(&job.target)?;
    check_target(job, &target)?;

    let adapter = Adapter::read(&job.checkpoint)?;
    // Over an empty base: the adapter's own numbers, checked against the model's shapes.
    let tensors = adapter.attach(&config, &Default::default(), Kind::Float, Device::Cpu)?.export(Kind::Float);
    let lora = &adapter.files.config;
    let mut folded = Folded::new(tensors, lora.lora_alpha / lora.r as f64);

    let places = weights::Places::find(&job.base, &config)?;
    let shards = places.files().iter().map(|path| weights::Shard::open(path)).collect::<Result<Vec<_>>>()?;
    let headers = shards.iter().map(weights::Shard::tensors).collect::<Result<Vec<_>>>()?;
    let order: Vec<String> = config.tensors().into_iter().map(|(name, _)| name).collect();
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    for (number, tensors) in headers.iter().enumerate() {
        for (name, view) in tensors.iter().filter(|(name, _)| places.counts(name, number)) {
            if !pieces.iter().any(|p| p.name == name) {
                pieces.push(Piece::new(name, view, job.kind, &mut folded)?);
            }
        }
    }
    folded.all_taken()?;
    // The model's order, as transformers fills its files; what it does not know comes last.
    let place: std::collections::HashMap<&str, usize> =
        order.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
    pieces.sort_by_key(|p| (place.get(p.name.as_str()).copied().unwrap_or(usize::MAX), p.name.clone()));

    let bytes = pieces.iter().map(Piece::len).sum();
    check_room(&target, bytes)?;
    let plan = shards::plan(&pieces, job.shard_bytes);
    let merged = Merged { modules: folded.modules, replaced: folded.replaced, files: plan.len(), bytes };
    replace_directory(&target, CONTENTS, job.overwrite, |dir| {
        let mut done = 0;
        shards::write(dir, &plan, bytes, &mut |part| {
            done += part;
            match told(done, bytes) {
                true => Ok(()),
                false => Err(Error::user("stopped; nothing is left behind")),
            }
        })?;
        fill(dir, job, &adapter)
    })?;
    Ok(merged)
}

/// What lies beside the weights.
fn fill(dir: &Path, job: &Job, adapter: &Adapter) -> Result<()> {
    beside::copy(&job.base, dir)?;
    if let Some(kind) = job.kind {
        tell_dtype(&dir.join("config.json"), kind)?;
    }
    let generation = job.checkpoint.join(GENERATION_CONFIG);
    if generation.is_file() {
        std::fs::copy(&generation, dir.join(GENERATION_CONFIG)).user(generation.display())?;
    }
    let args_file = job.checkpoint.join(qwen_tui::args::ARGS_FILE);
    let mut args: Map<String, Value> = Map::new();
    if args_file.is_file() {
        args = qwen_tui::run::read_json(&args_file)?;
        args.insert("sft_type".to_owned(), "full".into());
        write_json(&dir.join(qwen_tui::args::ARGS_FILE), &args)?;
    }
    args.insert("sft_type".to_owned(), "full".into());
    // The checkpoint's is the base's with the adapter's arguments, which a whole model has none of.
    write_configuration(dir, Some(&job.base), &args)?;
    Record::new(job, adapter)?.write(dir)
}

/// Says in `config.json` what dtype the weights have now.
fn tell_dtype(path: &Path, kind: Kind) -> Result<()> {
    let mut config: Map<String, Value> = qwen_tui::run::read_json(path)?;
    for (key, k) in [("bf16", Kind::BFloat16), ("fp16", Kind::Half), ("fp32", Kind::Float)] {
        if config.contains_key(key) {
            config.insert(key.to_owned(), (k == kind).into());
        }
    }
    let torch = match kind {
        Kind::BFloat16 => "bfloat16",
        Kind::Half => "float16",
        _ => "float32",
    };
    config.insert("torch_dtype".to_owned(), torch.into());
    write_json(path, &config)
}

/// The dtype that an argument names; none for AUTO.
fn named_kind(dtype: &str) -> Result<Option<Kind>> {
    match dtype {
        "AUTO" => Ok(None),
        // Nothing is multiplied in it.
        "fp16" => Ok(Some(Kind::Half)),
        dtype => device::kind(dtype, Device::Cpu).map(Some).map_err(|e| e.context("dtype")),
    }
}
