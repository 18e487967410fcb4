//! Trained weights from a checkpoint, of either layout: into what is being trained, or over a base model.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use qwen_tui::error::{Context, Error, Result};
use qwen_tui::run::{self, AdapterFiles, Bias, canonical_key, find_adapter};
use tch::{Device, Kind, Tensor};

use super::config::QwenConfig;
use super::trainable::{LoraOptions, Trainable};
use super::weights;
use crate::device;

/// The tensors of an adapter file, under canonical names.
fn read_adapter(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let shard = weights::Shard::open(path)?;
    let tensors = shard.tensors()?;
    tensors
        .iter()
        .map(|(key, view)| {
            let tensor = weights::to_tensor(&view, Kind::Float, Device::Cpu)
                .user(format!("{}: {key}", path.display()))?;
            Ok((canonical_key(key), tensor))
        })
        .collect()
}

/// Loads the LoRA weights of one safetensors file, in SWIFT's or PEFT's key names.
pub fn load_file(path: &Path, trainable: &mut Trainable) -> Result<()> {
    trainable.import(&read_adapter(path)?).map_err(|e| e.context(path.display()))
}

/// Loads a checkpoint's trained weights: an adapter of either layout, or a whole model.
pub fn load(dir: &Path, trainable: &mut Trainable) -> Result<()> {
    run::verify_checkpoint(dir)?;
    load_weights(dir, trainable)
}

/// [`load`] of a checkpoint that has been verified.
pub fn load_weights(dir: &Path, trainable: &mut Trainable) -> Result<()> {
    if dir.join("model.safetensors").is_file() {
        let shard = weights::Shard::open(&dir.join("model.safetensors"))?;
        let all: HashMap<String, _> = shard.tensors()?.iter().map(|(k, v)| (k.to_owned(), v)).collect();
        let mut tensors = BTreeMap::new();
        for name in trainable.names() {
            let view =
                all.get(name).ok_or_else(|| Error::user(format!("{}: {name} is missing", dir.display())))?;
            let tensor = weights::to_tensor(view, Kind::Float, Device::Cpu).user(dir.display())?;
            tensors.insert(name.to_owned(), tensor);
        }
        return trainable.import(&tensors).map_err(|e| e.context(dir.display()));
    }
    load_file(&find_adapter(dir)?.weights, trainable)
}

/// A checkpoint's adapter: its config and its tensors, under canonical names.
pub struct Adapter {
    pub files: AdapterFiles,
    pub tensors: BTreeMap<String, Tensor>,
}

impl Adapter {
    /// Reads the adapter of the checkpoint `dir`, in either layout.
    ///
    /// # Errors
    /// A checkpoint that is damaged or has none, a config that asks for what gives other numbers here.
    pub fn read(dir: &Path) -> Result<Self> {
        run::verify_checkpoint(dir)?;
        let files = find_adapter(dir)?;
        let tensors = read_adapter(&files.weights)?;
        Ok(Self { files, tensors })
    }

    /// The adapter over `base` (which may be empty where only the adapter's own numbers are wanted), computing in `kind`.
    ///
    /// # Errors
    /// Tensors that do not fit `config`: each names the file.
    pub fn attach(
        &self,
        config: &QwenConfig,
        base: &weights::Named,
        kind: Kind,
        device: Device,
    ) -> Result<Trainable> {
        let adapter = &self.files.config;
        let options = LoraOptions {
            targets: adapter.target_modules.clone(),
            rank: adapter.r as i64,
            alpha: adapter.lora_alpha,
            // PEFT 0.7.1 neither trains nor saves the biases of `lora_only`: they are the base's, there as here.
            bias: match adapter.bias {
                Bias::LoraOnly if !self.tensors.keys().any(|name| name.ends_with(".bias")) => Bias::None,
                bias => bias,
            },
            modules_to_save: adapter.modules_to_save.clone(),
            kind,
        };
        let mut trainable = Trainable::lora(config, base, &options, 0, device)
            .map_err(|e| e.context(self.files.config_file.display()))?;
        trainable.import(&self.tensors).map_err(|e| e.context(self.files.weights.display()))?;
        Ok(trainable)
    }
}

/// A fresh adapter of the shape that a checkpoint's `adapter_config.json` tells, with its weights in it.
pub fn attach(
    dir: &Path,
    config: &QwenConfig,
    base: &weights::Named,
    kind: Kind,
    device: Device,
) -> Result<Trainable> {
    let adapter = Adapter::read(dir)?;
    let lora_kind = match adapter.files.config.lora_dtype.as_deref() {
        // fp16 from a GPU is exact in fp32, which a CPU can multiply.
        Some("fp16") if device == Device::Cpu => Kind::Float,
        Some(dtype @ ("bf16" | "fp16" | "fp32")) => device::kind(dtype, device)?,
        Some(_) => kind,
        None => Kind::Float,
    };
    adapter.attach(config, base, lora_kind, device)
}
