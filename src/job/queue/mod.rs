//! The queue: jobs that wait for a device and start one after another.
//!
//! It is a folder, `$XDG_STATE_HOME/qwen-tui/queue/HOST`, and so survives everything that files survive:
//!
//! | file | what it is |
//! |---|---|
//! | `job-N.json` | the arguments of job N, as `sft_args.json` has them; never changed |
//! | `job-N.state` | how it stands, where it does not simply wait |
//! | `job-N.lock` | locked by job N's worker for as long as that lives |
//! | `order.json` | the waiting jobs in their order, and the next number; where it is lost, jobs stand by number |
//! | `paused` | is there while the queue is paused |
//! | `lock` | held for a moment by whoever changes something |
//! | `runner.lock`, `runner.log` | held by the process that starts the jobs, and what it has done |

mod changes;
mod device;
mod fetching;
mod folder;
mod held;
mod own;
mod put;
mod runner;
mod show;
mod start;
mod state;
mod wake;

pub use changes::{Added, To};
pub use folder::{Listing, Queue};
pub use runner::run;
pub use show::{job_cells, json, table, waiting_json};
pub use state::{Job, State, What};

#[cfg(test)]
mod tests;
