//! The command socket of a real worker on a tiny model.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::time::{Duration, Instant};

use qwen_tui::args::load_sft;
use qwen_tui::error::Error;
use qwen_tui::job::event::{Command, Event};
use qwen_tui::job::socket::{Untaken, send};
use qwen_tui::run::{RunDir, read_events};

use common::{SMALL, write_model, write_vocabulary};

/// A run that would take very long, in `dir/run`.
fn make_run(dir: &Path, run: &Path) -> RunDir {
    write_vocabulary(&dir.join("vocabulary"), &[]);
    write_model(&dir.join("model"), SMALL, &dir.join("vocabulary"));
    let rows: String = (0..16).map(|i| format!("{{\"query\":\"q{i}\",\"response\":\"a\"}}\n")).collect();
    std::fs::write(dir.join("rows.jsonl"), rows).unwrap();
    let path = |name: &str| dir.join(name).display().to_string();
    let flags = [
        ("model_type", "qwen-1_8b"),
        ("model_id_or_path", &path("model")),
        ("device", "cpu"),
        ("threads", "1"),
        ("dtype", "fp32"),
        ("custom_train_dataset_path", &path("rows.jsonl")),
        ("train_dataset_sample", "-1"),
        ("max_steps", "1000000"),
        ("save_steps", "1000000"),
        ("eval_steps", "1000000"),
        ("logging_steps", "1000000"),
        ("output_dir", &run.display().to_string()),
    ];
    let flags: Vec<String> =
        flags.iter().flat_map(|(key, value)| [format!("--{key}"), (*value).to_owned()]).collect();
    let args = load_sft(None, &flags).unwrap().args;
    let run = RunDir::create(run, &args.model_type, false).unwrap();
    run.write_args(&args.to_json()).unwrap();
    run
}

/// A worker, killed where a test fails.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(run: &RunDir) -> Worker {
    let log = std::fs::File::create(run.worker_log()).unwrap();
    Worker(
        Program::new(env!("CARGO_BIN_EXE_qwen-tui-engine"))
            .arg("worker")
            // Not into the register of whoever runs the tests.
            .env_remove("HOME")
            .env_remove("XDG_STATE_HOME")
            .arg(run.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap(),
    )
}

fn events(run: &RunDir) -> Vec<Event> {
    match run.events_file().exists() {
        true => read_events(&run.events_file()).unwrap().into_iter().map(|r| r.event).collect(),
        false => Vec::new(),
    }
}

/// Waits until `found` finds something in the events.
fn wait<T>(run: &RunDir, what: &str, found: impl Fn(&[Event]) -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(it) = found(&events(run)) {
            return it;
        }
        let log = || std::fs::read_to_string(run.worker_log()).unwrap_or_default();
        assert!(began.elapsed() < Duration::from_secs(120), "no {what}; the log:\n{}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn last_step(events: &[Event]) -> u64 {
    events
        .iter()
        .rev()
        .find_map(|e| if let Event::Step { step, .. } = e { Some(*step) } else { None })
        .unwrap_or(0)
}

fn is_step(events: &[Event]) -> Option<()> {
    (last_step(events) > 0).then_some(())
}

fn connect(socket: &Path) -> (BufReader<UnixStream>, UnixStream) {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (BufReader::new(stream.try_clone().unwrap()), stream)
}

fn answer(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    line
}

#[test]
fn paused_resumed_saved_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let run = make_run(dir.path(), &dir.path().join("run"));
    let mut worker = start(&run);
    wait(&run, "step", is_step);
    let meta = std::fs::symlink_metadata(run.socket()).unwrap();
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);

    send(run.path(), Command::Pause).unwrap();
    let at = wait(&run, "pause", |e| {
        e.iter().find_map(|e| if let Event::Paused { step } = e { Some(*step) } else { None })
    });
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(last_step(&events(&run)), at, "a step during the pause");
    send(run.path(), Command::Resume).unwrap();
    wait(&run, "going on", |e| e.contains(&Event::Resumed { step: at }).then_some(()));
    wait(&run, "more steps", |e| (last_step(e) > at).then_some(()));

    send(run.path(), Command::Save).unwrap();
    let saved = wait(&run, "checkpoint", |e| {
        e.iter().find_map(|e| if let Event::Checkpoint { path, .. } = e { Some(path.clone()) } else { None })
    });
    assert!(run.path().join(saved).join("checksums.json").is_file());

    // Another worker is turned away and leaves the socket alone.
    let second =
        Program::new(env!("CARGO_BIN_EXE_qwen-tui-engine")).arg("worker").arg(run.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another worker"));

    send(run.path(), Command::Stop).unwrap();
    assert!(worker.0.wait().unwrap().success());
    assert!(matches!(
        events(&run).last(),
        Some(Event::Finished { stopped: true, last_checkpoint: Some(_), .. })
    ));
    assert!(!run.socket().exists(), "the socket outlives its worker");
    assert!(matches!(send(run.path(), Command::Stop), Err(Untaken::Other(Error::User(_)))));
}

#[test]
fn garbage_is_answered_and_nobody_waits_for_a_slow_client() {
    let dir = tempfile::tempdir().unwrap();
    // A path that no socket's address has room for.
    let run = make_run(dir.path(), &dir.path().join("d".repeat(120)));
    // What a killed worker leaves behind.
    let mut worker = start(&run);
    wait(&run, "step", is_step);
    worker.0.kill().unwrap();
    worker.0.wait().unwrap();
    assert!(run.socket().exists());
    assert!(send(run.path(), Command::Pause).unwrap_err().to_string().contains("did not end by itself"));
    let before = events(&run).len();
    let mut worker = start(&run);
    wait(&run, "step", |e| is_step(&e[before..]));

    let near = dir.path().join("near");
    std::os::unix::fs::symlink(run.path(), &near).unwrap();
    let socket = near.join("worker.sock");

    let (mut reader, mut stream) = connect(&socket);
    for line in [
        &b"{\"command\":\"dance\"}\n"[..],
        b"{\"command\":\n",
        b"[1,2]\n",
        b"\xff\x00\xfe\n",
        b"null\n",
        b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
        b"{\"command\":\"pause\"} trailing\n",
    ] {
        stream.write_all(line).unwrap();
        let said = answer(&mut reader);
        assert!(said.starts_with("{\"error\":\"not a command"), "{line:?}: {said}");
    }
    // A line without end, then a good one on the same connection.
    for _ in 0..40 {
        stream.write_all(&[b'x'; 4096]).unwrap();
    }
    assert!(answer(&mut reader).contains("more than 65536 bytes"));
    stream.write_all(b"yyy\n{\"command\":\"save\"}\n").unwrap();
    assert_eq!(answer(&mut reader), "{\"ok\":true}\n");

    // Clients that say nothing, stop in mid-line, or never read.
    let mut idle: Vec<_> = (0..50).map(|_| connect(&socket)).collect();
    for (n, (_, stream)) in idle.iter_mut().enumerate() {
        if n % 2 == 0 {
            stream.write_all(b"{\"comm").unwrap();
        }
    }
    let (_unread, flood) = connect(&socket);
    flood.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let _ = (&flood).write_all(&b"nonsense\n".repeat(100_000));
    let step = last_step(&events(&run));
    wait(&run, "more steps", |e| (last_step(e) > step + 5).then_some(()));
    assert!(!events(&run)[before..].iter().any(|e| matches!(e, Event::Paused { .. })));

    send(run.path(), Command::Stop).unwrap();
    assert!(worker.0.wait().unwrap().success());
    let mut rest = Vec::new();
    let _ = idle[1].0.read_to_end(&mut rest);
    assert!(rest.is_empty());
}

/// The run goes on where the socket's name is taken, and says so.
#[test]
fn a_file_in_the_way_costs_the_socket_only() {
    let dir = tempfile::tempdir().unwrap();
    let run = make_run(dir.path(), &dir.path().join("run"));
    std::fs::write(run.socket(), "mine").unwrap();
    let mut worker = start(&run);
    wait(&run, "step", is_step);
    let warned = |e: &Event| matches!(e, Event::Warning { message } if message.contains("worker.sock"));
    assert!(events(&run).iter().any(warned));
    assert_eq!(std::fs::read_to_string(run.socket()).unwrap(), "mine");
    assert!(Program::new("kill").arg(worker.0.id().to_string()).status().unwrap().success());
    assert!(worker.0.wait().unwrap().success());
}
