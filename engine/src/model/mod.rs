//! Qwen-1 on libtorch: config, weights, the forward pass, and what of it is trained.

pub mod adapter;
pub mod beside;
pub mod convert;
pub mod create;
pub mod dropout;
pub mod generate;
pub mod packed;
pub mod qwen;
mod sampling;
mod seeded;
pub mod trainable;
mod tree;
pub mod weights;

pub use packed::Packed;
pub use qwen::{KvCache, Lora, Mode, Qwen};
pub use qwen_tui::model::config::{self, QwenConfig};
pub use trainable::{LoraOptions, Trainable};
