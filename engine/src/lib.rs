//! The half of qwen-tui that owns libtorch.

#[cfg(test)]
extern crate self as qwen_tui_engine;

pub mod bench;
pub mod device;
pub mod infer;
pub mod info;
pub mod model;
pub mod repl;
pub mod shim;
pub mod train;
pub mod words;
pub mod worker;
