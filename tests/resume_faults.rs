//! Going on with a run on a disk that is full, or that cannot be written, or whose checkpoints are damaged.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Bench, Disk, Ended};
use qwen_tui::args::SftArgs;
use qwen_tui::job::event::{Command, Event};
use qwen_tui::job::socket::send;
use qwen_tui::run::{find_adapter, list_checkpoints_in, read_events, verify_checkpoint};
use rustix::process::Signal;
use serde_json::Value;

/// Arguments of a run in `dir`.
fn words<'a>(dir: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let always = ["--output_dir", dir, "--add_output_dir_suffix", "false", "--save_only_model", "false"];
    [&always[..], more].concat()
}

/// A run of 400 steps that was stopped on the way; the step of its checkpoint.
fn stopped(bench: &Bench, dir: &Path) -> u64 {
    let out = dir.display().to_string();
    let started = bench.start(&bench.sft_words(&words(&out, &["--max_steps", "400"])), "");
    wait(dir, 0, |e| matches!(e, Event::Step { .. }));
    started.signal_group(Signal::TERM);
    started.wait().ok();
    let list = list_checkpoints_in(dir);
    assert!(list[0].step < 400, "the run came to its end before it was stopped");
    list[0].step
}

/// Waits until an event after the first `before` is as wanted; how many there are with it.
#[track_caller]
fn wait(run: &Path, before: usize, wanted: fn(&Event) -> bool) -> usize {
    let began = Instant::now();
    loop {
        let all = read_events::<Event>(&run.join("events.jsonl")).unwrap_or_default();
        if let Some(at) = all.iter().skip(before).position(|r| wanted(&r.event)) {
            return before + at + 1;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the event did not come: {:?}", all.last());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn events(run: &Path) -> usize {
    read_events::<Event>(&run.join("events.jsonl")).unwrap().len()
}

fn go_on(run: &Path) -> Vec<String> {
    ["sft", "--resume_from_checkpoint", run.to_str().unwrap()].map(str::to_owned).into()
}

/// A new run is not started where its arguments find no room; one that goes on has something to lose, and waits.
#[test]
fn a_full_disk_is_waited_for_by_a_run_that_goes_on() {
    let bench = Bench::new();
    let Some(disk) = Disk::new(bench.path("disk")) else { return };
    let run = disk.0.join("run");
    let step = stopped(&bench, &run);
    disk.fill();
    let new = disk.0.join("new").display().to_string();
    bench.sft(&words(&new, &[])).refused(&["No space left", "free some space"]);
    assert!(!Path::new(&new).exists());

    // Told to end meanwhile.
    let before = events(&run);
    let started = bench.start(&go_on(&run), "");
    let at = wait(&run, before, |e| matches!(e, Event::NoRoom { .. }));
    send(&run, Command::Stop).unwrap();
    let command = format!("qwen-tui sft --resume_from_checkpoint {}", run.canonicalize().unwrap().display());
    let told = format!("checkpoint-{step} is kept, and can be gone on from: `{command}`");
    started.wait().refused(&["stopped while it waited for room", "free some space", &told]);

    let started = bench.start(&go_on(&run), "");
    let at = wait(&run, at, |e| matches!(e, Event::NoRoom { .. }));
    disk.empty();
    send(&run, Command::Resume).unwrap();
    wait(&run, at, |e| matches!(e, Event::RoomAgain));
    assert!(started.wait().ok().contains("state: finished"));
    verify_checkpoint(&run.join("checkpoint-400")).unwrap();
}

#[test]
fn a_run_on_a_read_only_disk_is_told_what_to_do() {
    let bench = Bench::new();
    let Some(disk) = Disk::new(bench.path("disk")) else { return };
    let run = disk.0.join("run");
    let step = stopped(&bench, &run);
    disk.read_only(true);
    let told =
        ["worker.log: Read-only file system", "make that disk writable, or copy", "go on with it there"];
    bench.run(&go_on(&run), "").refused(&told);

    // The same words in the queue, and for a new run and the queue's own folder others.
    bench.run(&[go_on(&run), vec!["--queue".to_owned()]].concat(), "").ok();
    let began = Instant::now();
    let listed = loop {
        let listed = bench.words(&["queue"]).ok().to_owned();
        if listed.contains("failed") {
            break listed;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{listed}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(told.iter().all(|words| listed.contains(words)), "{listed}");
    let new: PathBuf = disk.0.join("new");
    bench.sft(&words(new.to_str().unwrap(), &[])).refused(&["Read-only file system", "choose a directory"]);

    // As it says: a copy goes on.
    let copy = bench.path("copy");
    let copied = std::process::Command::new("cp").arg("-r").args([&run, &copy]).status().unwrap();
    assert!(copied.success());
    let ended = bench.run(&go_on(&copy), "");
    assert!(ended.ok().contains("state: finished"));
    assert!(ended.stderr.contains(&format!("going on from {}/checkpoint-{step}", copy.display())));
    disk.read_only(false);
}

#[test]
fn the_folder_of_the_queue_on_a_read_only_disk_is_told() {
    let bench = Bench::new();
    let Some(disk) = Disk::new(bench.path("state")) else { return };
    for before in [false, true] {
        if before {
            bench.words(&["queue", "pause"]).ok();
            bench.sft(&["--queue"]).ok();
        }
        disk.read_only(true);
        let ended = bench.sft(&["--queue"]);
        ended.refused(&[
            "the queue: cannot",
            "Read-only file system",
            "make it writable, or set XDG_STATE_HOME",
        ]);
        disk.read_only(false);
    }
    assert_eq!(fs::read_dir(bench.path("state/qwen-tui/queue")).unwrap().count(), 1);
}

fn only_model() -> Vec<String> {
    ["--resume_only_model", "true"].map(str::to_owned).into()
}

/// The command that a message gives.
fn command(told: &str) -> &str {
    told.split('`').nth(1).unwrap()
}

/// Runs the command that a message gives as a shell does into which it is pasted; its run goes to the directory `new`.
fn pasted(bench: &Bench, told: &str, new: &str) -> Ended {
    assert!(told.contains("NEW_DIR"), "{told}");
    let line = command(told).replace("NEW_DIR", &bench.path(new).display().to_string());
    bench.shell(&line)
}

/// A damaged checkpoint is not handed to scripts.
#[test]
fn a_finished_run_names_its_newest_whole_checkpoint() {
    let bench = Bench::new();
    let run = bench.path("run");
    let out = run.display().to_string();
    let steps = ["--eval_steps", "5", "--save_steps", "5", "--save_total_limit", "3", "--max_steps", "15"];
    bench.sft(&words(&out, &steps)).ok();
    let flip = |step: u64| {
        let file = find_adapter(&run.join(format!("checkpoint-{step}"))).unwrap().weights;
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, bytes).unwrap();
    };
    let named = || {
        let ended = bench.run(&go_on(&run), "");
        let line = |name: &str| {
            ended.ok().lines().find_map(|l| l.strip_prefix(name)?.rsplit_once('-')?.1.parse().ok())
        };
        (line("last_checkpoint: "), line("best_checkpoint: "))
    };
    let (last, best): (Option<u64>, Option<u64>) = named();
    assert_eq!(last, Some(15));
    flip(15);
    assert_eq!(named(), (Some(10), best.map(|best| best.min(10))));
    flip(10);
    assert_eq!(named(), (Some(5), Some(5)));
}

/// Nothing else tells that its result is lost.
#[test]
fn a_finished_run_without_its_checkpoints_is_warned_of() {
    let bench = Bench::new();
    let run = bench.path("run");
    let more = ["--eval_steps", "5", "--save_steps", "5", "--max_steps", "5"];
    bench.sft(&words(run.to_str().unwrap(), &more)).ok();
    assert!(!bench.run(&go_on(&run), "").stderr.contains("warning"));
    fs::remove_dir_all(run.join("checkpoint-5")).unwrap();
    let ended = bench.run(&go_on(&run), "");
    assert!(ended.ok().contains("state: finished") && !ended.stdout.contains("checkpoint"));
    let told = &ended.stderr;
    assert!(told.contains("warning: ") && told.contains("has no checkpoint any more"), "{told}");
    assert!(pasted(&bench, told, "anew").ok().contains("state: finished"));
    // One that was to save nothing has lost nothing.
    let none = bench.path("none");
    bench.sft(&words(none.to_str().unwrap(), &["--max_steps", "2", "--save_strategy", "no"])).ok();
    let ended = bench.run(&go_on(&none), "");
    assert!(ended.ok().contains("state: finished") && !ended.stderr.contains("warning"), "{}", ended.stderr);
}

/// What was asked for beside going on is asked for in the command that takes its place too.
#[test]
fn advice_keeps_what_was_typed() {
    let bench = Bench::new();
    let run = bench.path("run");
    let steps = ["--eval_steps", "5", "--save_steps", "5", "--max_steps", "10"];
    bench.sft(&words(run.to_str().unwrap(), &steps)).ok();
    for step in [5, 10] {
        fs::remove_file(run.join(format!("checkpoint-{step}/checksums.json"))).unwrap();
    }
    let newest = run.join("checkpoint-10");
    let new = bench.path("新 1");
    let learning_rate = |run: &Path| SftArgs::from_run_dir(run).unwrap().learning_rate;
    let asked = ["--learning_rate", "5e-5", "--output_dir", new.to_str().unwrap()].map(str::to_owned);
    let told =
        bench.run(&[go_on(&newest), only_model(), asked.into()].concat(), "").refused(&["nothing shows"]);
    let line = command(&told);
    assert!(!line.contains("resume_") && !line.contains("NEW_DIR"), "{line}");
    assert!(bench.shell(line).ok().contains("state: finished"));
    assert_eq!(learning_rate(&new), 5e-5);

    let config = bench.path("c 评.json");
    let mut args: Value = serde_json::from_slice(&fs::read(run.join("sft_args.json")).unwrap()).unwrap();
    (args["output_dir"], args["max_steps"]) = (bench.path("of-config").to_str().into(), 4.into());
    (args["learning_rate"], args["eval_steps"], args["save_steps"]) = (3e-5.into(), 2.into(), 2.into());
    fs::write(&config, args.to_string()).unwrap();
    let more = ["--resume_only_model=true", "--config", config.to_str().unwrap(), "--max_steps", "2"];
    let told =
        bench.run(&[go_on(&newest), more.map(str::to_owned).into()].concat(), "").refused(&["nothing shows"]);
    let line = command(&told);
    assert!(!line.contains("sft_args.json") && !line.contains("resume_"), "{line}");
    let ended = bench.shell(line);
    assert!(ended.ok().contains("of-config/checkpoint-2\n"), "{}", ended.stdout);
    assert_eq!(learning_rate(&bench.path("of-config")), 3e-5);
}

/// What is said of a run is what the command does, and each command that a message has works.
#[test]
fn what_is_said_of_a_damaged_run_is_so() {
    let bench = Bench::new();
    // What a shell would take apart.
    let run = bench.path("sp 评'x/run");
    let out = run.display().to_string();
    let steps = ["--eval_steps", "5", "--save_steps", "5", "--save_total_limit", "3"];
    bench.sft(&words(&out, &[&steps[..], &["--max_steps", "15"]].concat())).ok();
    let list = |step: u64| run.join(format!("checkpoint-{step}/checksums.json"));
    let kept = fs::read(list(15)).unwrap();
    // It has come to its end: that is said, with what is wrong.
    let commands = ["stop", "resume", "pause", "save"].map(|command| [command, &out]);
    for damage in ["missing", "{"] {
        match damage {
            "missing" => fs::remove_file(list(15)).unwrap(),
            text => fs::write(list(15), text).unwrap(),
        }
        let ended = bench.run(&go_on(&run), "");
        assert!(ended.ok().contains("state: finished"), "{}", ended.stdout);
        assert!(
            ended.stdout.contains("last_checkpoint: ") && !ended.stdout.contains("checkpoint-15"),
            "{}",
            ended.stdout
        );
        let told = [
            "checkpoint-15 is not whole",
            "checksums.json",
            "checkpoint-10 is its newest whole one",
            "nothing is left to train",
        ];
        assert!(told.iter().all(|words| ended.stderr.contains(words)), "{}", ended.stderr);
        commands.iter().for_each(|command| drop(bench.words(command).refused(&told)));
    }
    fs::write(list(15), &kept).unwrap();
    let ended = bench.run(&go_on(&run), "");
    assert!(ended.ok().contains("state: finished") && !ended.stderr.contains("warning"), "{}", ended.stderr);

    // One that was cut, so that it goes on.
    let log = fs::read_to_string(run.join("events.jsonl")).unwrap();
    let cut: String = log
        .lines()
        .filter(|line| !line.contains("\"kind\":\"finished\""))
        .map(|l| format!("{l}\n"))
        .collect();
    fs::write(run.join("events.jsonl"), &cut).unwrap();
    let newest = run.join("checkpoint-15");
    for damage in ["missing", "{"] {
        match damage {
            "missing" => fs::remove_file(list(15)).unwrap(),
            text => fs::write(list(15), text).unwrap(),
        }
        let told = [
            "has crashed",
            "sft --resume_from_checkpoint",
            "goes on with it from checkpoint-10",
            "checkpoint-15 is not whole",
            "put it back from a copy of the checkpoint",
        ];
        commands.iter().for_each(|command| drop(bench.words(command).refused(&told)));
        // Its weights: as it says.
        let told = bench
            .run(&go_on(&newest), "")
            .refused(&["checksums.json", "nothing shows whether they are whole"]);
        assert!(!told.contains("resume_only_model"), "{told}");
        // Asked for by its weights alone, it has the same command.
        let alone = bench.run(&[go_on(&newest), only_model()].concat(), "");
        assert_eq!(command(&alone.refused(&["checksums.json", "nothing shows"])), command(&told));
        if told.contains("with that file moved away") {
            fs::remove_file(list(15)).unwrap();
        }
        assert_eq!(told.contains("with that file moved away"), damage == "{", "{told}");
        let ended = pasted(&bench, &told, &format!("new-{}", damage.len()));
        assert!(ended.ok().contains("state: finished"), "{}", ended.stdout);
    }
    // None is whole.
    [5, 10].iter().for_each(|step| fs::remove_file(list(*step)).unwrap());
    let told =
        ["cannot be gone on with", "none of them is whole", "checkpoint-15: its weights can begin a new run"];
    commands.iter().for_each(|command| drop(bench.words(command).refused(&told)));
    bench.run(&go_on(&run), "").refused(&told[1..]);
    let alone = bench.run(&[go_on(&run), only_model()].concat(), "").refused(&told[1..]);
    assert!(!alone.contains("move its checkpoints away"), "{alone}");
    let ended = pasted(&bench, &alone, "new-alone");
    assert!(ended.ok().contains("state: finished"), "{}", ended.stdout);
    // Of one that has come to its end.
    fs::write(run.join("events.jsonl"), &log).unwrap();
    let ended = bench.run(&go_on(&run), "");
    assert!(
        ended.ok().contains("state: finished") && !ended.stdout.contains("checkpoint"),
        "{}",
        ended.stdout
    );
    assert!(!ended.stderr.contains("move its checkpoints away"), "{}", ended.stderr);
    let anew = ended.stderr.split_once("trains another run of its arguments").unwrap().0;
    let ended = pasted(&bench, &format!("`{}`", anew.rsplit('`').nth(1).unwrap()), "anew");
    assert!(ended.ok().contains("state: finished"), "{}", ended.stdout);
    assert!(bench.path("anew/checkpoint-15").is_dir());
    fs::write(run.join("events.jsonl"), &cut).unwrap();
    // What only a training needs is damaged: the weights are whole, and it is said how they are taken.
    fs::write(list(15), &kept).unwrap();
    fs::write(newest.join("optimizer.safetensors"), "x").unwrap();
    let e =
        bench.run(&go_on(&newest), "").refused(&["optimizer.safetensors is damaged", "its weights alone"]);
    let ended = pasted(&bench, &e, "of-weights");
    assert!(ended.ok().contains("state: finished"), "{}", ended.stdout);
    let other = bench.path("weights").display().to_string();
    let more = ["--output_dir", &other].map(str::to_owned).into();
    assert!(bench.run(&[go_on(&newest), only_model(), more].concat(), "").ok().contains("state: finished"));
}
