//! What the cockpit and the command line share with the engine: events, commands, and how the engine is found.

pub mod event;

pub use event::Event;
