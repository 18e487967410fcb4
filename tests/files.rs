//! The files that a run of the built programs leaves for SWIFT's users and other programs.

mod common;
#[path = "common/tfevents.rs"]
mod tfevents;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Bench, Ended};
use qwen_tui::args::{SftArgs, load_sft};
use qwen_tui::job::event::Event;
use qwen_tui::job::remove::remove;
use qwen_tui::job::runs::worker_alive;
use qwen_tui::run::read_events;
use rustix::process::Signal;
use serde_json::{Value, json};
use tfevents::{What, events, files, scalars};

/// A short run with evaluations.
const FLAGS: [&str; 10] = [
    "--max_steps",
    "12",
    "--eval_steps",
    "4",
    "--gradient_accumulation_steps",
    "4",
    "--dataset_test_ratio",
    "0.1",
    "--logging_steps",
    "2",
];

fn sft(bench: &Bench, more: &[&str]) -> Ended {
    bench.sft(&[&FLAGS[..], more].concat())
}

#[track_caller]
fn run_dir(ended: &Ended) -> PathBuf {
    ended.ok().lines().find_map(|l| l.strip_prefix("run_dir: ")).unwrap().into()
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    files(dir).iter().map(|f| f.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

/// `logging.jsonl` under TensorBoard's tags.
fn logged(run: &Path) -> BTreeMap<String, Vec<(u64, f64)>> {
    let mut tags: BTreeMap<String, Vec<(u64, f64)>> = BTreeMap::new();
    for line in fs::read_to_string(run.join("logging.jsonl")).unwrap().lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        for (key, x) in entry.as_object().unwrap().iter().filter(|(key, _)| *key != "global_step") {
            let tag = match key.strip_prefix("eval_") {
                Some(rest) => format!("eval/{rest}"),
                None => format!("train/{key}"),
            };
            let step = entry["global_step"].as_u64().unwrap();
            tags.entry(tag).or_default().push((step, x.as_f64().unwrap_or(f64::NAN)));
        }
    }
    tags
}

/// Every figure of the log is in the event files of `dir`, and no other.
#[track_caller]
fn tells_what_was_logged(run: &Path, dir: &Path) {
    let (found, wanted) = (scalars(dir), logged(run));
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (tag, wanted) in wanted {
        let found = &found[&tag];
        let steps: (Vec<u64>, Vec<u64>) =
            (found.iter().map(|p| p.0).collect(), wanted.iter().map(|p| p.0).collect());
        assert_eq!(steps.0, steps.1, "{tag}");
        for ((step, x), (_, y)) in found.iter().zip(&wanted) {
            // The log has 8 decimals, a scalar 24 bits.
            let close = (f64::from(*x) - y).abs() <= 0.5e-8 + y.abs() * 2f64.powi(-24);
            assert!(close || (x.is_nan() && y.is_nan()), "{tag} at {step}: {x} {y}");
        }
    }
}

/// The check that uses TensorBoard itself, where a Python has it.
#[track_caller]
fn tensorboard_agrees(run: &Path, dir: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let has = |python: &PathBuf| {
        let import = Command::new(python).args(["-c", "import tensorboard"]).output();
        import.is_ok_and(|out| out.status.success())
    };
    let named = std::env::var_os("QWEN_TUI_PYTHON").map(PathBuf::from);
    let venvs = fs::read_dir(root.join(".cache")).into_iter().flatten().flatten();
    let venvs = venvs.flat_map(|e| [e.path().join("bin/python3"), e.path().join("venv/bin/python3")]);
    let Some(python) = named.into_iter().chain(venvs).chain(["python3".into()]).find(has) else {
        eprintln!("skipped: no python3 with the package tensorboard (QWEN_TUI_PYTHON names another)");
        return;
    };
    let script = root.join("tests/interop/tensorboard_check.py");
    let out = Command::new(python).arg(script).arg(run).arg(dir).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("\nagree: "), "{said}");
}

#[test]
fn a_run_leaves_swifts_files() {
    let bench = Bench::new();
    let own = r#"{"chat_format": "raw", "top_p": 0.8, "transformers_version": "4.31.0"}"#;
    bench.write("model/generation_config.json", own);
    bench.write("model/tokenization_qwen.py", "# the tokenizer");
    bench.write("model/modeling_qwen.py", "# the model");
    let run = run_dir(&sft(&bench, &[]));
    tells_what_was_logged(&run, &run.join("runs"));
    tensorboard_agrees(&run, &run.join("runs"));

    // One plot a tag, by SWIFT's names.
    let mut plots: Vec<_> = logged(&run).keys().map(|tag| format!("{}.png", tag.replace('/', "_"))).collect();
    plots.sort();
    assert_eq!(names(&run.join("images")), plots);
    for name in
        ["train_loss.png", "train_acc.png", "train_learning_rate.png", "eval_loss.png", "eval_acc.png"]
    {
        assert!(fs::read(run.join("images").join(name)).unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));
    }

    let training = read(&run.join("training_args.json"));
    for (key, value) in [
        ("output_dir", json!(run)),
        ("logging_dir", json!(run.join("runs"))),
        ("max_steps", json!(12)),
        ("eval_steps", json!(4)),
        ("gradient_accumulation_steps", json!(4)),
        ("evaluation_strategy", json!("steps")),
        ("report_to", json!(["tensorboard"])),
        ("bf16", json!(false)),
    ] {
        assert_eq!(training[key], value, "{key}");
    }
    let [file] = &files(&run.join("runs"))[..] else { panic!() };
    let texts: Vec<_> = events(&fs::read(file).unwrap())
        .into_iter()
        .filter_map(|(_, what)| if let What::Text(tag, text) = what { Some((tag, text)) } else { None })
        .collect();
    assert_eq!(
        (texts[0].0.as_str(), texts[1].0.as_str()),
        ("args/text_summary", "model_config/text_summary")
    );
    assert_eq!(serde_json::from_str::<Value>(&texts[0].1).unwrap(), training);
    assert_eq!(serde_json::from_str::<Value>(&texts[1].1).unwrap(), common::config());

    let checkpoint = run.join("checkpoint-12");
    let wanted = [
        "checksums.json",
        "configuration.json",
        "default",
        "generation_config.json",
        "optimizer.safetensors",
        "qwen.tiktoken",
        "resume.json",
        "sft_args.json",
        "tokenization_qwen.py",
        "trainer_state.json",
    ];
    assert_eq!(names(&checkpoint), wanted);
    assert_eq!(
        read(&checkpoint.join("generation_config.json")),
        json!({
            "chat_format": "raw", "do_sample": true, "eos_token_id": 256, "max_new_tokens": 2048,
            "pad_token_id": 256, "temperature": 0.3, "top_k": 20, "top_p": 0.7,
        })
    );
    // The arguments of run and checkpoint are the same, and load as a config.
    assert_eq!(read(&checkpoint.join("sft_args.json")), read(&run.join("sft_args.json")));
    for place in [&run, &checkpoint] {
        let loaded = load_sft(Some(&place.join("sft_args.json")), &[]).unwrap();
        assert_eq!(loaded.warnings, Vec::<String>::new());
        assert_eq!(loaded.args, SftArgs::from_run_dir(&run).unwrap());
    }
    // trainer_state.json: transformers' keys, and the log up to there.
    let state = read(&checkpoint.join("trainer_state.json"));
    assert_eq!((&state["global_step"], &state["max_steps"]), (&json!(12), &json!(12)));
    let log = fs::read_to_string(run.join("logging.jsonl")).unwrap();
    assert_eq!(state["log_history"].as_array().unwrap().len() + 1, log.lines().count());

    // Nothing of it keeps the run from being deleted.
    let out = fs::canonicalize(bench.path("out")).unwrap();
    assert!(remove(&fs::canonicalize(&run).unwrap(), &out).unwrap() > 100_000);
    assert!(!run.exists());
}

#[test]
fn a_checkpoint_of_full_training_is_a_model_with_its_tokenizer() {
    let bench = Bench::new();
    for file in ["tokenization_qwen.py", "modeling_qwen.py", "special_tokens_map.json"] {
        bench.write(&format!("model/{file}"), "{}");
    }
    let checkpoint = run_dir(&sft(&bench, &["--sft_type", "full"])).join("checkpoint-12");
    let wanted = [
        "checksums.json",
        "config.json",
        "configuration.json",
        "generation_config.json",
        "model.safetensors",
        "modeling_qwen.py",
        "qwen.tiktoken",
        "sft_args.json",
        "special_tokens_map.json",
        "tokenization_qwen.py",
        "trainer_state.json",
    ];
    assert_eq!(names(&checkpoint), wanted);
}

/// Killed, stopped, gone back: each time a new file, and in the end TensorBoard has what the log has.
#[test]
fn who_goes_on_tells_no_step_twice() {
    let bench = Bench::new();
    let last = ["--resume_from_checkpoint", "last", "--save_total_limit", "-1", "--max_steps", "240"];
    let words = bench.sft_words(&[&FLAGS[..], &last].concat());
    let out = bench.path("out/qwen-1_8b");
    let run = || fs::read_dir(&out).ok()?.next().map(|e| e.unwrap().path());
    let steps = || {
        let log = run().map(|run| read_events::<Event>(&run.join("events.jsonl")).unwrap_or_default());
        log.into_iter().flatten().filter(|r| matches!(r.event, Event::Step { .. })).count()
    };
    // Killed in the middle of it, and told to stop.
    for (signal, more) in [(Signal::KILL, 30), (Signal::INT, 15)] {
        let mut started = bench.start(&words, "");
        let (began, wanted) = (Instant::now(), steps() + more);
        while steps() < wanted {
            if started.child.try_wait().unwrap().is_some() {
                panic!("it ended before its time: {:?}", started.wait());
            }
            assert!(began.elapsed() < Duration::from_secs(100), "{} of {wanted} steps", steps());
            std::thread::sleep(Duration::from_millis(2));
        }
        started.signal_group(signal);
        started.wait();
        let run = run().unwrap();
        while worker_alive(&run) {
            assert!(began.elapsed() < Duration::from_secs(100), "the worker stays");
            std::thread::sleep(Duration::from_millis(5));
        }
        // What the killed one logged is there, but for the line at hand.
        let (found, wanted) = (scalars(&run.join("runs")), logged(&run));
        let (found, wanted) = (&found["train/loss"], &wanted["train/loss"]);
        assert!(found.len() + 1 >= wanted.len() && wanted.len() + 1 >= found.len());
    }
    let run = run().unwrap();
    let before = files(&run.join("runs"));
    assert_eq!(before.len(), 2);
    tells_what_was_logged(&run, &run.join("runs"));
    // Gone back to an earlier step, with a file torn as by a power cut.
    let cut = fs::read(&before[1]).unwrap();
    fs::write(&before[1], &cut[..cut.len() - 5]).unwrap();
    let checkpoint = run.join("checkpoint-8").display().to_string();
    let flags = ["--resume_from_checkpoint", &checkpoint, "--save_total_limit", "-1", "--max_steps", "240"];
    let ended = sft(&bench, &flags);
    assert_eq!(run_dir(&ended), run);
    fs::write(&before[1], cut).unwrap();
    assert_eq!(files(&run.join("runs")).len(), 3);
    tells_what_was_logged(&run, &run.join("runs"));
    tensorboard_agrees(&run, &run.join("runs"));
    assert_eq!(logged(&run)["train/train_loss"].len(), 1);
}

#[test]
fn reports_go_where_they_are_sent() {
    let bench = Bench::new();
    let run = run_dir(&sft(&bench, &["--report_to", "none"]));
    assert!(!run.join("runs").exists() && run.join("images/train_loss.png").is_file());
    assert_eq!(read(&run.join("training_args.json"))["report_to"], json!([]));

    let board = bench.path("boards/jd");
    let board_name = board.display().to_string();
    // By a path from the folder it is typed in.
    let run = run_dir(&sft(&bench, &["--logging_dir", "boards/jd"]));
    assert!(!run.join("runs").exists());
    tells_what_was_logged(&run, &board);
    assert_eq!(SftArgs::from_run_dir(&run).unwrap().logging_dir, Some(board_name));

    let refused = sft(&bench, &["--report_to", "wandb"]);
    refused.refused(&["report_to", "wandb", "tensorboard"]);
    sft(&bench, &["--logging_dir", "/proc/boards", "--output_dir", "new"])
        .refused(&["logging_dir", "/proc/boards"]);
    assert!(!bench.path("new").exists());
}

/// A file in the place of the plots' directory: the run ends well and says so.
#[test]
fn what_cannot_be_drawn_is_warned_of() {
    let bench = Bench::new();
    bench.write("mine/images", "");
    let flags = ["--output_dir", "mine", "--add_output_dir_suffix", "false"];
    let run = run_dir(&sft(&bench, &flags));
    let log = read_events::<Event>(&run.join("events.jsonl")).unwrap();
    let warned = log.iter().any(|r| match &r.event {
        Event::Warning { message } => message.contains("not all plots could be drawn"),
        _ => false,
    });
    assert!(warned && matches!(log.last().unwrap().event, Event::Finished { stopped: false, .. }));
}
