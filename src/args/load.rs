//! Loading: defaults, then the file, then the flags; then the rules.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result, brief};
use crate::plain;

use super::field::{Field, Status};
use super::flags;
use super::infer::{INFER_FIELDS, InferArgs};
use super::models;
use super::rules;
use super::sft::{self, FIELDS, SftArgs};
use super::uses::{CLASSIFY, INFER, MERGE, Uses};
use super::values::{File, Source, Values, check_plain, first};

/// Arguments, and what a person should be told about them.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded<T = SftArgs> {
    pub args: T,
    pub warnings: Vec<String>,
}

/// The name of the file of arguments in a run and in a checkpoint.
pub const ARGS_FILE: &str = "sft_args.json";

/// The arguments of `sft` from a file (or `--config FILE` among the flags) and flags, raw as typed:
/// `["--lora_rank", "8", "--dataset", "a", "b", "--seed=7"]`.
///
/// # Errors
/// [`Error::User`] names place, key, value and what is allowed.
pub fn load_sft(file: Option<&Path>, flags: &[String]) -> Result<Loaded> {
    let mut flags = flags::parse(flags, FIELDS)?;
    let file = match (file, &flags.config) {
        (Some(_), Some(_)) => {
            return Err(Error::user("the command line: --config is given twice; one file is read"));
        }
        (file, config) => file.or(config.as_deref()),
    };
    let mut values = Values::new(FIELDS);
    let (mut warnings, mut idle) = (Vec::new(), Vec::new());
    if let Some(path) = file {
        idle = take_config(&mut values, path, FIELDS, &mut warnings)?;
    }
    warnings.extend(flags.leave_out_unknown(FIELDS, values.flag("ignore_args_error"))?);
    no_texts(&flags.texts)?;
    let file_derived = derived_keys(&values);
    for (field, value) in &flags.values {
        values.take(field, value, Source::Flag)?;
    }
    rules::sft(&mut values)?;
    rules::leave_run_folder(&mut values);
    idle.extend(values.without_effect(|key| rules::usual(&values, key)));
    let flag_set: Vec<_> =
        flags.values.iter().filter(|(f, _)| f.status == Status::Works).map(|(f, _)| f.name).collect();
    let args: SftArgs = rules::build(values)?;
    idle.extend(contradictions(&args, &file_derived, &flag_set));
    if args.predict_with_generate && args.evaluation_strategy == "no" {
        let what = "predict_with_generate true with evaluation_strategy no: without an evaluation no answer is written";
        warnings.push(what.to_owned());
    }
    warnings.extend(args.endless());
    warnings.extend(without_effect(&idle));
    Ok(Loaded { args, warnings })
}

impl SftArgs {
    /// All that SWIFT writes to `sft_args.json`, and our own arguments, in the table's order.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut object = match serde_json::to_value(self) {
            Ok(Value::Object(object)) => object,
            // A struct of plain fields is always an object.
            _ => Map::new(),
        };
        object.extend(sft::derived(self));
        object
    }

    /// The arguments of a run or a checkpoint on disk.
    ///
    /// # Errors
    /// [`Error::User`] when `sft_args.json` is missing or broken.
    pub fn from_run_dir(dir: &Path) -> Result<SftArgs> {
        Self::written(File::of_dir(dir)?)
    }

    /// The arguments in a file that [`to_json`](Self::to_json) has written.
    ///
    /// # Errors
    /// [`Error::User`] where it is missing or broken.
    pub fn from_file(path: &Path) -> Result<SftArgs> {
        check_plain(path)?;
        Self::written(File::read(path)?)
    }

    fn written(file: File) -> Result<SftArgs> {
        let mut values = Values::new(FIELDS);
        values.take_file(file, |_| true)?;
        rules::sft(&mut values)?;
        rules::build(values)
    }

    /// `max_length` as a number of tokens; `None` for no limit.
    pub fn max_length_limit(&self) -> Option<usize> {
        usize::try_from(self.max_length).ok()
    }

    /// Whether TensorBoard's files are written; as in transformers, an empty list is nobody.
    pub fn reports_to_tensorboard(&self) -> bool {
        self.report_to.iter().any(|program| program != rules::NO_REPORT)
    }
}

impl InferArgs {
    /// `max_length` as a number of tokens; `None` for no limit.
    pub fn max_length_limit(&self) -> Option<usize> {
        usize::try_from(self.max_length).ok()
    }
}

/// The arguments of `infer` from raw flags; what is not set comes from the checkpoint's `sft_args.json`.
///
/// # Errors
/// [`Error::User`] names place, key, value and what is allowed.
pub fn load_infer(flags: &[String]) -> Result<Loaded<InferArgs>> {
    let (loaded, texts) = load_with(flags, &INFER)?;
    no_texts(&texts)?;
    Ok(loaded)
}

/// [`load_infer`] for `classify`, whose command line ends in texts: `--ckpt_dir DIR TEXT...`.
pub fn load_infer_texts(flags: &[String]) -> Result<(Loaded<InferArgs>, Vec<String>)> {
    load_with(flags, &CLASSIFY)
}

/// [`load_infer`] for `merge-lora`, whose dtype is AUTO (the base's own) unless a flag names one.
pub fn load_merge(flags: &[String]) -> Result<Loaded<InferArgs>> {
    let (loaded, texts) = load_with(flags, &MERGE)?;
    no_texts(&texts)?;
    Ok(loaded)
}

fn load_with(flags: &[String], uses: &Uses) -> Result<(Loaded<InferArgs>, Vec<String>)> {
    let mut flags = flags::parse(flags, INFER_FIELDS)?;
    let mut values = Values::new(INFER_FIELDS);
    let (mut warnings, mut idle) = (Vec::new(), Vec::new());
    if let Some(path) = &flags.config {
        idle = take_config(&mut values, path, INFER_FIELDS, &mut warnings)?;
    }
    warnings.extend(flags.leave_out_unknown(INFER_FIELDS, values.flag("ignore_args_error"))?);
    let unused =
        flags.values.iter().filter(|(field, _)| field.status == Status::Works && !(uses.works)(field.name));
    idle.extend(unused.map(|(field, _)| format!("{} (of no use to {})", field.name, uses.command)));
    for (field, value) in &flags.values {
        values.take(field, value, Source::Flag)?;
    }
    if values.is_null("ckpt_dir") && uses.needs_checkpoint {
        return Err(values
            .refuse("ckpt_dir", "the directory of the checkpoint whose adapter is merged (--ckpt_dir DIR)"));
    }
    if values.is_null("ckpt_dir") {
        values.put("load_args_from_ckpt_dir", false);
    }
    let mut bare = None;
    if values.flag("load_args_from_ckpt_dir") {
        bare = from_checkpoint(&mut values, uses.trained_dtype)?;
        warnings.extend(bare.clone());
    } else if values.flag("load_dataset_config") {
        return Err(values.refuse(
            "load_dataset_config",
            "false without the checkpoint's arguments: give --ckpt_dir DIR, load_args_from_ckpt_dir left true",
        ));
    }
    // An error ends the program before any warning is printed.
    rules::infer(&mut values).map_err(|e| match bare {
        Some(_) if !holds_checkpoint(Path::new(values.text("ckpt_dir"))) => {
            values.refuse("ckpt_dir", "the directory of a checkpoint, and there is none in it")
        }
        Some(why) => Error::user(format!("{e} ({why})")),
        None => e,
    })?;
    model_is_there(&values)?;
    idle.extend(values.without_effect(|key| rules::usual(&values, key)));
    warnings.extend(without_effect(&idle));
    Ok((Loaded { args: rules::build(values)?, warnings }, flags.texts))
}

/// What SWIFT takes over from a checkpoint's arguments, and beside it the model's directory.
const FROM_CHECKPOINT: [&str; 13] = [
    "model_type",
    "model_id_or_path",
    "model_revision",
    "model_cache_dir",
    "hub",
    "sft_type",
    "template_type",
    "dtype",
    "system",
    "quantization_bit",
    "bnb_4bit_comp_dtype",
    "bnb_4bit_quant_type",
    "bnb_4bit_use_double_quant",
];

/// The same with `load_dataset_config`.
const DATASET_FROM_CHECKPOINT: [&str; 6] = [
    "dataset",
    "dataset_seed",
    "dataset_test_ratio",
    "check_dataset_strategy",
    "custom_train_dataset_path",
    "custom_val_dataset_path",
];

/// Takes the checkpoint's arguments where none are set: unlike SWIFT's, a flag wins.
/// Returns a warning when there are none.
fn from_checkpoint(values: &mut Values, trained_dtype: bool) -> Result<Option<String>> {
    let dir = Path::new(values.text("ckpt_dir")).to_owned();
    if !dir.is_dir() {
        let what = if dir.exists() { "this is a file" } else { "there is none of this name" };
        return Err(values.refuse("ckpt_dir", &format!("the directory of a checkpoint, and {what}")));
    }
    let above = dir.parent().filter(|above| dir.ends_with("default") && above.join(ARGS_FILE).is_file());
    if let Some(checkpoint) = above {
        return Err(values.refuse(
            "ckpt_dir",
            &format!("a checkpoint, and this is the adapter in it: give --ckpt_dir {}", checkpoint.display()),
        ));
    }
    if let Some(checkpoint) = last_checkpoint(&dir) {
        return Err(values.refuse(
            "ckpt_dir",
            &format!(
                "a checkpoint, and this is the directory of a run: give --ckpt_dir {}",
                checkpoint.display()
            ),
        ));
    }
    let path = dir.join(ARGS_FILE);
    if !path.exists() {
        if values.flag("load_dataset_config") {
            return Err(values.refuse(
                "load_dataset_config",
                &format!("false: {} names no data set, as it is not there", path.display()),
            ));
        }
        let checksums = plain::read_text(&dir.join("checksums.json"), plain::SETTINGS).unwrap_or_default();
        if checksums.contains(ARGS_FILE) {
            return Err(Error::user(format!(
                "{} is missing, which belongs to the checkpoint (checksums.json lists it): put it back, or use another \
                 checkpoint",
                path.display()
            )));
        }
        return Ok(Some(format!("{} is not there; flags alone say how to load the model", path.display())));
    }
    let mut checkpoint = Values::new(INFER_FIELDS);
    let dataset = values.flag("load_dataset_config");
    let wanted =
        |key: &str| FROM_CHECKPOINT.contains(&key) || (dataset && DATASET_FROM_CHECKPOINT.contains(&key));
    checkpoint.take_file(File::of_dir(&dir)?, wanted)?;
    // A model named by a flag replaces the checkpoint's whole naming of it.
    let flagged = |names: &[&str]| names.iter().any(|key| values.source(key) != Source::Default);
    let renamed = flagged(&["model_type", "model_id_or_path", "model_cache_dir"]);
    let moved = flagged(&["model_id_or_path", "model_cache_dir"]);
    for key in FROM_CHECKPOINT.into_iter().chain(DATASET_FROM_CHECKPOINT) {
        let set = values.source(key) != Source::Default
            || checkpoint.source(key) == Source::Default
            || (renamed && key == "model_cache_dir")
            || (moved && ["model_revision", "hub"].contains(&key))
            || (key == "dtype" && !trained_dtype);
        if !set {
            values.put(key, checkpoint.get(key).clone());
        }
    }
    Ok(None)
}

/// Whether `dir` holds an adapter or a whole model.
fn holds_checkpoint(dir: &Path) -> bool {
    let files = ["config.json", "adapter_config.json", "default/adapter_config.json"];
    files.iter().any(|name| dir.join(name).is_file())
}

/// Takes `--config FILE`; what is odd about it becomes a warning. Returns the keys that are unknown, each with what may
/// have been meant.
pub(super) fn take_config(
    values: &mut Values,
    path: &Path,
    fields: &'static [Field],
    warnings: &mut Vec<String>,
) -> Result<Vec<String>> {
    let file = File::read(path)?;
    if !file.repeated.is_empty() {
        let keys = first(&file.repeated, ", ");
        warnings.push(format!("{}: set more than once, the last one counts: {keys}", path.display()));
    }
    Ok(unknown_keys(values.take_file(file, |_| true)?, fields))
}

/// Unknown keys, each with what may have been meant.
pub(super) fn unknown_keys(keys: Vec<String>, fields: &'static [Field]) -> Vec<String> {
    let told = |key: String| match flags::nearest(&key, fields) {
        Some(known) => format!("{} (unknown; did you mean {known}?)", brief(&key)),
        None => format!("{} (unknown)", brief(&key)),
    };
    keys.into_iter().map(told).collect()
}

/// The one warning that names all that is without effect.
pub(super) fn without_effect(idle: &[String]) -> Option<String> {
    (!idle.is_empty()).then(|| format!("accepted without effect: {}", first(idle, ", ")))
}

/// The last `checkpoint-N` in `dir`, where that is a run and no checkpoint itself.
fn last_checkpoint(dir: &Path) -> Option<PathBuf> {
    let own = ["configuration.json", "config.json", "default", "adapter_config.json"];
    if own.iter().any(|name| dir.join(name).exists()) {
        return None;
    }
    let step = |path: &PathBuf| -> Option<u64> {
        path.file_name()?.to_str()?.strip_prefix("checkpoint-")?.parse().ok()
    };
    let paths = std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    paths.filter(|path| step(path).is_some() && path.is_dir()).max_by_key(step)
}

/// A model's directory that a checkpoint names may have been moved since, or have been named from another folder.
fn model_is_there(values: &Values) -> Result<()> {
    let ckpt = Path::new(values.text("ckpt_dir"));
    // A checkpoint of full training is a model itself.
    if values.is_null("ckpt_dir") || ckpt.join("config.json").is_file() {
        return Ok(());
    }
    let named = ["model_cache_dir", "model_id_or_path"].into_iter().find(|key| !values.is_null(key));
    let Some(key) = named.filter(|key| values.source(key) == Source::Default) else { return Ok(()) };
    let path = Path::new(values.text(key));
    // A hub's name is looked for by whoever starts the engine.
    if path.exists() || (key == "model_id_or_path" && models::is_id(values.text(key))) {
        return Ok(());
    }
    let from = match path.is_relative() {
        true => " (from the folder that the training was started in)",
        false => "",
    };
    Err(Error::user(format!(
        "{}: no such model directory; {} names it as {key}{from}: give the base model's directory as \
         model_id_or_path",
        path.display(),
        ckpt.join(ARGS_FILE).display()
    )))
}

pub(super) fn no_texts(texts: &[String]) -> Result<()> {
    match texts.first() {
        None => Ok(()),
        Some(text) => Err(Error::user(format!(
            "the command line: \"{}\" belongs to no flag; arguments are written --name VALUE",
            brief(text)
        ))),
    }
}

/// The derived keys that a file sets.
pub(super) fn derived_keys(values: &Values) -> Vec<(&'static str, &'static str, Value)> {
    let row = |f: &'static super::Field| match f.status {
        Status::Derived(parent) => Some((f.name, parent, values.get(f.name).clone())),
        _ => None,
    };
    FIELDS.iter().filter_map(row).filter(|(_, _, value)| !value.is_null()).collect()
}

/// A file's derived keys that say something else than the argument they follow from.
pub(super) fn contradictions(
    args: &SftArgs,
    keys: &[(&'static str, &'static str, Value)],
    flags: &[&str],
) -> Vec<String> {
    let derived = sft::derived(args);
    let differs = |(name, parent, value): &&(&str, &str, Value)| {
        let outcome = &derived[*name];
        let known = !outcome.is_null() || *name == "deepspeed";
        known && outcome != value && !flags.contains(parent)
    };
    keys.iter().filter(differs).map(|(name, parent, _)| format!("{name} (follows from {parent})")).collect()
}
