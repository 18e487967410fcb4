//! A candidate's side: it answers commands, each a line of standard input, with a JSON line.

use std::io::{BufRead, Write};
use std::path::Path;

use clap::ValueEnum;
use qwen_tui::error::{Context, Error, Result};
use serde::Serialize;
use serde_json::{Value, json};
use tch::{Cuda, Device};

use super::job::Job;
use super::{grow, literal, loading, ours, products};

/// What a process of the benchmark is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    Ours,
    Literal,
    Load,
    Floor,
    Grow,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Steps(usize),
    Evaluate,
    Classify,
    Memory,
    End,
}

/// The two ends of the conversation.
pub struct Talk;

impl Talk {
    /// The next command; where nobody asks any more, to end.
    pub fn next(&self) -> Result<Ask> {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).internal("the benchmark's commands")?;
        let mut words = line.split_whitespace();
        Ok(match (words.next(), words.next().and_then(|n| n.parse().ok())) {
            (Some("steps"), Some(n)) => Ask::Steps(n),
            (Some("evaluate"), _) => Ask::Evaluate,
            (Some("classify"), _) => Ask::Classify,
            (Some("memory"), _) => Ask::Memory,
            (Some("end") | None, _) => Ask::End,
            (Some(other), _) => return Err(Error::internal(format!("no command {other}"))),
        })
    }

    /// Answers.
    pub fn tell(&self, answer: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(answer).internal("an answer of the benchmark")?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).internal("an answer of the benchmark")
    }

    /// Says that commands can come.
    pub fn ready(&self, facts: Value) -> Result<()> {
        let mut ready = json!({"ready": true});
        if let (Some(ready), Value::Object(facts)) = (ready.as_object_mut(), facts) {
            ready.extend(facts);
        }
        self.tell(&ready)
    }
}

/// Does what `role` is there for.
///
/// # Errors
/// Those of the work.
pub fn serve(role: Role, job: &Path) -> Result<()> {
    let job = Job::read(job)?;
    tch::set_num_threads(job.threads as i32);
    match role {
        Role::Ours => ours::serve(&job, &Talk),
        Role::Literal => literal::serve(&job, &Talk),
        Role::Load => loading::serve(&job, &Talk),
        Role::Floor => products::serve(&job, &Talk),
        Role::Grow => grow::serve(&job, &Talk),
    }
}

/// Waits until the device has done all it was told.
pub fn wait(device: Device) {
    if let Device::Cuda(n) = device {
        Cuda::synchronize(n as i64);
    }
}
