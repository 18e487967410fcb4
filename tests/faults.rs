//! What happens to a run when the disk under it does not do what it should: of the built programs on a small model.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::{Duration, Instant};

use common::{Bench, Disk, Started};
use qwen_tui::job::event::{Command, Event};
use qwen_tui::job::socket::send;
use qwen_tui::run::{list_checkpoints_in, replay, verify_checkpoint};

/// A file system of its own on a disk of its own, which can have an error.
struct Broken {
    disk: Disk,
    /// The kernel's name of the disk.
    device: String,
}

impl Broken {
    /// None where this user may not make one, which is said.
    fn new(image: PathBuf, place: PathBuf) -> Option<Self> {
        fs::File::create(&image).and_then(|file| file.set_len(32 << 20)).unwrap();
        fs::create_dir(&place).unwrap();
        let done = |command: &mut Program| command.output().is_ok_and(|out| out.status.success());
        let made = done(Program::new("mkfs.ext4").arg("-q").arg(&image));
        if !made
            || !done(Program::new("mount").args(["-o", "loop,errors=remount-ro"]).arg(&image).arg(&place))
        {
            eprintln!("skipped: only root may mount a file system to break, of ext4 on a loop device");
            return None;
        }
        let disk = Disk(place);
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let at = disk.0.canonicalize().unwrap();
        let line = mounts.lines().find(|l| l.split(' ').nth(1) == at.to_str()).expect("it is mounted");
        let device = line.split(' ').next().unwrap().trim_start_matches("/dev/").to_owned();
        Some(Self { disk, device })
    }

    /// The kernel finds an error, and lets nobody write from here on.
    fn fail(&self) {
        fs::write(format!("/sys/fs/ext4/{}/trigger_fs_error", self.device), "a test").unwrap();
    }
}

/// A run without end.
struct Run {
    started: Started,
    dir: PathBuf,
}

impl Run {
    /// In `dir`, past its first step.
    fn start(bench: &Bench, dir: &Path, more: &[&str]) -> Self {
        let out = dir.display().to_string();
        let mut always = vec!["--output_dir", &out, "--add_output_dir_suffix", "false"];
        for flag in ["--max_steps", "--save_steps", "--eval_steps", "--logging_steps"] {
            always.extend([flag, "10000000"]);
        }
        let started = bench.start(&bench.sft_words(&[&always[..], more].concat()), "");
        let run = Self { started, dir: dir.to_owned() };
        run.wait(0, |e| matches!(e, Event::Step { .. }));
        run
    }

    /// Waits for an event after the first `before`; it, and how many there are with it.
    #[track_caller]
    fn wait(&self, before: usize, wanted: fn(&Event) -> bool) -> (Event, usize) {
        let began = Instant::now();
        loop {
            // Not there yet, at the start.
            let all =
                replay::<Event>(&self.dir.join("events.jsonl")).map(|all| all.records).unwrap_or_default();
            if let Some(at) = all.iter().skip(before).position(|r| wanted(&r.event)) {
                return (all[before + at].event.clone(), before + at + 1);
            }
            assert!(began.elapsed() < Duration::from_secs(60), "the event did not come: {:?}", all.last());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn send(&self, command: Command) {
        send(&self.dir, command).unwrap();
    }

    /// The steps of the checkpoints, all of which are whole and without anything half-written beside them.
    #[track_caller]
    fn checkpoints(&self) -> Vec<u64> {
        let hidden = |name: String| name.starts_with(".checkpoint");
        let names = fs::read_dir(&self.dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|n| hidden(n.clone())).count(), 0, "something half-written is left");
        let list = list_checkpoints_in(&self.dir);
        list.iter().for_each(|c| verify_checkpoint(&c.path).unwrap());
        list.iter().map(|c| c.step).collect()
    }
}

/// The events of a run that has ended, each of which could be read, counted from 1 without a gap.
#[track_caller]
fn events(dir: &Path) -> Vec<Event> {
    let all = replay::<Event>(&dir.join("events.jsonl")).unwrap();
    assert_eq!(all.skipped, 0, "a line is torn");
    assert!(all.records.iter().zip(1..).all(|(r, n)| r.seq == n), "seq counts from 1");
    all.records.into_iter().map(|r| r.event).collect()
}

fn is_checkpoint(event: &Event) -> bool {
    matches!(event, Event::Checkpoint { .. })
}

fn has_no_room(event: &Event) -> bool {
    matches!(event, Event::NoRoom { .. })
}

fn has_room(event: &Event) -> bool {
    matches!(event, Event::RoomAgain)
}

#[track_caller]
fn message((event, at): (Event, usize)) -> (String, usize) {
    let Event::NoRoom { message } = event else { panic!("{event:?}") };
    (message, at)
}

#[test]
fn a_full_disk_is_waited_for() {
    let bench = Bench::new();
    let Some(disk) = Disk::new(bench.path("disk")) else { return };
    let run = Run::start(&bench, &disk.0.join("run"), &["--save_total_limit", "-1"]);
    run.send(Command::Save);
    let (_, at) = run.wait(0, is_checkpoint);
    run.send(Command::Pause);
    let (_, at) = run.wait(at, |e| matches!(e, Event::Paused { .. }));
    let saved = run.checkpoints();
    assert_eq!(saved.len(), 1);

    // In a pause nothing else is written. What was half-written is taken away while it waits.
    disk.fill();
    run.send(Command::Save);
    let (told, at) = message(run.wait(at, has_no_room));
    assert!(told.contains("is not saved") && told.contains("free some space"), "{told}");
    assert_eq!(run.checkpoints(), saved);
    run.send(Command::Resume);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(run.checkpoints(), saved, "it tried once more, and there is no room still");
    disk.empty();
    run.send(Command::Resume);
    let (_, at) = run.wait(at, has_room);
    let (_, at) = run.wait(at, is_checkpoint);
    assert_eq!(run.checkpoints().len(), 2);

    // The event log itself, by its steps; it tries again by itself.
    run.send(Command::Resume);
    let (_, at) = run.wait(at, |e| matches!(e, Event::Resumed { .. }));
    disk.fill();
    let (told, at) = message(run.wait(at, has_no_room));
    assert!(told.contains("events.jsonl"), "{told}");
    disk.empty();
    let (_, at) = run.wait(at, has_room);
    let (_, at) = run.wait(at, |e| matches!(e, Event::Step { .. }));

    // Told to end meanwhile.
    disk.fill();
    let (_, _) = run.wait(at, has_no_room);
    // Longer than between two readings of the machine.
    std::thread::sleep(Duration::from_millis(2500));
    run.send(Command::Stop);
    let (checkpoints, dir) = (run.checkpoints(), run.dir.clone());
    let Run { started, .. } = run;
    let ended = started.wait();
    ended.refused(&["stopped while it waited for room", "free some space"]);
    assert!(ended.stderr.contains("waiting for room: "), "{}", ended.stderr);
    let all = events(&dir);
    let last = all.last().unwrap();
    assert!(matches!(last, Event::Failed { exit_code: 2, .. }), "{last:?}");
    // The last room of the log is not used up by what matters little.
    let is_waiting = |waits: bool, event: &Event| has_no_room(event) || waits && !has_room(event);
    let told = all.iter().scan(false, |waits, event| {
        *waits = is_waiting(*waits, event);
        Some(*waits && matches!(event, Event::Resources { .. }))
    });
    assert_eq!(told.filter(|is| *is).count(), 0);
    assert_eq!(list_checkpoints_in(&dir).iter().map(|c| c.step).collect::<Vec<_>>(), checkpoints);
}

/// SWIFT's log and TensorBoard's may lie elsewhere.
#[test]
fn a_full_disk_of_the_logs_is_waited_for() {
    for (flags, name) in [(&["--logging_dir", "disk/tb"][..], "tfevents"), (&[], "logging.jsonl")] {
        let bench = Bench::new();
        let Some(disk) = Disk::new(bench.path("disk")) else { return };
        let dir = bench.path("run");
        fs::create_dir(&dir).unwrap();
        if name == "logging.jsonl" {
            std::os::unix::fs::symlink(disk.0.join(name), dir.join(name)).unwrap();
        }
        let run = Run::start(&bench, &dir, &[flags, &["--logging_steps", "1"]].concat());
        disk.fill();
        let (told, at) = message(run.wait(0, has_no_room));
        assert!(told.contains(name), "{told}");
        disk.empty();
        run.send(Command::Resume);
        let (_, at) = run.wait(at, has_room);
        let (_, _) = run.wait(at, |e| matches!(e, Event::Log { .. }));
        run.send(Command::Stop);
        run.started.wait().ok();
        // Every step is in the log, once.
        let log = fs::read_to_string(dir.join("logging.jsonl")).unwrap();
        let steps = log.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        let steps: Vec<u64> = steps
            .filter(|l| l.get("learning_rate").is_some())
            .map(|l| l["global_step"].as_u64().unwrap())
            .collect();
        assert!(steps.iter().zip(1..).all(|(step, n)| *step == n), "{steps:?}");
    }
}

#[test]
fn a_run_whose_directory_is_deleted_or_moved_ends_and_says_so() {
    for moved in [false, true] {
        let bench = Bench::new();
        let (dir, elsewhere) = (bench.path("run"), bench.path("elsewhere"));
        let run = Run::start(&bench, &dir, &[]);
        run.send(Command::Save);
        run.wait(0, is_checkpoint);
        match moved {
            true => fs::rename(&dir, &elsewhere).unwrap(),
            false => fs::remove_dir_all(&dir).unwrap(),
        }
        let ended = run.started.wait();
        ended.refused(&["the run's directory is gone", &dir.display().to_string()]);
        assert!(!dir.exists(), "nothing of it is made again");
        if moved {
            assert!(matches!(events(&elsewhere).last(), Some(Event::Failed { exit_code: 2, .. })));
            let list = list_checkpoints_in(&elsewhere);
            verify_checkpoint(&list[0].path).unwrap();
        }
    }
}

#[test]
fn a_run_whose_event_log_is_deleted_ends_and_says_so() {
    let bench = Bench::new();
    let dir = bench.path("run");
    let run = Run::start(&bench, &dir, &[]);
    fs::remove_file(dir.join("events.jsonl")).unwrap();
    run.started.wait().refused(&["the run's event log is gone"]);
    assert!(!dir.join("events.jsonl").exists());
}

#[test]
fn a_run_whose_file_system_becomes_read_only_ends_and_says_so() {
    for saving in [false, true] {
        let bench = Bench::new();
        let Some(broken) = Broken::new(bench.path("image"), bench.path("disk")) else { return };
        let dir = broken.disk.0.join("run");
        let run = Run::start(&bench, &dir, &["--save_total_limit", "-1"]);
        run.send(Command::Save);
        let (_, at) = run.wait(0, is_checkpoint);
        if saving {
            run.send(Command::Pause);
            run.wait(at, |e| matches!(e, Event::Paused { .. }));
        }
        let saved = run.checkpoints();
        broken.fail();
        if saving {
            run.send(Command::Save);
        }
        let ended = run.started.wait();
        ended.refused(&["cannot", "Read-only file system"]);
        let kept = list_checkpoints_in(&dir);
        assert_eq!(kept.iter().map(|c| c.step).collect::<Vec<_>>(), saved);
        verify_checkpoint(&kept[0].path).unwrap();
        let listed = bench.words(&["jobs", "--output_dir", dir.to_str().unwrap()]).ok().to_owned();
        assert!(listed.starts_with("crashed") || listed.starts_with("failed"), "{listed}");
    }
}

#[test]
fn a_run_whose_event_log_cannot_be_written_ends_and_says_so() {
    let bench = Bench::new();
    let dir = bench.path("run");
    let run = Run::start(&bench, &dir, &[]);
    run.send(Command::Save);
    run.wait(0, is_checkpoint);
    let chattr = |flag: &str| {
        let done = Program::new("chattr").arg(flag).arg(dir.join("events.jsonl")).output();
        done.is_ok_and(|out| out.status.success())
    };
    // As a file system that the kernel has made read-only: what is open for writing can be written no more.
    if !chattr("+i") {
        eprintln!("skipped: this user or this file system cannot make a file immutable");
        return run.started.signal_group(rustix::process::Signal::KILL);
    }
    let ended = run.started.wait();
    assert!(chattr("-i"));
    ended.refused(&["cannot write", "events.jsonl"]);
    assert!(!matches!(events(&dir).last(), Some(Event::Failed { .. })), "nothing more was written");
    verify_checkpoint(&list_checkpoints_in(&dir)[0].path).unwrap();
}
