//! What dead processes leave in a run's directory is in nobody's way, and what other users want of a run is refused.

mod common;

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::{Duration, Instant};

use common::{Bench, PROGRAM, Started};
use qwen_tui::job::event::Event;
use qwen_tui::job::runs::worker_alive;
use qwen_tui::run::{has_ended, list_checkpoints_in, read_events, verify_checkpoint};
use rustix::process::{Pid, Signal, WaitOptions, waitpid};

/// Whoever this is, it is not the owner.
const NOBODY: u32 = 65534;

fn words(bench: &Bench, more: &[&str]) -> Vec<String> {
    let out = bench.path("run").display().to_string();
    let mut always = vec!["--output_dir", &out, "--add_output_dir_suffix", "false"];
    for flag in ["--max_steps", "--eval_steps", "--logging_steps"] {
        always.extend([flag, "10000000"]);
    }
    bench.sft_words(&[&always[..], more].concat())
}

/// A run without end in `run`, whose worker has done a step more than the log told of before.
fn start(bench: &Bench, more: &[&str]) -> (Started, PathBuf) {
    let run = bench.path("run");
    let steps = || {
        let events = read_events::<Event>(&run.join("events.jsonl")).unwrap_or_default();
        events.iter().filter(|r| matches!(r.event, Event::Step { .. })).count()
    };
    let (before, began) = (steps(), Instant::now());
    let started = bench.start(&words(bench, more), "");
    while steps() == before {
        assert!(began.elapsed() < Duration::from_secs(60), "no step");
        std::thread::sleep(Duration::from_millis(20));
    }
    (started, run)
}

fn kill(started: Started, run: &Path) {
    started.signal_group(Signal::KILL);
    started.wait();
    while worker_alive(run) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Forks a process that takes the lock of the run in `run`, and gives it back with its end a moment after its first thread has
/// ended: a process that is dying looks like that as long as another thread of it is at work in the kernel.
fn dies_slowly(run: &Path) -> Pid {
    let lock = fs::File::open(run.join("worker.lock")).unwrap();
    // SAFETY: the child calls nothing but what is async-signal-safe, and starts its thread by the system call.
    match unsafe { libc::fork() } {
        0 => unsafe {
            libc::flock(lock.as_raw_fd(), libc::LOCK_EX);
            let thread = libc::CLONE_VM
                | libc::CLONE_FS
                | libc::CLONE_FILES
                | libc::CLONE_SIGHAND
                | libc::CLONE_THREAD
                | libc::CLONE_SYSVSEM;
            extern "C" fn linger(_: *mut libc::c_void) -> libc::c_int {
                unsafe {
                    libc::usleep(1_500_000);
                    libc::syscall(libc::SYS_exit_group, 0);
                }
                0
            }
            static mut STACK: [u128; 4096] = [0; 4096];
            let top = (&raw mut STACK).add(1).cast();
            libc::clone(linger, top, thread, std::ptr::null_mut());
            libc::syscall(libc::SYS_exit, 0);
            unreachable!("the thread has ended")
        },
        pid => Pid::from_raw(pid).unwrap(),
    }
}

/// The kernel takes a moment to take a killed worker apart, and that long it has its lock.
#[test]
fn the_same_command_goes_on_at_once_after_a_kill() {
    let bench = Bench::new();
    let (mut started, run) = start(&bench, &[]);
    let at = run.display().to_string();
    bench.words(&["save", &at]).ok();
    for slowly in [true, false, false] {
        started.signal_group(Signal::KILL);
        started.wait();
        let dying = slowly.then(|| {
            while worker_alive(&run) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let dying = dies_slowly(&run);
            while !worker_alive(&run) || !has_ended(dying.as_raw_nonzero().get()) {
                std::thread::sleep(Duration::from_millis(5));
            }
            dying
        });
        let listed = bench.words(&["jobs", "--output_dir", &at]).ok().to_owned();
        assert!(listed.starts_with("crashed"), "{listed}");
        (started, _) = start(&bench, &["--resume_from_checkpoint", "last"]);
        dying.map(|pid| waitpid(Some(pid), WaitOptions::empty()).unwrap());
    }
    started.signal_group(Signal::KILL);
    started.wait();
}

#[test]
fn a_dead_workers_lock_and_socket_are_in_nobodys_way() {
    let bench = Bench::new();
    let (started, run) = start(&bench, &[]);
    let at = run.display().to_string();
    bench.words(&["save", &at]).ok();
    // While it lives its lock holds, though the file be empty and anybody could delete it.
    bench
        .run(&words(&bench, &["--resume_from_checkpoint", "last"]), "")
        .refused(&["a worker is training this run"]);
    kill(started, &run);
    let (lock, socket) = (run.join("worker.lock"), run.join("worker.sock"));
    assert!(
        lock.is_file() && fs::symlink_metadata(&socket).unwrap().file_type().is_socket(),
        "both are left"
    );
    assert!(UnixStream::connect(&socket).is_err());
    let listed = bench.words(&["jobs", "--output_dir", &at]).ok().to_owned();
    assert!(listed.starts_with("crashed"), "{listed}");
    bench.words(&["pause", &at]).refused(&["has crashed", "--resume_from_checkpoint"]);

    // A lock of another program's fashion, with a process id in it that lives.
    fs::write(&lock, format!("{}\n", std::process::id())).unwrap();
    let (started, _) = start(&bench, &["--resume_from_checkpoint", "last"]);
    started.wait_to_hear("going on from");
    assert!(bench.words(&["pause", &at]).ok().contains("is paused at step "), "the socket is a new one");
    bench.words(&["stop", &at]).ok();
    started.wait().ok();
    assert!(!socket.exists() && !worker_alive(&run));
    list_checkpoints_in(&run).iter().for_each(|c| verify_checkpoint(&c.path).unwrap());
}

#[test]
fn a_run_is_for_its_owner_only() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be another user");
        return;
    }
    let bench = Bench::new();
    // Whatever the run's directory lets others see, they get as far as its socket.
    fs::set_permissions(bench.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    let (started, run) = start(&bench, &[]);
    fs::set_permissions(&run, fs::Permissions::from_mode(0o777)).unwrap();
    let (at, socket) = (run.display().to_string(), run.join("worker.sock"));
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    // A copy that another user may run, wherever the built one lies.
    let program = bench.path("qwen-tui");
    fs::copy(PROGRAM, &program).unwrap();
    let as_nobody = |words: &[&str]| {
        let mut command = Program::new(&program);
        command.args(words).current_dir("/").uid(NOBODY).gid(NOBODY);
        command.env("XDG_STATE_HOME", bench.path("state-of-nobody")).output().unwrap()
    };
    for command in ["pause", "save", "stop"] {
        let refused = as_nobody(&[command, &at]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{command}: {said}");
        assert!(said.contains("ermission denied") || said.contains("not permitted"), "{command}: {said}");
    }
    // One who is let through by the file's mode is turned away by who he is.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = as_nobody(&["pause", &at]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("belongs to another user"), "{said}");
    let mut own = UnixStream::connect(&socket).unwrap();
    own.write_all(b"{\"command\":\"save\"}\n").unwrap();
    bench.words(&["stop", &at]).ok();
    started.wait().ok();
    let events = read_events::<Event>(&run.join("events.jsonl")).unwrap();
    assert!(!events.iter().any(|r| matches!(r.event, Event::Paused { .. })), "nobody has paused it");
}
