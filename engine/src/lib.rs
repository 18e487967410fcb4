//! The half of qwen-tui that owns libtorch.

pub mod device;
pub mod infer;
pub mod info;
pub mod model;
pub mod repl;
pub mod train;
pub mod worker;
