//! From a name to a directory: what is on this machine already, and what a hub has.

pub mod repo;

pub use repo::{Hub, Repo, Sort};
