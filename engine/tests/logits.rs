//! `qwen-tui-engine logits` and `encode`, which other programs are compared with (`tests/interop`, docs/python.md).

mod common;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use qwen_tui_engine::model::{Mode, Packed, Qwen, QwenConfig, weights};
use tch::{Device, Kind};

use common::{SMALL, one_thread, write_model, write_vocabulary};

fn engine(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_qwen-tui-engine"))
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A child that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn bench() -> tempfile::TempDir {
    one_thread();
    let dir = tempfile::tempdir().unwrap();
    write_vocabulary(&dir.path().join("vocabulary"), &["很好"]);
    write_model(&dir.path().join("model"), SMALL, &dir.path().join("vocabulary"));
    dir
}

const ASK: [&str; 11] = [
    "logits",
    "--out",
    "out.safetensors",
    "--model_type",
    "qwen-1_8b",
    "--model_id_or_path",
    "model",
    "--dtype",
    "fp32",
    "--device",
    "cpu",
];

#[test]
fn each_row_has_the_logits_it_has_alone() {
    let dir = bench();
    let done = engine(dir.path(), &ASK, "[5, 6, 7]\n[8]\n");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let found = common::tensors(&dir.path().join("out.safetensors"));
    let model = dir.path().join("model");
    let config = QwenConfig::load(&model).unwrap();
    let base = weights::load(&model, &config, Kind::Float, Device::Cpu).unwrap();
    let model = Qwen::assemble(&config, &base, &Default::default(), Default::default());
    for (name, ids) in [("0", &[5u32, 6, 7][..]), ("1", &[8])] {
        let batch = Packed::new(&[ids], 0, Device::Cpu);
        let expected = model.logits(&model.final_norm(&model.hidden(&batch, &Mode::default())));
        assert_eq!(found[name].size(), [ids.len() as i64, SMALL.vocab]);
        assert!(found[name].allclose(&expected, 1e-6, 1e-6, false), "row {name}");
    }
}

#[test]
fn what_is_no_row_of_ids_is_named_by_its_line() {
    let dir = bench();
    for (input, words) in
        [("[1]\n[512]\n", "line 2: 512 is no token"), ("[1]\nnine\n", "line 2: expected"), ("", "no row")]
    {
        let done = engine(dir.path(), &ASK, input);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(2) && said.contains(words), "{input:?}: {said}");
        assert!(!dir.path().join("out.safetensors").exists());
    }
}

#[test]
fn a_file_that_is_there_stays_as_it_is() {
    let dir = bench();
    let weights = dir.path().join("model/model.safetensors");
    let before = std::fs::read(&weights).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
    for out in ["model/model.safetensors", "model", "link"] {
        let mut ask = ASK;
        ask[2] = out;
        let done = engine(dir.path(), &ask, "[5]\n");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(2) && said.contains("is there already"), "{out}: {said}");
    }
    assert_eq!(std::fs::read(&weights).unwrap(), before);
    assert!(!dir.path().join("nowhere").exists());
}

#[test]
fn a_row_is_shown_as_the_template_writes_it() {
    let dir = bench();
    std::fs::write(dir.path().join("rows.jsonl"), "{\"query\": \"ab\", \"response\": \"c\"}\n").unwrap();
    let ask = |template: &str| {
        engine(dir.path(), &["encode", "--model", "model", "--template", template, "rows.jsonl"], "")
    };
    let done = ask("default-generation");
    let row: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let ids = row["ids"].as_array().unwrap();
    // The vocabulary begins with the bytes.
    assert_eq!(ids[..3], [97, 98, 99].map(serde_json::Value::from));
    assert_eq!(row["labels"], serde_json::json!([-100, -100, 99, ids[3]]));
    let refused = ask("default-generation-bos");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no token for the beginning"));
}
