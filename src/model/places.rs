//! Which file each tensor of a model is in, checked against its config by the headers alone.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{QwenConfig, Shard, weight_files};
use crate::error::{Error, Result, brief, shown};

/// The files of the model in `dir`, and for every tensor the config asks for the one it is in.
pub struct Places {
    files: Vec<PathBuf>,
    /// By the tensor's name: the file's place among `files`.
    of: HashMap<String, usize>,
}

impl Places {
    /// Looks at the headers alone.
    ///
    /// # Errors
    /// A missing or truncated shard, a tensor that is missing or of another shape, layers that the config does not
    /// count: each names file and tensor, the first one in the model's order.
    pub fn find(dir: &Path, config: &QwenConfig) -> Result<Self> {
        let files = weight_files(dir)?;
        let shapes = shapes(&files, config)?;
        check(dir, config, &shapes)?;
        let place = |path: &Path| files.iter().position(|(p, _)| p == path).unwrap_or_default();
        let of = shapes.iter().map(|(name, (path, _))| (name.clone(), place(path))).collect();
        Ok(Self { of, files: files.into_iter().map(|(path, _)| path).collect() })
    }

    /// The files, in the order of their names.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether `file` is the one in which the model's tensor `name` is.
    pub fn holds(&self, name: &str, file: usize) -> bool {
        self.of.get(name) == Some(&file)
    }

    /// Whether the tensor `name` in `file` is the model's: one that the config does not know stands for itself.
    pub fn counts(&self, name: &str, file: usize) -> bool {
        self.of.get(name).is_none_or(|&place| place == file)
    }
}

/// Compares the shapes that are there with those that the config asks for.
fn check(dir: &Path, config: &QwenConfig, shapes: &HashMap<String, (&PathBuf, Vec<i64>)>) -> Result<()> {
    let order = config.tensors();
    for (name, expected) in &order {
        if let Some((path, stored)) = shapes.get(name).filter(|(_, stored)| stored != expected) {
            return Err(Error::user(format!(
                "{}: {name} has shape {stored:?}, but config.json asks for {expected:?}",
                shown(path)
            )));
        }
    }
    if let Some((name, _)) = order.iter().find(|(name, _)| !shapes.contains_key(name)) {
        let missing = order.iter().filter(|(name, _)| !shapes.contains_key(name)).count();
        return Err(Error::user(format!(
            "{}: {name} is missing ({missing} of {} tensors are); is this the whole model that config.json describes?",
            shown(dir),
            order.len()
        )));
    }
    Ok(())
}

/// The shape of each tensor of `config` that is in `files`, and which file it is in.
fn shapes<'a>(
    files: &'a [(PathBuf, Vec<String>)],
    config: &QwenConfig,
) -> Result<HashMap<String, (&'a PathBuf, Vec<i64>)>> {
    let wanted: HashMap<String, Vec<i64>> = config.tensors().into_iter().collect();
    let mut shapes = HashMap::new();
    let mut beyond: Option<(i64, &Path)> = None;
    for (path, expected) in files {
        let shard = Shard::open(path)?;
        let tensors = shard.tensors()?;
        if let Some(name) = expected.iter().find(|n| tensors.tensor(n).is_err()) {
            return Err(Error::user(format!(
                "{}: the index says {} is in it, and it is not",
                shown(path),
                brief(name)
            )));
        }
        for (name, view) in tensors.iter() {
            if wanted.contains_key(name) {
                let stored = view.shape().iter().map(|&n| i64::try_from(n).unwrap_or(i64::MAX)).collect();
                shapes.insert(name.to_owned(), (path, stored));
            } else if let Some(layer) = layer_of(name).filter(|&n| n >= config.num_hidden_layers)
                && beyond.is_none_or(|(most, _)| layer > most)
            {
                beyond = Some((layer, path));
            }
        }
    }
    match beyond {
        None => Ok(shapes),
        Some((layer, path)) => Err(Error::user(format!(
            "{}: has weights of transformer.h.{layer}, so the model has {} layers or more, but num_hidden_layers is {} \
             in config.json; config.json and weights are of two models",
            shown(path),
            layer.saturating_add(1),
            config.num_hidden_layers
        ))),
    }
}

/// N of `transformer.h.N.REST`.
fn layer_of(name: &str) -> Option<i64> {
    name.strip_prefix("transformer.h.")?.split('.').next()?.parse().ok()
}
