//! How a run stands, in more detail than a list of runs needs, from the beginning and the end of its log.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::curves::trainer_state;
use super::event::{Event, Stage};
use super::hung::{Hung, Signs, way_out};
use super::lines::Lines;
use super::runs::{RunStatus, RunSummary, head_and_tail, inspect, last_words};
use super::socket::SOCKET;
use super::worker::recorded_end;
use crate::args::ARGS_FILE;
use crate::run::{EVENTS, Record, list_checkpoints_in, read_json};

/// A run with what its log says of the present.
#[derive(Debug, Clone)]
pub struct Standing {
    pub run: RunSummary,
    /// Of the newest worker.
    pub pid: Option<u32>,
    pub stage: Option<Stage>,
    pub paused: bool,
    /// It has been told to stop.
    pub stopping: bool,
    /// What there is no room for, while it waits for some.
    pub no_room: Option<String>,
    /// Step of the newest checkpoint on disk.
    pub last_checkpoint: Option<u64>,
    /// What the newest worker failed of, by its own word.
    failure: Option<String>,
    /// The best figure, where the end of the log tells it.
    best: Option<f64>,
    lines: Lines,
    /// Unix seconds: the newest event of the computation, and since when the worker is known to live.
    moved: f64,
    alive_since: f64,
    seq: u64,
}

impl Standing {
    /// Reads how the run in `dir` stands.
    pub fn read(dir: &Path) -> Standing {
        Standing::of(inspect(dir))
    }

    /// Reads the rest of a run that was listed.
    pub fn of(run: RunSummary) -> Standing {
        let dir = run.path.clone();
        // The worker makes its socket before its first event.
        let socket = fs::symlink_metadata(dir.join(SOCKET)).and_then(|m| m.modified()).ok();
        let alive_since =
            socket.and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0.0, |d| d.as_secs_f64());
        let mut standing = Standing {
            run,
            pid: None,
            stage: None,
            paused: false,
            stopping: false,
            no_room: None,
            last_checkpoint: list_checkpoints_in(&dir)
                .iter()
                .max_by(|a, b| a.written.total_cmp(&b.written))
                .map(|c| c.step),
            failure: None,
            best: None,
            lines: Lines::default(),
            moved: 0.0,
            alive_since,
            seq: 0,
        };
        for record in head_and_tail(&dir.join(EVENTS)).unwrap_or_default() {
            standing.see(&record);
        }
        standing
    }

    /// Takes in an event; one that it has seen already changes nothing.
    pub fn see(&mut self, record: &Record<Event>) {
        if record.seq <= self.seq {
            return;
        }
        self.seq = record.seq;
        self.run.newest = record.time;
        if !matches!(record.event, Event::Resources { .. }) {
            self.moved = record.time;
        }
        self.lines.see(&record.event);
        match &record.event {
            Event::Started { pid, .. } => {
                self.pid = Some(*pid);
                (self.stage, self.paused, self.failure, self.best) = (None, false, None, None);
                (self.no_room, self.stopping) = (None, false);
            }
            Event::Stopping => self.stopping = true,
            Event::Stage { stage } => self.stage = Some(*stage),
            Event::Step { step, .. } => self.run.step = *step,
            Event::NoRoom { message } => self.no_room = Some(message.clone()),
            Event::RoomAgain => self.no_room = None,
            Event::Paused { .. } => self.paused = true,
            Event::Resumed { .. } => self.paused = false,
            Event::Checkpoint { step, .. } => self.last_checkpoint = Some(*step),
            Event::Finished { best_metric, .. } => self.best = *best_metric,
            Event::Failed { message, .. } => self.failure = Some(message.clone()),
            _ => {}
        }
    }

    pub fn is_running(&self) -> bool {
        self.run.status == RunStatus::Running
    }

    /// Whether it has come to the training, so that there is something to save.
    pub fn trains(&self) -> bool {
        matches!(self.stage, Some(Stage::Training | Stage::Evaluating | Stage::Saving))
    }

    /// What a worker that lives does not do any more.
    pub fn hung(&self, now: f64) -> Option<Hung> {
        let computes = matches!(self.stage, Some(Stage::Training | Stage::Evaluating))
            && !self.paused
            && self.lines.seconds_per_step.is_some();
        let signs = Signs {
            newest: self.run.newest,
            moved: self.moved,
            alive_since: self.alive_since,
            computes,
            seconds_per_step: self.lines.seconds_per_step,
        };
        // A full disk keeps it from saying anything.
        (self.is_running() && self.no_room.is_none()).then(|| signs.hung(now))?
    }

    /// What can be done where it hangs.
    pub fn way_out(&self) -> String {
        way_out(self.pid, self.last_checkpoint)
    }

    /// What it does or how it ended, in a word or two.
    pub fn word(&self, now: f64) -> String {
        let word = match self.stage {
            _ if !self.is_running() => return self.run.status.word().to_owned(),
            _ if self.hung(now).is_some() => "hangs",
            _ if self.paused => "paused",
            Some(stage) => stage.word(),
            None => "starting",
        };
        if self.stopping { told_to_stop(word) } else { word.to_owned() }
    }

    /// Seconds until the last step of a run that trains, evaluations not counted.
    pub fn seconds_left(&self) -> Option<f64> {
        let total = self.run.total_steps?;
        let seconds = self.lines.seconds_per_step.filter(|_| self.is_running())?;
        Some(seconds * total.saturating_sub(self.run.step) as f64)
    }

    /// The best figure so far and its name: `eval_loss`, or `eval_rouge-l` where answers decide.
    pub fn best(&self) -> Option<(&'static str, f64)> {
        let dir = &self.run.path;
        let in_checkpoint =
            || trainer_state(&dir.join(format!("checkpoint-{}", self.last_checkpoint?)))?.best_metric;
        let figure = self.best.or_else(in_checkpoint)?;
        let answers =
            read_json::<Value>(&dir.join(ARGS_FILE)).is_ok_and(|args| args["predict_with_generate"] == true);
        Some((if answers { "eval_rouge-l" } else { "eval_loss" }, figure))
    }

    /// What is wrong with it and what can be done, in a line; none where all is well.
    pub fn trouble(&self, now: f64) -> Option<String> {
        let dir = &self.run.path;
        let text = match (self.run.status, self.hung(now)) {
            (RunStatus::Running, Some(Hung::Silent { seconds })) => {
                format!("has said nothing for {seconds:.0} s; {}", self.way_out())
            }
            (RunStatus::Running, Some(Hung::Stuck { seconds })) => {
                format!("has computed nothing for {seconds:.0} s; {}", self.way_out())
            }
            (RunStatus::Running, None) => format!("waiting for room: {}", self.no_room.as_ref()?),
            (RunStatus::Failed, _) => self.failure.clone()?,
            (RunStatus::Crashed, _) => match recorded_end(dir) {
                Some(end) => end.to_string(),
                None => match last_words(dir).lines().last() {
                    Some(words) => {
                        format!("its worker ended without a word of its own; the last it printed: {words}")
                    }
                    None => "its worker was killed, or the machine went down".to_owned(),
                },
            },
            (RunStatus::Unreadable, _) => self.run.problem.clone()?,
            _ => return None,
        };
        text.lines().next().map(str::to_owned)
    }
}

/// What a worker does, in words, that has been told to stop.
pub fn told_to_stop(what: &str) -> String {
    format!("{what}, told to stop")
}

/// Unix seconds.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}
