//! Pulls from both hubs against a server on loopback (`server/`) that speaks their calls and goes wrong on demand.

#[path = "../common/mod.rs"]
mod common;
mod cuts;
mod faults;
mod job;
mod places;
mod program;
mod proxies;
mod proxy;
mod server;
mod strange;
mod tools;
mod way;
