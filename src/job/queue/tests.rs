use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::changes::{Added, To};
use super::folder::Queue;
use super::own::Told;
use super::start::{End, settle};
use super::state::{State, lock_file, number_of};
use crate::args::{SftArgs, load_sft};
use crate::error::Error;
use crate::job::runs::tests::{STARTED, run};
use crate::run::RunDir;

fn args() -> SftArgs {
    let words =
        "--model_type qwen-demo --model_id_or_path m --dataset a.csv b.csv --output_dir /out --device cpu";
    load_sft(None, &words.split(' ').map(str::to_owned).collect::<Vec<_>>()).unwrap().args
}

/// A queue of `jobs` jobs.
fn queue(jobs: usize) -> (tempfile::TempDir, Queue) {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::at(&dir.path().join("state/queue"));
    for _ in 0..jobs {
        queue.add(&args()).unwrap();
    }
    (dir, queue)
}

fn waiting(queue: &Queue) -> Vec<u64> {
    queue.list().unwrap().waiting().map(|j| j.number).collect()
}

#[test]
fn jobs_keep_their_numbers_and_change_their_places() {
    let (_dir, queue) = queue(4);
    let moved = |number, to| {
        let place = queue.shift(number, to).unwrap();
        assert_eq!(queue.list().unwrap().place(number), Some(place));
        waiting(&queue)
    };
    assert_eq!(waiting(&queue), [1, 2, 3, 4]);
    assert_eq!(moved(3, To::Up), [1, 3, 2, 4]);
    assert_eq!(moved(1, To::Up), [1, 3, 2, 4], "it is the first already");
    assert_eq!(moved(1, To::Last), [3, 2, 4, 1]);
    assert_eq!(moved(1, To::Down), [3, 2, 4, 1]);
    assert_eq!(moved(4, To::First), [4, 3, 2, 1]);
    assert_eq!(moved(4, To::Place(3)), [3, 2, 4, 1]);
    assert_eq!(moved(3, To::Place(99)), [2, 4, 1, 3]);
    queue.remove(4).unwrap();
    let e = queue.shift(4, To::Up).unwrap_err();
    assert!(e.exit_code() == 2 && e.to_string().contains("no job 4 in the queue, or no more"), "{e}");
    assert_eq!(queue.add(&args()).unwrap(), Added { number: 5, place: 4 }, "no number comes again");
    assert_eq!(waiting(&queue), [2, 1, 3, 5]);
    // The order is lost, and nothing else.
    fs::write(queue.dir().join("order.json"), "{\"next\": 9, \"order\": [3, 3, \"x\"]}").unwrap();
    assert_eq!(waiting(&queue), [1, 2, 3, 5]);
    fs::write(queue.dir().join("order.json"), "{\"next\": 9, \"order\": [3, 3, 77]}").unwrap();
    assert_eq!(waiting(&queue), [3, 1, 2, 5]);
    assert_eq!(queue.add(&args()).unwrap(), Added { number: 9, place: 5 });
    let listing = queue.list().unwrap();
    let what = listing.job(9).unwrap().what.as_ref().unwrap();
    assert_eq!(what.words(), "qwen-demo on a.csv and 1 more");
    assert_eq!((what.device.as_str(), what.output_dir.as_str()), ("cpu", "/out"));
}

#[test]
fn many_who_change_it_at_once_lose_nothing() {
    let (_dir, queue) = queue(2);
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| (0..5).for_each(|_| assert!(queue.add(&args()).unwrap().place > 2)));
            s.spawn(|| (0..20).for_each(|_| assert!(queue.shift(1, To::Down).unwrap() > 0)));
        }
    });
    let mut numbers = waiting(&queue);
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=22).collect::<Vec<u64>>());
}

#[test]
fn what_a_killed_program_left_is_taken_away() {
    let (_dir, queue) = queue(1);
    for name in [".order.json.tmp-77", "job-7.state", "job-7.lock"] {
        fs::write(queue.dir().join(name), "{").unwrap();
    }
    fs::write(queue.dir().join("notes"), "mine").unwrap();
    queue.add(&args()).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(queue.dir()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["job-1.json", "job-2.json", "lock", "notes", "order.json"]);
    for (name, number) in
        [("job-7.json", Some(7)), ("job-07.json", None), ("job-.json", None), ("job-7", None)]
    {
        assert_eq!(number_of(name, ".json"), number);
    }
}

#[test]
fn a_folder_that_is_no_folder_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for place in [file.join("queue"), "/proc/queue".into()] {
        let queue = Queue::at(&place);
        for e in [queue.add(&args()).unwrap_err(), queue.set_paused(true).unwrap_err()] {
            let told = e.to_string();
            assert!(e.exit_code() == 2 && told.contains(place.to_str().unwrap()), "{told}");
            assert!(told.contains("XDG_STATE_HOME"), "{told}");
        }
    }
    assert!(Queue::at(&file).list().unwrap_err().to_string().contains("cannot read"));
    let none = Queue::at(&dir.path().join("none"));
    assert!(none.list().unwrap().jobs.is_empty());
    assert!(none.shift(1, To::Up).unwrap_err().to_string().contains("the queue is empty"));
}

/// A job of the queue that was taken, and its run.
struct Taken {
    dir: tempfile::TempDir,
    queue: Queue,
    run: PathBuf,
    state: State,
}

/// Taken, with the log as long as it is now; `log` false: before its directory was known to be made.
fn taken(events: &[&str], new: bool, log: bool) -> Taken {
    let (dir, queue) = queue(1);
    let run = match new {
        true => RunDir::create(&dir.path().join("out"), "m", true).unwrap().path().to_owned(),
        false => run(dir.path(), "v0", events),
    };
    let length = fs::metadata(run.join("events.jsonl")).map_or(0, |m| m.len());
    let log = log.then_some(length);
    let state = State::Taken { run: Some(run.clone()), new, log, kept: dir.path().to_owned(), undone: false };
    assert!(queue.set_state(1, State::is_waiting, &state).unwrap());
    assert!(!queue.set_state(1, State::is_waiting, &state).unwrap(), "it is taken once");
    Taken { dir, queue, run, state }
}

impl Taken {
    fn settle(&self, why: Option<Error>) -> End {
        self.settle_told(why.map(|why| Told { why, trained: false }))
    }

    fn settle_told(&self, told: Option<Told>) -> End {
        settle(&self.queue, 1, &self.state, told).unwrap()
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.run.join(file), text).unwrap();
    }

    fn stands(&self) -> Option<State> {
        Some(self.queue.list().unwrap().job(1)?.state.clone().unwrap())
    }
}

const FAILED: &str = r#"{"seq":2,"time":30,"kind":"failed","exit_code":2,"message":"no rows"}"#;
const STEP: &str = r#"{"seq":4,"time":20,"kind":"step","step":3,"epoch":0.5,"loss":1,"acc":0,"learning_rate":0,"grad_norm":0,"rows":1,"tokens":1,"seconds":2}"#;

/// Each moment at which the runner can be killed, and what the next one makes of it.
#[test]
fn whatever_a_killed_runner_left_is_gone_on_with() {
    // Taken, and nothing made yet.
    let (_dir, queue) = queue(1);
    let state = State::Taken { run: None, new: true, log: None, kept: "/".into(), undone: false };
    queue.set_state(1, State::is_waiting, &state).unwrap();
    assert_eq!(settle(&queue, 1, &state, None).unwrap(), End::Again);
    assert_eq!(queue.list().unwrap().job(1).unwrap().state, Ok(State::waiting()));

    // The directory is made: it goes, and the job begins anew.
    for files in [&[][..], &["sft_args.json"], &["sft_args.json", "worker.log"]] {
        let job = taken(&[], true, true);
        files.iter().for_each(|file| job.write(file, if *file == "worker.log" { "" } else { "{}" }));
        assert_eq!((job.settle(None), job.stands()), (End::Again, Some(State::waiting())));
        assert!(!job.run.exists() && !job.dir.path().join("out").exists());
    }
    // Killed while it was taken away, at either end of that.
    for gone in [false, true] {
        let job = taken(&[], true, true);
        job.write("worker.log", "");
        if gone {
            fs::remove_dir_all(job.dir.path().join("out")).unwrap();
        }
        let State::Taken { run, new, log, kept, .. } = job.state.clone() else { unreachable!() };
        let state = State::Taken { run, new, log, kept, undone: true };
        assert_eq!(settle(&job.queue, 1, &state, None).unwrap(), End::Again, "it is not lost");
        assert_eq!(job.stands(), Some(State::waiting()));
        assert!(!job.run.exists() && !job.dir.path().join("out").exists());
    }
    // It is not known whose it is: what a worker has touched stays.
    let job = taken(&[], true, false);
    job.write("worker.log", "");
    assert_eq!((job.settle(None), job.stands()), (End::Again, Some(State::waiting())));
    assert!(job.run.exists());

    // The worker lives, though it has not said a word, and has no lock on the run yet.
    let job = taken(&[], true, true);
    let lock = File::create(lock_file(job.queue.dir(), 1)).unwrap();
    lock.lock().unwrap();
    assert_eq!((job.settle(None), job.stands()), (End::Lives, Some(job.state.clone())));
    // It went before its first word.
    job.write("worker.log", "lib.so is missing\n");
    drop(lock);
    assert!(matches!(job.settle(None), End::Failed(why) if why.contains("lib.so is missing")));
    assert!(!job.run.exists());

    // It went after it: the run tells how.
    for events in [vec![STARTED], vec![STARTED, STEP], vec![STARTED, STEP, FAILED]] {
        let job = taken(&[], true, true);
        job.write("events.jsonl", &format!("{}\n", events.join("\n")));
        assert_eq!((job.settle(None), job.stands()), (End::Ended, None), "{events:?}");
        assert!(job.run.exists());
        assert_eq!(fs::read_dir(job.queue.dir()).unwrap().count(), 2, "the lock and the order");
    }
    // Refused before its first step: as with `sft`, nothing is left but the words.
    let job = taken(&[], true, true);
    job.write("events.jsonl", &format!("{STARTED}\n{FAILED}\n"));
    assert_eq!(job.settle(None), End::Failed("no rows".to_owned()));
    assert_eq!(job.stands(), Some(State::Failed { message: "no rows".to_owned() }));
    assert!(!job.run.exists());
    // It has trained, or ended well, and was moved away before anybody looked.
    let job = taken(&[], true, true);
    fs::rename(&job.run, job.dir.path().join("elsewhere")).unwrap();
    let why = Error::internal("the worker ended with exit status 0");
    assert_eq!((job.settle_told(Some(Told { why, trained: true })), job.stands()), (End::Ended, None));
    // It was refused, and then deleted.
    let job = taken(&[], true, true);
    fs::remove_dir_all(&job.run).unwrap();
    assert_eq!(job.settle(Some(Error::user("no rows"))), End::Failed("no rows".to_owned()));
    // Somebody has deleted it.
    let job = taken(&[], true, true);
    fs::remove_dir_all(&job.run).unwrap();
    assert_eq!((job.settle(None), job.stands()), (End::Ended, None));
}

#[test]
fn a_run_that_was_gone_on_with_keeps_what_it_has() {
    let before = [STARTED, STEP];
    let job = taken(&before, false, true);
    assert_eq!((job.settle(None), job.stands()), (End::Again, Some(State::waiting())));
    let job = taken(&before, false, true);
    let told = job.settle(Some(Error::user("the engine cannot be loaded")));
    assert_eq!(told, End::Failed("the engine cannot be loaded".to_owned()));
    assert!(job.run.exists());
    let job = taken(&before, false, true);
    job.write("events.jsonl", &format!("{STARTED}\n{STEP}\n{STARTED}\n{FAILED}\n"));
    assert_eq!((job.settle(None), job.stands()), (End::Ended, None));
    assert!(job.run.exists());
}

#[test]
fn a_state_of_any_bytes_is_told_and_never_started() {
    let (_dir, queue) = queue(2);
    for bytes in [&b"\xff\x00"[..], b"{}", b"{\"state\": \"gone\"}", b"[]", b""] {
        fs::write(queue.dir().join("job-1.state"), bytes).unwrap();
        let listing = queue.list().unwrap();
        assert_eq!((listing.job(1).unwrap().word(), waiting(&queue)), ("unreadable", vec![2]));
        assert!(listing.job(1).unwrap().note().unwrap().contains("job-1.state is damaged"));
        assert!(!queue.set_state(1, State::is_waiting, &State::waiting()).unwrap());
    }
    queue.remove(1).unwrap();
    assert!(!Path::new(&queue.dir().join("job-1.state")).exists());
}
