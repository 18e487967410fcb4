//! The fuzz targets without libFuzzer: each gets its corpus (`fuzz/corpus/`), and some thousand damaged copies of it from
//! a fixed seed. `make fuzz` has the long runs.

#[path = "../fuzz/src/lib.rs"]
mod targets;

mod common;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use common::vocabulary;
use qwen_tui::data::Tokenizer;
use rand_mt::Mt;

/// Damaged copies that a target gets.
const COPIES: usize = 3000;

/// What numbers and names in a file become.
const NASTY: [&str; 24] = [
    "",
    "0",
    "-1",
    "1e999",
    "-0.0",
    "4611686018427387904",
    "18446744073709551616",
    "NaN",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"\\ud800\"",
    "\"\u{0}\"",
    "[[[[[[[[",
    "}}}}",
    ",,",
    "\u{feff}",
    "\r\n",
    "\"",
    "\\",
    "../..",
    "<|endoftext|>",
];

fn below(mt: &mut Mt, n: usize) -> usize {
    mt.next_u32() as usize % n.max(1)
}

/// `original` with one to four pieces cut, doubled, overwritten or replaced.
fn damaged(original: &[u8], mt: &mut Mt) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..1 + below(mt, 4) {
        let at = below(mt, bytes.len() + 1);
        let end = (at + 1 + below(mt, 12)).min(bytes.len());
        match below(mt, 7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes[at..end].iter_mut().for_each(|b| *b = mt.next_u32() as u8),
            3 => drop(bytes.splice(at..end, NASTY[below(mt, NASTY.len())].bytes())),
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => {
                // The value after a colon.
                let colons: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i] == b':').collect();
                if !colons.is_empty() {
                    let from = colons[below(mt, colons.len())] + 1;
                    let to = bytes[from..]
                        .iter()
                        .position(|b| b",}\n".contains(b))
                        .map_or(bytes.len(), |n| from + n);
                    bytes.splice(from..to, NASTY[below(mt, NASTY.len())].bytes());
                }
            }
            _ => bytes = (0..below(mt, 200)).map(|_| mt.next_u32() as u8).collect(),
        }
    }
    bytes
}

/// Gives a target its corpus and damaged copies of it. What it panics at is kept beside the build.
fn fuzz(name: &str, copies: usize) {
    let (_, run) = targets::TARGETS.into_iter().find(|(target, _)| *target == name).unwrap();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 20, "{} has {} files", corpus.display(), files.len());
    let give = |bytes: &[u8], what: &str| {
        if catch_unwind(AssertUnwindSafe(|| run(bytes))).is_err() {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
            fs::write(&kept, bytes).unwrap();
            panic!("{name} panics at {what}, which is kept as {}", kept.display());
        }
    };
    for file in &files {
        give(&fs::read(file).unwrap(), &file.display().to_string());
    }
    let mut mt = Mt::new(17);
    for n in 0..copies {
        let file = &files[n % files.len()];
        give(&damaged(&fs::read(file).unwrap(), &mut mt), &format!("copy {n}, of {}", file.display()));
    }
}

#[test]
fn every_target_is_tried() {
    let tried = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz.rs")).unwrap();
    for (name, _) in targets::TARGETS {
        assert!(tried.contains(&format!("fuzz(\"{name}\", ")), "{name}");
    }
}

#[test]
fn arguments() {
    fuzz("arguments", COPIES);
}

#[test]
fn checkpoints() {
    fuzz("checkpoint", COPIES);
}

#[test]
fn data_files() {
    fuzz("dataset", COPIES);
}

#[test]
fn logs() {
    fuzz("event_log", COPIES);
}

#[test]
fn configs_of_models() {
    fuzz("model_config", COPIES);
}

#[test]
fn weights() {
    fuzz("safetensors", COPIES);
}

#[test]
fn sockets() {
    fuzz("socket", COPIES);
}

#[test]
fn vocabularies_and_texts() {
    fuzz("tokenizer", 1000);
}

/// Long runs of one kind are what patterns with backtracking stumble over.
#[test]
fn long_texts() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("qwen.tiktoken"), vocabulary().join("\n")).unwrap();
    let tokenizer = Tokenizer::load(dir.path()).unwrap();
    for piece in [" ", "\n", " \n", "a", "的", "'", "1", "\u{301}", "<|", "\t \u{3000}"] {
        let text = piece.repeat(100_000 / piece.len());
        let began = std::time::Instant::now();
        let ids = tokenizer.encode(&text);
        assert!(!ids.is_empty() && began.elapsed().as_secs() < 30, "{piece:?} took {:?}", began.elapsed());
    }
}
