//! Which checkpoints lie on the way to where a run stands, and which it has left behind.
//!
//! A run that goes on from an earlier checkpoint leaves those of later steps on disk. They stay whole, but the run does
//! not come from them: to go on from the newest of them would take back that somebody went back.

use std::collections::HashMap;
use std::path::Path;

use crate::job::curves::{each_line, kind};
use crate::job::event::Event;
use crate::job::go_on::command;
use crate::run::{CheckpointInfo, EVENTS, Record, list_checkpoints_in, resumable};

/// The workers of a run, each with what it went on from.
#[derive(Debug, Clone, Default)]
pub struct Branch {
    workers: Vec<Began>,
    /// The worker that wrote the checkpoint of a step, by the log's last word on it.
    saved: HashMap<u64, usize>,
}

#[derive(Debug, Clone)]
struct Began {
    /// Unix seconds.
    at: f64,
    /// Steps done before.
    step: u64,
    /// Who wrote the checkpoint that it went on from.
    from: Option<usize>,
}

impl Branch {
    /// Reads the event log of the run in `dir`; without one no checkpoint has been left behind.
    pub fn read(dir: &Path) -> Branch {
        let mut branch = Branch::default();
        each_line(&dir.join(EVENTS), |line| {
            if let Some(b"started" | b"checkpoint") = kind(line)
                && let Ok(Record { time, event, .. }) = serde_json::from_slice::<Record<Event>>(line)
            {
                branch.see(time, &event);
            }
        });
        branch
    }

    /// Takes in the next event.
    pub fn see(&mut self, time: f64, event: &Event) {
        let newest = self.workers.len().checked_sub(1);
        match event {
            Event::Started { step, .. } => {
                let from = self.saved.get(step).copied().or(newest).filter(|_| *step > 0);
                self.workers.push(Began { at: time, step: *step, from });
            }
            Event::Checkpoint { step, .. } => {
                newest.map(|worker| self.saved.insert(*step, worker));
            }
            _ => {}
        }
    }

    /// Whether the run has gone back behind the checkpoint of `step`, written at `written` (Unix seconds), and does not
    /// come from it.
    pub fn has_left(&self, step: u64, written: f64) -> bool {
        // A worker that was killed may have written a checkpoint of which the log has no word.
        let by_time = self.workers.iter().rposition(|worker| worker.at <= written);
        let Some(own) = self.saved.get(&step).copied().max(by_time) else { return false };
        let (mut worker, mut reached) = (self.workers.len() - 1, u64::MAX);
        while worker > own {
            let Some(from) = self.workers[worker].from else { return true };
            (worker, reached) = (from, self.workers[worker].step);
        }
        worker < own || step > reached
    }

    /// Sorts checkpoints of the run: those that it comes from first, the one written last before the others. SWIFT's do
    /// not tell when they were written; where there is one of them, steps decide.
    pub fn sort(&self, all: &mut [CheckpointInfo]) {
        let timed = all.iter().all(|c| c.checksums);
        let time = |c: &CheckpointInfo| if timed { c.written } else { 0.0 };
        let left = |c: &CheckpointInfo| self.has_left(c.step, c.written);
        all.sort_by(|a, b| left(a).cmp(&left(b)).then(time(b).total_cmp(&time(a))).then(b.step.cmp(&a.step)));
    }
}

/// What there is to go on from after a run that ended before its time, to be said behind why it did: its newest whole
/// checkpoint with the command that goes on from it, or that there is none.
pub fn kept(run_dir: &Path) -> String {
    let mut whole = list_checkpoints_in(run_dir);
    Branch::read(run_dir).sort(&mut whole);
    let Some(newest) = whole.first() else { return "; no checkpoint has been saved".to_owned() };
    let and = match resumable(&newest.path) {
        Ok(()) => format!(", and can be gone on from: `{}`", command(run_dir)),
        Err(_) => String::new(),
    };
    format!("; checkpoint-{} is kept{and}", newest.step)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events a second apart: a worker that begins with so many steps done, or a checkpoint.
    enum Did {
        Began(u64),
        Saved(u64),
    }
    use Did::{Began, Saved};

    fn branch(events: &[Did]) -> Branch {
        let mut branch = Branch::default();
        for (i, did) in events.iter().enumerate() {
            let json = match did {
                Began(step) => format!(
                    r#"{{"kind":"started","pid":1,"version":"0","libtorch":"2","device":"cpu","device_name":"","threads":1,"step":{step}}}"#
                ),
                Saved(step) => format!(
                    r#"{{"kind":"checkpoint","step":{step},"path":"checkpoint-{step}","bytes":1,"seconds":0,"best":false}}"#
                ),
            };
            branch.see(10.0 * (i + 1) as f64, &serde_json::from_str(&json).unwrap());
        }
        branch
    }

    #[track_caller]
    fn left(branch: &Branch, checkpoints: &[(u64, f64)], wanted: &[u64]) {
        let left: Vec<_> =
            checkpoints.iter().filter(|(s, at)| branch.has_left(*s, *at)).map(|c| c.0).collect();
        assert_eq!(left, wanted);
    }

    #[test]
    fn what_a_run_went_back_behind_is_left() {
        let mut went = vec![Began(0), Saved(300), Saved(350), Saved(358)];
        left(&branch(&went), &[(300, 19.9), (350, 29.9), (358, 39.9)], &[]);
        went.push(Began(350));
        left(&branch(&went), &[(300, 19.9), (350, 29.9), (358, 39.9)], &[358]);
        // Written again, with and without a word of it in the log.
        left(&branch(&went), &[(350, 29.9), (358, 55.0)], &[]);
        went.push(Saved(358));
        left(&branch(&went), &[(350, 29.9), (358, 59.9)], &[]);
    }

    #[test]
    fn the_way_back_may_lead_over_several_workers() {
        let mut went = vec![Began(0), Saved(10), Saved(20), Saved(30), Began(20), Saved(25), Saved(40)];
        let all = [(10, 19.9), (20, 29.9), (25, 59.9), (30, 39.9), (40, 69.9)];
        left(&branch(&went), &all, &[30]);
        // To what was left: that is the way again, and the other is left.
        went.push(Began(30));
        left(&branch(&went), &all, &[25, 40]);
        went.push(Began(10));
        left(&branch(&went), &all, &[20, 25, 30, 40]);
        went.push(Began(40));
        left(&branch(&went), &all, &[30]);
        // From the beginning.
        went.push(Began(0));
        left(&branch(&went), &all, &[10, 20, 25, 30, 40]);
    }

    #[test]
    fn without_a_log_nothing_is_left() {
        left(&Branch::default(), &[(5, 1.0)], &[]);
        left(&branch(&[Began(0)]), &[(5, 1.0)], &[]);
    }
}
