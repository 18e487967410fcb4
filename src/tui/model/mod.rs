//! A run as the screens need it: the fold of its events, and nothing else.

mod hung;
mod saved;
mod steps;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use crate::args::schedule::{Scheduler, learning_rate};
use crate::job::branch::Branch;
use crate::job::event::{Event, Gpu, Rows, Stage};
use crate::job::lines::Lines;
use crate::run::Record;

pub use hung::Hung;
pub use steps::{SMOOTHING, Step, Steps};

/// Lines of the log that are kept.
const LOG_LINES: usize = 500;

/// What is known of a run.
#[derive(Debug, Clone)]
pub struct RunState {
    /// The run directory.
    pub path: PathBuf,
    pub machine: Option<Machine>,
    pub stage: Option<Stage>,
    pub model: Option<Model>,
    /// Rows for training and for validation.
    pub data: Option<(Rows, Rows)>,
    pub plan: Option<Plan>,
    pub steps: Steps,
    pub evals: Vec<Eval>,
    /// Rows of the evaluation at hand, done and in all.
    pub evaluating: Option<(u64, u64)>,
    pub resources: Option<Resources>,
    /// Those on disk that the run comes from, by step.
    pub checkpoints: Vec<Checkpoint>,
    /// Oldest first.
    pub log: VecDeque<LogLine>,
    pub paused: bool,
    /// What there is no room for on the disk, where the run waits for that.
    pub no_room: Option<String>,
    /// It has been told to stop, here or elsewhere.
    pub stopping: bool,
    /// Steps that changed no weight.
    pub skipped_steps: u64,
    skipped: Vec<u64>,
    pub end: Option<End>,
    pub worker: Worker,
    /// Unix seconds: when the newest worker began, and the newest event.
    pub began: f64,
    pub newest: f64,
    /// Unix seconds: the newest event of the computation, and since when the worker is known to live.
    moved: f64,
    alive_since: f64,
    /// Those on disk that it went back from.
    left: Vec<Checkpoint>,
    branch: Branch,
    lines: Lines,
}

/// Where the worker runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    pub pid: u32,
    /// `cpu` or `cuda:N`.
    pub device: String,
    pub device_name: String,
    pub threads: usize,
}

/// The model that is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub parameters: u64,
    pub trainable: u64,
    pub dtype: String,
    pub bytes: u64,
}

/// How long the run will be, and its learning rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub total_steps: u64,
    pub warmup_steps: u64,
    pub micro_batches: u64,
    pub accumulation: u64,
    pub learning_rate: f64,
    /// As the plan names it.
    pub scheduler: String,
}

impl Plan {
    /// The learning rate that the log of `step` shows; `None` for a schedule that this version does not know.
    pub fn rate(&self, step: u64) -> Option<f64> {
        let kind: Scheduler = serde_json::from_value(self.scheduler.as_str().into()).ok()?;
        Some(learning_rate(kind, self.learning_rate, self.warmup_steps, self.total_steps, step))
    }

    /// Epochs of the whole run. An epoch of fewer micro-batches than the accumulation is one step.
    pub fn epochs(&self) -> f64 {
        let per_epoch = self.micro_batches.max(1);
        self.total_steps as f64 * self.accumulation.min(per_epoch) as f64 / per_epoch as f64
    }
}

/// An evaluation; loss and accuracy may be NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Eval {
    pub step: u64,
    pub loss: f64,
    pub acc: f64,
    /// Of the answers, where they were written; then it decides which is the best.
    pub rouge_l: Option<f64>,
    pub rows: u64,
    pub seconds: f64,
}

impl Eval {
    /// The figure that decides which is the best.
    pub fn metric(&self) -> f64 {
        self.rouge_l.unwrap_or(self.loss)
    }
}

/// What the machine does. Sizes in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Resources {
    pub rss: u64,
    pub available: u64,
    pub cores: f64,
    pub gpu: Option<Gpu>,
}

/// A checkpoint that the log says is on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    pub step: u64,
    /// Relative to the run directory.
    pub path: String,
    pub bytes: u64,
    pub best: bool,
    /// Whether it was the best when it was written.
    was_best: bool,
    /// Unix seconds.
    pub time: f64,
}

/// A line of the run's log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// Unix seconds.
    pub time: f64,
    pub level: Level,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// How the run ended, by its own word.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    Finished { step: u64, seconds: f64, stopped: bool, best: Option<String>, best_metric: Option<f64> },
    Failed { exit_code: i32, message: String },
}

/// What is known of the worker, from outside.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Worker {
    #[default]
    Unknown,
    /// This cockpit has started it, and it has not said anything: it takes no commands yet.
    Starting,
    Alive,
    /// No process holds the run; the text says why it went, in its last words, where there are any.
    Gone {
        why: String,
    },
    /// No process holds the run, and its log does not tell what one did; the text says why.
    Untold {
        why: String,
    },
}

/// What the run is doing, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is known yet.
    Opening,
    /// A worker lives and has not said anything.
    Starting,
    Busy(Stage),
    Paused,
    /// The disk is full, and it waits for room.
    NoRoom,
    Finished,
    Stopped,
    Failed,
    /// The worker went without saying how it ended.
    Crashed,
    /// There is no log that tells what it did.
    Untold,
}

impl RunState {
    pub fn new(path: &Path) -> RunState {
        RunState {
            path: path.to_owned(),
            machine: None,
            stage: None,
            model: None,
            data: None,
            plan: None,
            steps: Steps::default(),
            evals: Vec::new(),
            evaluating: None,
            resources: None,
            checkpoints: Vec::new(),
            log: VecDeque::new(),
            paused: false,
            stopping: false,
            no_room: None,
            skipped_steps: 0,
            skipped: Vec::new(),
            end: None,
            worker: Worker::Unknown,
            began: 0.0,
            newest: 0.0,
            moved: 0.0,
            alive_since: 0.0,
            left: Vec::new(),
            branch: Branch::default(),
            lines: Lines::default(),
        }
    }

    /// Takes in the next event.
    pub fn see(&mut self, record: &Record<Event>) {
        let time = record.time;
        self.newest = time;
        if !matches!(record.event, Event::Resources { .. }) {
            self.moved = time;
        }
        self.lines.see(&record.event);
        self.note(time, &record.event);
        self.branch.see(time, &record.event);
        match &record.event {
            Event::Started { pid, device, device_name, threads, step, .. } => {
                self.go_back(*step);
                let (device, device_name) = (device.clone(), device_name.clone());
                self.machine = Some(Machine { pid: *pid, device, device_name, threads: *threads });
                self.began = time;
                // A new worker on an old run: the old one's end is history.
                (self.end, self.paused, self.evaluating, self.stage) = (None, false, None, None);
                (self.no_room, self.stopping) = (None, false);
                if matches!(self.worker, Worker::Gone { .. } | Worker::Untold { .. }) {
                    self.worker = Worker::Unknown;
                }
            }
            Event::Stage { stage } => {
                self.stage = Some(*stage);
                self.evaluating = None;
            }
            Event::Model { parameters, trainable, dtype, bytes, .. } => {
                let (parameters, trainable, bytes) = (*parameters, *trainable, *bytes);
                self.model = Some(Model { parameters, trainable, dtype: dtype.clone(), bytes });
            }
            Event::Dataset { train, validation } => self.data = Some((train.clone(), validation.clone())),
            Event::Plan {
                total_steps,
                warmup_steps,
                micro_batches,
                accumulation,
                learning_rate,
                scheduler,
            } => {
                self.plan = Some(Plan {
                    total_steps: *total_steps,
                    warmup_steps: *warmup_steps,
                    micro_batches: *micro_batches,
                    accumulation: *accumulation,
                    learning_rate: *learning_rate,
                    scheduler: scheduler.clone(),
                });
            }
            Event::Step { step, epoch, loss, acc, learning_rate, grad_norm, tokens, seconds, .. } => {
                let (step, epoch, loss, acc) = (*step, *epoch, *loss, *acc);
                let (learning_rate, grad_norm) = (*learning_rate, *grad_norm);
                let (tokens, seconds) = (*tokens, *seconds);
                self.forget_evals_from(step);
                self.steps.push(Step { step, epoch, loss, acc, learning_rate, grad_norm, tokens, seconds });
            }
            Event::EvalProgress { done, rows, .. } => self.evaluating = Some((*done, *rows)),
            Event::Eval { step, loss, acc, scores, rows, seconds, .. } => {
                let (step, loss, acc, rows, seconds) = (*step, *loss, *acc, *rows, *seconds);
                let rouge_l = scores.map(|s| s.rouge_l);
                self.evaluating = None;
                self.forget_evals_from(step);
                self.evals.push(Eval { step, loss, acc, rouge_l, rows, seconds });
            }
            Event::Checkpoint { step, path, bytes, best, .. } => {
                let (step, bytes, best) = (*step, *bytes, *best);
                self.forget_checkpoints(|c| c.step == step);
                let path = path.clone();
                self.checkpoints.push(Checkpoint { step, path, bytes, best, was_best: best, time });
                self.sort_checkpoints();
            }
            Event::CheckpointRemoved { step } => self.forget_checkpoints(|c| c.step == *step),
            Event::Resources { rss, available, cores, gpu } => {
                let (rss, available, cores) = (*rss, *available, *cores);
                self.resources = Some(Resources { rss, available, cores, gpu: gpu.clone() });
            }
            Event::StepSkipped { step, .. } => {
                self.skipped.push(*step);
                self.skipped_steps = self.skipped.len() as u64;
            }
            Event::Paused { .. } => self.paused = true,
            Event::Resumed { .. } => self.paused = false,
            Event::Stopping => self.stopping = true,
            Event::NoRoom { message } => self.no_room = Some(message.clone()),
            Event::RoomAgain => self.no_room = None,
            Event::Finished { step, seconds, stopped, best_checkpoint, best_metric, .. } => {
                (self.evaluating, self.paused) = (None, false);
                self.end = Some(End::Finished {
                    step: *step,
                    seconds: *seconds,
                    stopped: *stopped,
                    best: best_checkpoint.clone(),
                    best_metric: *best_metric,
                });
            }
            Event::Failed { exit_code, message } => {
                (self.evaluating, self.paused) = (None, false);
                self.end = Some(End::Failed { exit_code: *exit_code, message: message.clone() });
            }
            Event::Log { .. } | Event::Warning { .. } => {}
        }
    }

    /// Forgets the steps after `step`, which a new worker does again.
    fn go_back(&mut self, step: u64) {
        self.steps.forget_from(step.saturating_add(1));
        self.evals.retain(|e| e.step <= step);
        self.skipped.retain(|s| *s <= step);
        self.skipped_steps = self.skipped.len() as u64;
        self.sort_checkpoints();
    }

    /// Forgets the evaluations of `step` and later ones, which are the last.
    fn forget_evals_from(&mut self, step: u64) {
        let keep = self.evals.partition_point(|e| e.step < step);
        self.evals.truncate(keep);
    }

    /// The event's line in the log, where it deserves one.
    fn note(&mut self, time: f64, event: &Event) {
        let level = match event {
            Event::Failed { .. } => Level::Error,
            Event::Warning { .. } | Event::StepSkipped { .. } | Event::NoRoom { .. } => Level::Warning,
            _ => Level::Info,
        };
        let text = match event {
            Event::Failed { message, .. } => Some(format!("failed: {message}")),
            event => self.lines.line(event, true),
        };
        if let Some(text) = text {
            self.log.push_back(LogLine { time, level, text });
            if self.log.len() > LOG_LINES {
                self.log.pop_front();
            }
        }
    }

    pub fn phase(&self) -> Phase {
        match (&self.end, &self.worker) {
            // What the log tells is an earlier worker's.
            (_, Worker::Starting) => Phase::Starting,
            (Some(End::Finished { stopped: true, .. }), _) => Phase::Stopped,
            (Some(End::Finished { .. }), _) => Phase::Finished,
            (Some(End::Failed { .. }), _) => Phase::Failed,
            (None, Worker::Gone { .. }) => Phase::Crashed,
            (None, Worker::Untold { .. }) => Phase::Untold,
            (None, _) if self.no_room.is_some() => Phase::NoRoom,
            (None, _) if self.paused => Phase::Paused,
            (None, worker) => match (self.stage, worker) {
                (Some(stage), _) => Phase::Busy(stage),
                (None, Worker::Alive) => Phase::Starting,
                (None, _) => Phase::Opening,
            },
        }
    }

    /// Whether a worker is at it.
    pub fn is_live(&self) -> bool {
        self.is_starting() || (self.end.is_none() && self.worker == Worker::Alive)
    }

    /// Whether its log has no end, and nobody has looked for its worker yet.
    pub fn may_be_live(&self) -> bool {
        self.end.is_none() && self.worker == Worker::Unknown && !self.steps.is_empty()
    }

    /// Whether its worker does not hear commands yet.
    pub fn is_starting(&self) -> bool {
        self.worker == Worker::Starting
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.steps.last().map_or(0, |s| s.step)
    }

    /// The share of the steps that is done, from 0 to 1.
    pub fn progress(&self) -> f64 {
        let total = self.plan.as_ref().map_or(0, |p| p.total_steps);
        if total == 0 { 0.0 } else { (self.step() as f64 / total as f64).min(1.0) }
    }

    /// The same in whole percent; 100 at the last step and not before.
    pub fn percent(&self) -> u64 {
        let total = self.plan.as_ref().map_or(0, |p| p.total_steps);
        (u128::from(self.step().min(total)) * 100).checked_div(u128::from(total)).unwrap_or(0) as u64
    }

    /// Seconds until the last step, with as many evaluations to come as there were per step so far.
    pub fn seconds_left(&self) -> Option<f64> {
        let total = self.plan.as_ref()?.total_steps;
        let left = total.saturating_sub(self.step());
        let mut seconds = self.steps.seconds_per_step()? * left as f64;
        if let (Some(first), Some(last)) = (self.evals.first(), self.evals.last())
            && first.step > 0
        {
            seconds += last.seconds * (total / first.step).saturating_sub(self.step() / first.step) as f64;
        }
        Some(seconds)
    }

    /// Seconds that the run took by its own word, those before a resume among them; until then since the newest worker
    /// began, where `now` counts while it lives.
    pub fn elapsed(&self, now: f64) -> f64 {
        if let Some(End::Finished { seconds, .. }) = &self.end {
            return *seconds;
        }
        let until = if self.is_live() { now.max(self.newest) } else { self.newest };
        if self.began > 0.0 { (until - self.began).max(0.0) } else { 0.0 }
    }

    /// The first evaluation with the lowest finite loss; where answers were written, with the highest rouge-l.
    pub fn best_eval(&self) -> Option<&Eval> {
        let finite = self.evals.iter().filter(|e| e.loss.is_finite());
        finite.min_by(|a, b| match (a.rouge_l, b.rouge_l) {
            (Some(a), Some(b)) => b.total_cmp(&a),
            _ => a.loss.total_cmp(&b.loss),
        })
    }

    /// The last two parts of the directory, as in `qwen-1_8b/v0-20250101-120000`.
    pub fn name(&self) -> String {
        short_name(&self.path)
    }
}

/// The last two parts of a run directory.
pub fn short_name(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|p| p.to_string_lossy()).collect();
    parts[parts.len().saturating_sub(2)..].join("/")
}

#[cfg(test)]
mod tests;
