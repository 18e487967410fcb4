//! qwen-tui without libtorch: arguments, data, the run directory, and the way to the engine.
//!
//! A room imports only rooms named above it here; see `docs/architecture.md`.

pub mod error;
pub mod human;
pub mod plain;
pub mod shell;
pub mod stderr;

pub mod args;
pub mod data;
pub mod run;

pub mod model;

pub mod hub;

pub mod job;

pub mod demo;

pub mod bench;

pub mod tui;
