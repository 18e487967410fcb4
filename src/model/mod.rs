//! A model directory as files: `config.json`, the files of the weights and their headers. Everything that such a file
//! says of itself is checked here, before anything is allocated by it; the tensors are the engine's.

pub mod config;
mod files;
mod places;
mod shard;

pub use config::QwenConfig;
pub use files::{check_model_dir, weight_files};
pub use places::Places;
pub use shard::Shard;
