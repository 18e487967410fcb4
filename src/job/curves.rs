//! A run's loss and evaluations, from whichever of its files has them: the event log, SWIFT's log, or the trainer state
//! of a checkpoint. What cannot be read is left out, and no file is read without a limit.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::job::event::Event;
use crate::run::{EVENTS, LOGGING, Record, TrainerState, step_of};

/// Bytes read of a log's beginning and of its end.
const HEAD: u64 = 32 << 20;
const TAIL: u64 = 32 << 20;
/// A trainer state of this size is none.
const STATE: u64 = 64 << 20;
/// Points beyond which every second one goes: a screen has fewer columns.
const POINTS: usize = 8000;

/// An evaluation; loss and accuracy may be NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvalPoint {
    pub step: u64,
    pub loss: f64,
    pub acc: f64,
}

/// The figures of a run by step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curves {
    /// `(step, training loss)`, means between two lines of the log; NaN where it was not finite.
    pub loss: Vec<(u64, f64)>,
    pub evals: Vec<EvalPoint>,
    pub total_steps: Option<u64>,
    /// Name of the best checkpoint, by the run's own word: `checkpoint-50`.
    pub best: Option<String>,
}

impl Curves {
    /// Reads the run in `dir`; `newest` is its newest checkpoint.
    pub fn read(dir: &Path, newest: Option<&Path>) -> Curves {
        let mut curves = Curves::default();
        curves.take_events(&dir.join(EVENTS));
        if curves.loss.is_empty() && curves.evals.is_empty() {
            each_line(&dir.join(LOGGING), |line| {
                if let Some(entry) = object(line) {
                    curves.take_entry(&entry, "global_step");
                }
            });
        }
        let all_known = !curves.loss.is_empty() && curves.best.is_some();
        if let Some(state) = newest.filter(|_| !all_known).and_then(trainer_state) {
            curves.take_state(&state);
        }
        curves.thin();
        curves
    }

    /// The evaluation at `step`.
    pub fn eval(&self, step: u64) -> Option<&EvalPoint> {
        self.evals.iter().find(|e| e.step == step)
    }

    fn take_events(&mut self, path: &Path) {
        // Those that were the best when they were written, by step: a run that goes back has the best of then again.
        let mut bests: Vec<String> = Vec::new();
        let step_in = |path: &String| step_of(path).unwrap_or(0);
        each_line(path, |line| {
            if matches!(kind(line), Some(b"step" | b"eval_progress" | b"resources" | b"stage")) {
                return;
            }
            let Ok(Record { event, .. }) = serde_json::from_slice::<Record<Event>>(line) else { return };
            match event {
                // What comes after is done again.
                Event::Started { step, .. } => {
                    self.forget_after(step);
                    bests.retain_from_end(|best| step_in(best) <= step);
                }
                Event::Plan { total_steps, .. } => self.total_steps = Some(total_steps),
                Event::Log { step, loss, .. } => self.push_loss(step, loss),
                Event::Eval { step, loss, acc, .. } => self.push_eval(step, loss, acc),
                Event::Checkpoint { path, best: true, .. } => bests.push(path),
                Event::Finished { best_checkpoint, .. } => {
                    bests.extend(best_checkpoint.as_deref().and_then(last_part));
                }
                _ => {}
            }
        });
        self.best = bests.pop();
    }

    /// An entry of SWIFT's log, or of the trainer state's history, which name the step differently.
    fn take_entry(&mut self, entry: &Map<String, Value>, step: &str) {
        let Some(step) = entry.get(step).and_then(Value::as_f64).filter(|s| *s >= 0.0) else { return };
        // A figure that is not finite is null.
        let figure = |key: &str| entry.get(key).map(|v| v.as_f64().unwrap_or(f64::NAN));
        if let Some(loss) = figure("loss") {
            self.push_loss(step as u64, loss);
        }
        if let Some(loss) = figure("eval_loss") {
            self.push_eval(step as u64, loss, figure("eval_acc").unwrap_or(f64::NAN));
        }
    }

    fn take_state(&mut self, state: &TrainerState) {
        if self.loss.is_empty() && self.evals.is_empty() {
            state.log_history.iter().for_each(|entry| self.take_entry(entry, "step"));
        }
        if self.best.is_none() {
            self.best = state.best_model_checkpoint.as_deref().and_then(last_part);
        }
        if self.total_steps.is_none() && state.max_steps > 0 {
            self.total_steps = Some(state.max_steps);
        }
    }

    fn push_loss(&mut self, step: u64, loss: f64) {
        self.loss.retain_from_end(|p| p.0 < step);
        self.loss.push((step, loss));
    }

    fn push_eval(&mut self, step: u64, loss: f64, acc: f64) {
        self.evals.retain_from_end(|e| e.step < step);
        self.evals.push(EvalPoint { step, loss, acc });
    }

    fn forget_after(&mut self, step: u64) {
        self.loss.retain_from_end(|p| p.0 <= step);
        self.evals.retain_from_end(|e| e.step <= step);
    }

    fn thin(&mut self) {
        while self.loss.len() > POINTS {
            let mut odd = false;
            self.loss.retain(|_| {
                odd = !odd;
                odd
            });
        }
    }
}

/// Entries in the order of their steps lose those at the end.
trait RetainFromEnd<T> {
    fn retain_from_end(&mut self, keep: impl Fn(&T) -> bool);
}

impl<T> RetainFromEnd<T> for Vec<T> {
    fn retain_from_end(&mut self, keep: impl Fn(&T) -> bool) {
        while self.last().is_some_and(|last| !keep(last)) {
            self.pop();
        }
    }
}

/// The evaluation that the checkpoint's own trainer state tells of it.
pub fn eval_in(checkpoint: &Path, step: u64) -> Option<EvalPoint> {
    let mut curves = Curves::default();
    curves.take_state(&trainer_state(checkpoint)?);
    curves.eval(step).copied()
}

pub(super) fn trainer_state(checkpoint: &Path) -> Option<TrainerState> {
    let length = std::fs::metadata(checkpoint.join("trainer_state.json")).ok().filter(|m| m.is_file())?.len();
    (length <= STATE).then(|| TrainerState::read(checkpoint).ok())?
}

fn last_part(path: &str) -> Option<String> {
    Some(Path::new(path).file_name()?.to_str()?.to_owned())
}

/// A line of SWIFT's log; Python's `NaN` and `Infinity`, which are no JSON, are null.
fn object(line: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(line).ok().or_else(|| {
        let text = std::str::from_utf8(line).ok()?;
        let plain = text.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null");
        serde_json::from_str(&plain).ok()
    })
}

/// The kind of the event in a line, without reading all of it: most lines are of kinds that say nothing here.
pub(super) fn kind(line: &[u8]) -> Option<&[u8]> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow)]
        kind: &'a str,
    }
    const KEY: &[u8] = br#""kind":""#;
    let head = &line[..line.len().min(120)];
    let found = head.windows(KEY.len()).position(|w| w == KEY).and_then(|at| {
        let rest = &line[at + KEY.len()..];
        Some(&rest[..rest.iter().take(40).position(|b| *b == b'"')?])
    });
    found.or_else(|| Some(serde_json::from_slice::<Kind>(line).ok()?.kind.as_bytes()))
}

/// Calls `take` for each line in the first and the last part of a file. A line cut at either end of a part is given as
/// it is, and is no JSON.
pub(super) fn each_line(path: &Path, mut take: impl FnMut(&[u8])) {
    let mut read = || -> std::io::Result<()> {
        // A pipe of that name would keep its reader waiting.
        let length = std::fs::metadata(path).ok().filter(|m| m.is_file()).map_or(0, |m| m.len());
        let mut file = if length > 0 { File::open(path)? } else { return Ok(()) };
        lines(Read::by_ref(&mut file).take(HEAD), &mut take)?;
        if length > HEAD {
            file.seek(SeekFrom::Start(HEAD.max(length.saturating_sub(TAIL))))?;
            lines(file.take(TAIL), &mut take)?;
        }
        Ok(())
    };
    // What could be read has been taken.
    let _ = read();
}

fn lines(part: impl Read, take: &mut impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, part);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        take(&line);
        line.clear();
    }
    Ok(())
}
