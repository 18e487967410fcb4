//! `adapter_config.json`: what a LoRA adapter is, as SWIFT and PEFT write it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::adapter::{CONFIG, Layout, WEIGHTS};
use super::files::{file_error, pretty_json, read_json, write_atomic};
use crate::error::{Error, Result, brief};

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
    ///
    /// # Errors
    /// `Error::User` for the biases of the layers with LoRA in PEFT's layout, and where the disk refuses.
    pub fn write(&self, dir: &Path, layout: Layout) -> Result<PathBuf> {
        if self.bias == Bias::LoraOnly && layout == Layout::Peft {
            return Err(Error::user(
                "biases of the layers with LoRA alone (bias lora_only) are not saved in PEFT's layout: PEFT 0.7.1, \
                 SWIFT 1.5's, looks for them as MODULE.bias and not as MODULE.base_layer.bias, so it neither trains \
                 nor saves them; use lora_bias_trainable all or none",
            ));
        }
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
        let advice = "; copy the adapter here again from where it was made, or use another checkpoint";
        let map: Map<String, Value> = read_json(file).map_err(|e| e.map(|m| m + advice))?;
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
            lora_alpha: match map.get("lora_alpha") {
                // What Python writes of a number that is none.
                Some(Value::Null) => return Err(get.wrong("lora_alpha", "a finite number")),
                _ => get.number("lora_alpha", 8.0, "a finite number", f64::is_finite)?,
            },
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
        Error::user(format!(
            "{}: {} is {}, it must be {allowed}",
            self.file.display(),
            brief(&key),
            brief(found)
        ))
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

    /// Refuses what would make other numbers of the same weights: a variant of LoRA, or a setting that is not known
    /// here and is in use.
    fn refuse_variants(&self) -> Result<()> {
        // Others, such as PiSSA, change the base weights too.
        let plain =
            |v: &Value| v.is_boolean() || ["gaussian", "eva", "orthogonal"].iter().any(|known| v == known);
        if self.value("init_lora_weights").is_some_and(|v| !plain(v)) {
            return Err(self.wrong("init_lora_weights", "true, false, gaussian, eva or orthogonal"));
        }
        let in_use = |(key, value): &(&String, &Value)| {
            !READ.contains(&key.as_str()) && !WITHOUT_EFFECT.contains(&key.as_str()) && !is_neutral(value)
        };
        match self.map.iter().find(in_use) {
            None => Ok(()),
            Some((key, value)) => {
                let neutral = match value {
                    Value::Bool(_) => "false",
                    Value::Object(_) | Value::Array(_) => "empty",
                    _ => "null",
                };
                Err(self
                    .wrong(key, &format!("{neutral}: with this setting it is not the plain LoRA known here")))
            }
        }
    }
}

/// Keys that [`AdapterConfig::read`] looks at.
const READ: [&str; 11] = [
    "peft_type",
    "swift_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "bias",
    "modules_to_save",
    "lora_dtype",
    "base_model_name_or_path",
    "init_lora_weights",
];

/// Keys of SWIFT's and PEFT's files that do not change what the weights mean: where they come from, how they were
/// initialized, or what belongs to another key that is refused.
const WITHOUT_EFFECT: [&str; 15] = [
    "auto_mapping",
    "corda_config",
    "enable_lora",
    "ensure_weight_tying",
    "eva_config",
    "inference_mode",
    "layers_pattern",
    "loftq_config",
    "megatron_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
];

/// Whether a setting is off.
fn is_neutral(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
