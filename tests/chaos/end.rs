//! Whether two finished runs have the same end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use qwen_tui::job::event::Event;
use serde_json::Value;

use super::STEPS;
use super::disk::events;

/// Figures of a run, bit by bit: what it was, its step, and the numbers.
type Figures = Vec<(&'static str, u64, Vec<u64>)>;

/// All that `run` ends with is what the undisturbed run `straight` ends with.
#[track_caller]
pub fn same(straight: &Path, run: &Path) {
    let (ours, theirs) = (figures(run), figures(straight));
    assert_eq!(ours, theirs, "the figures in the event log");
    let steps: Vec<u64> =
        ours.iter().filter(|(what, ..)| *what == "step").map(|(_, step, _)| *step).collect();
    assert_eq!(steps, (1..=STEPS).collect::<Vec<_>>(), "each step is there once");
    let (ours, theirs) = (left(run), left(straight));
    let names = |of: &BTreeMap<String, Vec<u8>>| of.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&ours), names(&theirs), "what lies in the run's directory");
    for name in
        ["optimizer.safetensors", "default/adapter_model.safetensors", "resume.json", "trainer_state.json"]
    {
        assert!(ours.contains_key(&format!("checkpoint-{STEPS}/{name}")), "{name} is not there");
    }
    for (name, bytes) in &ours {
        let text = |b: &[u8]| String::from_utf8_lossy(&b[..b.len().min(6000)]).into_owned();
        assert!(*bytes == theirs[name], "{name} differs:\n{}\n{}", text(bytes), text(&theirs[name]));
    }
}

/// Steps, lines of the log and evaluations of which the log says that they count.
fn figures(run: &Path) -> Figures {
    let mut figures = Figures::new();
    for event in events(run) {
        let (what, step, numbers) = match event {
            // What comes after is done again.
            Event::Started { step, .. } => {
                figures.retain(|(_, at, _)| *at <= step);
                continue;
            }
            Event::Step { step, epoch, loss, acc, learning_rate, grad_norm, .. } => {
                ("step", step, vec![epoch, loss, acc, learning_rate, grad_norm])
            }
            Event::Log { step, epoch, loss, acc, learning_rate, grad_norm } => {
                ("log", step, vec![epoch, loss, acc, learning_rate, grad_norm])
            }
            Event::Eval { step, epoch, loss, acc, .. } => ("eval", step, vec![epoch, loss, acc]),
            _ => continue,
        };
        figures.push((what, step, numbers.into_iter().map(f64::to_bits).collect()));
    }
    figures
}

/// What a run leaves for others to read, by path: the checkpoints, SWIFT's log, the arguments. Clock times, speeds and
/// the run's own place are made the same.
fn left(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    collect(run, run, &mut found);
    // The story of its workers; TensorBoard's and the worker's own files.
    found.retain(|name, _| {
        !["events.jsonl", "worker.", "runs/", "images/"].iter().any(|own| name.starts_with(own))
    });
    // Times again, and checksums of files with times in them.
    found.retain(|name, _| !name.ends_with("checksums.json"));
    found
}

fn collect(run: &Path, dir: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(run, &path, found);
            continue;
        }
        let name = path.strip_prefix(run).unwrap().to_str().unwrap().to_owned();
        let bytes = fs::read(&path).unwrap();
        let bytes = match path.extension().and_then(|e| e.to_str()) {
            Some("json" | "jsonl") => plain(run, &bytes),
            _ => bytes,
        };
        found.insert(name, bytes);
    }
}

/// A JSON file, or one of JSON lines, without what no two runs share.
fn plain(run: &Path, bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let output = run.parent().and_then(Path::parent).unwrap();
    let text = text.replace(run.to_str().unwrap(), "RUN").replace(output.to_str().unwrap(), "OUTPUT");
    let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    values.map(|value| format!("{}\n", timeless(value.unwrap()))).collect::<String>().into_bytes()
}

fn timeless(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.retain(|key, _| !(key.contains("runtime") || key.contains("per_second") || key == "seconds"));
            map.values_mut().for_each(|value| *value = timeless(value.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = timeless(item.take())),
        _ => {}
    }
    value
}
