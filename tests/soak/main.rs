//! Two hours of small jobs one after another, started, stopped and gone on with by the keys of one cockpit, beside one
//! worker that trains, evaluates and saves all the while with a cockpit on it: memory and open files stay flat.
//! `make soak` runs it; SOAK_MINUTES says for how long.

#[path = "../common/mod.rs"]
mod common;
#[path = "../pty/terminal.rs"]
mod terminal;
mod watched;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Bench, PROGRAM, Started};
use qwen_tui::job::event::{Command, Event};
use qwen_tui::job::runs::{RunStatus, inspect, list_runs, worker_alive};
use qwen_tui::job::socket::send;
use qwen_tui::run::{list_checkpoints_in, read_events, verify_checkpoint};
use serde_json::json;
use terminal::Terminal;
use watched::{Look, Watched, look, report};

/// Between two looks at the processes.
const LOOK: Duration = Duration::from_secs(3);
/// A job begins so long after the one before, and the long run trains for the first part of it only: others use the
/// machine too.
const BEAT: Duration = Duration::from_secs(10);
const SHARE: Duration = Duration::from_secs(1);
/// Runs of the jobs that stay on disk, and so in the cockpit's list.
const RUNS: usize = 5;
/// Steps of a job. One in three is stopped on the way, and gone on with.
const STEPS: u64 = 90;
/// How long anything may take: the soak gives way to others.
const PATIENCE: Duration = Duration::from_secs(300);
fn worker_pid(run: &Path) -> Option<u32> {
    let events = read_events::<Event>(&run.join("events.jsonl")).ok()?;
    events.iter().rev().find_map(|r| if let Event::Started { pid, .. } = r.event { Some(pid) } else { None })
}

/// Waits for `found`.
#[track_caller]
fn wait<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(it) = found() {
            return it;
        }
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[track_caller]
fn see(terminal: &mut Terminal, words: &[&str]) {
    terminal.wait(&format!("{words:?}"), PATIENCE, |text| words.iter().all(|w| text.contains(w)));
}

/// One run that lasts all the time.
struct LongRun {
    started: Started,
    dir: PathBuf,
    pid: u32,
}

impl LongRun {
    fn start(bench: &Bench) -> Self {
        let mut words = vec!["--add_output_dir_suffix", "false", "--max_steps", "100000000"];
        for flag in ["--save_steps", "--eval_steps", "--logging_steps"] {
            words.extend([flag, "100"]);
        }
        words.extend(["--dataset_test_ratio", "0.2"]);
        let (started, dir) = (bench.start(&bench.sft_words(&words), ""), bench.path("out"));
        wait("the long run's first step", || (inspect(&dir).step > 0).then_some(()));
        let pid = worker_pid(&dir).unwrap();
        Self { started, dir, pid }
    }
}

/// The cockpit that starts the jobs, and what it has started.
struct Jobs<'a> {
    terminal: Terminal,
    output: PathBuf,
    watched: &'a Mutex<Vec<Watched>>,
    began: Instant,
}

impl Jobs<'_> {
    /// A job from the key that starts it to its end.
    fn one(&mut self, index: usize) {
        let before = self.runs().first().map(|run| number(run));
        self.terminal.press("\x1b1");
        see(&mut self.terminal, &["starts the training"]);
        self.terminal.press("s");
        let output = &self.output;
        let run = wait("a new run", || {
            list_runs(output).into_iter().map(|r| r.path).find(|run| Some(number(run)) > before)
        });
        let name = run.file_name().unwrap().to_str().unwrap().to_owned();
        see(&mut self.terminal, &[&name]);
        if index.is_multiple_of(3) {
            see(&mut self.terminal, &["training"]);
            std::thread::sleep(Duration::from_millis(250 * (index as u64 % 8)));
            self.terminal.press("xx");
            self.follow(&run);
            // It may have been at its last step already.
            if inspect(&run).status == RunStatus::Stopped {
                self.terminal.press("\x1b3");
                see(&mut self.terminal, &["Runs under", &name, "stopped"]);
                self.ask_to_go_on();
                self.terminal.press("y");
                let goes_on = || worker_alive(&run) || inspect(&run).status == RunStatus::Finished;
                wait("the worker that goes on", || goes_on().then_some(()));
            }
        }
        self.follow(&run);
        assert_eq!(inspect(&run).status, RunStatus::Finished, "{}", self.terminal.text());
        self.terminal.press("\x1b2");
        see(&mut self.terminal, &[&name, &format!("finished at step {STEPS}")]);
        let cockpit = self.terminal.id();
        wait("an end of its worker that the cockpit hears of", || (zombies(cockpit) == 0).then_some(()));
        list_checkpoints_in(&run).iter().for_each(|c| verify_checkpoint(&c.path).unwrap());
        for old in self.runs().into_iter().skip(RUNS) {
            fs::remove_dir_all(old).unwrap();
        }
    }

    /// Until the cockpit has heard that the worker has gone too, it says that the run is trained already.
    fn ask_to_go_on(&mut self) {
        let began = Instant::now();
        while !self.terminal.text().contains("Yes, ") {
            assert!(began.elapsed() < PATIENCE, "it is not asked about:\n{}", self.terminal.text());
            // The newest run stands first; the mark may have been left at another one.
            self.terminal.press("\x1b[HR");
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Newest first.
    fn runs(&self) -> Vec<PathBuf> {
        let mut runs: Vec<PathBuf> = list_runs(&self.output).into_iter().map(|r| r.path).collect();
        runs.sort_by_key(|path| std::cmp::Reverse(number(path)));
        runs
    }

    /// Waits until the worker of `run` has gone; remembers the most that it had.
    fn follow(&mut self, run: &Path) {
        let (mut most, began) = (None::<Look>, Instant::now());
        wait("a worker", || worker_pid(run));
        while worker_alive(run) {
            assert!(began.elapsed() < PATIENCE, "the job does not end:\n{}", self.terminal.text());
            if let Some(now) = worker_pid(run).and_then(|pid| look(pid, self.began.elapsed().as_secs_f64())) {
                let before = most.unwrap_or(now);
                let (memory, files) = (now.memory.max(before.memory), now.files.max(before.files));
                most = Some(Look { memory, files, ..now });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut watched = self.watched.lock().unwrap();
        watched.last_mut().unwrap().looks.extend(most);
    }
}

/// Children of `pid` that have ended and that it has not heard of.
fn zombies(pid: u32) -> usize {
    let is_one = |stat: String| {
        let rest = stat.rsplit_once(") ")?.1.to_owned();
        let mut words = rest.split(' ');
        (words.next() == Some("Z") && words.next()?.parse() == Ok(pid)).then_some(())
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|e| is_one(fs::read_to_string(e.path().join("stat")).ok()?)).count()
}

/// Says that it is over when it goes, also where a job fails: the others must not go on for ever.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// N of `vN-...`.
fn number(run: &Path) -> u64 {
    let name = run.file_name().unwrap().to_str().unwrap();
    name[1..].split('-').next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "hours; `make soak` runs it"]
fn memory_and_open_files_stay_flat() {
    let minutes: f64 =
        std::env::var("SOAK_MINUTES").map_or(120.0, |m| m.parse().expect("SOAK_MINUTES: a number"));
    let (bench, long_bench) = (Bench::new(), Bench::new());
    let long = LongRun::start(&long_bench);
    let cockpit = |bench: &Bench, words: &[&str]| {
        let mut command = Program::new(PROGRAM);
        command.current_dir(bench.path(".")).env_remove("QWEN_TUI_ENGINE");
        command.env("XDG_STATE_HOME", bench.path("state")).args(words);
        Terminal::start(command, 100, 30)
    };
    let mut looker = cockpit(&long_bench, &["--run", "out"]);
    see(&mut looker, &["out", "training"]);

    let path = |name: &str| bench.path(name).display().to_string();
    let job = json!({
        "model_type": "qwen-1_8b", "model_id_or_path": path("model"), "device": "cpu", "threads": 1,
        "custom_train_dataset_path": [path("rows.jsonl")], "dataset_test_ratio": 0.2, "max_steps": STEPS,
        "eval_steps": 30, "output_dir": path("output"),
    });
    let config = bench.write("job.json", job.to_string());
    let terminal = cockpit(&bench, &["--config", &config]);
    let pids = [long.pid, looker.id(), terminal.id()];
    let names =
        ["worker of the long run", "cockpit on it", "cockpit of the jobs", "workers of the jobs, at most"];
    let watched = Mutex::new(names.map(Watched::new).into());
    let began = Instant::now();
    let mut jobs = Jobs { terminal, output: bench.path("output"), watched: &watched, began };
    let end = Duration::from_secs_f64(minutes * 60.0);

    let over = AtomicBool::new(false);
    let mut done = 0;
    let is_over = || over.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(|| {
            while !is_over() {
                for (watched, pid) in watched.lock().unwrap().iter_mut().zip(pids) {
                    watched.looks.extend(look(pid, began.elapsed().as_secs_f64()));
                }
                std::thread::sleep(LOOK);
            }
        });
        scope.spawn(|| {
            while !is_over() {
                // Where the machine has no time for it just now, the next beat is heard.
                for (command, until_next) in [(Command::Resume, SHARE), (Command::Pause, BEAT - SHARE)] {
                    if let Err(e) = send(&long.dir, command) {
                        println!("{command:?}: {e}");
                    }
                    std::thread::sleep(until_next);
                }
            }
        });
        while began.elapsed() < end {
            let start = Instant::now();
            jobs.one(done);
            done += 1;
            if done % 60 == 0 {
                println!("{:.0} min: {done} jobs", began.elapsed().as_secs_f64() / 60.0);
                // What is wrong so far is told at the end, if it still is.
                report(&watched.lock().unwrap(), began.elapsed().as_secs_f64());
            }
            std::thread::sleep(BEAT.saturating_sub(start.elapsed()));
        }
    });
    jobs.terminal.press("\x03");
    assert_eq!(jobs.terminal.ended().code(), Some(0));
    let whole = began.elapsed().as_secs_f64();
    send(&long.dir, Command::Stop).unwrap();
    let step = inspect(&long.dir).step;
    long.started.wait().ok();
    see(&mut looker, &["stopped, with everything saved"]);
    list_checkpoints_in(&long.dir).iter().for_each(|c| verify_checkpoint(&c.path).unwrap());

    println!("{:.0} min, {done} jobs, {step} steps of the long run", whole / 60.0);
    let wrong = report(&watched.lock().unwrap(), whole);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
