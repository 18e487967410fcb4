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

#[cfg(test)]
#[path = "../../tests/common/shared.rs"]
mod reference;
#[cfg(test)]
pub(crate) use reference::shared;
