//! Whole runs of the built programs on a small model: to the end, stopped, killed, and what comes after.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Bench, Started, rows, shared, write_rows};
use qwen_tui::args::{SftArgs, load_sft};
use qwen_tui::job::event::{Event, Stage};
use qwen_tui::run::{Record, RunDir, list_checkpoints, read_events, replay, verify_checkpoint};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A line of standard output such as `run_dir: PATH`.
#[track_caller]
fn told(stdout: &str, name: &str) -> PathBuf {
    let line = stdout.lines().find_map(|l| l.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {stdout:?}")).into()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn keys(line: &Value) -> Vec<&str> {
    line.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The events of a run, each of which could be read, counted from 1 without a gap.
#[track_caller]
fn events(run: &Path) -> Vec<Record<Event>> {
    let all = replay::<Event>(&run.join("events.jsonl")).unwrap();
    assert_eq!(all.skipped, 0);
    assert!(all.records.iter().zip(1..).all(|(r, n)| r.seq == n), "seq counts from 1");
    all.records
}

/// A run that no test waits for the end of, in the folder `run`; started and past its first step.
fn endless(bench: &Bench) -> (Started, PathBuf) {
    let words = bench.sft_words(&[
        "--output_dir",
        "run",
        "--add_output_dir_suffix",
        "false",
        "--max_steps",
        "10000000",
    ]);
    let run = bench.path("run");
    let started = bench.start(&words, "");
    let (began, log) = (Instant::now(), run.join("events.jsonl"));
    let stepped = || {
        let events = read_events::<Event>(&log).unwrap_or_default();
        events.iter().any(|r| matches!(r.event, Event::Step { .. }))
    };
    while !stepped() {
        assert!(began.elapsed() < Duration::from_secs(60), "no first step");
        std::thread::sleep(Duration::from_millis(20));
    }
    (started, run)
}

fn worker_pid(run: &Path) -> Pid {
    let pid = events(run).iter().find_map(|r| match r.event {
        Event::Started { pid, .. } => Pid::from_raw(pid as i32),
        _ => None,
    });
    pid.unwrap()
}

#[test]
fn from_rows_to_answers() {
    let bench = Bench::new();
    let sft = bench.sft(&[
        "--num_train_epochs",
        "3",
        "--gradient_accumulation_steps",
        "4",
        "--eval_steps",
        "5",
        "--logging_steps",
        "2",
        "--dataset_test_ratio",
        "0.1",
        "--learning_rate",
        "1e-2",
        "--lora_modules_to_save",
        "ln_f",
    ]);
    let stdout = sft.ok();
    // The last four lines are for scripts, and the only ones.
    let (run, last, best) =
        (told(stdout, "run_dir"), told(stdout, "last_checkpoint"), told(stdout, "best_checkpoint"));
    let expected = format!(
        "run_dir: {}\nlast_checkpoint: {}\nbest_checkpoint: {}\nstate: finished\n",
        run.display(),
        last.display(),
        best.display()
    );
    assert_eq!(stdout, expected);
    let name = run.file_name().unwrap().to_str().unwrap();
    assert!(run.starts_with(bench.path("out/qwen-1_8b")) && name.starts_with("v0-"), "{name}");
    assert!(sft.stderr.contains("finished at step 27"), "{}", sft.stderr);

    a_run_directory(&bench, &run, &last, &best);
    the_checkpoint_answers(&bench, &best);
}

/// 36 rows to train on, 4 to validate; 9 steps an epoch.
fn a_run_directory(bench: &Bench, run: &Path, last: &Path, best: &Path) {
    let loaded = load_sft(Some(&run.join("sft_args.json")), &[]).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let args = SftArgs::from_run_dir(run).unwrap();
    assert_eq!((args.gradient_accumulation_steps, args.num_train_epochs, args.save_steps), (4, 3, 5));
    assert_eq!(loaded.args, args);
    assert_eq!(args.output_dir, bench.path("out").display().to_string());

    let log = lines(&run.join("logging.jsonl"));
    let train: Vec<&Value> = log.iter().filter(|l| l.get("loss").is_some()).collect();
    let evals: Vec<&Value> = log.iter().filter(|l| l.get("eval_loss").is_some()).collect();
    for line in &train {
        assert_eq!(keys(line), ["loss", "acc", "learning_rate", "epoch", "global_step", "grad_norm"]);
    }
    for line in &evals {
        let speeds = ["eval_samples_per_second", "eval_steps_per_second"];
        let wanted =
            [&["eval_loss", "eval_acc", "eval_runtime"][..], &speeds, &["epoch", "global_step"]].concat();
        assert_eq!(keys(line), wanted);
    }
    let steps = |of: &[&Value]| of.iter().map(|l| l["global_step"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(steps(&train), [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26]);
    assert_eq!(steps(&evals), [5, 10, 15, 20, 25, 27]);
    let end = log.last().unwrap();
    assert_eq!((end["global_step"].as_u64(), log.len()), (Some(27), train.len() + evals.len() + 1));
    assert!(end["train_runtime"].is_number());
    // The mean over all steps, step 27 too, which has no line of its own.
    let losses: Vec<f64> = events(run)
        .iter()
        .filter_map(|r| if let Event::Step { loss, .. } = r.event { Some(loss) } else { None })
        .collect();
    let mean = losses.iter().sum::<f64>() / 27.0;
    assert!(losses.len() == 27 && (end["train_loss"].as_f64().unwrap() - mean).abs() < 1e-8, "{end} {mean}");
    let (first, late) = (train[0]["loss"].as_f64().unwrap(), train[13]["loss"].as_f64().unwrap());
    assert!(late < first, "the loss went from {first} to {late}");

    // The last checkpoint and the one of the lowest eval_loss stay; where they are one, the last but one.
    let losses: Vec<f64> = evals.iter().map(|l| l["eval_loss"].as_f64().unwrap()).collect();
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let at = steps(&evals)[losses.iter().position(|l| *l == least).unwrap()];
    assert_eq!(best, run.join(format!("checkpoint-{at}")));
    assert_eq!(last, run.join("checkpoint-27"));
    let kept: BTreeSet<u64> = list_checkpoints(&RunDir::open(run).unwrap()).iter().map(|c| c.step).collect();
    assert_eq!(kept, BTreeSet::from([27, if at == 27 { 25 } else { at }]));
    for checkpoint in [last, best] {
        verify_checkpoint(checkpoint).unwrap();
        let has = |file: &str| checkpoint.join(file).is_file();
        assert!(
            [
                "default/adapter_model.safetensors",
                "default/adapter_config.json",
                "trainer_state.json",
                "sft_args.json",
                "optimizer.safetensors",
                "configuration.json"
            ]
            .iter()
            .all(|f| has(f))
        );
    }

    let events = events(run);
    assert!(matches!(events[0].event, Event::Started { .. } | Event::Resources { .. }), "{:?}", events[0]);
    let Event::Finished { step: 27, stopped: false, last_checkpoint, best_checkpoint, best_metric, .. } =
        &events.last().unwrap().event
    else {
        panic!("{:?}", events.last());
    };
    assert_eq!(last_checkpoint.as_deref(), Some("checkpoint-27"));
    assert_eq!(*best_checkpoint, Some(format!("checkpoint-{at}")));
    assert!((best_metric.unwrap() - least).abs() < 1e-7);
    let of = |wanted: fn(&Event) -> bool| events.iter().filter(|r| wanted(&r.event)).count();
    assert_eq!(of(|e| matches!(e, Event::Step { .. })), 27);
    assert_eq!(of(|e| matches!(e, Event::Eval { .. })), 6);
    assert_eq!(of(|e| matches!(e, Event::Checkpoint { .. })), 6);
    assert_eq!(of(|e| matches!(e, Event::CheckpointRemoved { .. })), 4);
    assert_eq!(of(|e| matches!(e, Event::Failed { .. })), 0);
}

/// `infer`, `classify` and `tokenize` with a checkpoint of [`from_rows_to_answers`].
fn the_checkpoint_answers(bench: &Bench, checkpoint: &Path) {
    let ckpt = checkpoint.to_str().unwrap();
    let how =
        ["--load_dataset_config", "true", "--do_sample", "false", "--max_new_tokens", "5", "--device", "cpu"];
    let infer = bench.words(&[&["infer", "--ckpt_dir", ckpt], &how[..]].concat());
    let stdout = infer.ok();
    assert_eq!(stdout.matches("query: Task: Sentiment Classification\nSentence: ").count(), 4, "{stdout}");
    assert_eq!(
        stdout.matches("[LABELS]negative\n").count() + stdout.matches("[LABELS]positive\n").count(),
        4,
        "{stdout}"
    );
    let results: Vec<PathBuf> = fs::read_dir(checkpoint)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("infer_result_"))
        .collect();
    assert_eq!(results.len(), 1, "{results:?}");
    let answers = lines(&results[0]);
    assert_eq!(answers.len(), 4);
    let rows = rows(40);
    for answer in &answers {
        assert_eq!(keys(answer), ["response", "query", "label"]);
        let query = answer["query"].as_str().unwrap();
        let is_its =
            |row: &&Value| query.contains(&format!("Sentence: {}\n", row["sentence"].as_str().unwrap()));
        let row = rows.iter().find(is_its).unwrap_or_else(|| panic!("no row says {query}"));
        assert_eq!(answer["label"], ["negative", "positive"][row["label"].as_f64().unwrap() as usize]);
        // Five tokens of a vocabulary of bytes.
        assert!(answer["response"].as_str().unwrap().chars().count() <= 5, "{answer}");
        assert!(
            stdout.contains(&format!("response: {}\n[LABELS]", answer["response"].as_str().unwrap())),
            "{stdout}"
        );
    }
    verify_checkpoint(checkpoint).unwrap();

    let texts = ["包装不错但是质量太差", "很好用", "--device"];
    let by_words =
        bench.words(&[&["classify", "--ckpt_dir", ckpt, "--device", "cpu", "--"], &texts[..]].concat());
    let by_input = bench
        .run(&["classify", "--ckpt_dir", ckpt, "--device", "cpu"].map(str::to_owned), &texts.join("\n\n"));
    let verdicts: Vec<Value> = by_words.ok().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(by_input.ok(), by_words.stdout);
    assert_eq!(verdicts.len(), 3);
    for (verdict, text) in verdicts.iter().zip(texts) {
        assert_eq!(verdict["text"], text);
        let p = |label: &str| verdict["probabilities"][label].as_f64().unwrap();
        assert!((p("negative") + p("positive") - 1.0).abs() < 1e-9, "{verdict}");
        let likelier = if p("positive") > p("negative") { "positive" } else { "negative" };
        assert_eq!(verdict["label"], likelier);
    }

    // A conversation on standard input.
    let talk = bench.run(
        &["infer", "--ckpt_dir", ckpt, "--do_sample", "false", "--max_new_tokens", "3", "--device", "cpu"]
            .map(str::to_owned),
        "好\nexit\n",
    );
    assert_eq!(talk.ok().matches("<<< ").count(), 2, "{}", talk.stdout);

    let ids = bench.run(&["tokenize", "--model", "model"].map(str::to_owned), "\"好<|endoftext|>\"\n");
    assert_eq!(ids.ok(), "[229,165,189,256]\n");
}

#[test]
fn ctrl_c_saves_and_ends_well() {
    // From a terminal the signal comes to both programs, by `kill -INT` to one.
    for both in [true, false] {
        let bench = Bench::new();
        let (started, run) = endless(&bench);
        let one = Pid::from_raw(started.child.id() as i32).unwrap();
        if both {
            started.signal_group(Signal::INT)
        } else {
            kill_process(one, Signal::INT).unwrap()
        }
        let ended = started.wait();
        let stdout = ended.ok();
        assert!(ended.stderr.contains("stopped, with everything saved"), "{}", ended.stderr);
        let events = events(&run);
        let Event::Finished { step, stopped: true, last_checkpoint: Some(last), .. } =
            &events.last().unwrap().event
        else {
            panic!("{:?}", events.last());
        };
        assert_eq!(*last, format!("checkpoint-{step}"));
        assert_eq!(told(stdout, "last_checkpoint"), run.join(last));
        verify_checkpoint(&run.join(last)).unwrap();
    }
}

#[test]
fn sigterm_saves_too() {
    let bench = Bench::new();
    let (started, run) = endless(&bench);
    kill_process(worker_pid(&run), Signal::TERM).unwrap();
    let ended = started.wait();
    ended.ok();
    assert!(matches!(events(&run).last().unwrap().event, Event::Finished { stopped: true, .. }));
}

/// Starts a worker on a new run of `words` without a client, and waits for an event that `seen` knows.
fn worker_at(bench: &Bench, words: &[&str], seen: fn(&Event) -> bool) -> (std::process::Child, PathBuf) {
    let run = RunDir::create(&bench.path("out"), "qwen-1_8b", true).unwrap();
    let flags: Vec<String> = bench.sft_words(words).split_off(1);
    run.write_args(&load_sft(None, &flags).unwrap().args.to_json()).unwrap();
    let path = run.path().to_owned();
    fs::create_dir(path.join(".checkpoint-3.tmp-999999999")).unwrap();
    let child = Command::new(Path::new(common::PROGRAM).with_file_name("qwen-tui-engine"))
        .arg("worker")
        .env("XDG_STATE_HOME", bench.path("state"))
        .arg(&path)
        .current_dir(bench.path(""))
        // As a client has it: the worker's words are in the run.
        .stderr(fs::File::create(path.join("worker.log")).unwrap())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while !read_events::<Event>(&path.join("events.jsonl")).unwrap_or_default().iter().any(|r| seen(&r.event))
    {
        assert!(began.elapsed() < Duration::from_secs(60), "the event did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
    (child, path)
}

#[test]
fn a_stop_is_obeyed_before_the_first_step_and_within_an_evaluation() {
    let bench = Bench::new();
    let text: String = rows(20_000).iter().map(|r| format!("{r}\n")).collect();
    bench.write("many.jsonl", text);
    let many = |file: &'static str| ["--custom_val_dataset_path", file, "--val_dataset_sample", "-1"];

    let (mut child, run) =
        worker_at(&bench, &many("many.jsonl"), |e| matches!(e, Event::Stage { stage: Stage::ReadingData }));
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}: {}", fs::read_to_string(run.join("worker.log")).unwrap());
    let all = events(&run);
    let Event::Finished { step: 0, stopped: true, last_checkpoint: None, .. } = &all.last().unwrap().event
    else {
        panic!("{:?}", all.last());
    };
    // What a dead worker had left half-written is gone.
    assert!(!run.join(".checkpoint-3.tmp-999999999").exists());

    let more = ["--eval_steps", "1", "--save_steps", "1", "--max_steps", "3"];
    let words = [&many("many.jsonl")[..], &more].concat();
    let (mut child, run) =
        worker_at(&bench, &words, |e| matches!(e, Event::Stage { stage: Stage::Evaluating }));
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}: {}", fs::read_to_string(run.join("worker.log")).unwrap());
    let all = events(&run);
    let Event::Finished { step: 1, stopped: true, last_checkpoint: Some(last), .. } =
        &all.last().unwrap().event
    else {
        panic!("{:?}", all.last());
    };
    assert!(!all.iter().any(|r| matches!(r.event, Event::Eval { .. })), "the evaluation is given up");
    verify_checkpoint(&run.join(last)).unwrap();
}

#[test]
fn a_killed_engine_is_told_and_its_run_kept() {
    let bench = Bench::new();
    let (started, run) = endless(&bench);
    kill_process(worker_pid(&run), Signal::KILL).unwrap();
    let ended = started.wait();
    ended.failed(1, &["SIGKILL", "memory"]);
    assert_eq!(told(&ended.stdout, "run_dir"), run);
    let events = events(&run);
    assert!(!events.iter().any(|r| matches!(r.event, Event::Finished { .. })));
}

#[test]
fn a_second_worker_is_refused_and_disturbs_nothing() {
    let bench = Bench::new();
    let (started, run) = endless(&bench);
    let engine = Path::new(common::PROGRAM).with_file_name("qwen-tui-engine");
    let second = Command::new(engine).arg("worker").arg(&run).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
    assert!(said.contains("another worker is training this run"), "{said}");
    started.signal_group(Signal::INT);
    started.wait().ok();
    let events = events(&run);
    assert!(matches!(events.last().unwrap().event, Event::Finished { stopped: true, .. }));
    assert!(!events.iter().any(|r| matches!(r.event, Event::Failed { .. })));
}

#[test]
fn full_training_peft_layout_and_rows_of_odd_lengths() {
    let bench = Bench::new();
    let full = bench.sft(&[
        "--sft_type",
        "full",
        "--num_train_epochs",
        "1",
        "--batch_size",
        "7",
        "--eval_batch_size",
        "3",
    ]);
    let last = told(full.ok(), "last_checkpoint");
    assert!(last.join("model.safetensors").is_file() && last.join("qwen.tiktoken").is_file());
    bench.words(&["classify", "--ckpt_dir", last.to_str().unwrap(), "--device", "cpu", "好"]).ok();

    let peft = bench.sft(&[
        "--tuner_backend",
        "peft",
        "--lora_target_modules",
        "ALL",
        "--lora_bias_trainable",
        "all",
    ]);
    let last = told(peft.ok(), "last_checkpoint");
    assert!(last.join("adapter_model.safetensors").is_file());
    bench.words(&["classify", "--ckpt_dir", last.to_str().unwrap(), "--device", "cpu", "好"]).ok();

    // Nothing to predict in a row: its only token is the first.
    bench.write(
        "bare.jsonl",
        "{\"query\": \"\", \"response\": \"\"}\n".repeat(3) + "{\"query\": \"a\", \"response\": \"\"}\n",
    );
    let bare =
        bench.sft(&["--custom_train_dataset_path", "bare.jsonl", "--custom_val_dataset_path", "rows.jsonl"]);
    bare.ok();
}

#[test]
fn the_shared_reviews() {
    let Some(reviews) = shared("reviews") else { return };
    let bench = Bench::new();
    let (train, validation) = (reviews.join("train.jsonl"), reviews.join("validation.jsonl"));
    let sft = bench.sft(&[
        "--custom_train_dataset_path",
        train.to_str().unwrap(),
        "--custom_val_dataset_path",
        validation.to_str().unwrap(),
        "--train_dataset_sample",
        "64",
        "--val_dataset_sample",
        "16",
        "--eval_steps",
        "2",
    ]);
    let stdout = sft.ok();
    assert!(
        sft.stderr.contains("training 64 rows") && sft.stderr.contains("validation 16 rows"),
        "{}",
        sft.stderr
    );
    assert!(sft.stderr.contains("finished at step 4"), "{}", sft.stderr);
    let log = lines(&told(stdout, "run_dir").join("logging.jsonl"));
    assert!(log.iter().filter_map(|l| l.get("eval_loss")).all(|l| l.as_f64().is_some_and(f64::is_finite)));
}

#[test]
fn one_row_is_enough() {
    let bench = Bench::new();
    write_rows(&bench.path("one.jsonl"), &rows(1));
    let one = ["--custom_train_dataset_path", "one.jsonl", "--custom_val_dataset_path", "one.jsonl"];
    assert!(bench.sft(&one).ok().contains("best_checkpoint: "));
    // No evaluation, no checkpoint: the end is a good one all the same.
    let none = bench.sft(&[&one[..], &["--evaluation_strategy", "no", "--save_strategy", "no"]].concat());
    let lines: Vec<&str> = none.ok().lines().collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("run_dir: ") && lines[1] == "state: finished",
        "{lines:?}"
    );
}
