//! Rows, prompts, token ids and the order they are taken in: plain numbers, no tensors.

mod ranks;
pub mod tokenizer;

pub use tokenizer::Tokenizer;

/// `name` in the folder of reference data, or None (said on standard error) where that folder is absent.
#[cfg(test)]
pub(crate) fn shared(name: &str) -> Option<std::path::PathBuf> {
    let root = std::env::var_os("QWEN_TUI_SHARED")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared").into(), std::path::PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}
