//! SWIFT's rules: values that follow from others, and combinations that make no sense.

use serde_json::Value;

use crate::error::{Error, Result};

use super::models;
use super::modules;
use super::schedule::POLYNOMIAL_END;
use super::values::{Source, Values};

/// Other names, and the arguments they name.
pub const ALIASES: [(&str, &str); 4] = [
    ("per_device_train_batch_size", "batch_size"),
    ("per_device_eval_batch_size", "eval_batch_size"),
    ("only_save_model", "save_only_model"),
    ("neftune_alpha", "neftune_noise_alpha"),
];

/// `report_to` of a run that reports to nobody.
pub const NO_REPORT: &str = "none";
/// What `report_to` may name.
const REPORTS: [&str; 3] = ["all", "tensorboard", NO_REPORT];

/// Rules of `sft`.
pub fn sft(values: &mut Values) -> Result<()> {
    for (old, new) in ALIASES {
        values.rename(old, new);
    }
    model(values)?;
    data(values);
    generation(values);
    tuning(values)?;
    reports(values)?;
    let no_training_data =
        values.list("dataset").is_empty() && values.list("custom_train_dataset_path").is_empty();
    if no_training_data {
        return Err(
            values.refuse("dataset", "at least one name or file, in dataset or custom_train_dataset_path")
        );
    }

    let save_steps = values.get("eval_steps").clone();
    values.put_if_null("save_steps", save_steps);
    let batch_size = values.number("batch_size").max(1.0);
    // An answer is written to one row at a time.
    let answers = values.flag("predict_with_generate");
    values.put_if_null("eval_batch_size", if answers { 1 } else { batch_size as u64 });
    values.put_if_null("gradient_accumulation_steps", (16.0 / batch_size).ceil() as u64);
    values.put_if_null("gradient_checkpointing", true);
    let random = !values.flag("test_oom_error");
    values.put_if_null("train_sampler_random", random);

    // The best checkpoint is one that was evaluated.
    let by_steps = values.text("evaluation_strategy") == "steps" && values.text("save_strategy") == "steps";
    if by_steps && values.number("save_steps") % values.number("eval_steps").max(1.0) != 0.0 {
        let key = if values.source("save_steps") == Source::Default { "eval_steps" } else { "save_steps" };
        let allowed = format!(
            "save_steps as a multiple of eval_steps (here {} and {}): evaluations compare checkpoints",
            values.get("save_steps"),
            values.get("eval_steps")
        );
        return Err(values.refuse(key, &allowed));
    }
    if values.text("save_strategy") == "no" && !values.is_null("save_minutes") {
        return Err(values.refuse("save_minutes", "none with save_strategy no, which never saves"));
    }
    if values.text("lr_scheduler_type") == "polynomial" && values.number("learning_rate") <= POLYNOMIAL_END {
        return Err(values.refuse("learning_rate", "more than 1e-7, where lr_scheduler_type polynomial ends"));
    }
    if values.flag("resume_only_model") && values.is_null("resume_from_checkpoint") {
        return Err(values.refuse(
            "resume_only_model",
            "false without resume_from_checkpoint, which names the run or the checkpoint",
        ));
    }
    for key in ["bnb_4bit_comp_dtype", "hub_model_id"] {
        if values.is_null(key) || values.text(key) == "AUTO" {
            let usual = usual(values, key).unwrap_or_default();
            values.put(key, usual);
        }
    }
    Ok(())
}

/// Rules of `infer`; the checkpoint's arguments have been taken.
pub fn infer(values: &mut Values) -> Result<()> {
    // As in SWIFT, the old name counts where only it was changed.
    if values.number("show_dataset_sample") != 10.0 && values.number("val_dataset_sample") == 10.0 {
        values.rename("show_dataset_sample", "val_dataset_sample");
    }
    if ["ckpt_dir", "model_type", "model_id_or_path"].iter().all(|key| values.is_null(key)) {
        return Err(values.refuse(
            "ckpt_dir",
            "the directory of a checkpoint (--ckpt_dir DIR), or for a base model alone --model_type NAME \
             --model_id_or_path DIR",
        ));
    }
    model(values)?;
    data(values);
    generation(values);
    let has_dataset = ["dataset", "custom_train_dataset_path", "custom_val_dataset_path"]
        .iter()
        .any(|key| !values.list(key).is_empty());
    if *values.get("eval_human") == Value::Bool(false) && !has_dataset {
        return Err(values.refuse(
            "eval_human",
            "true where there is no data set: give --load_dataset_config true, --dataset NAME \
             or --custom_val_dataset_path FILE",
        ));
    }
    values.put_if_null("eval_human", !has_dataset);
    if values.is_null("ckpt_dir") {
        values.put("sft_type", "full");
    }
    if values.text("bnb_4bit_comp_dtype") == "AUTO" {
        let dtype = values.get("dtype").clone();
        values.put("bnb_4bit_comp_dtype", dtype);
    }
    Ok(())
}

/// What SWIFT itself writes for a key by a rule: nothing to warn about.
pub fn usual(values: &Values, key: &str) -> Option<Value> {
    // A file's value followed from what a flag has changed since.
    let outdated = |parents: &[&str]| {
        values.source(key) == Source::File && parents.iter().any(|p| values.source(p) == Source::Flag)
    };
    match key {
        "bnb_4bit_comp_dtype" if outdated(&["dtype"]) => Some(values.get(key).clone()),
        "bnb_4bit_comp_dtype" => Some(values.get("dtype").clone()),
        "hub_model_id" if outdated(&["model_type", "model_id_or_path", "sft_type"]) => {
            Some(values.get(key).clone())
        }
        "hub_model_id" => Some(format!("{}-{}", values.text("model_type"), values.text("sft_type")).into()),
        _ => None,
    }
}

/// The model type from the id or the id from the model type, and the template of both.
fn model(values: &mut Values) -> Result<()> {
    let by_id = models::by_id(values.text("model_id_or_path"));
    if let Some(named) = by_id {
        let (id, model_type) = (values.source("model_id_or_path"), values.source("model_type"));
        if values.is_null("model_type") || model_type < id {
            values.put("model_type", named.model_type);
        } else if values.text("model_type") != named.model_type {
            if model_type == id {
                let allowed = format!(
                    "{} beside model_id_or_path {}; set one of the two",
                    named.model_type,
                    values.text("model_id_or_path")
                );
                return Err(values.refuse("model_type", &allowed));
            }
            // The flag names another model than the file: the file's id goes, and its version.
            values.put("model_id_or_path", Value::Null);
            if values.source("model_revision") == Source::File {
                values.put("model_revision", Value::Null);
            }
        }
    }
    let Some(model) = models::by_type(values.text("model_type")) else {
        return Err(values.refuse("model_type", &format!("one of {}", models::MODEL_TYPES.join(", "))));
    };
    if let Some(id) = model.id {
        values.put_if_null("model_id_or_path", id);
    }
    if values.text("template_type") == "AUTO" {
        values.put("template_type", model.template_type);
    }
    Ok(())
}

fn data(values: &mut Values) {
    // SWIFT takes one text with commas for a list.
    if let [Value::String(names)] = values.list("dataset")
        && names.contains(',')
    {
        let names: Vec<_> =
            names.split(',').map(str::trim).filter(|s| !s.is_empty()).map(Value::from).collect();
        values.put("dataset", names);
    }
    // SWIFT's own name for the custom files, which are named beside it.
    let dataset = values.list("dataset");
    if dataset.iter().any(|name| name == "_custom_dataset") {
        let others: Vec<_> = dataset.iter().filter(|name| *name != "_custom_dataset").cloned().collect();
        values.put("dataset", others);
    }
}

/// Without chance, the settings of chance are at rest.
fn generation(values: &mut Values) {
    if !values.flag("do_sample") {
        values.put("temperature", 1.0);
        values.put("top_p", 1.0);
        values.put("top_k", 50);
    }
}

/// What each way of training sets, and does not go with.
fn tuning(values: &mut Values) -> Result<()> {
    if values.text("sft_type") == "full" {
        if values.text("dtype") == "fp16" {
            return Err(
                values.refuse("dtype", "bf16 or fp32 with sft_type full: updates of fp16 weights end in NaN")
            );
        }
        values.put_if_null("learning_rate", 1e-5);
        values.put_if_null("save_only_model", true);
    } else {
        if values.number("freeze_parameters") != 0.0 {
            return Err(values.refuse("freeze_parameters", "0 with sft_type lora; it belongs to full"));
        }
        if !values.list("additional_trainable_parameters").is_empty() {
            return Err(values.refuse(
                "additional_trainable_parameters",
                "an empty list with sft_type lora; it belongs to full",
            ));
        }
        values.put_if_null("learning_rate", 1e-4);
        values.put_if_null("save_only_model", false);
    }
    targets(values)
}

/// TensorBoard is the one program that is reported to; `none` stands alone.
fn reports(values: &Values) -> Result<()> {
    let programs = values.list("report_to");
    let known = |program: &Value| REPORTS.iter().any(|name| program == name);
    let allowed = match programs.iter().find(|program| !known(program)) {
        Some(other) => format!("{}, and {other} is none of them", REPORTS.join(", ")),
        None if programs.len() > 1 && programs.iter().any(|program| program == NO_REPORT) => {
            "none without another beside it".to_owned()
        }
        None => return Ok(()),
    };
    Err(values.refuse("report_to", &allowed))
}

fn targets(values: &mut Values) -> Result<()> {
    let key = "lora_target_modules";
    let targets = values.list(key);
    let is_default = |t: &Value| t == "DEFAULT" || t == "AUTO";
    let is_word = |t: &Value| t == "ALL" || is_default(t);
    let error = if targets.is_empty() && values.text("sft_type") == "lora" {
        Some("at least one name, such as c_attn or ALL")
    } else if targets.len() > 1 && targets.iter().any(is_word) {
        Some("DEFAULT (or AUTO) or ALL alone, or names without these")
    } else {
        None
    };
    if let Some(allowed) = error {
        return Err(values.refuse(key, allowed));
    }
    // Full training looks at neither.
    if values.text("sft_type") == "lora" {
        let known = |t: &str| matches!(t, "DEFAULT" | "AUTO" | "ALL") || modules::names_linear(t);
        let allowed = format!(
            "the name of a linear layer or its end, such as c_proj ({}), DEFAULT (c_attn) or ALL",
            modules::LINEAR.join(", ")
        );
        refuse_unknown(values, key, known, &allowed)?;
        let allowed = "the name of a module or its end, such as wte, ln_1, ln_2, ln_f, lm_head, attn.c_attn";
        refuse_unknown(values, "lora_modules_to_save", modules::names_module, allowed)?;
    }
    if targets.iter().any(is_default) {
        values.put(key, models::DEFAULT_TARGETS.to_vec());
    } else if targets.iter().any(is_word) {
        // An adapter's config has the names: neither SWIFT's nor PEFT's reader knows the word.
        values.put(key, models::LINEAR_LAYERS.to_vec());
    }
    Ok(())
}

/// Refuses a list with a name that is not `known`, and says which.
fn refuse_unknown(values: &Values, key: &str, known: impl Fn(&str) -> bool, allowed: &str) -> Result<()> {
    let mut names = values.list(key).iter().filter_map(Value::as_str);
    match names.find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => Err(values.refuse(key, &format!("{allowed}; {name:?} is none"))),
    }
}

/// A file that SWIFT (or this program) wrote for a run names that run's folder; a new run gets one beside.
pub fn leave_run_folder(values: &mut Values) {
    leave_logging_dir(values);
    if values.source("output_dir") != Source::File || !values.flag("add_output_dir_suffix") {
        return;
    }
    let full = values.text("output_dir").trim_end_matches('/').to_owned();
    let mut parts: Vec<&str> = full.split('/').collect();
    let model_type = values.text("model_type").to_owned();
    if parts.pop().is_some_and(is_run_name) && parts.pop() == Some(&model_type) {
        let base = match parts.join("/") {
            base if !base.is_empty() => base,
            _ if full.starts_with('/') => "/".to_owned(),
            _ => ".".to_owned(),
        };
        values.put("output_dir", base);
    }
}

/// SWIFT's own `logging_dir` of a file, `runs` in its `output_dir`, is that of the file's run.
fn leave_logging_dir(values: &mut Values) {
    let logging_dir = values.text("logging_dir").trim_end_matches('/');
    let Some(above) =
        logging_dir.strip_suffix("/runs").filter(|_| values.source("logging_dir") == Source::File)
    else {
        return;
    };
    let of_a_run = above.rsplit('/').next().is_some_and(is_run_name);
    let followed = values.source("output_dir") == Source::Flag
        || above == values.text("output_dir").trim_end_matches('/');
    if of_a_run || followed {
        values.put("logging_dir", Value::Null);
    }
}

/// `vN-YYYYMMDD-HHMMSS`.
fn is_run_name(name: &str) -> bool {
    let digits = |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
    let mut parts = name.split('-');
    let version = parts.next().and_then(|v| v.strip_prefix('v')).is_some_and(|n| digits(n, n.len().max(1)));
    version
        && parts.next().is_some_and(|date| digits(date, 8))
        && parts.next().is_some_and(|time| digits(time, 6))
        && parts.next().is_none()
}

/// The struct of a table from its resolved values.
pub fn build<T: serde::de::DeserializeOwned>(values: Values) -> Result<T> {
    serde_json::from_value(Value::Object(values.into_object()))
        .map_err(|e| Error::internal(format!("the table of arguments and its struct disagree: {e}")))
}
