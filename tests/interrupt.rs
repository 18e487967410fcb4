//! Signals at awkward moments: before a run has begun, and a second Ctrl-C, which ends it at once: what is said then is
//! what lies on the disk.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Bench, Disk, Started, hear_hang_up, rows};
use qwen_tui::job::event::{Command, Event, Stage};
use qwen_tui::job::{Resume, socket::send};
use qwen_tui::run::{
    list_checkpoints_in, no_more_checkpoints, read_events, verify_checkpoint, write_checkpoint,
};
use rustix::process::{Pid, Signal, kill_process};

fn events(run: &Path) -> Vec<Event> {
    let all = read_events::<Event>(&run.join("events.jsonl")).unwrap_or_default();
    all.into_iter().map(|record| record.event).collect()
}

/// Waits until an event after the first `before` is as wanted; how many there are with it.
#[track_caller]
fn wait(run: &Path, before: usize, wanted: fn(&Event) -> bool) -> usize {
    let began = Instant::now();
    loop {
        let all = events(run);
        if let Some(at) = all.iter().skip(before).position(wanted) {
            return before + at + 1;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the event did not come: {:?}", all.last());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a run without end in `dir`.
fn start(bench: &Bench, dir: &Path, more: &[&str]) -> Started {
    let out = dir.display().to_string();
    let always = ["--output_dir", &out, "--add_output_dir_suffix", "false", "--max_steps", "10000000"];
    bench.start(&bench.sft_words(&[&always[..], more].concat()), "")
}

/// The steps of the checkpoints, each of them whole.
fn saved(run: &Path) -> Vec<u64> {
    let list = list_checkpoints_in(run);
    list.iter().for_each(|c| verify_checkpoint(&c.path).unwrap());
    list.iter().map(|c| c.step).collect()
}

/// The command that goes on with a run, whose path needs quotes.
fn go_on(run: &Path) -> String {
    format!("qwen-tui sft --resume_from_checkpoint '{}'", run.canonicalize().unwrap().display())
}

/// `worker.log` has the worker's reports, and its last words: nothing that has slipped out.
#[track_caller]
fn says_nothing_odd(run: &Path, error: &str) {
    let log = fs::read_to_string(run.join("worker.log")).unwrap();
    let odd = |line: &&str| !line.contains("  INFO ") && !line.contains("  WARN ");
    assert_eq!(log.lines().filter(odd).collect::<Vec<_>>(), [format!("error: {error}")], "{log}");
}

/// What was saved before the save that is cut short.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    AnEarlierStep,
    TheSameStep,
}

/// The save that it is in the middle of waits for room.
#[test]
fn a_save_that_is_cut_short_leaves_what_was_saved_before() {
    for before in [Before::Nothing, Before::AnEarlierStep, Before::TheSameStep] {
        let bench = Bench::new();
        let Some(disk) = Disk::new(bench.path("disk")) else { return };
        let run = disk.0.join("a run");
        let started = start(&bench, &run, &["--save_steps", "10000000", "--save_only_model", "false"]);
        let mut at = wait(&run, 0, |e| matches!(e, Event::Step { .. }));
        send(&run, Command::Pause).unwrap();
        at = wait(&run, at, |e| matches!(e, Event::Paused { .. }));
        if before != Before::Nothing {
            send(&run, Command::Save).unwrap();
            at = wait(&run, at, |e| matches!(e, Event::Checkpoint { .. }));
        }
        if before == Before::AnEarlierStep {
            send(&run, Command::Resume).unwrap();
            at = wait(&run, at, |e| matches!(e, Event::Step { .. }));
            send(&run, Command::Pause).unwrap();
            at = wait(&run, at, |e| matches!(e, Event::Paused { .. }));
        }
        let steps = saved(&run);
        assert_eq!(steps.len(), usize::from(before != Before::Nothing));
        disk.fill();
        // It comes as SIGINT, and as SIGTERM through `sft`: one wish, which does not give the save up.
        started.signal_group(Signal::INT);
        wait(&run, at, |e| matches!(e, Event::NoRoom { .. }));
        std::thread::sleep(Duration::from_millis(500));
        let last = events(&run).pop();
        assert!(!matches!(last, Some(Event::Failed { .. } | Event::Finished { .. })), "{last:?}");
        started.signal_group(Signal::INT);
        let (ended, last) = (started.wait(), events(&run).pop());
        if before == Before::TheSameStep {
            // Nothing is lost: it ends as by one signal.
            assert!(ended.ok().ends_with("state: stopped\n"), "{}", ended.stdout);
            let told = format!("stopped, with everything saved, at step {}", steps[0]);
            assert!(ended.stderr.contains(&told), "{}", ended.stderr);
            let Some(Event::Finished { step, seconds, stopped: true, last_checkpoint, .. }) = last else {
                panic!("{last:?}")
            };
            assert_eq!((step, last_checkpoint), (steps[0], Some(format!("checkpoint-{step}"))));
            assert!(seconds > 0.0);
        } else {
            let told = match steps[..] {
                [step] => format!("checkpoint-{step} is kept, and can be gone on from: `{}`", go_on(&run)),
                _ => "no checkpoint has been saved".to_owned(),
            };
            let told = format!("interrupted twice: stopped at once; {told}");
            assert_eq!(ended.failed(1, &[]), told);
            assert!(
                matches!(&last, Some(Event::Failed { exit_code: 1, message }) if *message == told),
                "{last:?}"
            );
        }
        assert_eq!(saved(&run), steps);
        assert_eq!(Resume::of(&run).unwrap().step, steps.first().copied());
    }
}

/// `timeout -s INT` signals its child and then the group; what forwards Ctrl-C adds one to the terminal's.
#[test]
fn interrupts_a_few_milliseconds_apart_are_one_and_later_ones_are_not() {
    let bench = Bench::new();
    let run = bench.path("run");
    let started = start(&bench, &run, &[]);
    wait(&run, 0, |e| matches!(e, Event::Step { .. }));
    let child = Pid::from_raw(started.child.id() as i32).unwrap();
    let apart = || std::thread::sleep(Duration::from_millis(20));
    kill_process(child, Signal::INT).unwrap();
    for _ in 0..3 {
        apart();
        started.signal_group(Signal::INT);
    }
    assert!(started.wait().ok().ends_with("state: stopped\n"));
    assert!(!saved(&run).is_empty());

    let run = bench.path("paused");
    let slow =
        ["--batch_size", "16", "--gradient_accumulation_steps", "100000", "--train_dataset_sample", "-1"];
    let text: String = rows(20_000).iter().map(|row| format!("{row}\n")).collect();
    bench.write("rows.jsonl", text);
    let started = start(&bench, &run, &slow);
    wait(&run, 0, |e| matches!(e, Event::Stage { stage: Stage::Training }));
    let child = Pid::from_raw(started.child.id() as i32).unwrap();
    // To `sft` alone: the worker is told by it.
    kill_process(child, Signal::INT).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    kill_process(child, Signal::INT).unwrap();
    started.wait().failed(1, &["stopped at once"]);
}

/// Whatever a save came to in the second that it is left, that is said.
#[test]
fn what_is_said_of_a_save_is_so() {
    for wait_for in [260, 350, 500, 800].map(Duration::from_millis) {
        let bench = Bench::new();
        let run = bench.path("run");
        // It is copied, synced and summed up by each save.
        let large = fs::File::create(bench.path("model/tokenization_qwen.py")).unwrap();
        large.set_len(200 << 20).unwrap();
        let started = start(&bench, &run, &["--save_steps", "10000000", "--save_only_model", "false"]);
        let at = wait(&run, 0, |e| matches!(e, Event::Step { .. }));
        started.signal_group(Signal::INT);
        wait(&run, at, |e| matches!(e, Event::Stage { stage: Stage::Saving }));
        std::thread::sleep(wait_for);
        started.signal_group(Signal::INT);
        let ended = started.wait();
        match (events(&run).pop().unwrap(), &saved(&run)[..]) {
            (Event::Finished { step, stopped: true, .. }, [saved]) => {
                assert!(ended.ok().contains("state: stopped") && step == *saved);
            }
            (Event::Failed { message, .. }, []) => {
                assert_eq!(ended.failed(1, &[]), message);
                assert!(message.ends_with("at once; no checkpoint has been saved"), "{message}");
                says_nothing_odd(&run, &message);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Its computation is at work when the process ends.
#[test]
fn a_step_that_is_left_says_nothing_more() {
    let bench = Bench::new();
    let run = bench.path("run");
    let text: String = rows(20_000).iter().map(|row| format!("{row}\n")).collect();
    bench.write("rows.jsonl", text);
    let slow =
        ["--train_dataset_sample", "-1", "--batch_size", "16", "--gradient_accumulation_steps", "1000"];
    let started = start(&bench, &run, &slow);
    let at = wait(&run, 0, |e| matches!(e, Event::Stage { stage: Stage::Training }));
    started.signal_group(Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    started.signal_group(Signal::INT);
    let told =
        started.wait().failed(1, &["interrupted twice: stopped at once; no checkpoint has been saved"]);
    assert!(!events(&run)[at..].iter().any(|e| matches!(e, Event::Step { .. })), "the step was not slow");
    says_nothing_odd(&run, &told);
}

/// In this process, which has no other use for checkpoints.
#[test]
fn after_the_last_look_no_checkpoint_gets_its_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("events.jsonl"), "").unwrap();
    let run = qwen_tui::run::RunDir::open(dir.path()).unwrap();
    let fill = |to: &Path| {
        fs::write(to.join("weights"), "x").unwrap();
        Ok(())
    };
    write_checkpoint(&run, 1, fill).unwrap();
    no_more_checkpoints();
    let path: PathBuf = run.path().to_owned();
    // It waits for ever, as a save does while its process ends.
    std::thread::spawn(move || write_checkpoint(&run, 2, fill));
    let sealed = || {
        let entries = fs::read_dir(&path).unwrap().flatten().map(|e| e.path());
        entries.into_iter().any(|e| {
            e.file_name().is_some_and(|n| n.to_str().unwrap().starts_with(".checkpoint-2.tmp"))
                && e.join("checksums.json").exists()
        })
    };
    let began = Instant::now();
    while !sealed() {
        assert!(began.elapsed() < Duration::from_secs(60), "the second checkpoint is not written");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(saved(&path), [1]);
}

/// Whether the program hears `signal` by now.
fn hears(started: &Started, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", started.child.id())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    caught & (1 << (signal.as_raw() - 1)) != 0
}

/// While the form is read, the engine looked at, the directory made, the worker started, and while it loads: at each such
/// moment the command ends well and says what can be done, and nothing half-made stays.
#[test]
fn a_signal_at_any_early_moment_ends_a_start_well() {
    hear_hang_up();
    let bench = Bench::new();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        for moment in [0, 3, 10, 25, 60, 120, 200, 300, 500] {
            let what = format!("{signal:?} after {moment} ms");
            let out = bench.path("early");
            let started = start(&bench, &out, &["--save_steps", "10000000"]);
            let began = Instant::now();
            // Before the first line of its own the system ends it, as any program.
            loop {
                let made = out.exists();
                if hears(&started, signal) {
                    break;
                }
                assert!(!made, "it hears them before it makes anything");
                assert!(began.elapsed() < Duration::from_secs(60), "it never hears it");
            }
            std::thread::sleep(Duration::from_millis(moment));
            started.signal_group(signal);
            let ended = started.wait();
            let said = format!("{what}: {}\n{}", ended.stdout, ended.stderr);
            assert!(!ended.stderr.contains("error"), "{said}");
            if !out.exists() {
                assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "state: stopped\n"), "{said}");
                assert!(
                    ended.stderr.ends_with(
                        "stopped before it began: nothing was trained; the same command starts it again\n"
                    ),
                    "{said}"
                );
                continue;
            }
            if signal == Signal::HUP {
                // Its worker trains on, whether it had begun to hear signals or not.
                assert_eq!((ended.code, ended.signal), (Some(129), None), "{said}");
                wait(&out, 0, |e| matches!(e, Event::Step { .. }));
                bench.words(&["stop", out.to_str().unwrap()]).ok();
            } else {
                assert_eq!(ended.code, Some(0), "{said}");
                let report = format!("run_dir: {}\n", out.display());
                assert!(ended.stdout.starts_with(&report), "{said}");
                assert!(ended.stdout.ends_with("state: stopped\n"), "{said}");
                assert!(ended.stderr.contains("to go on with it: qwen-tui sft --resume_from"), "{said}");
            }
            assert!(Resume::of(&out).is_ok(), "{said}");
            fs::remove_dir_all(&out).unwrap();
        }
    }
}
