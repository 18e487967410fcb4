//! What each fuzz target does with its bytes. `tests/fuzz_corpus.rs` has the same modules, and gives them the corpus.

pub mod arguments;
pub mod checkpoint;
pub mod dataset;
pub mod event_log;
pub mod model_config;
pub mod safetensors;
pub mod socket;
pub mod tokenizer;

mod place;

/// A target's name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 8] = [
    ("arguments", arguments::run),
    ("checkpoint", checkpoint::run),
    ("dataset", dataset::run),
    ("event_log", event_log::run),
    ("model_config", model_config::run),
    ("safetensors", safetensors::run),
    ("socket", socket::run),
    ("tokenizer", tokenizer::run),
];
