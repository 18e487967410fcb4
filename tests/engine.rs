//! The engine's own subcommands that make model directories, and what it tells of itself.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{Bench, Ended};

fn engine(bench: &Bench, words: &[&str]) -> Ended {
    let path = Path::new(common::PROGRAM).with_file_name("qwen-tui-engine");
    let Output { status, stdout, stderr } =
        Command::new(path).args(words).current_dir(bench.path("")).stdin(Stdio::null()).output().unwrap();
    Ended {
        command: words.join(" "),
        code: status.code(),
        signal: None,
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
        seconds: 0.0,
    }
}

/// The files of a directory.
fn content(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(dir).unwrap().flatten();
    files
        .map(|f| (f.file_name().to_string_lossy().into_owned(), fs::read(f.path()).unwrap_or_default()))
        .collect()
}

#[test]
fn convert_harms_no_model() {
    let bench = Bench::new();
    let model = content(&bench.path("model"));
    let here = bench.path("model").display().to_string();
    std::os::unix::fs::symlink("model", bench.path("link")).unwrap();
    for out in ["model", "model/../model", "link", &here] {
        engine(&bench, &["convert", "--model", "model", "--out", out]).refused(&["holds a model already"]);
    }
    engine(&bench, &["convert", "--model", "model", "--out", "."]).refused(&["no empty directory"]);
    engine(&bench, &["convert", "--model", "model", "--out", "x", "--dtype", "int3"])
        .refused(&["--dtype", "\"int3\"", "bf16"]);
    assert_eq!(content(&bench.path("model")), model);
    assert!(!bench.path("x").exists());

    fs::create_dir(bench.path("empty")).unwrap();
    for out in ["empty", "new/deep"] {
        engine(&bench, &["convert", "--model", "model", "--out", out, "--dtype", "fp32"]).ok();
        let made = content(&bench.path(out));
        assert_eq!(made["config.json"], model["config.json"]);
        assert_eq!(made.keys().collect::<Vec<_>>(), ["config.json", "model.safetensors", "qwen.tiktoken"]);
    }
    assert_eq!(content(&bench.path("new")).len(), 1, "nothing half-made stays");
}

#[test]
fn a_new_model_stands_whole_or_not_at_all() {
    let bench = Bench::new();
    let make = |more: &[&str]| {
        let words = ["new-model", "--out", "made", "--tokenizer", "model/qwen.tiktoken", "--hidden", "24"];
        engine(&bench, &[&words[..], more].concat())
    };
    let before = content(&bench.path(""));
    make(&["--heads", "5"]).refused(&["num_attention_heads"]);
    make(&["--vocab", "3"]).refused(&["--vocab 3"]);
    make(&["--dtype", "fp8"]).refused(&["--dtype", "\"fp8\""]);
    make(&["--tokenizer", "rows.jsonl"]).refused(&[]);
    assert_eq!(content(&bench.path("")), before);
    let made = ["--heads", "3", "--layers", "1", "--mlp", "16"];
    make(&made).ok();
    assert_eq!(content(&bench.path("made")).len(), 4);
    make(&made).refused(&["made", "holds a model already"]);
}

#[test]
fn info_is_for_people_or_for_programs() {
    let bench = Bench::new();
    let json: serde_json::Value = serde_json::from_str(engine(&bench, &["info", "--json"]).ok()).unwrap();
    let libtorch = json["libtorch"].as_str().unwrap();
    assert!(libtorch.starts_with("2."), "{json}");
    let text = engine(&bench, &["info"]);
    assert!(
        text.ok().contains(&format!("libtorch {libtorch}")) && text.stdout.contains("\ncpu: "),
        "{}",
        text.stdout
    );
}
