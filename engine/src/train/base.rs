//! Whether the base model is the one that the run began with, wherever it lies now.

use std::collections::HashSet;
use std::path::Path;

use qwen_tui::error::{Error, Result};
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};

use crate::model::dropout::mix;
use crate::model::{QwenConfig, weights};

/// Bytes of each tensor that are looked at: so many places of 8, spread over all of it. Training moves every number of a
/// tensor, so that few show it; reading all of a large model's would take minutes.
const SAMPLES: usize = 64;

/// What a base model was: kept in `resume.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaseModel {
    /// What the computation takes from `config.json`.
    config: QwenConfig,
    /// Of the tensors' names, dtypes and shapes, and of samples of their bytes; whatever files they lie in.
    checksum: u64,
}

impl BaseModel {
    /// The model in `dir`, of which only the headers and the samples are read.
    ///
    /// # Errors
    /// As [`weights::Places::find`].
    pub fn of(dir: &Path, config: &QwenConfig) -> Result<Self> {
        let places = weights::Places::find(dir, config)?;
        let names: HashSet<String> = config.tensors().into_iter().map(|(name, _)| name).collect();
        let mut tensors = Vec::new();
        for (number, path) in places.files().iter().enumerate() {
            let shard = weights::Shard::open(path)?;
            let counts = |name: &str| names.contains(name) && places.counts(name, number);
            for (name, view) in shard.tensors()?.iter().filter(|(name, _)| counts(name)) {
                tensors.push((name.to_owned(), of_tensor(&view)));
            }
        }
        tensors.sort();
        let checksum =
            tensors.iter().fold(0, |sum, (name, tensor)| mix(of_bytes(sum, name.as_bytes()), *tensor));
        Ok(Self { config: config.clone(), checksum })
    }

    /// Refuses a model in `dir` that is not the one that the run `began` with.
    ///
    /// # Errors
    /// `Error::User` says what is different.
    pub fn check(&self, began: &BaseModel, dir: &Path) -> Result<()> {
        let what = match (self.config == began.config, self.checksum == began.checksum) {
            (true, true) => return Ok(()),
            (false, _) => format!("its config.json describes another ({})", self.difference(began)),
            (true, false) => "its weights are others".to_owned(),
        };
        Err(Error::user(format!(
            "{} is not the base model that the run began with: {what}; name the directory of that one \
             (model_id_or_path), or start a new run",
            dir.display()
        )))
    }

    /// The first value of the config that is another.
    fn difference(&self, began: &BaseModel) -> String {
        let values = |model: &Self| serde_json::to_value(&model.config).unwrap_or_default();
        let (ours, theirs) = (values(self), values(began));
        let differing =
            ours.as_object().into_iter().flatten().find(|(key, value)| theirs[key.as_str()] != **value);
        differing.map_or(String::new(), |(key, value)| {
            format!("{key} is {value} and was {}", theirs[key.as_str()])
        })
    }
}

fn of_tensor(tensor: &TensorView<'_>) -> u64 {
    let shape = tensor.shape().iter().fold(0, |sum, &n| mix(sum, n as u64));
    let sum = of_bytes(shape, format!("{:?}", tensor.dtype()).as_bytes());
    let bytes = tensor.data();
    let step = (bytes.len() / SAMPLES).max(8);
    bytes.chunks(step).fold(sum, |sum, part| of_bytes(sum, &part[..part.len().min(8)]))
}

fn of_bytes(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, &byte| mix(sum, byte.into()))
}
