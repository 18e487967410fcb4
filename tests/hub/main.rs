//! Pulls from both hubs against a server on loopback (`server/`) that speaks their calls and goes wrong on demand.

mod cuts;
mod faults;
mod places;
mod program;
mod server;
mod tools;
