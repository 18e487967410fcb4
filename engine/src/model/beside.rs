//! What lies beside the weights in a model directory and belongs to the model.

use std::path::Path;

use qwen_tui::data::tokenizer::VOCABULARY_FILE;
use qwen_tui::error::{Context, Result};

const FILES: [&str; 6] = [
    "config.json",
    "generation_config.json",
    VOCABULARY_FILE,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// Whether a file of this name is the model's. Its own code too: `modeling_qwen.py` names other `.py` files, which name
/// CUDA sources.
fn belongs(name: &str) -> bool {
    FILES.contains(&name)
        || [".py", ".cpp", ".cu"].iter().any(|end| name.ends_with(end))
        || ["LICENSE", "NOTICE"].iter().any(|start| name.starts_with(start))
}

/// Copies config, tokenizer, code and licence of the model in `from` to the directory `to`.
///
/// # Errors
/// A file that cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from).user(from.display())? {
        let file = entry.user(from.display())?.path();
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
        if belongs(name) && file.is_file() {
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
