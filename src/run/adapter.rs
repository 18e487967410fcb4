//! A LoRA adapter's files in a checkpoint, in SWIFT's layout and in PEFT's.
//!
//! SWIFT puts them into a folder named after the adapter, `default/adapter_config.json` and
//! `default/adapter_model.safetensors`; PEFT puts the same names at the checkpoint's root. The keys of the weights
//! differ too, see [`super::adapter_keys`].

use std::fs;
use std::path::{Path, PathBuf};

use super::adapter_config::AdapterConfig;
use super::files::file_error;
use crate::error::{Error, Result, shown};

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

/// The folder of the one adapter in the checkpoint `dir` (SWIFT's layout), or `dir` itself (PEFT's), and its name.
///
/// # Errors
/// There is none, or more than one: SWIFT applies all that it finds, and here one is all that is applied.
pub fn adapter_folder(dir: &Path) -> Result<(PathBuf, String)> {
    let folders = folders(dir).map_err(|e| file_error("open the checkpoint", dir, &e))?;
    let at_root = dir.join(CONFIG).is_file();
    match folders.as_slice() {
        [] if at_root => Ok((dir.to_owned(), DEFAULT_ADAPTER.to_owned())),
        [one] if !at_root => Ok((dir.join(one), one.clone())),
        [] => Err(Error::user(format!(
            "{} holds no adapter: neither {DEFAULT_ADAPTER}/{CONFIG} (SWIFT's layout) nor {CONFIG} (PEFT's) is there; \
             and no whole model, which has config.json",
            shown(dir)
        ))),
        others if at_root => Err(Error::user(format!(
            "{} holds several adapters (its own {CONFIG}, and {}); one alone is applied here: name the folder of one of \
             those, or move them elsewhere for its own",
            shown(dir),
            others.join(", ")
        ))),
        several => Err(Error::user(format!(
            "{} holds several adapters ({}); one alone is applied here: name the folder of one",
            shown(dir),
            several.join(", ")
        ))),
    }
}

/// Finds the adapter of the checkpoint `dir`, or of an adapter's own folder.
///
/// # Errors
/// Those of [`adapter_folder`]; the config is unusable, or the weights are missing or a pickle (`adapter_model.bin`).
pub fn find_adapter(dir: &Path) -> Result<AdapterFiles> {
    let (folder, name) = adapter_folder(dir)?;
    let config_file = folder.join(CONFIG);
    let (config, layout) = AdapterConfig::read(&config_file)?;
    let weights = folder.join(WEIGHTS);
    if weights.is_file() {
        return Ok(AdapterFiles { layout, name, config, config_file, weights });
    }
    let bin = folder.join("adapter_model.bin");
    Err(Error::user(if bin.is_file() {
        format!("{} is a Python pickle; save the adapter with save_safetensors true", shown(&bin))
    } else {
        format!("the adapter's weights are missing: there is no {}", shown(&weights))
    }))
}

#[cfg(test)]
#[path = "adapter_tests.rs"]
mod tests;
