//! A LoRA adapter's files in a checkpoint, in SWIFT's layout and in PEFT's.
//!
//! SWIFT puts them into a folder named after the adapter, `default/adapter_config.json` and
//! `default/adapter_model.safetensors`; PEFT puts the same names at the checkpoint's root. The keys of the weights
//! differ too, see [`super::adapter_keys`].

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::files::{file_error, pretty_json, read_json, write_atomic};
use crate::error::{Error, Result};

pub const CONFIG: &str = "adapter_config.json";
pub const WEIGHTS: &str = "adapter_model.safetensors";
/// SWIFT's name for an adapter that was given none.
pub const DEFAULT_ADAPTER: &str = "default";

/// Whose files they are (SWIFT's argument `tuner_backend`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Swift,
    Peft,
}

impl Layout {
    /// Where the adapter of the checkpoint `dir` lies: its folder.
    pub fn folder(self, dir: &Path) -> PathBuf {
        match self {
            Layout::Swift => dir.join(DEFAULT_ADAPTER),
            Layout::Peft => dir.to_owned(),
        }
    }
}

/// Which biases of the base model are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    None,
    All,
    /// Those of the layers with LoRA.
    LoraOnly,
}

impl Bias {
    pub fn as_str(self) -> &'static str {
        match self {
            Bias::None => "none",
            Bias::All => "all",
            Bias::LoraOnly => "lora_only",
        }
    }
}

/// What `adapter_config.json` says about a LoRA adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterConfig {
    /// Rank, at least 1.
    pub r: u64,
    pub lora_alpha: f64,
    /// In [0, 1).
    pub lora_dropout: f64,
    /// Modules whose path ends in one of these have LoRA.
    pub target_modules: Vec<String>,
    pub bias: Bias,
    /// Modules trained whole and saved beside the LoRA weights.
    pub modules_to_save: Vec<String>,
    /// `fp32`, `bf16` or `fp16`; only SWIFT's file has it.
    pub lora_dtype: Option<String>,
    /// Only PEFT writes it.
    pub base_model_name_or_path: Option<String>,
}

impl AdapterConfig {
    /// Every key that SWIFT 1.5.3, or PEFT 0.7.1 under it, writes, sorted as there.
    pub fn to_json(&self, layout: Layout) -> Map<String, Value> {
        let swift = layout == Layout::Swift;
        let alpha = if self.lora_alpha.fract() == 0.0 && self.lora_alpha.abs() < 1e15 {
            json!(self.lora_alpha as i64)
        } else {
            json!(self.lora_alpha)
        };
        let mut keys = json!({
            "alpha_pattern": {},
            "auto_mapping": null,
            "base_model_name_or_path": if swift { None } else { self.base_model_name_or_path.as_deref() },
            "bias": self.bias.as_str(),
            "fan_in_fan_out": false,
            // PEFT marks what it saves as meant for inference.
            "inference_mode": !swift,
            "init_lora_weights": true,
            "layers_pattern": null,
            "layers_to_transform": null,
            "loftq_config": {},
            "lora_alpha": alpha,
            "lora_dropout": self.lora_dropout,
            "megatron_config": null,
            "megatron_core": "megatron.core",
            "modules_to_save": self.modules_to_save,
            "peft_type": if swift { None } else { Some("LORA") },
            "r": self.r,
            "rank_pattern": {},
            "revision": null,
            "target_modules": self.target_modules,
            "task_type": if swift { None } else { Some("CAUSAL_LM") },
        });
        if swift {
            keys["enable_lora"] = Value::Null;
            keys["lora_dtype"] = json!(self.lora_dtype);
            keys["swift_type"] = json!("LORA");
            keys["use_merged_linear"] = json!(false);
            keys["use_qa_lora"] = json!(false);
        }
        let Value::Object(mut keys) = keys else { return Map::new() };
        keys.sort_keys();
        keys
    }

    /// Writes the config into the checkpoint `dir`, making the adapter's folder, and returns where its weights belong.
    pub fn write(&self, dir: &Path, layout: Layout) -> Result<PathBuf> {
        let folder = layout.folder(dir);
        fs::create_dir_all(&folder).map_err(|e| file_error("create", &folder, &e))?;
        write_atomic(&folder.join(CONFIG), &pretty_json(&self.to_json(layout), 2)?)?;
        Ok(folder.join(WEIGHTS))
    }

    /// Reads a config of either layout, and says which it is.
    ///
    /// Errors: `Error::User` naming file and key where it is missing, broken, of another tuner, or asks for a
    /// variant of LoRA that would give other numbers here.
    pub fn read(file: &Path) -> Result<(AdapterConfig, Layout)> {
        let map: Map<String, Value> = read_json(file)?;
        let get = Getter { file, map: &map };
        let layout = get.layout()?;
        let bias = match get.string("bias")?.as_deref() {
            None | Some("none") => Bias::None,
            Some("all") => Bias::All,
            Some("lora_only") => Bias::LoraOnly,
            Some(_) => return Err(get.wrong("bias", "none, all or lora_only")),
        };
        get.refuse_variants()?;
        let config = AdapterConfig {
            r: get.rank()?,
            lora_alpha: get.number("lora_alpha", 8.0, "a finite number", f64::is_finite)?,
            lora_dropout: get.number("lora_dropout", 0.0, "in [0, 1)", |x| (0.0..1.0).contains(&x))?,
            target_modules: get.targets()?,
            bias,
            modules_to_save: get.names("modules_to_save")?,
            lora_dtype: get.string("lora_dtype")?,
            base_model_name_or_path: get.string("base_model_name_or_path")?,
        };
        Ok((config, layout))
    }
}

/// The keys of a file, with errors that name both. Absent and null are the same.
struct Getter<'a> {
    file: &'a Path,
    map: &'a Map<String, Value>,
}

impl Getter<'_> {
    fn value(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    fn wrong(&self, key: &str, allowed: &str) -> Error {
        let found = self.map.get(key).unwrap_or(&Value::Null);
        Error::user(format!("{}: {key} is {found}, it must be {allowed}", self.file.display()))
    }

    fn layout(&self) -> Result<Layout> {
        for (key, layout) in [("swift_type", Layout::Swift), ("peft_type", Layout::Peft)] {
            if let Some(v) = self.value(key) {
                return if v == "LORA" { Ok(layout) } else { Err(self.wrong(key, "LORA")) };
            }
        }
        Err(Error::user(format!(
            "{}: neither swift_type nor peft_type says what kind of adapter this is",
            self.file.display()
        )))
    }

    fn rank(&self) -> Result<u64> {
        let rank = self.map.get("r").and_then(Value::as_u64).filter(|r| (1..=65536).contains(r));
        rank.ok_or_else(|| self.wrong("r", "a whole number from 1 to 65536"))
    }

    fn number(&self, key: &str, default: f64, allowed: &str, ok: impl Fn(f64) -> bool) -> Result<f64> {
        match self.value(key) {
            None => Ok(default),
            Some(v) => v.as_f64().filter(|x| ok(*x)).ok_or_else(|| self.wrong(key, allowed)),
        }
    }

    fn string(&self, key: &str) -> Result<Option<String>> {
        match self.value(key) {
            None => Ok(None),
            Some(v) => v.as_str().map(|s| Some(s.to_owned())).ok_or_else(|| self.wrong(key, "a string")),
        }
    }

    fn names(&self, key: &str) -> Result<Vec<String>> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let names = value.as_array().and_then(|a| a.iter().map(|v| v.as_str().map(str::to_owned)).collect());
        names.ok_or_else(|| self.wrong(key, "a list of module names"))
    }

    fn targets(&self) -> Result<Vec<String>> {
        let targets = self.names("target_modules")?;
        if targets.is_empty() {
            return Err(self.wrong("target_modules", "a list of at least one module name"));
        }
        Ok(targets)
    }

    /// Settings under which the same weights mean something else.
    fn refuse_variants(&self) -> Result<()> {
        for key in
            ["fan_in_fan_out", "use_rslora", "use_dora", "use_qa_lora", "use_merged_linear", "lora_bias"]
        {
            if self.value(key).is_some_and(|v| *v != Value::Bool(false)) {
                return Err(self.wrong(key, "false: this variant of LoRA is not supported"));
            }
        }
        for key in ["rank_pattern", "alpha_pattern"] {
            if self.value(key).is_some_and(|v| v.as_object().is_none_or(|m| !m.is_empty())) {
                return Err(self.wrong(key, "empty: one rank and alpha for all modules is supported"));
            }
        }
        // Others, such as PiSSA, change the base weights too.
        if self.value("init_lora_weights").is_some_and(|v| !v.is_boolean() && v != "gaussian") {
            return Err(self.wrong("init_lora_weights", "true, false or gaussian"));
        }
        if self.value("layers_to_transform").is_some() {
            return Err(self.wrong("layers_to_transform", "null: LoRA on some layers only is not supported"));
        }
        Ok(())
    }
}

/// An adapter found in a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterFiles {
    pub layout: Layout,
    /// The adapter's name, usually `default`.
    pub name: String,
    pub config: AdapterConfig,
    pub config_file: PathBuf,
    /// The safetensors file.
    pub weights: PathBuf,
}

/// Whether `dir`, or a folder in it, has the config of an adapter.
pub fn has_adapter(dir: &Path) -> bool {
    dir.join(CONFIG).is_file() || !folders(dir).unwrap_or_default().is_empty()
}

/// Names of the folders in `dir` that hold an adapter, sorted.
fn folders(dir: &Path) -> std::io::Result<Vec<String>> {
    let mut folders: Vec<String> = fs::read_dir(dir)?
        .flatten()
        .filter(|e| e.path().join(CONFIG).is_file())
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    folders.sort();
    Ok(folders)
}

/// Finds the adapter of the checkpoint `dir`, or of an adapter's own folder.
///
/// Looked for in this order: `default/`, the one folder with an `adapter_config.json`, the root.
/// Errors: `Error::User` where there is no adapter or more than one, the config is unusable, or the weights are
/// missing or a pickle (`adapter_model.bin`).
pub fn find_adapter(dir: &Path) -> Result<AdapterFiles> {
    let folders = folders(dir).map_err(|e| file_error("open the checkpoint", dir, &e))?;
    let (folder, name) = match folders.as_slice() {
        all if all.iter().any(|f| f == DEFAULT_ADAPTER) => {
            (dir.join(DEFAULT_ADAPTER), DEFAULT_ADAPTER.to_owned())
        }
        [one] => (dir.join(one), one.clone()),
        [] if dir.join(CONFIG).is_file() => (dir.to_owned(), DEFAULT_ADAPTER.to_owned()),
        [] => {
            return Err(Error::user(format!(
                "{} holds no adapter: neither {DEFAULT_ADAPTER}/{CONFIG} (SWIFT's layout) nor {CONFIG} (PEFT's) is \
                 there; and no whole model, which has config.json",
                dir.display()
            )));
        }
        several => {
            return Err(Error::user(format!(
                "{} holds several adapters ({}); name the folder of one",
                dir.display(),
                several.join(", ")
            )));
        }
    };
    let config_file = folder.join(CONFIG);
    let (config, layout) = AdapterConfig::read(&config_file)?;
    let weights = folder.join(WEIGHTS);
    if weights.is_file() {
        return Ok(AdapterFiles { layout, name, config, config_file, weights });
    }
    let bin = folder.join("adapter_model.bin");
    Err(Error::user(if bin.is_file() {
        format!("{} is a Python pickle; save the adapter with save_safetensors true", bin.display())
    } else {
        format!("the adapter's weights are missing: there is no {}", weights.display())
    }))
}

#[cfg(test)]
#[path = "adapter_tests.rs"]
mod tests;
