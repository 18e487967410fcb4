//! Whether what cannot be used may be a Qwen: a cache has models of every family.

use std::path::Path;

use serde_json::Value;

use super::folders::names;
use crate::data::tokenizer::VOCABULARY_FILE;
use crate::plain;

/// Whether a Qwen-1 may lie in `dir`, a model's directory or a repository's folder of Hugging Face's cache. What tells its
/// family is believed; what should tell it and cannot be read may be one.
pub fn may_be_qwen(dir: &Path) -> bool {
    let config = dir.join("config.json");
    if config.symlink_metadata().is_ok() {
        let text = plain::read_text(&config, plain::SETTINGS).ok();
        return match text.and_then(|text| serde_json::from_str::<Value>(&text).ok()) {
            Some(told) => match told.get("model_type") {
                Some(family) => family == "qwen",
                None => dir.join(VOCABULARY_FILE).is_file(),
            },
            None => true,
        };
    }
    let snapshots = dir.join("snapshots");
    if dir.join("refs").is_dir() {
        let all = names(&snapshots);
        return all.is_empty() || all.iter().any(|commit| may_be_qwen(&snapshots.join(commit)));
    }
    dir.join(VOCABULARY_FILE).is_file()
}
