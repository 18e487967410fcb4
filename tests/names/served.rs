//! Jobs from names alone where nothing is on the machine: a hub on loopback has it.

use std::path::Path;
use std::time::{Duration, Instant};

use qwen_tui::job::queue::Queue;

use crate::common::{Bench, Ended, hear_hang_up, rows};
use crate::server::{Fault, Repository, Server};
use crate::{JOB, json, run_dir};

/// The bench's model under the name of the 1.8B one, and a few rows under JD's.
pub fn hub(bench: &Bench) -> Server {
    let csv = |count: usize| {
        let line =
            |row: &serde_json::Value| format!("{},{},jd\n", row["sentence"].as_str().unwrap(), row["label"]);
        let text: String = rows(count).iter().map(line).collect();
        format!("sentence,label,dataset\n{text}").into_bytes()
    };
    let files = vec![("train.csv", csv(64)), ("dev.csv", csv(6)), ("README.md", Vec::new())];
    Server::start(vec![
        Repository::of("models", "qwen/Qwen-1_8B", &bench.path("model")),
        Repository::new("datasets", "DAMO_NLP/jd", files),
    ])
}

/// 500 bytes of weights a second: nobody waits for the end of that.
pub fn slow_weights(server: &Server) {
    server.fault(|request| if request.is_weights() { Fault::Slow(50, 100) } else { Fault::None });
}

pub fn words(words: &[&str], more: &[&str]) -> Vec<String> {
    [words, more].concat().iter().map(|word| word.to_string()).collect()
}

pub fn run(bench: &Bench, server: &str, all: &[String]) -> Ended {
    let servers = [("MODELSCOPE_DOMAIN", server), ("HF_ENDPOINT", server)];
    bench.start_with(all, "", &servers).wait()
}

#[test]
fn the_reference_runs_job_starts_from_names_alone() {
    let bench = Bench::new();
    let server = hub(&bench);
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/jd-sentiment.json");
    let job =
        words(&["sft", "--config", config], &["--device", "cpu", "--threads", "1", "--output_dir", "out"]);
    let trained = run(&bench, &server.address(), &job);
    let run_dir = run_dir(&trained);
    for told in [
        "qwen/Qwen-1_8B: not on this machine; fetching it from ModelScope, else from Hugging Face",
        "jd-sentiment-zh: fetched into",
        "training 64 rows",
    ] {
        assert!(trained.stderr.contains(told), "{told:?}: {}", trained.stderr);
    }
    let place = bench.path("modelscope/models/qwen--Qwen-1_8B/snapshots/master");
    assert_eq!(json(&run_dir.join("sources.json"))["model"], place.to_str().unwrap());
    assert!(!server.seen().is_empty());
    // The second time nobody is asked for anything but whether there is something newer.
    run(&bench, &server.address(), &[&job[..], &words(&["--check_model_is_latest", "false"], &[])].concat())
        .ok();
    assert!(server.seen().is_empty());
    // The other commands fetch as well: of Hugging Face, where that is asked for.
    let label =
        ["classify", "--model_type", "qwen-1_8b", "--hub", "hf", "--device", "cpu", "--threads", "1", "很好"];
    std::fs::remove_dir_all(bench.path("modelscope")).unwrap();
    run(&bench, &server.address(), &words(&label, &[])).ok();
    assert!(bench.path("huggingface/hub/models--Qwen--Qwen-1_8B/refs/main").is_file());
}

#[test]
fn a_hub_that_has_a_newer_model_is_told_of_and_never_waited_for() {
    let bench = Bench::new();
    let server = hub(&bench);
    let job = words(&JOB, &[]);
    for hub in [&[][..], &["--hub", "hf"]] {
        // What the other hub's tool has would do.
        let _ = std::fs::remove_dir_all(bench.path("modelscope/models"));
        let job = [&job[..], &words(hub, &[])].concat();
        run(&bench, &server.address(), &job).ok();
        let told = |ended: &Ended| {
            ended.ok();
            ended.stderr.contains("are newer than those of this run")
        };
        assert!(!told(&run(&bench, &server.address(), &job)), "{hub:?}");
        let name = if hub.is_empty() { "LICENSE" } else { "NOTICE" };
        server.change(|all| all[0].files.push(crate::server::File::new(name, Vec::new())));
        assert!(told(&run(&bench, &server.address(), &job)), "{hub:?}");
        let not_asked = [&job[..], &words(&["--check_model_is_latest", "false"], &[])].concat();
        server.seen();
        assert!(!told(&run(&bench, &server.address(), &not_asked)));
        assert!(server.seen().is_empty());
    }
    // One that never answers.
    server.fault(|_| Fault::Silence);
    let ended = run(&bench, &server.address(), &job);
    assert!(ended.ok().contains("state: finished"));
}

#[test]
fn what_a_hub_refuses_leaves_no_run_behind() {
    let bench = Bench::new();
    let server = hub(&bench);
    server.change(|all| all.retain(|repository| repository.sort == "datasets"));
    let job = ["sft", "--model_type", "qwen-1_8b", "--dataset", "jd-sentiment-zh", "--output_dir", "out"];
    run(&bench, &server.address(), &words(&job, &[])).refused(&[
        "qwen/Qwen-1_8B",
        "could not be fetched",
        "there is no model qwen/Qwen-1_8B on ModelScope",
    ]);
    assert!(!bench.path("out").exists());
    // A data set in a model's place.
    for (name, hint) in [
        ("DAMO_NLP/jd", "DAMO_NLP/jd is a data set: --dataset jd-sentiment-zh trains on it"),
        ("you/rows", "Where you/rows is a data set: `qwen-tui pull you/rows --dataset --to DIR` fetches it"),
    ] {
        let told = run(&bench, &server.address(), &words(&job, &["--model_id_or_path", name]));
        let told = told.refused(&["there is no model", hint]);
        assert!(!told.contains("by hand"), "{told}");
    }
    // What is wrong elsewhere is told before anything is fetched.
    server.seen();
    let bad = ["--custom_val_dataset_path", "none.csv"];
    run(&bench, &server.address(), &words(&job, &bad)).refused(&["none.csv"]);
    assert!(server.seen().is_empty());
}

#[test]
fn what_a_job_waits_for_is_told() {
    let bench = Bench::new();
    let server = hub(&bench);
    let mut left = 1;
    server.fault(move |_| {
        left = i32::max(left - 1, -1);
        match left {
            0 => Fault::Status(429, vec![("Retry-After", "1".into())], String::new()),
            _ => Fault::None,
        }
    });
    let trained = run(&bench, &server.address(), &words(&JOB, &["--max_steps", "1"]));
    trained.ok();
    let told = "had too many requests from here (429); trying again in 1 s";
    assert_eq!(trained.stderr.matches(told).count(), 1, "{}", trained.stderr);
}

#[test]
fn a_queued_job_is_fetched_for_while_it_waits() {
    let bench = Bench::new();
    let server = hub(&bench);
    server.fault(|request| match request.path.contains("datasets") {
        true => Fault::Status(429, vec![("Retry-After", "12".into())], String::new()),
        false => Fault::None,
    });
    let more = ["--queue", "--add_output_dir_suffix", "false"];
    let queued = run(&bench, &server.address(), &words(&JOB, &more));
    queued.ok();
    assert!(queued.stderr.contains("not on this machine: the queue fetches it"), "{}", queued.stderr);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let queue = Queue::at(&bench.path("state/qwen-tui/queue").join(host.trim()));
    let began = Instant::now();
    let until = |what: &str, done: &dyn Fn() -> bool| {
        while !done() {
            assert!(began.elapsed() < Duration::from_secs(100), "not seen: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until("what it waits for", &|| {
        queue
            .list()
            .unwrap()
            .jobs
            .iter()
            .any(|job| job.note().is_some_and(|note| note.contains("could not be fetched")))
    });
    // Tried again, and refused again: that is no news.
    let asked = std::cell::Cell::new(0);
    until("another try", &|| {
        asked.set(asked.get() + server.seen().iter().filter(|r| r.path.contains("datasets")).count());
        asked.get() >= 2
    });
    until("what came of it", &|| {
        queue.list().unwrap().jobs.iter().all(|job| !job.note().unwrap_or_default().contains("fetching"))
    });
    let log = std::fs::read_to_string(queue.dir().join("runner.log")).unwrap();
    for line in ["fetching it from ModelScope\n", "cannot be started yet", "(429)"] {
        assert_eq!(log.matches(line).count(), 1, "{line:?}: {log}");
    }
    server.well();
    let finished = |run: &Path| {
        std::fs::read_to_string(run.join("events.jsonl")).is_ok_and(|log| log.contains(r#""finished""#))
    };
    until("its end", &|| finished(&bench.path("out")));
    until("an empty queue", &|| queue.list().unwrap().jobs.is_empty() && !queue.has_runner());
}

#[test]
fn a_signal_ends_a_fetch_and_the_same_command_goes_on() {
    use rustix::process::{Pid, Signal, kill_process};
    hear_hang_up();
    let bench = Bench::new();
    let server = hub(&bench);
    slow_weights(&server);
    let servers = [("MODELSCOPE_DOMAIN", server.address()), ("HF_ENDPOINT", server.address())];
    let servers = servers.each_ref().map(|(name, address)| (*name, address.as_str()));
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let started = bench.start_with(&words(&JOB, &[]), "", &servers);
        started.wait_to_hear("Qwen-1_8B: not on this machine; fetching it");
        kill_process(Pid::from_child(&started.child), signal).unwrap();
        let ended = started.wait();
        assert_eq!(ended.ok(), "state: stopped\n", "{}", ended.stderr);
        assert!(ended.stderr.trim_end().ends_with("the same command goes on from there"), "{}", ended.stderr);
        assert!(!bench.path("out").exists());
    }
    server.well();
    run(&bench, &server.address(), &words(&JOB, &[])).ok();
}
