//! Commands from the shell to runs whose workers are there, are not, or are just going.

use std::io::{Read, Write};

use super::*;
use crate::job::runs::tests::{STARTED, run};

const TRAINING: &str = r#"{"seq":2,"time":11,"kind":"stage","stage":"training"}"#;
const STOPPED: &str = r#"{"seq":9,"time":30,"kind":"finished","step":4,"seconds":1,"stopped":true,"last_checkpoint":"checkpoint-4","best_checkpoint":null,"best_metric":null}"#;

fn refused(dir: &Path, command: Command) -> String {
    let e = obey(dir, command, &mut |_| {}).unwrap_err();
    assert_eq!(e.exit_code(), 2, "{e}");
    e.to_string()
}

/// The lock that a worker of the run would have.
fn locked(dir: &Path) -> std::fs::File {
    let lock = std::fs::File::create(dir.join("worker.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

#[test]
fn a_run_without_a_worker_takes_no_command_and_says_what_to_do() {
    let out = tempfile::tempdir().unwrap();
    let failed = r#"{"seq":9,"time":30,"kind":"failed","exit_code":2,"message":"m"}"#;
    for (lines, words) in [(&[STARTED][..], "crashed"), (&[STARTED, failed], "failed")] {
        let dir = run(out.path(), words, lines);
        let e = refused(&dir, Command::Save);
        assert!(
            e.contains(words) && e.contains("it cannot be gone on with: ") && e.contains("sft_args.json"),
            "{e}"
        );
    }
    let e = refused(&run(out.path(), "new", &[]), Command::Stop);
    assert!(e.contains("no worker") && e.contains("qwen-tui jobs"), "{e}");
}

/// Its lock is what it gives back last.
#[test]
fn a_run_that_is_just_ending_is_told_with_what_to_do() {
    let out = tempfile::tempdir().unwrap();
    let stopping = r#"{"seq":3,"time":20,"kind":"stopping"}"#;
    let hold = |dir: &Path, then: String| {
        let lock = locked(dir);
        let log = dir.join(EVENTS);
        std::thread::spawn(move || {
            std::thread::sleep(BEGIN + Duration::from_millis(500));
            let mut log = std::fs::OpenOptions::new().append(true).open(log).unwrap();
            log.write_all(then.as_bytes()).unwrap();
            drop(lock);
        })
    };
    let told = "is stopped: no worker is training it; it cannot be gone on with: ";
    for command in [Command::Stop, Command::Pause, Command::Save] {
        let dir = run(out.path(), &format!("{command:?}"), &[STARTED, TRAINING, stopping, STOPPED]);
        let worker = hold(&dir, String::new());
        let e = refused(&dir, command);
        assert!(e.contains(told) && e.contains("sft_args.json"), "{e}");
        worker.join().unwrap();
    }
    // Its last word comes after it was found without a socket.
    let end = || format!("{STOPPED}\n");
    let dir = run(out.path(), "pause", &[STARTED, TRAINING, stopping]);
    let worker = hold(&dir, end());
    assert!(refused(&dir, Command::Pause).contains(told));
    worker.join().unwrap();
    let dir = run(out.path(), "stop", &[STARTED, TRAINING, stopping]);
    let worker = hold(&dir, end());
    let done = obey(&dir, Command::Stop, &mut |_| {}).unwrap();
    assert_eq!(done, "has stopped at step 4; checkpoint-4 is its last checkpoint");
    worker.join().unwrap();
}

/// SIGTERM reaches it, and it says nothing more.
#[test]
fn a_run_whose_last_word_was_said_before_is_told_with_what_to_do() {
    let out = tempfile::tempdir().unwrap();
    let dir = run(out.path(), "v0", &[]);
    let mut worker = std::process::Command::new("sh");
    let mut worker = worker.args(["-c", "sleep 60; :", "worker"]).arg(&dir).spawn().unwrap();
    let pid = worker.id();
    let arguments = || std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let wanted = dir.as_os_str().as_encoded_bytes();
    while !arguments().windows(wanted.len()).any(|w| w == wanted) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let started = STARTED.replace("\"pid\":1,", &format!("\"pid\":{pid},"));
    // Just now: else it hangs.
    let stopped = STOPPED.replace("\"time\":30,", &format!("\"time\":{},", now()));
    std::fs::write(dir.join(EVENTS), format!("{started}\n{stopped}\n")).unwrap();
    let lock = locked(&dir);
    let gone = std::thread::spawn(move || {
        worker.wait().unwrap();
        drop(lock);
    });
    let e = refused(&dir, Command::Stop);
    assert!(e.contains("is stopped: no worker is training it; "), "{e}");
    gone.join().unwrap();
}

#[test]
fn a_worker_that_lives_and_does_not_answer_is_told_with_the_way_out() {
    let out = tempfile::tempdir().unwrap();
    let stage = r#"{"seq":2,"time":11,"kind":"stage","stage":"training"}"#;
    let dir = run(out.path(), "v0", &[STARTED, stage]);
    let _lock = locked(&dir);
    let _listener = std::os::unix::net::UnixListener::bind(dir.join(crate::job::socket::SOCKET)).unwrap();
    for command in [Command::Pause, Command::Save, Command::Stop, Command::Resume] {
        let e = refused(&dir, command);
        assert!(
            e.contains("does not answer") && e.contains("`kill -9 1` ends it; checkpoint-5 stays"),
            "{e}"
        );
    }
}

#[test]
fn what_is_waited_for_is_said_until_it_is_obeyed() {
    let out = tempfile::tempdir().unwrap();
    let stage = r#"{"seq":2,"time":11,"kind":"stage","stage":"training"}"#;
    let dir = run(out.path(), "v0", &[STARTED, stage]);
    let _lock = locked(&dir);
    let listener = std::os::unix::net::UnixListener::bind(dir.join(SOCKET)).unwrap();
    let worker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = [0; 100];
        let n = stream.read(&mut line).unwrap();
        stream.write_all(b"{\"ok\":true}\n").unwrap();
        String::from_utf8_lossy(&line[..n]).into_owned()
    });
    let mut said = Vec::new();
    let mut say = |words: &str| {
        said.push(words.to_owned());
        let mut log = std::fs::OpenOptions::new().append(true).open(dir.join(EVENTS)).unwrap();
        log.write_all(b"{\"seq\":3,\"time\":12,\"kind\":\"paused\",\"step\":4}\n").unwrap();
    };
    assert_eq!(obey(&dir, Command::Pause, &mut say).unwrap(), "is paused at step 4");
    assert!(said.len() == 1 && said[0].starts_with("waiting for the step at hand"), "{said:?}");
    assert_eq!(worker.join().unwrap(), "{\"command\":\"pause\"}\n");
}

#[test]
fn a_run_that_waits_for_room_says_so_to_whoever_commands_it() {
    let out = tempfile::tempdir().unwrap();
    let stage = r#"{"seq":2,"time":11,"kind":"stage","stage":"saving"}"#;
    let no_room = r#"{"seq":3,"time":12,"kind":"no_room","message":"checkpoint-5: no space left"}"#;
    let dir = run(out.path(), "v0", &[STARTED, stage, no_room]);
    let _lock = locked(&dir);
    assert_eq!(Standing::read(&dir).trouble(13.0).unwrap(), "waiting for room: checkpoint-5: no space left");
    let listener = std::os::unix::net::UnixListener::bind(dir.join(SOCKET)).unwrap();
    let worker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 100]).unwrap();
        stream.write_all(b"{\"ok\":true}\n").unwrap();
    });
    let mut said = Vec::new();
    let mut say = |words: &str| {
        said.push(words.to_owned());
        let mut log = std::fs::OpenOptions::new().append(true).open(dir.join(EVENTS)).unwrap();
        let after = "{\"seq\":4,\"time\":13,\"kind\":\"room_again\"}\n\
                     {\"seq\":5,\"time\":13,\"kind\":\"paused\",\"step\":4}\n";
        log.write_all(after.as_bytes()).unwrap();
    };
    assert_eq!(obey(&dir, Command::Pause, &mut say).unwrap(), "is paused at step 4");
    assert_eq!(said, ["the run waits for room: checkpoint-5: no space left; it comes to the command then"]);
    assert_eq!(Standing::read(&dir).no_room, None);
    worker.join().unwrap();
}

#[test]
fn before_the_training_there_is_nothing_to_save() {
    let out = tempfile::tempdir().unwrap();
    let stage = r#"{"seq":2,"time":11,"kind":"stage","stage":"loading_model"}"#;
    let dir = run(out.path(), "v0", &[STARTED, stage]);
    let _lock = locked(&dir);
    let e = refused(&dir, Command::Save);
    assert!(e.contains("is loading the model: there is nothing to save yet"), "{e}");
}

#[test]
fn a_pause_has_no_step_at_hand() {
    let told = |command, paused| awaited(command, Some(Stage::Training), paused);
    assert_eq!(told(Command::Stop, false), "the step at hand");
    assert_eq!(told(Command::Stop, true), "the checkpoint to be saved");
    assert_eq!(told(Command::Resume, true), "the pause to end");
}

#[test]
fn what_an_event_says_to_a_command() {
    let paused = Event::Paused { step: 7 };
    assert_eq!(answer(Command::Pause, &paused).unwrap().unwrap(), "is paused at step 7");
    assert!(answer(Command::Save, &paused).is_none());
    let end = Event::Finished {
        step: 9,
        seconds: 1.0,
        stopped: false,
        last_checkpoint: Some("checkpoint-9".to_owned()),
        best_checkpoint: None,
        best_metric: None,
    };
    assert_eq!(answer(Command::Pause, &end).unwrap().unwrap_err().exit_code(), 2);
    let told = answer(Command::Stop, &end).unwrap().unwrap();
    assert_eq!(told, "had just finished at step 9; checkpoint-9 is its last checkpoint");
    let failed = Event::Failed { exit_code: 1, message: "bad".to_owned() };
    assert_eq!(answer(Command::Stop, &failed).unwrap().unwrap_err().exit_code(), 1);
}
