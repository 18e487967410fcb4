//! The queue where what a job names cannot be had, or not soon: what is ready does not wait for it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use qwen_tui::job::queue::Queue;
use serde_json::Value;

use crate::common::Bench;
use crate::served::{hub, run, slow_weights, words};
use crate::server::{Fault, Repository};
use crate::{JOB, put_model};

/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:1";

fn queue(bench: &Bench) -> Queue {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    Queue::at(&bench.path("state/qwen-tui/queue").join(host.trim()))
}

#[track_caller]
fn until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(100), "not seen: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What is said of a job; empty where nothing is.
fn note(queue: &Queue, number: u64) -> String {
    let listing = queue.list().unwrap();
    listing.job(number).and_then(|job| job.note()).unwrap_or_default().to_owned()
}

fn events(run: &Path) -> String {
    fs::read_to_string(run.join("events.jsonl")).unwrap_or_default()
}

/// A job on the bench's own model and rows, in a directory of its own.
fn local(bench: &Bench, out: &str, more: &[&str]) -> Vec<String> {
    let own = ["--queue", "--output_dir", out, "--add_output_dir_suffix", "false"];
    bench.sft_words(&[&own[..], more].concat())
}

#[test]
fn a_job_that_cannot_be_fetched_for_does_not_hold_up_one_that_needs_nothing() {
    let bench = Bench::new();
    let rows = bench.path("rows.jsonl").display().to_string();
    run(&bench, NOBODY, &words(&JOB, &["--queue"])).ok();
    let nothere = [
        "--model_type",
        "qwen-1_8b",
        "--model_id_or_path",
        "me/nothere",
        "--dataset",
        &rows,
        "--device",
        "cpu",
    ];
    run(&bench, NOBODY, &words(&["sft", "--queue"], &nothere)).ok();
    run(&bench, NOBODY, &local(&bench, "ready", &["--max_steps", "2"])).ok();
    until("the end of the third", || events(&bench.path("ready")).contains(r#""finished""#));
    let queue = queue(&bench);
    until("its end in the queue", || queue.list().unwrap().job(3).is_none());
    // Each tells why.
    let refused = "Connection refused";
    until("both reasons", || [1, 2].iter().all(|&job| note(&queue, job).contains(refused)));
    let listed = bench.words(&["queue"]).ok().to_owned();
    let at = |words: &str| listed.find(words).unwrap_or_else(|| panic!("{words:?}: {listed}"));
    assert!(at("qwen/Qwen-1_8B is not on this machine") < at(refused), "{listed}");
    assert!(at("me/nothere is not on this machine") > at(refused), "{listed}");
    assert!(listed.rfind(refused).unwrap() > at("me/nothere is not"), "{listed}");
    let objects: Vec<Value> = bench
        .words(&["queue", "--json"])
        .ok()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (object, name) in
        objects.iter().zip(["qwen-tui pull qwen/Qwen-1_8B --to DIR", "qwen-tui pull me/nothere --to DIR"])
    {
        let trouble = object["trouble"].as_str().unwrap();
        assert!(trouble.contains(refused) && trouble.contains(name), "whole: {trouble}");
    }
    // What comes by another way is seen, though no hub answers: the job keeps its place and is started.
    put_model(&bench, "modelscope/hub/me/nothere");
    until("the second, on what was brought", || {
        queue.list().unwrap().job(2).is_none_or(|job| job.is_taken())
    });
    until("its end", || queue.list().unwrap().job(2).is_none());
    assert!(queue.list().unwrap().job(1).unwrap().is_waiting());
    bench.words(&["queue", "remove", "1"]).ok();
    until("no runner", || !queue.has_runner());
}

#[test]
fn a_job_that_is_fetched_for_keeps_its_place() {
    let bench = Bench::new();
    let server = hub(&bench);
    server.fault(|_| Fault::Status(503, Vec::new(), String::new()));
    let address = server.address();
    let first = ["--queue", "--add_output_dir_suffix", "false"];
    run(&bench, &address, &words(&JOB, &first)).ok();
    let nothere = ["--model_id_or_path", "me/nothere", "--queue"];
    run(&bench, &address, &words(&JOB, &nothere)).ok();
    let long = ["--max_steps", "10000000", "--eval_steps", "10000000", "--logging_steps", "10000000"];
    run(&bench, &address, &local(&bench, "long", &long)).ok();
    run(&bench, &address, &local(&bench, "last", &["--max_steps", "2"])).ok();
    until("a step of the third", || events(&bench.path("long")).contains(r#""step""#));
    let queue = queue(&bench);
    until("why the first waits", || note(&queue, 1).contains("503"));
    server.well();
    // It is tried again, and has its turn before the one that was ready all the time.
    until("its turn", || note(&queue, 1).starts_with("waits for cpu, where "));
    assert_eq!(queue.list().unwrap().place(1), Some(1));
    // What no hub has does not wait for ever.
    until("what came of the second", || queue.list().unwrap().job(2).unwrap().word() == "failed");
    assert!(note(&queue, 2).contains("there is no model me/nothere"), "{}", note(&queue, 2));
    bench.words(&["stop", "last"]).ok();
    until("an empty queue", || queue.list().unwrap().jobs.len() == 1 && !queue.has_runner());
    let began = |run: &str| {
        let first: Value = serde_json::from_str(events(&bench.path(run)).lines().next().unwrap()).unwrap();
        first["time"].as_f64().unwrap()
    };
    assert!(began("out") < began("last"));
    assert!(["out", "last"].iter().all(|run| events(&bench.path(run)).contains(r#""finished""#)));
}

#[test]
fn what_is_ready_starts_while_much_is_fetched_for_the_job_before_it() {
    let bench = Bench::new();
    let server = hub(&bench);
    slow_weights(&server);
    run(&bench, &server.address(), &words(&JOB, &["--queue"])).ok();
    let queue = queue(&bench);
    until("how far it is", || note(&queue, 1).starts_with("fetching qwen"));
    run(&bench, &server.address(), &local(&bench, "ready", &["--max_steps", "2"])).ok();
    until("the end of the second", || events(&bench.path("ready")).contains(r#""finished""#));
    assert!(note(&queue, 1).starts_with("fetching qwen") && queue.list().unwrap().place(1) == Some(1));
    assert!(!bench.path("out").exists());
    bench.words(&["queue", "remove", "1"]).ok();
    until("no runner", || !queue.has_runner());
}

#[test]
fn a_hub_that_asks_to_wait_for_one_job_holds_up_no_other_fetch() {
    let bench = Bench::new();
    let server = hub(&bench);
    server.change(|all| all.push(Repository::of("models", "me/Small", &bench.path("model"))));
    server.fault(|request| match request.path.contains("me/Small") {
        true => Fault::Status(429, vec![("Retry-After", "60".into())], String::new()),
        false => Fault::None,
    });
    let address = server.address();
    let small = ["--model_id_or_path", "me/Small", "--queue", "--output_dir", "small"];
    run(&bench, &address, &words(&JOB, &small)).ok();
    let model = bench.path("model").display().to_string();
    let other = ["--model_id_or_path", &model, "--queue", "--add_output_dir_suffix", "false"];
    run(&bench, &address, &words(&JOB, &other)).ok();
    let asked = "it asks to try again in 60 s";
    let queue = queue(&bench);
    until("why the first waits", || note(&queue, 1).contains(asked));
    until("the end of the second", || events(&bench.path("out")).contains(r#""finished""#));
    let told = note(&queue, 1);
    assert!(told.starts_with("not tried again before "), "{told}");
    assert!(told.contains("me/Small is not on this machine") && told.matches(asked).count() == 2, "{told}");
    let listed = bench.words(&["queue"]).ok().to_owned();
    assert!(listed.contains("not tried again before ") && listed.contains("(429)"), "{listed}");
    // No hub is asked before the time that it has told: once each, as far as that goes.
    let of_small = server.seen().iter().filter(|request| request.path.contains("me/Small")).count();
    assert!((2..=4).contains(&of_small), "{of_small}");
    bench.words(&["queue", "remove", "1"]).ok();
    until("no runner", || !queue.has_runner());
}

#[test]
fn a_busy_hub_keeps_a_job_that_the_other_one_does_not_know() {
    let bench = Bench::new();
    let server = hub(&bench);
    // As Hugging Face's call for models begins.
    server.fault(|request| match request.path.starts_with("/api/models/") {
        true => Fault::None,
        false => Fault::Status(503, Vec::new(), String::new()),
    });
    let nothere = ["--model_id_or_path", "me/nothere", "--queue", "--dataset"];
    let rows = bench.path("rows.jsonl").display().to_string();
    run(&bench, &server.address(), &words(&JOB, &[&nothere[..], &[&rows]].concat())).ok();
    let queue = queue(&bench);
    until("why it waits", || note(&queue, 1).contains("(503)"));
    let told = note(&queue, 1);
    assert!(told.contains("there is no model me/nothere"), "{told}");
    assert!(queue.list().unwrap().job(1).unwrap().is_waiting());
    bench.words(&["queue", "remove", "1"]).ok();
    until("no runner", || !queue.has_runner());
}
