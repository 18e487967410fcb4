//! What the cockpit and the command line share with the engine: events, commands, how the engine is found and
//! started, and how a run is followed.

pub mod attach;
pub mod begin;
pub mod branch;
pub mod checkpoints;
pub mod curves;
mod dying;
pub mod elf;
pub mod engine;
pub mod event;
pub mod find;
pub mod follow;
pub mod frames;
pub mod go_on;
pub use crate::human;
pub mod hung;
pub mod initial_adapter;
pub mod inputs;
pub mod jobs;
pub mod libraries;
pub mod lines;
mod listing;
pub mod locate;
pub mod merge;
mod newest;
pub mod obey;
pub mod probe;
pub mod queue;
pub mod register;
pub mod remove;
pub mod repl;
pub mod resume;
pub mod runs;
pub mod socket;
pub mod standing;
pub mod stop;
pub mod tell;
pub mod worker;

pub use begin::Begin;
pub use engine::{find_engine, ready_engine};
pub use event::Event;
pub use follow::{Outcome, resume_foreground, run_foreground};
pub use locate::locate;
pub use newest::newest_whole;
pub use resume::{Resume, results, resume};
pub use worker::{Session, Worker};
