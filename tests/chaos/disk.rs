//! What a kill has left on the disk: whether all of it can be read, and what the engine was at.

use std::fs;
use std::path::{Path, PathBuf};

use qwen_tui::job::event::{Event, Stage};
use qwen_tui::run::{list_checkpoints_in, replay, step_of, verify_checkpoint};
use serde_json::Value;

/// What the engine was doing when the kill fell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fell {
    Starting,
    Loading,
    Training,
    Evaluating,
    SaveBegun,
    SaveHalf,
    SaveSealed,
    SaveRenamed,
    Rotating,
    Ending,
    NotTheEngine,
}

impl Fell {
    pub const ALL: [Fell; 11] = [
        Fell::Starting,
        Fell::Loading,
        Fell::Training,
        Fell::Evaluating,
        Fell::SaveBegun,
        Fell::SaveHalf,
        Fell::SaveSealed,
        Fell::SaveRenamed,
        Fell::Rotating,
        Fell::Ending,
        Fell::NotTheEngine,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Fell::Starting => "before the engine's first word",
            Fell::Loading => "while rows and model were loaded",
            Fell::Training => "between or in training steps",
            Fell::Evaluating => "in an evaluation",
            Fell::SaveBegun => "in a save, before its first file",
            Fell::SaveHalf => "in a save, among its files",
            Fell::SaveSealed => "in a save, with all checksums, before the rename",
            Fell::SaveRenamed => "after the rename, before it was told",
            Fell::Rotating => "in the rotation",
            Fell::Ending => "after the last save",
            Fell::NotTheEngine => "on a program that trains nothing",
        }
    }
}

/// The runs below `output`, oldest first.
pub fn runs(output: &Path) -> Vec<PathBuf> {
    let mut runs: Vec<PathBuf> =
        fs::read_dir(output.join("qwen-1_8b")).into_iter().flatten().flatten().map(|e| e.path()).collect();
    let number = |run: &PathBuf| -> Option<u32> {
        run.file_name()?.to_str()?.strip_prefix('v')?.split('-').next()?.parse().ok()
    };
    runs.sort_by_key(number);
    runs
}

/// The events of a run, each of which can be read, counted from 1 without a gap. None yet is no fault.
#[track_caller]
pub fn events(run: &Path) -> Vec<Event> {
    let Ok(all) = replay::<Event>(&run.join("events.jsonl")) else { return Vec::new() };
    assert_eq!(all.skipped, 0, "a line of the event log cannot be read");
    assert!(all.records.iter().zip(1..).all(|(r, n)| r.seq == n), "seq counts from 1");
    all.records.into_iter().map(|r| r.event).collect()
}

/// Of the newest worker of a run. It may be beginning just now: a torn last line that it cuts off meanwhile is read as
/// nonsense.
pub fn worker_pid(run: &Path) -> Option<u32> {
    let all = replay::<Event>(&run.join("events.jsonl")).ok()?.records;
    all.iter().rev().find_map(|r| if let Event::Started { pid, .. } = r.event { Some(pid) } else { None })
}

/// What lies on the disk after a kill.
#[derive(Debug, Default)]
pub struct Found {
    run: Option<PathBuf>,
    /// The step of the newest whole checkpoint.
    pub newest: Option<u64>,
    /// Events so far, and those since the look before.
    told: usize,
    new: Vec<Event>,
    /// Names of hidden directories, and files in them.
    hidden: Vec<(String, Vec<String>)>,
    /// Logs whose last line is torn.
    pub torn: u32,
}

impl Found {
    /// Looks at all of it. Whatever cannot be read fails the test.
    #[track_caller]
    pub fn look(&self, output: &Path) -> Found {
        let mut found = Found::default();
        let Some(run) = runs(output).pop() else { return found };
        let all = events(&run);
        let before = if self.run.as_ref() == Some(&run) { self.told } else { 0 };
        found.new = all[before..].to_vec();
        found.told = all.len();
        // Whoever began in between began from the newest checkpoint of before.
        let starts = found.new.iter().filter_map(|e| match e {
            Event::Started { step, .. } => Some(*step),
            _ => None,
        });
        for step in starts {
            assert_eq!(
                step,
                self.newest.unwrap_or(0),
                "it went on from another than the newest whole checkpoint"
            );
        }
        let whole = list_checkpoints_in(&run);
        for checkpoint in &whole {
            assert!(checkpoint.checksums, "{} has no checksums", checkpoint.path.display());
            verify_checkpoint(&checkpoint.path).unwrap();
        }
        for entry in fs::read_dir(&run).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if let Some(step) = step_of(&name) {
                assert!(whole.iter().any(|c| c.step == step), "{name} has its name and is not whole");
            } else if name.starts_with('.') {
                found.hidden.push((name, files(&entry.path())));
            }
        }
        for (log, text) in ["events.jsonl", "logging.jsonl"].map(|log| (log, fs::read(run.join(log)).ok())) {
            let text = text.unwrap_or_default();
            let end = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            found.torn += u32::from(end < text.len());
            for line in text[..end].split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                assert!(
                    serde_json::from_slice::<Value>(line).is_ok(),
                    "{log}: {}",
                    String::from_utf8_lossy(line)
                );
            }
        }
        found.newest = whole.last().map(|c| c.step);
        found.run = Some(run);
        found
    }

    /// What `sft` said that it goes on with is what lay there, where it came so far as to say it.
    #[track_caller]
    pub fn is_gone_on_with(&self, said: &str) {
        let (Some(run), Some(line)) = (&self.run, said.lines().find(|l| l.starts_with("going on from ")))
        else {
            assert!(self.newest.is_none() || !said.contains("starting from the beginning"), "{said}");
            return;
        };
        let newest = self.newest.map(|step| run.join(format!("checkpoint-{step}")).display().to_string());
        assert_eq!(line.strip_prefix("going on from "), newest.as_deref(), "{said}");
        assert!(!said.contains("is not whole"), "{said}");
    }

    /// What the engine was at.
    pub fn fell(&self) -> Fell {
        let Some(started) = self.new.iter().rposition(|e| matches!(e, Event::Started { .. })) else {
            // One that goes on after a look in between has said so before.
            return if self.new.is_empty() { Fell::Starting } else { self.doing(&self.new) };
        };
        self.doing(&self.new[started..])
    }

    fn doing(&self, events: &[Event]) -> Fell {
        let hidden = |state: &str| self.hidden.iter().find(|(name, _)| name.contains(state));
        let last =
            events.iter().rev().find(|e| !matches!(e, Event::Resources { .. } | Event::Warning { .. }));
        let saving = match last {
            Some(Event::Stage { stage: Stage::Saving }) => true,
            Some(Event::Finished { .. }) => return Fell::Ending,
            Some(
                Event::Eval { .. } | Event::EvalProgress { .. } | Event::Stage { stage: Stage::Evaluating },
            ) => {
                return Fell::Evaluating;
            }
            Some(Event::Step { .. } | Event::Log { .. } | Event::Checkpoint { .. }) => false,
            Some(Event::CheckpointRemoved { .. } | Event::Stage { stage: Stage::Training }) => false,
            _ => return Fell::Loading,
        };
        let step = events.iter().rev().find_map(|e| match e {
            Event::Step { step, .. } | Event::Started { step, .. } => Some(*step),
            _ => None,
        });
        if hidden(".rm-").is_some() {
            return Fell::Rotating;
        }
        match (saving, hidden(".tmp-")) {
            (true, Some((_, files))) if files.is_empty() => Fell::SaveBegun,
            (true, Some((_, files))) if files.iter().any(|f| f == "checksums.json") => Fell::SaveSealed,
            (true, Some(_)) => Fell::SaveHalf,
            (true, None) if self.newest == step => Fell::SaveRenamed,
            (true, None) => Fell::SaveBegun,
            (false, _) if step == Some(super::STEPS) && self.newest == step => Fell::Ending,
            (false, _) => Fell::Training,
        }
    }
}

fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    names.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}
