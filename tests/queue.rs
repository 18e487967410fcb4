//! The queue: jobs that start one after another, whatever becomes of the process that starts them.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Bench, Disk, Started};
use qwen_tui::job::event::Event;
use qwen_tui::job::queue::{Listing, Queue};
use qwen_tui::job::runs::{RunStatus, list_runs, worker_alive};
use qwen_tui::run::{list_checkpoints_in, read_events};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Waits until `done` gives something.
#[track_caller]
fn until<T>(what: &str, done: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(began.elapsed() < Duration::from_secs(100), "not seen: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The folder of the bench's queue.
fn folder(bench: &Bench) -> PathBuf {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    bench.path("state/qwen-tui/queue").join(host.trim())
}

fn queue(bench: &Bench) -> Queue {
    Queue::at(&folder(bench))
}

fn listing(bench: &Bench) -> Listing {
    queue(bench).list().unwrap()
}

/// Puts a job of `more` arguments into the queue; its number.
#[track_caller]
fn put(bench: &Bench, more: &[&str]) -> u64 {
    let ended = bench.sft(&[&["--queue"][..], more].concat());
    let said = ended.ok();
    let number = said.lines().next().and_then(|line| line.strip_prefix("job: "));
    number.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{said}"))
}

/// Arguments of a run without end, in a directory of its own.
fn endless(out: &str) -> Vec<&str> {
    let mut words = vec!["--output_dir", out, "--add_output_dir_suffix", "false"];
    for flag in ["--max_steps", "--eval_steps", "--logging_steps"] {
        words.extend([flag, "10000000"]);
    }
    words
}

/// Arguments of a run of two steps, in a directory of its own.
fn short(out: &str) -> [&str; 6] {
    ["--output_dir", out, "--add_output_dir_suffix", "false", "--max_steps", "2"]
}

fn events(run: &Path) -> Vec<qwen_tui::run::Record<Event>> {
    read_events(&run.join("events.jsonl")).unwrap_or_default()
}

fn has_stepped(run: &Path) -> bool {
    events(run).iter().any(|r| matches!(r.event, Event::Step { .. }))
}

fn is_finished(run: &Path) -> bool {
    events(run).iter().any(|r| matches!(r.event, Event::Finished { stopped: false, .. }))
}

/// When a run's worker said its first and its last word.
fn times(run: &Path) -> (f64, f64) {
    let events = events(run);
    (events.first().unwrap().time, events.last().unwrap().time)
}

/// The queue is empty, and its runner has gone.
#[track_caller]
fn wait_until_done(bench: &Bench) {
    until("an empty queue", || listing(bench).jobs.is_empty().then_some(()));
    until("no runner", || (!queue(bench).has_runner()).then_some(()));
}

#[test]
fn jobs_start_one_after_another_in_the_order_that_was_chosen() {
    let bench = Bench::new();
    let first = bench.start(&bench.sft_words(&endless("first")), "");
    until("a first step", || has_stepped(&bench.path("first")).then_some(()));
    let (b, c, d) = (put(&bench, &short("b")), put(&bench, &short("c")), put(&bench, &short("d")));
    assert_eq!((b, c, d), (1, 2, 3));
    // The runner has seen that the device is in use.
    let at = bench.path("first").canonicalize().unwrap();
    until("what is waited for", || {
        let note = listing(&bench).job(b)?.note()?.to_owned();
        (note == format!("waits for cpu, where {} is trained", at.display())).then_some(())
    });
    let listed = bench.words(&["queue"]).ok().to_owned();
    let jobs: Vec<&str> = listed.lines().filter(|line| !line.starts_with("  ")).collect();
    assert!(jobs.len() == 3 && jobs[0].contains("qwen-1_8b on rows.jsonl"), "{listed}");
    assert!(jobs.iter().all(|line| line.contains("waiting") && line.contains("cpu")), "{listed}");

    let moved = |words: &[&str]| bench.words(&[&["queue", "move"][..], words].concat());
    assert_eq!(moved(&["3", "first"]).ok(), "job 3 waits at place 1\n");
    assert_eq!(moved(&["1", "down"]).ok(), "job 1 waits at place 3\n");
    assert_eq!(moved(&["1", "to", "2"]).ok(), "job 1 waits at place 2\n");
    moved(&["9", "up"]).refused(&["no job 9", "qwen-tui queue"]);
    moved(&["1", "left"]).refused(&["up, down, first, last"]);
    assert_eq!(bench.words(&["queue", "remove", "2"]).ok(), "job 2 is out of the queue\n");
    moved(&["2", "up"]).refused(&["no job 2"]);
    let number = "a job is named by its number, which `qwen-tui queue` shows";
    moved(&["-1", "first"]).refused(&["'-1'", number]);
    bench.words(&["queue", "remove", "-1"]).refused(&["'-1'", number]);
    bench.words(&["queue", "retry", "-1"]).refused(&["'-1'", number]);
    moved(&["1", "to", "-2"]).refused(&["\"to -2\" is no place in the queue"]);

    // Beneath the running job, with the keys of a run.
    let listed = bench.words(&["jobs"]).ok().to_owned();
    let lines: Vec<&str> = listed.lines().filter(|line| !line.starts_with("  ")).collect();
    assert!(lines[0].ends_with("/first") && lines[1].contains("job 3 of the queue"), "{listed}");
    assert!(lines[2].contains("job 1 of the queue") && lines.len() == 3, "{listed}");
    let json = bench.words(&["jobs", "--json"]).ok().to_owned();
    let json: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&json[0]), keys(&json[1]));
    assert_eq!(
        (&json[1]["job"], &json[1]["place"], &json[1]["status"]),
        (&3.into(), &1.into(), &"waiting".into())
    );
    assert_eq!(json[0]["job"], Value::Null);

    assert!(!bench.path("d").exists() && !bench.path("b").exists(), "nothing has begun");
    bench.words(&["stop", "last"]).ok();
    first.wait().ok();
    wait_until_done(&bench);
    let (d, b) = (bench.path("d"), bench.path("b"));
    assert!(is_finished(&d) && is_finished(&b) && !bench.path("c").exists());
    let ends = [times(&bench.path("first")), times(&d), times(&b)];
    assert!(ends[0].1 <= ends[1].0 && ends[1].1 <= ends[2].0, "one after another: {ends:?}");
    // What has been trained is told by its run.
    let listed = bench.words(&["jobs", "--output_dir", "d"]).ok().to_owned();
    assert!(listed.starts_with("finished"), "{listed}");
    bench.words(&["queue"]).ok();
}

#[test]
fn a_job_does_not_pass_the_one_that_it_goes_on_with() {
    let bench = Bench::new();
    bench.words(&["queue", "pause"]).ok();
    let last = |out: &'static str| [&short(out)[..], &["--resume_from_checkpoint", "last"]].concat();
    // In a directory of its own, and where each run has one.
    let suffix = |mut words: Vec<&'static str>| {
        let at = words.iter().position(|word| *word == "false").unwrap();
        words[at] = "true";
        words
    };
    for job in [short("a").to_vec(), short("b").to_vec(), last("a")] {
        put(&bench, &job);
    }
    for job in [suffix(short("c").to_vec()), suffix(last("c"))] {
        put(&bench, &job);
    }
    let moved = |words: &[&str]| bench.words(&[&["queue", "move"][..], words].concat());
    let told = ["job 3 goes on with what job 1 leaves", "cannot come before job 1"];
    for words in [&["3", "first"][..], &["3", "to", "1"], &["1", "last"], &["1", "to", "3"]] {
        moved(words).refused(&told);
    }
    moved(&["5", "up"]).refused(&["job 5 goes on with what job 4 leaves"]);
    // Past others, and up to it.
    assert_eq!(moved(&["3", "up"]).ok(), "job 3 waits at place 2\n");
    assert_eq!(moved(&["2", "first"]).ok(), "job 2 waits at place 1\n");
    moved(&["3", "up"]).refused(&told);
    assert_eq!(moved(&["4", "first"]).ok(), "job 4 waits at place 1\n");
}

#[test]
fn what_is_in_the_way_of_the_output_directory_is_told_when_a_job_is_put() {
    let bench = Bench::new();
    let file = bench.write("file", "");
    std::os::unix::fs::symlink("nowhere", bench.path("link")).unwrap();
    fs::create_dir(bench.path("dir")).unwrap();
    bench.write("dir/qwen-1_8b", "");
    let (link, inside, dir) = (bench.path("link"), bench.path("file/in"), bench.path("dir"));
    let places: [(&str, &[&str]); 5] = [
        (&file, &["Not a directory", "set output_dir to a directory"]),
        (inside.to_str().unwrap(), &["Not a directory"]),
        (dir.to_str().unwrap(), &["dir/qwen-1_8b", "Not a directory"]),
        (link.to_str().unwrap(), &["link is a link to nowhere, which is not there"]),
        ("two\nlines", &["two\\nlines", "has a line break"]),
    ];
    std::os::unix::fs::symlink("/proc", bench.path("proc")).unwrap();
    let proc = bench.path("proc");
    let nowhere = [
        ("/proc/x", &["cannot create the output directory /proc/x"][..]),
        (proc.to_str().unwrap(), &["cannot create the output directory", "proc/qwen-1_8b"]),
    ];
    for (place, told) in places.into_iter().chain(nowhere) {
        for queued in [&[][..], &["--queue"]] {
            bench.sft(&[queued, &["--output_dir", place]].concat()).refused(told);
        }
    }
    if let Some(disk) = Disk::new(bench.path("disk")) {
        fs::create_dir(disk.0.join("there")).unwrap();
        disk.read_only(true);
        for place in ["disk", "disk/there", "disk/new/er"] {
            for queued in [&[][..], &["--queue"]] {
                let words = [queued, &["--output_dir", place]].concat();
                bench.sft(&words).refused(&["cannot create the output directory", "Read-only"]);
            }
        }
    }
    assert!(listing(&bench).jobs.is_empty());
    let free = bench.path("free");
    fs::create_dir(&free).unwrap();
    bench.words(&["queue", "pause"]).ok();
    put(&bench, &["--output_dir", "free"]);
    assert_eq!(fs::read_dir(&free).unwrap().count(), 0, "nothing is left of the look");
}

#[test]
fn a_paused_queue_starts_nothing_until_it_goes_on() {
    let bench = Bench::new();
    bench.words(&["queue", "pause"]).ok();
    // What that is, the engine says.
    put(&bench, &[&short("a")[..], &["--device", "auto"]].concat());
    assert!(!queue(&bench).has_runner(), "there is nothing for it to do");
    bench.words(&["queue", "run"]).ok();
    let listed = bench.words(&["queue"]);
    assert!(listed.ok().contains("waiting") && listed.stderr.contains("paused"), "{}", listed.stderr);
    assert!(!bench.path("a").exists());
    bench.words(&["queue", "resume"]).ok();
    wait_until_done(&bench);
    assert!(is_finished(&bench.path("a")));
}

#[test]
fn a_job_of_another_device_does_not_wait_behind() {
    let bench = Bench::new();
    let mut other = short("b").to_vec();
    other.extend(["--device", "cuda:77"]);
    fill(&bench, &[endless("a"), short("c").to_vec(), other]);
    bench.words(&["queue"]).ok();
    // It has been tried, before what stands ahead of it: there is no such device.
    let why = until("the third job", || {
        let listing = listing(&bench);
        let job = listing.job(3)?;
        (job.word() == "failed").then(|| job.note().unwrap().to_owned())
    });
    assert!(why.contains("cuda:77"), "{why}");
    assert!(listing(&bench).job(2).unwrap().is_waiting());
    until("a first step", || has_stepped(&bench.path("a")).then_some(()));
    bench.words(&["stop", "last"]).ok();
    until("the second job", || is_finished(&bench.path("c")).then_some(()));
    bench.words(&["queue", "remove", "3"]).ok();
    wait_until_done(&bench);
}

/// Starts a runner whose end is seen here.
fn runner(bench: &Bench) -> Started {
    bench.start(&["queue".to_owned(), "run".to_owned()], "")
}

/// Fills the queue without waking anybody.
fn fill(bench: &Bench, jobs: &[Vec<&str>]) {
    bench.words(&["queue", "pause"]).ok();
    for job in jobs {
        put(bench, job);
    }
    fs::remove_file(folder(bench).join("paused")).unwrap();
}

fn kill(mut started: Started) {
    started.child.kill().unwrap();
    started.child.wait().unwrap();
}

#[test]
fn a_job_trains_on_without_its_runner_and_the_next_runner_waits_for_it() {
    let bench = Bench::new();
    fill(&bench, &[endless("a"), short("b").to_vec()]);
    let first = runner(&bench);
    let a = bench.path("a");
    until("a first step", || has_stepped(&a).then_some(()));
    kill(first);
    assert!(worker_alive(&a) && !queue(&bench).has_runner());
    let before = listing(&bench);
    assert!(before.job(1).unwrap().is_taken() && before.job(2).unwrap().is_waiting());
    bench.words(&["queue", "remove", "1"]).refused(&["is being trained", "qwen-tui stop"]);
    // Whoever looks starts another.
    bench.words(&["jobs"]).ok();
    until("another runner", || queue(&bench).has_runner().then_some(()));
    until("what is waited for", || listing(&bench).job(2)?.note().map(drop));
    assert!(!bench.path("b").exists() && worker_alive(&a));
    bench.words(&["stop", "last"]).ok();
    wait_until_done(&bench);
    assert!(is_finished(&bench.path("b")));
    let started =
        |run: &Path| events(run).iter().filter(|r| matches!(r.event, Event::Started { .. })).count();
    assert_eq!((started(&a), started(&bench.path("b"))), (1, 1));
    assert_eq!(fs::read_dir(&a).unwrap().flatten().filter(|e| e.file_name() == "worker.exit").count(), 0);
}

/// Runners in pairs, each pair killed at another moment: between jobs, while one is taken, while one trains.
#[test]
fn no_job_is_lost_or_started_twice_whenever_runners_are_killed() {
    let bench = Bench::new();
    let jobs = 4;
    let mut all = vec![vec!["--max_steps", "2"]; jobs];
    // One knows its directory before it is made.
    all[1] = short("own").to_vec();
    fill(&bench, &all);
    let mut moment = 60;
    let began = Instant::now();
    while !listing(&bench).jobs.is_empty() {
        let pair = [runner(&bench), runner(&bench)];
        std::thread::sleep(Duration::from_millis(moment));
        pair.into_iter().for_each(kill);
        // Always another moment, and longer ones as time goes by: some jobs must come to their ends.
        moment = (moment * 7 + 31) % (400 + began.elapsed().as_millis() as u64 / 20);
        assert!(began.elapsed() < Duration::from_secs(100), "{:?}", listing(&bench));
    }
    let mut runs = list_runs(&bench.path("out"));
    assert_eq!(runs.len(), jobs - 1, "{runs:#?}");
    runs.extend(list_runs(&bench.path("own")));
    for run in &runs {
        until("its end", || is_finished(&run.path).then_some(()));
        let starts = events(&run.path).iter().filter(|r| matches!(r.event, Event::Started { .. })).count();
        assert_eq!(starts, 1, "{}", run.path.display());
    }
    assert_eq!(runs.len(), jobs);
    let mut times: Vec<_> = runs.iter().map(|run| times(&run.path)).collect();
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(times.windows(2).all(|w| w[0].1 <= w[1].0), "one after another: {times:?}");
}

#[test]
fn what_cannot_be_started_is_put_aside_with_its_reason_and_the_queue_goes_on() {
    let bench = Bench::new();
    let gone = bench.path("gone").display().to_string();
    fs::create_dir(&gone).unwrap();
    for file in fs::read_dir(bench.path("model")).unwrap().flatten() {
        fs::copy(file.path(), Path::new(&gone).join(file.file_name())).unwrap();
    }
    let mut without_model = short("a").to_vec();
    without_model.extend(["--model_id_or_path", &gone]);
    let mut refused = short("b").to_vec();
    // Found by the worker: all rows are longer.
    refused.extend(["--max_length", "3"]);
    fill(&bench, &[without_model, refused, short("c").to_vec(), endless("d"), short("e").to_vec()]);
    fs::rename(&gone, bench.path("elsewhere")).unwrap();
    // Arguments that are no more what they were.
    fs::write(folder(&bench).join("job-3.json"), r#"{"model_type":"qwen-1_8b","learning_rate":"high"}"#)
        .unwrap();
    bench.words(&["queue"]).ok();
    // A crash is no end of the queue either.
    let pid = until("the fourth job", || {
        has_stepped(&bench.path("d")).then_some(())?;
        events(&bench.path("d")).iter().find_map(|r| match r.event {
            Event::Started { pid, .. } => Pid::from_raw(pid as i32),
            _ => None,
        })
    });
    kill_process(pid, Signal::KILL).unwrap();
    until("the last job", || is_finished(&bench.path("e")).then_some(()));
    until("no runner", || (!queue(&bench).has_runner()).then_some(()));
    let crashed = bench.words(&["jobs", "--output_dir", "d"]).ok().to_owned();
    assert!(crashed.contains("\ncrashed") && crashed.contains("SIGKILL"), "{crashed}");

    let listed = bench.words(&["queue"]).ok().to_owned();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 6, "each with its reason: {listed}");
    for (line, words) in [(1, "no such model directory"), (3, "max_length"), (5, "learning_rate is \"high\"")]
    {
        assert!(lines[line - 1].contains("failed") && lines[line].contains(words), "{listed}");
    }
    assert!(!bench.path("a").exists() && !bench.path("b").exists(), "nothing is left of them");
    bench.words(&["queue", "move", "1", "up"]).refused(&["has failed", "queue retry 1"]);
    bench.words(&["queue", "retry", "9"]).refused(&["no job 9"]);
    for words in [&["move", "x", "first"][..], &["remove", "x"], &["retry", "x"]] {
        let ended = bench.words(&[&["queue"], words].concat());
        ended.refused(&["'x'", "a job is named by its number, which `qwen-tui queue` shows"]);
    }

    fs::rename(bench.path("elsewhere"), &gone).unwrap();
    assert_eq!(bench.words(&["queue", "retry", "1"]).ok(), "job 1 waits again, at place 1\n");
    bench.words(&["queue", "remove", "2", "3"]).ok();
    wait_until_done(&bench);
    assert!(is_finished(&bench.path("a")));
}

/// A directory holds one run.
#[test]
fn a_directory_that_another_job_has_is_refused_when_the_job_is_put() {
    let bench = Bench::new();
    bench.words(&["queue", "pause"]).ok();
    let queued = |words: &[&str]| bench.sft(&[&["--queue"][..], words].concat());
    put(&bench, &short("a"));
    std::os::unix::fs::symlink(bench.path(""), bench.path("link")).unwrap();
    std::os::unix::fs::symlink("a", bench.path("dangling")).unwrap();
    for place in ["a", "./a/", "link/a", "none/../a", "dangling"] {
        queued(&short(place)).refused(&[
            "job 1 of the queue, which is waiting",
            "another output_dir",
            "remove 1",
        ]);
    }
    // Below it is elsewhere, and the last run there may be gone on with.
    put(&bench, &["--output_dir", "a"]);
    let last = [&short("a")[..], &["--resume_from_checkpoint", "last"]].concat();
    assert_eq!(put(&bench, &last), 3);
    bench.words(&["queue", "remove", "1"]).ok();
    queued(&short("a")).refused(&["job 3 of the queue"]);
    bench.words(&["queue", "remove", "3"]).ok();
    assert_eq!(put(&bench, &short("a")), 4);

    // One that has failed does not have it, until it is to wait again.
    fs::write(folder(&bench).join("job-4.state"), r#"{"state":"failed","message":"so"}"#).unwrap();
    assert_eq!(put(&bench, &short("a")), 5);
    bench.words(&["queue", "retry", "4"]).refused(&["job 5 of the queue"]);
    bench.words(&["queue", "remove", "2", "4"]).ok();
    bench.words(&["queue", "resume"]).ok();
    wait_until_done(&bench);
    assert!(is_finished(&bench.path("a")));
    queued(&short("a")).refused(&["already holds a run"]);
}

#[test]
fn files_of_any_bytes_do_not_stop_the_queue() {
    let bench = Bench::new();
    fill(&bench, &[short("a").to_vec(), short("b").to_vec()]);
    let dir = folder(&bench);
    let mut byte = 7u32;
    let mut garbage = || -> Vec<u8> {
        std::iter::repeat_with(|| {
            byte = byte.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (byte >> 24) as u8
        })
        .take(300)
        .collect()
    };
    for name in ["job-7.json", "job-8.state", "job-2.state", "order.json", "job-x.json", "job-9.json"] {
        fs::write(dir.join(name), garbage()).unwrap();
    }
    fs::write(dir.join("job-07.json"), "{}").unwrap();
    fs::write(dir.join("job-99999999999999999999.json"), "{}").unwrap();
    fs::create_dir(dir.join("job-10.json")).unwrap();
    for name in ["job-11.json", "job-12.json"] {
        fs::write(dir.join(name), if name == "job-11.json" { "" } else { "[1, 2]" }).unwrap();
    }
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.join("job-13.json"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    bench.words(&["queue"]).ok();
    until("the good job's end", || is_finished(&bench.path("a")).then_some(()));
    until("no runner", || (!queue(&bench).has_runner()).then_some(()));
    // Whether it has been started is not known: it is not started again.
    assert!(!bench.path("b").exists());
    let listed = bench.words(&["queue"]).ok().to_owned();
    assert_eq!(listed.matches("unreadable").count(), 7, "{listed}");
    bench.words(&["queue", "move", "7", "up"]).refused(&["job 7 is unreadable"]);
    assert_eq!(put(&bench, &short("c")), 14, "no number comes again");
    bench.words(&["queue", "remove", "2", "7", "9", "10", "11", "12", "13"]).ok();
    wait_until_done(&bench);
    assert!(is_finished(&bench.path("c")));
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let bench = Bench::new();
    bench.write("state", "a file in its place");
    let ended = bench.sft(&["--queue"]);
    ended.refused(&["the queue: cannot make", "XDG_STATE_HOME"]);
    // Running and finished jobs are listed all the same.
    bench.words(&["jobs"]).ok();
    assert!(!bench.path("out").exists());
}

#[test]
fn a_full_disk_holds_the_queue_up_and_loses_nothing() {
    let bench = Bench::new();
    let Some(disk) = Disk::new(bench.path("state")) else { return };
    fill(&bench, &[short("a").to_vec(), short("b").to_vec()]);
    disk.fill();
    bench.sft(&["--queue"]).refused(&["the queue: cannot write", "No space left", "XDG_STATE_HOME"]);
    bench.words(&["queue", "move", "2", "first"]).refused(&["the queue: cannot write", "No space left"]);
    let runner = runner(&bench);
    runner.wait_to_hear("the queue: cannot write");
    let listed = bench.words(&["queue"]);
    assert_eq!(listed.ok().matches("waiting").count(), 2, "{}", listed.stdout);
    assert!(listed.stderr.contains("is full: the queue goes on when there is room"), "{}", listed.stderr);
    assert!(!bench.path("a").exists());
    disk.empty();
    runner.wait().ok();
    assert!(listing(&bench).jobs.is_empty());
    assert!(is_finished(&bench.path("a")) && is_finished(&bench.path("b")));
}

/// The disk of the runs, not of the queue.
#[test]
fn a_job_waits_for_room_for_its_run() {
    let bench = Bench::new();
    let Some(disk) = Disk::new(bench.path("runs")) else { return };
    fill(&bench, &[short("runs/a").to_vec(), short("b").to_vec()]);
    // Its directory can be made without room, as on a real disk with inodes left; its arguments cannot be written.
    disk.fill();
    let runner = runner(&bench);
    let note = until("what it waits for", || Some(listing(&bench).job(1)?.note()?.to_owned()));
    assert!(note.contains("No space left") && listing(&bench).job(1).unwrap().is_waiting(), "{note}");
    assert!(!bench.path("runs/a").exists() && !bench.path("b").exists(), "the order is kept");
    disk.empty();
    runner.wait().ok();
    assert!(is_finished(&bench.path("runs/a")) && is_finished(&bench.path("b")));
}

#[test]
fn a_run_that_was_stopped_goes_on_from_the_queue() {
    let bench = Bench::new();
    let mut words = endless("a");
    words.extend(["--max_steps", "300"]);
    let started = bench.start(&bench.sft_words(&words), "");
    until("a first step", || has_stepped(&bench.path("a")).then_some(()));
    bench.words(&["stop", "last"]).ok();
    started.wait().ok();
    if list_runs(&bench.path("a"))[0].status == RunStatus::Finished {
        return eprintln!("skipped: the run came to its end before it was stopped");
    }
    let go_on = |more: &[&str]| {
        let words = [&["sft", "--queue", "--resume_from_checkpoint", "a"][..], more].concat();
        bench.words(&words)
    };
    go_on(&["--learning_rate", "0.5"]).refused(&["learning_rate"]);
    let queued = go_on(&[]);
    assert!(
        queued.ok().starts_with("job: 1\n") && queued.stderr.contains("goes on with"),
        "{}",
        queued.stderr
    );
    assert!(!queued.stderr.contains("the same run"), "{}", queued.stderr);
    wait_until_done(&bench);
    assert!(is_finished(&bench.path("a")));
    go_on(&[]).refused(&["is finished"]);
}

#[test]
fn who_goes_on_with_a_run_that_another_job_goes_on_with_is_told() {
    let bench = Bench::new();
    let words = [&endless("a")[..], &["--save_total_limit", "1"]].concat();
    let started = bench.start(&bench.sft_words(&words), "");
    let run = bench.path("a");
    until("a first step", || has_stepped(&run).then_some(()));
    bench.words(&["stop", "last"]).ok();
    started.wait().ok();
    bench.words(&["queue", "pause"]).ok();
    let checkpoint = list_checkpoints_in(&run).pop().unwrap().path;
    let go_on = |from: &str| bench.words(&["sft", "--queue", "--resume_from_checkpoint", from]);
    let first = go_on("a");
    assert!(first.ok().starts_with("job: 1\n") && !first.stderr.contains("the same run"), "{}", first.stderr);
    let same = |number| format!("job {number} of the queue goes on with the same run: this one goes on ");
    let named = go_on(checkpoint.to_str().unwrap());
    named.ok();
    let place = run.canonicalize().unwrap();
    for told in [
        same(1) + "from this very checkpoint",
        "fails where that one has removed it by then (save_total_limit)".to_owned(),
        "nothing to do where that one finishes the run".to_owned(),
        format!("`--resume_from_checkpoint {}` goes on with what that one leaves", place.display()),
    ] {
        assert!(named.stderr.contains(&told), "{told}: {}", named.stderr);
    }
    let third = go_on("a");
    third.ok();
    assert!(third.stderr.contains(&(same(2) + "with what that one leaves")), "{}", third.stderr);

    // It comes as it was said.
    bench.words(&["queue", "resume"]).ok();
    let begun = |workers: usize| {
        let all = events(&run);
        let begun = all.iter().filter(|r| matches!(r.event, Event::Started { .. })).count();
        let newest = all.iter().rev().take_while(|r| !matches!(r.event, Event::Started { .. }));
        (begun == workers && newest.into_iter().any(|r| matches!(r.event, Event::Step { .. }))).then_some(())
    };
    until("a step of the first job", || begun(2));
    bench.words(&["stop", "last"]).ok();
    assert!(!checkpoint.exists());
    until("a step of the third job", || begun(3));
    let list = listing(&bench);
    assert!(list.job(1).is_none() && list.job(3).is_some());
    let said = bench.words(&["queue"]);
    let command = format!("`qwen-tui sft --resume_from_checkpoint {}`", place.display());
    let name = checkpoint.file_name().unwrap().to_str().unwrap();
    for told in ["failed", &format!("{name}: No such file"), "save_total_limit", &command] {
        assert!(said.ok().contains(told), "{told}: {}", said.stdout);
    }
    bench.words(&["stop", "last"]).ok();
}

/// There may be a run when the job's turn comes, though there was none when it was put.
#[test]
fn the_last_run_is_looked_for_when_the_job_starts() {
    let bench = Bench::new();
    bench.words(&["queue", "pause"]).ok();
    let mut words = endless("out");
    words.retain(|word| !["--add_output_dir_suffix", "false"].contains(word));
    words.extend(["--resume_from_checkpoint", "last"]);
    put(&bench, &words);
    put(&bench, &words);
    bench.words(&["queue", "resume"]).ok();
    let runs = || list_runs(&bench.path("out"));
    // So many workers have begun, and the newest has trained a step.
    let trains = |workers: usize| {
        let all = events(&runs().first()?.path);
        let begun = all.iter().filter(|r| matches!(r.event, Event::Started { .. })).count();
        let stepped = all
            .iter()
            .rev()
            .take_while(|r| !matches!(r.event, Event::Started { .. }))
            .any(|r| matches!(r.event, Event::Step { .. }));
        (begun == workers && stepped).then_some(())
    };
    let stop = || drop(bench.words(&["stop", "last", "--output_dir", "out"]).ok().to_owned());
    until("the first job", || trains(1));
    // One that is put while it trains waits for what it leaves too.
    let third = bench.sft(&[&["--queue"][..], &words].concat());
    third.ok();
    assert!(third.stderr.contains("goes on with what job 2 of the queue leaves"), "{}", third.stderr);
    bench.words(&["queue", "remove", "2"]).ok();
    let fourth = bench.sft(&[&["--queue"][..], &words].concat());
    assert!(fourth.stderr.contains("goes on with what job 3 of the queue leaves"), "{}", fourth.stderr);
    bench.words(&["queue", "remove", "3"]).ok();
    bench.words(&["queue", "remove", "4"]).ok();
    let fifth = bench.sft(&[&["--queue"][..], &words].concat());
    assert!(fifth.stderr.contains("goes on with what job 1 of the queue leaves"), "{}", fifth.stderr);
    stop();
    until("the second job, or another run", || if runs().len() > 1 { Some(()) } else { trains(2) });
    assert_eq!(runs().len(), 1, "the second goes on with the first one's run");
    stop();
}

/// It has trained: how it ended is its run's to tell, wherever that lies by now.
#[test]
fn a_job_whose_run_is_moved_away_is_out_of_the_queue() {
    let bench = Bench::new();
    fill(&bench, &[endless("a"), short("b").to_vec()]);
    let runner = runner(&bench);
    let a = bench.path("a");
    until("a first step", || has_stepped(&a).then_some(()));
    // What its log says the runner can read from then on.
    let open = format!("/proc/{}/fd", runner.child.id());
    let log = a.canonicalize().unwrap().join("events.jsonl");
    until("the open log", || {
        let mut files = fs::read_dir(&open).unwrap().flatten();
        files.any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == log)).then_some(())
    });
    fs::rename(&a, bench.path("elsewhere")).unwrap();
    until("the next job", || is_finished(&bench.path("b")).then_some(()));
    let ended = runner.wait();
    ended.ok();
    assert!(
        ended.stderr.contains("job 1 has ended") && !ended.stderr.contains("job 1 was"),
        "{}",
        ended.stderr
    );
    assert!(listing(&bench).jobs.is_empty());
}

/// One that goes on with the last run is done where that has come to its end by then.
#[test]
fn a_job_that_goes_on_with_a_finished_run_is_done() {
    let bench = Bench::new();
    bench.words(&["queue", "pause"]).ok();
    put(&bench, &short("a"));
    let last = |more: &[&str]| {
        let words = [&["--queue"][..], &short("a"), &["--resume_from_checkpoint", "last"], more].concat();
        bench.sft(&words)
    };
    let second = last(&[]);
    assert!(second.ok().starts_with("job: 2\n"), "{}", second.stdout);
    assert!(second.stderr.contains("goes on with what job 1 of the queue leaves"), "{}", second.stderr);
    assert!(!second.stderr.contains("no run to go on with"), "{}", second.stderr);
    // It could not go on: that is known now.
    last(&["--learning_rate", "0.5"]).refused(&[
        "learning_rate is 0.5 here",
        "job 1 of the queue",
        "another output_dir",
    ]);
    let free = last(&["--save_total_limit", "7"]);
    assert!(free.stderr.contains("what job 2 of the queue leaves"), "{}", free.stderr);
    fs::remove_file(folder(&bench).join("paused")).unwrap();
    let runner = runner(&bench).wait();
    runner.ok();
    assert!(
        runner.stderr.contains("job 2 is done") && runner.stderr.contains("nothing is left to train"),
        "{}",
        runner.stderr
    );
    assert!(listing(&bench).jobs.is_empty(), "{:?}", listing(&bench));
    assert_eq!(
        events(&bench.path("a")).iter().filter(|r| matches!(r.event, Event::Started { .. })).count(),
        1
    );
}
