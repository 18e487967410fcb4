//! `kill -9` at random moments of a small run, again and again, until it ends: nothing is lost, and the end is that of a
//! run that nobody disturbed.
//!
//! CHAOS_KILLS has the number of kills, CHAOS_SEED the seed of the moments. How long things take differs from one time
//! to the next, so the same seed aims at the same moments and may hit others.

mod aim;
#[path = "../common/mod.rs"]
mod common;
mod disk;
mod end;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aim::{Aim, Chance, Victim, children, is_gone, kill};
use common::{Bench, Ended};
use disk::{Fell, Found};
use qwen_tui::job::runs::worker_alive;
use serde_json::json;

/// Steps of the run; every second ends in an evaluation and a checkpoint.
const STEPS: u64 = 60;
/// Of `cargo test`; `make chaos` has more.
const KILLS: u32 = 12;
/// Among so many some fall in every part of a save.
const MANY: u32 = 100;

/// Where and whom the kills hit.
#[derive(Default)]
struct Tally(BTreeMap<(Fell, Victim), u32>);

impl Tally {
    fn add(&mut self, fell: Fell, victim: Victim) {
        *self.0.entry((fell, victim)).or_default() += 1;
    }

    fn count(&self) -> u32 {
        self.0.values().sum()
    }

    fn of(&self, fell: Fell) -> u32 {
        self.0.iter().filter(|((f, _), _)| *f == fell).map(|(_, n)| n).sum()
    }

    fn print(&self) {
        let columns = [Victim::Group, Victim::Engine, Victim::Front, Victim::Orphan];
        println!("| the kill fell | {} | in all |", columns.map(Victim::name).join(" | "));
        println!("|---|---|---|---|---|---|");
        let row = |name: &str, of: &dyn Fn(Victim) -> u32| {
            let counts = columns.map(of);
            let all: u32 = counts.iter().sum();
            println!("| {name} | {} | {all} |", counts.map(|n| n.to_string()).join(" | "));
        };
        for fell in Fell::ALL {
            row(fell.name(), &|victim| self.0.get(&(fell, victim)).copied().unwrap_or(0));
        }
        row("in all", &|victim| self.0.iter().filter(|((_, v), _)| *v == victim).map(|(_, n)| n).sum());
    }
}

/// The job under test, in a directory of its own.
struct Job<'a> {
    bench: &'a Bench,
    output: PathBuf,
    /// The command that starts it and goes on with it.
    words: Vec<String>,
}

impl<'a> Job<'a> {
    fn new(bench: &'a Bench, output: &str) -> Self {
        let path = |name: &str| bench.path(name).display().to_string();
        let args = json!({
            "model_type": "qwen-1_8b", "model_id_or_path": path("model"), "device": "cpu", "threads": 1,
            "custom_train_dataset_path": [path("rows.jsonl")], "output_dir": path(output), "max_steps": STEPS,
            "save_steps": 2, "eval_steps": 2, "logging_steps": 3, "save_total_limit": 2,
            "gradient_accumulation_steps": 4, "dataset_test_ratio": 0.1, "learning_rate": 1e-2,
        });
        let file = bench.write(&format!("{output}.json"), args.to_string());
        let words = ["sft", "--config", &file, "--resume_from_checkpoint", "last"].map(str::to_owned).into();
        Self { bench, output: bench.path(output), words }
    }

    /// Its run, once there is one.
    fn run(&self) -> Option<PathBuf> {
        disk::runs(&self.output).pop()
    }

    /// Its run, where a worker is at it.
    fn alive(&self) -> Option<PathBuf> {
        self.run().filter(|run| worker_alive(run))
    }

    /// The run of a command that has ended well.
    #[track_caller]
    fn of(ended: &Ended) -> PathBuf {
        ended.ok().lines().find_map(|l| l.strip_prefix("run_dir: ")).expect("a run").into()
    }

    /// Starts the command, kills whom `victim` says where `aim` says. None where it ended first.
    fn disturbed(&self, aim: Aim, victim: Victim, chance: &mut Chance) -> (Ended, Option<Victim>) {
        let mut started = self.bench.start(&self.words, "");
        let pid = started.child.id();
        let mut ended = || started.child.try_wait().unwrap().is_some();
        // Looked for before, where the moment is short.
        let mut engine = None;
        while matches!(aim, Aim::Change { .. }) && engine.is_none() && !ended() {
            engine = children(pid).pop();
        }
        if !aim.wait(&|| self.run(), &mut ended) {
            return (started.wait(), None);
        }
        let engine = engine.or_else(|| children(pid).pop());
        let struck = match (victim, engine) {
            (Victim::Engine, Some(engine)) => {
                kill(engine);
                Victim::Engine
            }
            (Victim::Front, Some(_)) => {
                kill(pid);
                Victim::Front
            }
            // There is no engine yet, or no longer.
            _ => {
                started.signal_group(rustix::process::Signal::KILL);
                Victim::Group
            }
        };
        let ended = started.wait();
        match (struck, engine) {
            (Victim::Front, Some(engine)) => self.orphan(engine, chance),
            // Its lock goes with the last of its threads.
            _ => wait("the worker goes", || self.alive().is_none() && engine.is_none_or(is_gone)),
        }
        (ended, Some(struck))
    }

    /// The engine whose program was killed trains on; the same command leaves it alone.
    fn orphan(&self, engine: u32, chance: &mut Chance) {
        let has_begun = || self.alive().is_some_and(|run| disk::worker_pid(&run) == Some(engine));
        wait("the worker begins", || has_begun() || is_gone(engine));
        if self.alive().is_some() {
            let again = self.bench.run(&self.words, "");
            match again.code {
                Some(2) => drop(again.refused(&["a worker is training this run"])),
                // The worker came to its end meanwhile.
                _ => assert!(again.ok().contains("run_dir") && self.alive().is_none(), "{}", again.stderr),
            }
            std::thread::sleep(chance.up_to(Duration::from_millis(600)));
        }
    }
}

/// No part of it takes so long, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(400);

/// Waits until it is so.
#[track_caller]
fn wait(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn number<T: std::str::FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_as_one_that_was_not() {
    let wanted = number("CHAOS_KILLS", KILLS);
    let seed = number("CHAOS_SEED", std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.subsec_nanos()));
    println!("CHAOS_SEED={seed} CHAOS_KILLS={wanted}");
    let began = Instant::now();
    let bench = Bench::new();
    let straight = Job::new(&bench, "straight");
    let straight = Job::of(&bench.run(&straight.words, ""));
    let (mut chance, mut tally) = (Chance::new(seed), Tally::default());
    let (mut rounds, mut torn) = (0, 0);
    while tally.count() < wanted {
        rounds += 1;
        let job = Job::new(&bench, &format!("round-{rounds}"));
        let run = round(&job, &mut chance, &mut tally, &mut torn, wanted);
        end::same(&straight, &run);
        std::fs::remove_dir_all(&job.output).unwrap();
    }
    tally.print();
    if wanted >= MANY {
        for fell in [Fell::SaveHalf, Fell::SaveSealed, Fell::SaveRenamed, Fell::Rotating] {
            assert!(tally.of(fell) > 0, "no kill fell {}", fell.name());
        }
    }
    println!(
        "{} kills, {rounds} runs to the end, {torn} torn last lines of a log, {:.0} s",
        tally.count(),
        began.elapsed().as_secs_f64()
    );
}

/// One run, from its beginning to its end; its directory.
fn round(job: &Job, chance: &mut Chance, tally: &mut Tally, torn: &mut u32, wanted: u32) -> PathBuf {
    let mut found = Found::default();
    loop {
        let (aim, victim) = match tally.count() < wanted {
            true => (Aim::draw(chance), Victim::draw(chance)),
            false => (Aim::Never, Victim::Group),
        };
        let (ended, struck) = job.disturbed(aim, victim, chance);
        let Some(struck) = struck else {
            let run = Job::of(&ended);
            found.is_gone_on_with(&ended.stderr);
            return run;
        };
        found.is_gone_on_with(&ended.stderr);
        if struck == Victim::Engine && ended.code != Some(0) {
            ended.failed(1, &["SIGKILL"]);
        }
        // What trains on is killed after it, and only then lies there what can be looked at.
        let victim = match (struck, job.alive()) {
            (Victim::Front, Some(run)) => {
                disk::worker_pid(&run).into_iter().for_each(kill);
                wait("the worker goes", || job.alive().is_none());
                Victim::Orphan
            }
            _ => struck,
        };
        found = found.look(&job.output);
        *torn += found.torn;
        if struck == Victim::Front {
            tally.add(Fell::NotTheEngine, struck);
        }
        if victim != Victim::Front {
            tally.add(found.fell(), victim);
        }
        if std::env::var_os("CHAOS_SHOW").is_some() {
            println!("{aim:?} {struck:?} {victim:?}: {}, {:?}", found.fell().name(), found.newest);
        }
    }
}
