//! The tabs, a folder each.

mod checkpoints;
mod config;
mod repl;
mod train;

use super::component::Component;
pub use train::{nobody, stop_question};

/// All tabs, in the order of `Tab::ALL`.
pub fn all() -> [Box<dyn Component>; 4] {
    [
        Box::new(config::Config::default()),
        Box::new(train::Train),
        Box::new(checkpoints::Checkpoints::default()),
        Box::new(repl::Repl::default()),
    ]
}
