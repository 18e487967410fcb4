//! The benchmark: a training step, an evaluation, a label and the loading of a model, timed beside the same row by row
//! and beside transformers and PEFT (docs/performance.md).
//!
//! Each candidate is a process of its own, so that its memory is its own, and waits while another one is timed.

mod candidate;
mod floor;
mod grow;
mod job;
mod literal;
mod loading;
mod memory;
mod ours;
mod part;
mod products;
mod report;
mod run;
mod show;
mod stop;
mod timing;
mod work;

pub use job::Job;
pub use part::{Role, serve};
pub use run::run;
