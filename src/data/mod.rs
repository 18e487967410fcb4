//! Rows, prompts, token ids and the order they are taken in: plain numbers, no tensors.

mod csv_file;
mod formats;
mod json_file;
pub mod load;
mod python_literal;
mod ranks;
pub mod rows;
pub mod sampling;
pub mod template;
pub mod tokenize;
pub mod tokenizer;

pub use rows::{Broken, OnBroken, Read, read_file, read_files, resolve_dataset_name};
pub use sampling::{SampleOptions, epoch_order, split_and_sample};
pub use template::{Example, LABELS, Row, Template, Truncation, encode_rows, sentiment_prompt};
pub use tokenize::{BOM, tokenize_stdio};
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
