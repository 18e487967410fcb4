//! Jobs from the shell: listed, paused, saved, stopped, on real workers.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Bench, Started};
use qwen_tui::job::event::Event;
use qwen_tui::job::runs::worker_alive;
use qwen_tui::run::{read_events, verify_checkpoint};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A run that no test waits for the end of, in `out`; started and past its first step.
fn endless(bench: &Bench, out: &str) -> (Started, PathBuf) {
    let flags = ["--output_dir", out, "--add_output_dir_suffix", "false", "--max_steps", "10000000"];
    let never = ["--eval_steps", "10000000", "--logging_steps", "10000000"];
    let started = bench.start(&bench.sft_words(&[&flags[..], &never[..]].concat()), "");
    let (began, log) = (Instant::now(), bench.path(out).join("events.jsonl"));
    let stepped = || {
        let events = read_events::<Event>(&log).unwrap_or_default();
        events.iter().any(|r| matches!(r.event, Event::Step { .. }))
    };
    while !stepped() {
        assert!(began.elapsed() < Duration::from_secs(60), "no first step");
        std::thread::sleep(Duration::from_millis(20));
    }
    (started, bench.path(out).canonicalize().unwrap())
}

/// Links in this machine's register of running jobs.
fn registered(bench: &Bench) -> usize {
    let hosts: Vec<_> = fs::read_dir(bench.path("state/qwen-tui/running")).unwrap().flatten().collect();
    assert_eq!(hosts.len(), 1);
    fs::read_dir(hosts[0].path()).unwrap().count()
}

fn worker_pid(run: &Path) -> Pid {
    let events = read_events::<Event>(&run.join("events.jsonl")).unwrap();
    let pid = events.iter().find_map(|r| match r.event {
        Event::Started { pid, .. } => Pid::from_raw(pid as i32),
        _ => None,
    });
    pid.unwrap()
}

/// A line break in what was typed does not make two lines of a message.
#[test]
fn a_place_of_two_lines_is_told_in_one() {
    let bench = Bench::new();
    for command in [&["jobs"][..], &["stop", "last"], &["pause", "nothing"]] {
        let ended = bench.words(&[command, &["--output_dir", "a\nb\u{1b}[31m"]].concat());
        assert!(ended.stderr.contains("under a\\nb\\u{1b}[31m"), "{}", ended.stderr);
        assert_eq!(ended.stderr.trim_end().lines().count(), 1, "{}", ended.stderr);
    }
}

#[test]
fn a_job_is_commanded_from_the_shell() {
    let bench = Bench::new();
    let (started, run) = endless(&bench, "作业/情感");
    let at = run.display().to_string();
    let says = |words: &[&str], told: &str| {
        let said = bench.words(words).ok().to_owned();
        assert!(said.starts_with(&format!("{at} ")) && said.contains(told), "{words:?}: {said}");
        said
    };
    // The output directory named is another one: running jobs are found all the same.
    assert_eq!(registered(&bench), 1);
    says(&["pause", "last"], "is paused at step ");
    says(&["pause", &at], "is paused already, at step ");
    let listed = bench.words(&["jobs"]).ok().to_owned();
    assert!(listed.starts_with("paused") && listed.ends_with(&format!("{at}\n")), "{listed}");
    let json: Value = serde_json::from_str(bench.words(&["jobs", "--json"]).ok()).unwrap();
    assert_eq!(json["run"], at.as_str());
    assert_eq!(
        (&json["status"], &json["paused"], &json["hangs"]),
        (&"running".into(), &true.into(), &false.into())
    );
    assert_eq!(json["pid"].as_i64().unwrap(), i64::from(worker_pid(&run).as_raw_nonzero().get()));

    let said = says(&["save", "情感"], "has saved checkpoint-");
    let checkpoint = said.split_whitespace().find(|word| word.starts_with("checkpoint-")).unwrap();
    verify_checkpoint(&run.join(checkpoint)).unwrap();
    says(&["resume", "情感", "--output_dir", "作业"], "goes on at step ");
    says(&["resume", "last"], "is not paused");
    says(&["save", "last"], "has saved checkpoint-");
    let stopped = bench.words(&["stop", "last"]);
    assert!(
        stopped.ok().contains("has stopped at step ") && stopped.stdout.contains("is its last checkpoint")
    );
    assert!(stopped.stderr.contains("sft --resume_from_checkpoint"), "{}", stopped.stderr);
    assert!(!worker_alive(&run), "whoever goes on with it finds its lock free");
    started.wait().ok();

    bench.words(&["stop", &at]).refused(&["is stopped", "--resume_from_checkpoint"]);
    bench.words(&["stop", "last"]).refused(&["no job is running", "qwen-tui jobs"]);
    assert_eq!(bench.words(&["jobs"]).ok(), "", "it is elsewhere, and runs no more");
    let listed = bench.words(&["jobs", "--output_dir", "作业"]).ok().to_owned();
    assert!(listed.starts_with("stopped") && listed.lines().count() == 1, "{listed}");
    assert_eq!(registered(&bench), 0);
}

/// The kernel stops a process's threads one by one, and the socket's may still answer.
fn wait_until_stopped(pid: Pid) {
    let began = Instant::now();
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    let stopped = || {
        fs::read_dir(&tasks).unwrap().flatten().all(|task| {
            // The state stands behind the name, which is in parentheses.
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
        })
    };
    while !stopped() {
        assert!(began.elapsed() < Duration::from_secs(60), "it was not stopped");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_worker_that_does_not_answer_holds_nobody_up_and_a_killed_one_is_told() {
    let bench = Bench::new();
    let (started, run) = endless(&bench, "out/v0");
    let pid = worker_pid(&run);
    kill_process(pid, Signal::STOP).unwrap();
    wait_until_stopped(pid);
    let kill = format!("kill -9 {}", pid.as_raw_nonzero());
    bench.words(&["pause", "v0"]).refused(&["does not answer", &kill, "nothing has been saved yet"]);
    kill_process(pid, Signal::KILL).unwrap();
    started.wait().failed(1, &["SIGKILL"]);
    let listed = bench.words(&["jobs", "--output_dir", "out"]).ok().to_owned();
    assert!(
        listed.starts_with("crashed") && listed.contains("\n  ") && listed.contains("SIGKILL"),
        "{listed}"
    );
    bench
        .words(&["resume", "v0", "--output_dir", "out"])
        .refused(&["has crashed", "--resume_from_checkpoint"]);
    assert_eq!(registered(&bench), 0, "its link is cleaned");
}

#[test]
fn a_job_is_followed_as_lines_and_left_alone() {
    let bench = Bench::new();
    let (started, run) = endless(&bench, "out/v0");
    let at = run.display().to_string();
    let attach = || bench.start(&["attach".to_owned(), at.clone()], "");
    let (looking, left) = (attach(), attach());
    left.wait_to_hear("plan: ");
    left.signal_group(Signal::INT);
    let left = left.wait();
    assert_eq!(left.code, Some(130), "{}", left.stderr);
    assert!(left.stderr.contains(&format!("the job goes on: `qwen-tui attach {at}`")), "{}", left.stderr);
    assert!(worker_alive(&run));
    looking.wait_to_hear("plan: ");
    bench.words(&["pause", &at]).ok();
    looking.wait_to_hear("paused at step ");
    bench.words(&["stop", &at]).ok();
    let ended = looking.wait();
    assert_eq!(ended.stderr.matches("told to stop\n").count(), 1, "whoever did it: {}", ended.stderr);
    let report = started.wait().ok().to_owned();
    assert!(report.starts_with(&format!("run_dir: {at}\nlast_checkpoint: ")), "{report}");
    assert_eq!(ended.ok(), report, "whoever follows is told what who started it is told");
    assert!(ended.stderr.starts_with("engine "), "{}", ended.stderr);
    assert!(ended.stderr.contains("stopped, with everything saved,"), "{}", ended.stderr);
    // One that has ended is told as it ended.
    let again = bench.words(&["attach", "v0", "--plain", "--output_dir", "out"]);
    assert!(again.ok() == report && again.stderr.contains("stopped, with everything saved,"));
    fs::write(bench.path("out/v0/events.jsonl"), "").unwrap();
    bench.words(&["attach", &at]).refused(&["no worker has begun on this run"]);
}
