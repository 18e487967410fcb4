//! From a name to a directory: what is on this machine already, and what a hub has.

pub mod caches;
pub mod names;
pub mod repo;

pub use caches::{Caches, Found, Layout};
pub use repo::{Hub, Repo, Sort};
