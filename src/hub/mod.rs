//! From a name to a directory: what is on this machine already, and what a hub has.

pub mod caches;
pub mod client;
pub mod names;
pub mod pull;
pub mod repo;

pub use caches::{Caches, Found, Layout};
pub use client::{Listing, Network, RemoteFile, list};
pub use pull::{FileProgress, Progress, PullOptions, Stage, pull};
pub use repo::{Hub, Repo, Sort};
