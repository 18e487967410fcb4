//! From a name to a directory: what is on this machine already, and what a hub has.

mod absent;
pub mod caches;
pub mod client;
pub mod fetch;
pub mod find;
pub mod latest;
pub mod names;
pub mod page;
pub mod pull;
pub mod repo;
pub mod shelf;
pub mod sources;
pub mod url;

pub use absent::{Absent, OTHER_WAYS, looked_for, of_no_use};
pub use caches::{Caches, Found, Layout, Look};
pub use client::{Listing, Network, RemoteFile, Wait, list};
pub use fetch::{Failed, fetch};
pub use find::{Cached, Fetch, Located, Place, Wanted};
pub use pull::{Failures, FileProgress, FileState, Progress, PullOptions, Stage, pull, pull_first};
pub use repo::{Hub, Repo, Sort};
pub use sources::Sources;
