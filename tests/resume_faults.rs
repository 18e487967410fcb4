//! Going on with a run on a disk that is full, or that cannot be written.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Bench, Disk};
use qwen_tui::job::event::{Command, Event};
use qwen_tui::job::socket::send;
use qwen_tui::run::{list_checkpoints_in, read_events, verify_checkpoint};
use rustix::process::Signal;

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
    let told = format!("checkpoint-{step} is kept, and can be gone on from");
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
