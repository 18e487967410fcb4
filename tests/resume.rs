//! `qwen-tui sft --resume_from_checkpoint` by the built programs.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Bench, Ended};
use qwen_tui::job::event::Event;
use qwen_tui::job::runs::worker_alive;
use qwen_tui::run::{list_checkpoints_in, read_events};
use rustix::process::Signal;

/// Trains for `max_steps` steps in all, a checkpoint at each second.
const FLAGS: [&str; 12] = [
    "--max_steps",
    "60",
    "--eval_steps",
    "2",
    "--gradient_accumulation_steps",
    "4",
    "--dataset_test_ratio",
    "0.1",
    "--logging_steps",
    "3",
    "--learning_rate",
    "1e-2",
];

fn sft(bench: &Bench, more: &[&str]) -> Ended {
    bench.sft(&[&FLAGS[..], more].concat())
}

#[track_caller]
fn run_dir(ended: &Ended) -> PathBuf {
    ended.ok().lines().find_map(|l| l.strip_prefix("run_dir: ")).unwrap().into()
}

fn adapter(run: &Path) -> Vec<u8> {
    fs::read(run.join("checkpoint-60/default/adapter_model.safetensors")).unwrap()
}

fn figures(run: &Path) -> Vec<String> {
    let text = fs::read_to_string(run.join("logging.jsonl")).unwrap();
    text.lines().filter(|l| l.starts_with("{\"loss")).map(str::to_owned).collect()
}

/// Killed with everything, started again with the same command until it is done.
#[test]
fn the_same_command_ends_what_was_killed() {
    let bench = Bench::new();
    let straight = run_dir(&sft(&bench, &["--output_dir", "straight"]));
    let last = ["--resume_from_checkpoint", "last"];
    let words = bench.sft_words(&[&FLAGS[..], &last].concat());
    let mut kills = 0;
    let done = loop {
        let mut started = bench.start(&words, "");
        // The first time before there is anything, then after the first steps.
        let logs = || fs::read_dir(bench.path("out/qwen-1_8b")).into_iter().flatten().flatten();
        let steps = || {
            let of = |dir: PathBuf| read_events::<Event>(&dir.join("events.jsonl")).unwrap_or_default();
            logs().flat_map(|e| of(e.path())).filter(|r| matches!(r.event, Event::Step { .. })).count()
        };
        let wanted = steps() + [1, 9, 15][kills.min(2)];
        let ended = loop {
            let gone = started.child.try_wait().unwrap().is_some();
            if gone || (kills < 3 && steps() >= wanted) {
                break gone;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        if !ended {
            started.signal_group(Signal::KILL);
            kills += 1;
        }
        let ended = started.wait();
        if ended.code == Some(0) {
            break ended;
        }
        assert_eq!(ended.signal, Some(9), "{}", ended.stderr);
        while logs().any(|run| worker_alive(&run.path())) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    assert!(kills > 0);
    let run = run_dir(&done);
    assert_eq!(fs::read_dir(run.parent().unwrap()).unwrap().count(), 1, "it goes on in its own directory");
    assert!(adapter(&run) == adapter(&straight));
    assert_eq!(figures(&run), figures(&straight));
    assert!(
        done.stderr.contains("going on") || done.stderr.contains("from the beginning"),
        "{}",
        done.stderr
    );

    // Once more, there is nothing left to do.
    let again = bench.run(&words, "");
    assert_eq!(again.ok(), done.stdout);
    assert!(again.stderr.contains("is finished"), "{}", again.stderr);
}

#[test]
fn a_stopped_run_says_how_to_go_on_and_does() {
    let bench = Bench::new();
    let words = bench.sft_words(&[&FLAGS[..], &["--max_steps", "100000", "--save_steps", "1000"]].concat());
    let started = bench.start(&words, "");
    let dir = || fs::read_dir(bench.path("out/qwen-1_8b")).ok()?.flatten().next().map(|e| e.path());
    let stepped = |dir: &PathBuf| {
        let events = read_events::<Event>(&dir.join("events.jsonl")).unwrap_or_default();
        events.iter().any(|r| matches!(r.event, Event::Step { .. }))
    };
    while !dir().is_some_and(|dir| stepped(&dir)) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    started.signal_group(Signal::TERM);
    let stopped = started.wait();
    let run = run_dir(&stopped);
    let how = format!("qwen-tui sft --resume_from_checkpoint {}", run.display());
    assert!(stopped.stderr.contains(&how), "{}", stopped.stderr);

    // Its own arguments are found in it; what may not change is refused, and so is what is no run.
    let from = run.to_str().unwrap();
    let e = bench.words(&["sft", "--resume_from_checkpoint", from, "--learning_rate", "3e-3"]);
    e.refused(&["learning_rate is 0.003 here and was 0.01", from]);
    let e = bench.words(&["sft", "--resume_from_checkpoint", from, "--max_steps", "7"]);
    e.refused(&["max_steps is 7 here and was 100000"]);
    bench
        .words(&["sft", "--resume_from_checkpoint", "nowhere"])
        .refused(&["resume_from_checkpoint", "nowhere"]);
    bench.words(&["sft", "--resume_from_checkpoint", "model"]).refused(&["model", "is a model and no run"]);
    assert!(run.is_dir());

    let started = bench
        .start(&["sft", "--resume_from_checkpoint", from, "--save_total_limit", "7"].map(str::to_owned), "");
    let stopped = stopped.stdout;
    let again = || {
        let events = read_events::<Event>(&run.join("events.jsonl")).unwrap();
        let resumed = events.iter().rposition(|r| matches!(r.event, Event::Started { step: 1.., .. }));
        resumed.is_some_and(|at| events[at..].iter().any(|r| matches!(r.event, Event::Step { .. })))
    };
    while !again() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    bench.words(&["sft", "--resume_from_checkpoint", from]).refused(&["a worker is training this run"]);
    started.signal_group(Signal::TERM);
    let ended = started.wait();
    assert_eq!(run_dir(&ended), run, "{stopped}");
}

/// A new run from the weights of another: with its arguments, but for what is given.
#[test]
fn weights_alone_are_taken_into_a_new_run() {
    let bench = Bench::new();
    let first = run_dir(&sft(&bench, &["--max_steps", "4", "--lora_rank", "4"]));
    let from = first.to_str().unwrap();
    let words = |from: &str, more: &[&str]| {
        let weights = ["sft", "--resume_from_checkpoint", from, "--resume_only_model", "true"];
        bench.words(&[&weights[..], more].concat())
    };
    let ended = words(from, &["--learning_rate", "3e-3", "--max_steps", "6"]);
    let run = run_dir(&ended);
    let checkpoint = first.join("checkpoint-4");
    let told = format!("starting a new run from the weights of {}", checkpoint.display());
    assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    assert!(run != first && run.parent() == first.parent() && run.join("checkpoint-6").is_dir());
    let args = qwen_tui::args::SftArgs::from_run_dir(&run).unwrap();
    let weights = checkpoint.join("default/adapter_model.safetensors");
    assert_eq!(args.init_adapter.as_deref(), weights.to_str());
    assert_eq!((args.lora_rank, args.resume_only_model, args.resume_from_checkpoint), (4, false, None));
    // An adapter by itself has no arguments; those of the job are given.
    let alone = bench.path("alone");
    fs::create_dir(&alone).unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::copy(checkpoint.join("default").join(file), alone.join(file)).unwrap();
    }
    let alone = alone.to_str().unwrap();
    let weights = ["--resume_from_checkpoint", alone, "--resume_only_model", "true", "--max_steps", "2"];
    sft(&bench, &[&weights[..], &["--lora_rank", "4"]].concat()).ok();
    let runs = || fs::read_dir(first.parent().unwrap()).unwrap().count();
    let before = runs();
    sft(&bench, &weights).refused(&["lora_rank is 8 here and 4 in", alone]);
    words("/nowhere", &[]).refused(&["model_type"]);
    words(from, &["--sft_type", "full"]).refused(&["no whole model", "sft_type lora"]);
    assert_eq!(runs(), before, "what is refused leaves nothing");
}

/// A run that was cut: its checkpoints are those of its second and fourth step.
fn cut(bench: &Bench) -> PathBuf {
    let more = ["--max_steps", "100000", "--save_steps", "2", "--output_dir", "out"];
    let started = bench.start(&bench.sft_words(&[&FLAGS[..], &more].concat()), "");
    let run = || fs::read_dir(bench.path("out/qwen-1_8b")).ok()?.flatten().next().map(|e| e.path());
    while !run().is_some_and(|run| list_checkpoints_in(&run).iter().any(|c| c.step >= 4)) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    started.signal_group(Signal::KILL);
    started.wait();
    let run = run().unwrap();
    while worker_alive(&run) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    run
}

#[test]
fn adapters_whose_checkpoints_are_not_whole_are_not_trained_over() {
    let bench = Bench::new();
    let run = cut(&bench);
    for checkpoint in list_checkpoints_in(&run) {
        fs::remove_file(checkpoint.path.join("optimizer.safetensors")).unwrap();
    }
    let from = run.to_str().unwrap();
    let resume = ["sft", "--resume_from_checkpoint", from];
    bench.words(&resume).refused(&[
        "none of them is whole",
        "optimizer.safetensors is missing",
        "resume_only_model",
    ]);
    // Which works, from the weights that are whole.
    let alone = ["--resume_only_model", "true", "--max_steps", "2", "--output_dir", "alone"];
    let ended = bench.words(&[&resume[..], &alone].concat());
    ended.ok();
    assert!(ended.stderr.contains("starting a new run from the weights of"), "{}", ended.stderr);
    assert!(ended.stdout.contains("\nstate: finished\n"), "{}", ended.stdout);
}

#[test]
fn a_run_goes_on_with_what_has_moved_and_keeps_its_own_places_otherwise() {
    let bench = Bench::new();
    let run = cut(&bench);
    let args = || fs::read_to_string(run.join("sft_args.json")).unwrap();
    let before = args();
    fs::rename(bench.path("rows.jsonl"), bench.path("moved.jsonl")).unwrap();
    let resume = ["sft", "--resume_from_checkpoint", run.to_str().unwrap()];
    bench.words(&resume).refused(&["no such data file", "--custom_train_dataset_path PATH"]);
    // Other rows are refused by what they are, and leave nothing behind.
    let rows = fs::read_to_string(bench.path("moved.jsonl")).unwrap();
    bench.write("others.jsonl", rows.replace("太差", "很差"));
    let with = |file: &str| {
        let words = [&resume[..], &["--custom_train_dataset_path", file]].concat();
        bench.start(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>(), "")
    };
    with("others.jsonl").wait().refused(&["the data are not those of the run: their texts have changed"]);
    assert_eq!(args(), before);
    let steps = || read_events::<Event>(&run.join("events.jsonl")).unwrap().len();
    let told = steps();
    let going = with("moved.jsonl");
    let stepped = || {
        let events = read_events::<Event>(&run.join("events.jsonl")).unwrap();
        events.iter().skip(told).any(|r| matches!(r.event, Event::Step { .. }))
    };
    while !stepped() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    going.signal_group(Signal::TERM);
    let stopped = going.wait();
    assert!(stopped.ok().contains("\nstate: stopped\n"), "{}", stopped.stdout);
    assert!(args().contains("moved.jsonl"));
}
