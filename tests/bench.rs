//! `qwen-tui new-model` and `qwen-tui bench`, on models that take a moment.

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use common::{Bench, PROGRAM, hear_hang_up};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A benchmark of two steps of four rows.
const QUICK: [&str; 19] = [
    "bench",
    "--shape",
    "tiny",
    "--device",
    "cpu",
    "--threads",
    "1",
    "--warmup",
    "1",
    "--rounds",
    "1",
    "--steps",
    "1",
    "--accumulation",
    "4",
    "--validation",
    "4",
    "--texts",
    "3",
];

/// Stands for a Python with the packages: it has none of them missing, and answers as the script does.
const PEER: &str = r#"#!/bin/sh
[ "$1" = -c ] && exit 0
echo '{"ready": true, "model": "none"}'
while read -r command n; do
    case $command in
        steps) echo "{\"steps\": $n, \"seconds\": 1000.0}" ;;
        evaluate) echo '{"rows": 4, "seconds": 2.0}' ;;
        classify) echo '{"seconds": [1.0, 3.0, 2.0]}' ;;
        memory) echo '{"rss": 12345}' ;;
        end) exit 0 ;;
    esac
done
"#;

fn quick(bench: &Bench, more: &[&str]) -> common::Ended {
    bench.words(&[&QUICK[..], more].concat())
}

#[test]
fn a_benchmark_sets_the_same_gradient_side_by_side() {
    let bench = Bench::new();
    let peer = bench.write("python", PEER);
    std::fs::set_permissions(&peer, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ended = quick(&bench, &["--json", "--peers", &peer]);
    let report: Value = serde_json::from_str(ended.ok()).unwrap();
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);

    assert!(number("/apart/loss") < 1e-5 && number("/apart/grad_norm") < 1e-5, "{report}");
    assert!(
        number("/candidates/0/first_grad_norm") > 1e-3,
        "a gradient that is nothing proves nothing: {report}"
    );
    for candidate in 0..3 {
        let of = |key: &str| number(&format!("/candidates/{candidate}/{key}"));
        for key in
            ["step_seconds", "tokens_per_second", "eval_rows_per_second", "classify_p50", "peak_memory"]
        {
            assert!(of(key) > 0.0, "{key} of {candidate}: {report}");
        }
        assert!((of("rows_per_second") * of("step_seconds") - 4.0).abs() < 1e-6, "{report}");
        assert!(of("classify_p99") >= of("classify_p50"), "{report}");
    }
    assert_eq!((number("/candidates/2/step_seconds"), number("/candidates/2/classify_p50")), (1000.0, 2.0));
    let ratio = number("/times_faster/1/1") * number("/candidates/0/step_seconds");
    assert!((ratio - 1000.0).abs() < 1e-6, "{report}");

    let floor = ["total_operations", "rate", "seconds", "products_seconds", "ours_over_seconds"];
    assert!(floor.iter().all(|key| number(&format!("/floor/{key}")) > 0.0), "{report}");
    // Two blocks of hidden 64 and MLP 128 in fp32, and some 4,224 rows of 64, twice.
    assert_eq!(number("/load/bytes"), 4.0 * number("/task/parameters"));
    assert_eq!(number("/task/parameters"), 623_296.0);
}

#[test]
fn for_people_and_for_the_script() {
    let bench = Bench::new();
    let ended = quick(&bench, &["--without", "load,floor,literal", "--lengths", "40"]);
    let text = ended.ok();
    assert!(text.contains("160 tokens a step") && text.contains("a label, median"), "{text}");
    assert!(!text.contains("row by row") && !text.contains("floor:"), "{text}");

    quick(&bench, &["--job", "job.json"]).ok();
    let job: Value = serde_json::from_slice(&std::fs::read(bench.path("job.json")).unwrap()).unwrap();
    let rows = job["steps"][1].as_array().unwrap();
    assert_eq!((job["steps"].as_array().unwrap().len(), rows.len()), (2, 4));
    assert_eq!((job["lora_rank"].as_u64(), job["max_grad_norm"].as_f64()), (Some(8), Some(0.5)));
    let labels = rows[0]["labels"].as_array().unwrap();
    assert_eq!(labels.iter().filter(|label| label.as_i64() != Some(-100)).count(), 2);
}

#[test]
fn what_cannot_be_timed_is_refused() {
    let bench = Bench::new();
    quick(&bench, &["--lengths", "9-3"]).failed(2, &["--lengths", "30-110"]);
    quick(&bench, &["--lengths", "5"]).refused(&["5 tokens"]);
    quick(&bench, &["--rows-file", "nothing.csv"]).refused(&["nothing.csv"]);
    let few = bench.write("few.jsonl", "{\"query\": \"很好\", \"response\": \"positive\"}\n".repeat(3));
    quick(&bench, &["--rows-file", &few]).refused(&["few.jsonl: 3 rows", "--accumulation"]);
    quick(&bench, &["--model", "nothing"]).refused(&["nothing", "no such model directory"]);
    quick(&bench, &["--dtype", "fp8"]).refused(&["--dtype", "\"fp8\""]);
    quick(&bench, &["--peers", "nothing"]).refused(&["--peers nothing"]);
    let peer = bench.write("python", "#!/bin/sh\necho torch peft\n");
    std::fs::set_permissions(&peer, std::fs::Permissions::from_mode(0o755)).unwrap();
    quick(&bench, &["--peers", &peer]).refused(&["has no torch, peft"]);
}

#[test]
fn a_shape_makes_a_model_that_trains() {
    let bench = Bench::new();
    bench.words(&["new-model", "--shape", "tiny", "--out", "tiny", "--layers", "1", "--dtype", "bf16"]).ok();
    let config: Value =
        serde_json::from_slice(&std::fs::read(bench.path("tiny/config.json")).unwrap()).unwrap();
    assert_eq!(
        (config["num_hidden_layers"].as_i64(), config["intermediate_size"].as_i64()),
        (Some(1), Some(256))
    );
    assert_eq!(config["bf16"], true);
    bench
        .words(&["new-model", "--shape", "tiny", "--out", "tiny"])
        .refused(&["tiny", "holds a model already"]);
    bench.words(&["new-model", "--shape", "huge", "--out", "x"]).failed(2, &["--shape", "qwen-1_8b"]);
    quick(&bench, &["--model", "tiny", "--without", "load,floor,literal"]).ok();
}

/// Nothing is left of a benchmark that is ended: no process, and no folder.
#[test]
fn a_signal_ends_all_of_it() {
    hear_hang_up();
    let bench = Bench::new();
    let mut words = QUICK;
    let rounds = words.iter().position(|word| *word == "--rounds").unwrap();
    words[rounds + 1] = "2000";
    for (signal, status) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let folder = bench.path(&format!("temporary-{status}"));
        std::fs::create_dir(&folder).unwrap();
        let mut child = Command::new(PROGRAM)
            .args(words)
            .env("TMPDIR", &folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut words = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(words.any(|line| line.contains("round 3 of")));
        kill_process(Pid::from_child(&child), signal).unwrap();
        // The pipe is at its end when the last process has gone.
        let last: Vec<String> = words.filter(|line| !line.contains("round")).collect();
        assert_eq!(child.wait().unwrap().code(), Some(status), "{last:?}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }
}
