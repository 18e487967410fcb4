//! What lies beside the weights in a model directory and belongs to the model.

use std::path::Path;

use qwen_tui::data::tokenizer::VOCABULARY_FILE;
use qwen_tui::error::{Context, Result};
use qwen_tui::run::{GENERATION_CONFIG, read_json};
use serde_json::{Map, Value};

const TOKENIZER: [&str; 5] = [
    VOCABULARY_FILE,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenization_qwen.py",
];

/// Those that are JSON, beside `config.json`.
pub const JSON: [&str; 4] =
    [GENERATION_CONFIG, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];

/// Whether a file of this name is the model's. Its own code too: `modeling_qwen.py` names other `.py` files, which name
/// CUDA sources.
pub fn belongs(name: &str) -> bool {
    ["config.json", GENERATION_CONFIG].contains(&name)
        || TOKENIZER.contains(&name)
        || [".py", ".cpp", ".cu"].iter().any(|end| name.ends_with(end))
        || ["LICENSE", "NOTICE"].iter().any(|start| name.starts_with(start))
}

/// Looks into those of the JSON files `names` that are in `dir`, which would be copied as they are.
///
/// # Errors
/// One that is no JSON object.
pub fn check(dir: &Path, names: &[&str]) -> Result<()> {
    let mut files = names.iter().map(|name| dir.join(name)).filter(|file| file.is_file());
    files.try_for_each(|file| read_json::<Map<String, Value>>(&file).map(drop))
}

/// Copies config, tokenizer, code and licence of the model in `from` to the directory `to`.
///
/// # Errors
/// A file that cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    copy_those(from, to, belongs)
}

/// Copies the tokenizer alone, as far as it is there.
///
/// # Errors
/// A file that cannot be read or written.
pub fn copy_tokenizer(from: &Path, to: &Path) -> Result<()> {
    copy_those(from, to, |name| TOKENIZER.contains(&name))
}

fn copy_those(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    for entry in std::fs::read_dir(from).user(from.display())? {
        let file = entry.user(from.display())?.path();
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
        if wanted(name) && file.is_file() {
            // The bytes alone: a model may be read-only.
            std::fs::read(&file).and_then(|bytes| std::fs::write(to.join(name), bytes)).user(format!(
                "copying {} to {}",
                file.display(),
                to.display()
            ))?;
        }
    }
    Ok(())
}
