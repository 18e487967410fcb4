//! The files that a model's weights lie in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::data::tokenizer::VOCABULARY_FILE;
use crate::error::{Context, Error, Result, brief, shown};
use crate::plain;

/// The files that hold the weights of the model in `dir`: `model.safetensors`, or the shards its index names.
///
/// Returns each file with the names expected in it (none: whatever it holds).
///
/// # Errors
/// There are none, or not all.
pub fn weight_files(dir: &Path) -> Result<Vec<(PathBuf, Vec<String>)>> {
    let index = dir.join("model.safetensors.index.json");
    if index.is_file() {
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let text = plain::read_text(&index, plain::SETTINGS).user(shown(&index))?;
        let Index { weight_map } = serde_json::from_str(&text)
            .user(format!("{}: not an index of shards; fetch it again", shown(&index)))?;
        let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (tensor, file) in weight_map {
            if Path::new(&file).components().count() != 1 || file.contains("..") {
                return Err(Error::user(format!("{}: {:?} is not a file name", shown(&index), brief(&file))));
            }
            shards.entry(file).or_default().push(tensor);
        }
        for file in shards.keys() {
            if !dir.join(file).is_file() {
                return Err(Error::user(format!(
                    "{}: the shard {file} that {} names is missing ({} of {} shards are there); fetch it again",
                    shown(&dir.join(file)),
                    shown(&index),
                    shards.keys().filter(|f| dir.join(f).is_file()).count(),
                    shards.len()
                )));
            }
        }
        return Ok(shards.into_iter().map(|(file, names)| (dir.join(file), names)).collect());
    }
    let single = dir.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![(single, Vec::new())]);
    }
    Err(Error::user(format!(
        "{}: no weights: neither model.safetensors nor model.safetensors.index.json{}",
        shown(dir),
        pickled(dir)
    )))
}

/// What to do with the Python pickles in `dir`, where there are any.
fn pickled(dir: &Path) -> &'static str {
    let mut files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    if files.any(|file| file.file_name().to_string_lossy().ends_with(".bin")) {
        "; there are .bin files, which are Python pickles and never loaded here: convert them in Python with \
         `model.save_pretrained(DIR, safe_serialization=True)`"
    } else {
        ""
    }
}

/// Says what a model directory lacks before it is read.
///
/// # Errors
/// The first thing that is missing.
pub fn check_model_dir(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Err(Error::user(format!(
            "{}: no such model directory; set model_id_or_path to the directory of a Qwen-1 model (config.json, \
             model.safetensors, qwen.tiktoken)",
            shown(&absolute(dir))
        )));
    }
    if !dir.is_dir() {
        return Err(Error::user(format!("{}: is a file; a model is a directory", shown(&absolute(dir)))));
    }
    for file in ["config.json", VOCABULARY_FILE] {
        let path = dir.join(file);
        if !path.is_file() {
            let is = match path.metadata() {
                Ok(meta) if meta.is_dir() => "is a directory, and no file",
                Ok(_) => "is no regular file",
                Err(_) => "missing",
            };
            return Err(Error::user(format!(
                "{}: {is}; a Qwen-1 model directory has it{}",
                shown(&absolute(dir).join(file)),
                if weight_files(dir).is_err() { pickled(dir) } else { "" }
            )));
        }
    }
    weight_files(dir).map(drop)
}

/// `path` with all that leads to it: where a relative one was looked for.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
