//! A run that was cut and gone on with ends as one that was not, to the last byte.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use qwen_tui::args::{SftArgs, load_sft};
use qwen_tui::error::Result;
use qwen_tui::job::Resume;
use qwen_tui::job::event::{Command, Event};
use qwen_tui::run::{OPTIMIZER, PROGRESS, RunDir, read_events};
use qwen_tui_engine::train;
use serde_json::{Value, json};

use common::{SMALL, one_thread, write_model, write_vocabulary};

const STEPS: u64 = 12;

/// A model and rows; every run of `args` is one of the same numbers.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        one_thread();
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        write_vocabulary(&bench.path("vocabulary"), &["很好", "太差"]);
        write_model(&bench.path("model"), SMALL, &bench.path("vocabulary"));
        // Dropout of every kind there is.
        let file = bench.path("model/config.json");
        let mut config = common::json(&file);
        (config["attn_dropout_prob"], config["emb_dropout_prob"]) = (json!(0.1), json!(0.1));
        std::fs::write(file, config.to_string()).unwrap();
        bench.write_rows(30);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_rows(&self, count: usize) {
        let row = |i: usize| {
            let (text, label) = [("很好用", "positive"), ("太差了", "negative")][i % 2];
            format!("{}\n", json!({"query": format!("{}{i}", text.repeat(i % 5 + 1)), "response": label}))
        };
        std::fs::write(self.path("rows.jsonl"), (0..count).map(row).collect::<String>()).unwrap();
    }

    fn args(&self, name: &str, more: &[&str]) -> SftArgs {
        let path = |name: &str| self.path(name).display().to_string();
        let (model, rows, out) = (path("model"), path("rows.jsonl"), path(name));
        #[rustfmt::skip]
        let always = [
            "--model_type", "qwen-1_8b", "--model_id_or_path", &model, "--dtype", "fp32", "--device", "cpu",
            "--threads", "1", "--custom_train_dataset_path", &rows, "--train_dataset_sample", "-1",
            "--dataset_test_ratio", "0.2", "--lora_dropout_p", "0.1", "--learning_rate", "1e-2",
            "--gradient_accumulation_steps", "4", "--max_steps", "12", "--eval_steps", "2", "--save_steps", "4",
            "--logging_steps", "3", "--save_only_model", "false", "--add_output_dir_suffix", "false",
            "--output_dir", &out,
        ];
        let flags: Vec<String> = always.iter().chain(more).map(|&f| f.to_owned()).collect();
        load_sft(None, &flags).unwrap().args
    }

    fn new_run(&self, name: &str, more: &[&str]) -> RunDir {
        let args = self.args(name, more);
        let run = RunDir::create(Path::new(&args.output_dir), &args.model_type, false).unwrap();
        run.write_args(&args.to_json()).unwrap();
        run
    }
}

/// Trains in this process, from `from` until it ends or has done step `stop`.
fn trained(run: &RunDir, from: Option<u64>, stop: Option<u64>) -> Result<Vec<Event>> {
    let args = SftArgs::from_run_dir(run.path())?;
    let (commands, received) = mpsc::channel();
    let mut events = Vec::new();
    let mut emit = |event: Event| {
        if matches!(event, Event::Step { step, .. } if Some(step) == stop) {
            commands.send(Command::Stop).unwrap();
        }
        events.push(event);
        Ok(())
    };
    let from = from.map(|step| run.checkpoint(step));
    train::train(&args, run, from.as_deref(), &received, &mut emit)?;
    Ok(events)
}

fn worker(run: &RunDir, from: Option<u64>) -> Child {
    let log = std::fs::File::create(run.worker_log()).unwrap();
    let mut worker = Program::new(env!("CARGO_BIN_EXE_qwen-tui-engine"));
    // Not into the register of whoever runs the tests.
    worker.arg("worker").arg(run.path()).env_remove("HOME").env_remove("XDG_STATE_HOME");
    if let Some(step) = from {
        worker.arg("--resume-at").arg(step.to_string());
    }
    worker.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

#[track_caller]
fn to_the_end(run: &RunDir, from: Option<u64>) {
    let status = worker(run, from).wait().unwrap();
    assert!(status.success(), "{}", std::fs::read_to_string(run.worker_log()).unwrap());
}

/// Clock times and speeds, which no two runs share, and paths made the same.
fn plain(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.retain(|key, _| !(key.contains("runtime") || key.contains("per_second") || key == "seconds"));
            for (key, value) in map.iter_mut() {
                if let Some(path) = value.as_str().filter(|_| key == "best_model_checkpoint") {
                    *value = Path::new(path).file_name().unwrap().to_str().into();
                } else {
                    *value = plain(value.take());
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = plain(item.take())),
        _ => {}
    }
    value
}

/// All that a finished run leaves, by file.
fn result(run: &RunDir) -> BTreeMap<String, Vec<u8>> {
    let last = run.checkpoint(STEPS);
    let text = |file: &Path| std::fs::read_to_string(file).unwrap();
    let log: String = text(&run.logging_file())
        .lines()
        .map(|line| format!("{}\n", plain(serde_json::from_str(line).unwrap())))
        .collect();
    let mut files = BTreeMap::from([("log".to_owned(), log.into_bytes())]);
    for name in ["trainer_state.json", PROGRESS] {
        files.insert(name.to_owned(), plain(common::json(&last.join(name))).to_string().into_bytes());
    }
    for name in [OPTIMIZER, "default/adapter_model.safetensors", "model.safetensors"] {
        if let Ok(bytes) = std::fs::read(last.join(name)) {
            files.insert(name.to_owned(), bytes);
        }
    }
    assert_eq!(files.len(), 5);
    files
}

#[track_caller]
fn same(a: &RunDir, b: &RunDir) {
    let (a, b) = (result(a), result(b));
    for (name, bytes) in &a {
        let text = |b: &[u8]| String::from_utf8_lossy(&b[..b.len().min(6000)]).into_owned();
        assert!(*bytes == b[name], "{name} differs:\n{}\n{}", text(bytes), text(&b[name]));
    }
}

fn evaluations(run: &RunDir) -> usize {
    let log = std::fs::read_to_string(run.logging_file()).unwrap();
    log.lines().filter(|l| l.contains("eval_loss")).count()
}

/// At a step of no meaning, where an evaluation is due (which the stop leaves out), where a checkpoint is due too, and
/// at the last step; gone on with in this process and in others.
#[test]
fn stopped_at_a_step_and_gone_on_with() {
    let bench = Bench::new();
    let straight = bench.new_run("straight", &[]);
    to_the_end(&straight, None);
    assert_eq!(evaluations(&straight), 6);
    for stop in [1, 5, 6, 8, STEPS] {
        let run = bench.new_run(&format!("cut{stop}"), &[]);
        let events = trained(&run, None, Some(stop)).unwrap();
        let Some(Event::Finished { step, stopped: true, .. }) = events.last() else { panic!("{events:?}") };
        assert_eq!(*step, stop);
        // Cut once more, in a process that has drawn other numbers before.
        if stop < 9 {
            trained(&run, Some(stop), Some(9)).unwrap();
        }
        to_the_end(&run, Some(stop.max(9)));
        same(&run, &straight);
    }
    // The events tell of all that happened, and where the newer worker began.
    let run = bench.new_run("log", &[]);
    trained(&run, None, Some(5)).unwrap();
    to_the_end(&run, Some(5));
    let told = read_events::<Event>(&run.events_file()).unwrap();
    assert!(matches!(told[0].event, Event::Started { step: 5, .. } | Event::Resources { .. }));
    assert!(told.iter().any(|r| matches!(r.event, Event::Started { step: 5, .. })));
}

/// Killed after its last save and before the checkpoint was removed that there was no more room for.
#[test]
fn what_a_killed_worker_left_without_room_is_removed_at_the_end() {
    let bench = Bench::new();
    let run = bench.new_run("left", &["--save_total_limit", "2", "--evaluation_strategy", "no"]);
    trained(&run, None, Some(8)).unwrap();
    let aside = bench.path("aside");
    let copied = Program::new("cp").arg("-a").arg(run.checkpoint(4)).arg(&aside).status().unwrap();
    assert!(copied.success());
    let there = || [4, 8, STEPS].map(|step| run.checkpoint(step).is_dir());
    trained(&run, Some(8), None).unwrap();
    assert_eq!(there(), [false, true, true]);
    std::fs::rename(&aside, run.checkpoint(4)).unwrap();
    let events = trained(&run, Some(STEPS), None).unwrap();
    assert_eq!(there(), [false, true, true]);
    assert!(events.iter().any(|e| matches!(e, Event::CheckpointRemoved { step: 4 })), "{events:?}");
}

/// Killed once its first checkpoint is there, and again; it goes on from the newest.
#[test]
fn killed_and_gone_on_with() {
    let bench = Bench::new();
    let straight = bench.new_run("straight", &[]);
    to_the_end(&straight, None);
    let run = bench.new_run("killed", &[]);
    // From the beginning, where nothing is saved yet.
    let mut first = worker(&run, None);
    wait(&run, 0, |e| matches!(e, Event::Step { .. }));
    let _ = first.kill();
    first.wait().unwrap();
    for _ in 0..2 {
        let resume = Resume::of(run.path()).unwrap();
        if resume.finished {
            break;
        }
        let before = read_events::<Event>(&run.events_file()).unwrap().len();
        let mut killed = worker(&run, resume.step);
        wait(&run, before, |e| matches!(e, Event::Checkpoint { .. }));
        let _ = killed.kill();
        killed.wait().unwrap();
    }
    let resume = Resume::of(run.path()).unwrap();
    if !resume.finished {
        assert!(resume.step.is_some_and(|step| step % 4 == 0), "{resume:?}");
        to_the_end(&run, resume.step);
    }
    same(&run, &straight);
    assert!(Resume::of(run.path()).unwrap().finished);
}

/// Waits for an event after the first `before`, or for the end.
fn wait(run: &RunDir, before: usize, wanted: impl Fn(&Event) -> bool) {
    let began = Instant::now();
    loop {
        let events = read_events::<Event>(&run.events_file()).unwrap_or_default();
        let ends = |e: &Event| matches!(e, Event::Finished { .. } | Event::Failed { .. });
        if events.iter().skip(before).any(|r| wanted(&r.event) || ends(&r.event)) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "nothing came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Saved by the clock after every step, cut at one that no argument names, and gone on with: the end and its best are
/// those of a run that was saved by steps alone.
#[test]
fn saved_by_minutes_and_gone_on_with() {
    let bench = Bench::new();
    let straight = bench.new_run("straight", &[]);
    to_the_end(&straight, None);
    let run = bench.new_run("minutes", &["--save_minutes", "1e-9"]);
    let events = trained(&run, None, Some(7)).unwrap();
    let saved = |events: &[Event]| -> Vec<(u64, bool)> {
        let saved = |event: &Event| match event {
            Event::Checkpoint { step, best, .. } => Some((*step, *best)),
            _ => None,
        };
        events.iter().filter_map(saved).collect()
    };
    let first = saved(&events);
    assert_eq!(first.iter().map(|s| s.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
    // Steps 2 and 6 are evaluated too, and no plan saves them.
    assert!(first.iter().all(|(step, best)| *best == (*step == 4)), "{first:?}");
    assert_eq!(steps_on_disk(&run), [4, 7], "the best, and the last");
    let rest = saved(&trained(&run, Some(7), None).unwrap());
    assert_eq!(rest.iter().map(|s| s.0).collect::<Vec<_>>(), [8, 9, 10, 11, 12]);
    same(&run, &straight);
    assert_eq!(
        steps_on_disk(&run),
        [11, 12],
        "the last is the best, and the newest of the others stays beside it"
    );
}

fn steps_on_disk(run: &RunDir) -> Vec<u64> {
    qwen_tui::run::list_checkpoints(run).iter().map(|c| c.step).collect()
}

/// All weights; adapters whose own files are rounded to bf16; weights trained whole beside an adapter; optimizers with a
/// state of another kind, and with none.
#[test]
fn every_way_of_training_goes_on() {
    let bench = Bench::new();
    for (name, flags) in [
        ("full", &["--sft_type", "full", "--learning_rate", "1e-3", "--freeze_parameters", "0.3"][..]),
        ("bf16", &["--dtype", "bf16", "--lora_dtype", "bf16", "--lora_modules_to_save", "ln_f"]),
        ("deep", &["--lora_target_modules", "ALL", "--lora_bias_trainable", "all", "--batch_size", "3"]),
        ("factors", &["--sft_type", "full", "--learning_rate", "1e-3", "--optim", "adafactor"]),
        ("noise", &["--neftune_noise_alpha", "5", "--batch_size", "2"]),
        ("plain", &["--optim", "sgd", "--learning_rate", "1"]),
    ] {
        let (straight, run) = (bench.new_run(name, flags), bench.new_run(&format!("{name}-cut"), flags));
        trained(&straight, None, None).unwrap();
        trained(&run, None, Some(7)).unwrap();
        trained(&run, Some(7), None).unwrap();
        same(&run, &straight);
    }
}

#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_one_before() {
    let bench = Bench::new();
    let straight = bench.new_run("straight", &[]);
    trained(&straight, None, None).unwrap();
    let run = bench.new_run("run", &[]);
    trained(&run, None, Some(8)).unwrap();
    let file = run.checkpoint(8).join(OPTIMIZER);
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let e = trained(&run, Some(8), None).unwrap_err();
    assert!(e.exit_code() == 2 && e.to_string().contains("damaged"), "{e}");
    let resume = Resume::of(run.path()).unwrap();
    assert_eq!((resume.step, resume.warnings.len()), (Some(4), 1), "{resume:?}");
    trained(&run, Some(4), None).unwrap();
    same(&run, &straight);
}

#[test]
fn what_cannot_be_exact_is_refused() {
    let bench = Bench::new();
    let weights = bench.new_run("weights", &["--save_only_model", "true"]);
    trained(&weights, None, Some(4)).unwrap();
    for e in [Resume::of(weights.path()).unwrap_err(), trained(&weights, Some(4), None).unwrap_err()] {
        assert!(e.exit_code() == 2 && e.to_string().contains("save_only_model true"), "{e}");
    }
    let run = bench.new_run("run", &[]);
    trained(&run, None, Some(4)).unwrap();
    let log = std::fs::read(run.logging_file()).unwrap();
    bench.write_rows(31);
    let e = trained(&run, Some(4), None).unwrap_err();
    assert!(e.exit_code() == 2 && e.to_string().contains("began with 24 rows"), "{e}");
    // Where it is refused, nothing is cut.
    assert_eq!(std::fs::read(run.logging_file()).unwrap(), log);
    let other = bench.args("run", &["--learning_rate", "2e-2", "--lora_dropout_p", "0.2"]);
    let e = Resume::of(run.path()).unwrap().take(other).unwrap_err().to_string();
    assert!(e.contains("lora_dropout_p is 0.2 here and was 0.1") && e.contains("1 more"), "{e}");
}

/// Model and data lie elsewhere: what is there is compared, and not the path.
#[test]
fn a_run_whose_model_and_data_have_moved_ends_as_one_that_stayed() {
    let bench = Bench::new();
    let (straight, run) = (bench.new_run("straight", &[]), bench.new_run("run", &[]));
    trained(&straight, None, None).unwrap();
    trained(&run, None, Some(4)).unwrap();
    let moved = bench.path("moved");
    std::fs::rename(bench.path("model"), &moved).unwrap();
    std::fs::rename(bench.path("rows.jsonl"), bench.path("other.jsonl")).unwrap();
    let (model, rows) = (moved.display().to_string(), bench.path("other.jsonl").display().to_string());
    let places = ["--model_id_or_path", &model, "--custom_train_dataset_path", &rows];
    let take = || {
        let mut resume = Resume::of(run.path()).unwrap();
        resume.take(bench.args("run", &places)).map(|()| resume.step)
    };
    assert_eq!(take().unwrap(), Some(4));

    // Of the same shapes, but another: a tensor that was trained on, then a constant of its computation.
    let file = moved.join("model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    let other: Vec<u8> = whole[..whole.len() - 8192].iter().copied().chain([1u8; 8192]).collect();
    std::fs::write(&file, other).unwrap();
    let e = trained(&run, Some(4), None).unwrap_err();
    assert!(e.exit_code() == 2 && e.to_string().contains("its weights are others"), "{e}");
    std::fs::write(&file, whole).unwrap();
    let file = moved.join("config.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut config = common::json(&file);
    config["rotary_emb_base"] = json!(20000);
    std::fs::write(&file, config.to_string()).unwrap();
    let e = trained(&run, Some(4), None).unwrap_err();
    assert!(
        e.exit_code() == 2 && e.to_string().contains("rotary_emb_base is 20000.0 and was 10000.0"),
        "{e}"
    );
    std::fs::write(&file, text).unwrap();

    trained(&run, Some(4), None).unwrap();
    same(&run, &straight);
    for dir in [run.path().to_owned(), run.checkpoint(STEPS)] {
        let args = SftArgs::from_run_dir(&dir).unwrap();
        assert_eq!(args.model_id_or_path.as_deref(), Some(model.as_str()));
        assert_eq!(args.custom_train_dataset_path, std::slice::from_ref(&rows));
    }
}
