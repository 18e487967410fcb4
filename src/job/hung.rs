//! A worker that lives and does not go on: the rule by which one is told, and what can be done about it.

/// Seconds after which a worker that says nothing is told as silent: it tells of the machine every 2 s, whatever it is
/// busy with.
const SILENCE: f64 = 20.0;
/// Seconds, and times a step's seconds, after which a worker whose computation does not go on is told as stuck.
const STUCK: f64 = 120.0;
const STUCK_STEPS: f64 = 20.0;

/// How a worker hangs. Seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Hung {
    /// It says nothing at all: the process is stopped or starved.
    Silent { seconds: f64 },
    /// It lives, and its computation does not come back.
    Stuck { seconds: f64 },
}

/// What is known of a worker that lives. Times in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signs {
    /// Of its newest event.
    pub newest: f64,
    /// Of the newest event of its computation.
    pub moved: f64,
    /// Since when it is known to live.
    pub alive_since: f64,
    /// Whether it should be computing: past its first step, and not paused.
    pub computes: bool,
    pub seconds_per_step: Option<f64>,
}

impl Signs {
    /// What the worker does not do any more, and for how long.
    pub fn hung(&self, now: f64) -> Option<Hung> {
        let seconds = now - self.newest.max(self.alive_since);
        if seconds > SILENCE {
            return Some(Hung::Silent { seconds });
        }
        let patience = STUCK.max(STUCK_STEPS * self.seconds_per_step.unwrap_or(0.0));
        let seconds = now - self.moved.max(self.alive_since);
        (self.computes && seconds > patience).then_some(Hung::Stuck { seconds })
    }
}

/// What can be done where a worker hangs: nobody but the kernel ends such a one. `last` is its newest checkpoint's step.
pub fn way_out(pid: Option<u32>, last: Option<u64>) -> String {
    let kept = match last {
        Some(step) => format!("checkpoint-{step} stays"),
        None => "nothing has been saved yet".to_owned(),
    };
    match pid {
        Some(pid) => format!("`kill -9 {pid}` ends it; {kept}"),
        None => format!("its process can only be killed; {kept}"),
    }
}
