use std::os::unix::fs::PermissionsExt;

use super::*;

/// Follows a shell script that plays the worker; `$2` is the run directory.
fn play(run_dir: &Path, script: &str) -> Result<Option<Outcome>> {
    let engine = run_dir.join("engine.sh");
    std::fs::write(&engine, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&engine, std::fs::Permissions::from_mode(0o755)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let beginning = Beginning::begun().unwrap();
    loop {
        let screen = Screen { run_dir: run_dir.to_owned(), lines: Lines::default(), bar: None, _quiet: None };
        match runtime.block_on(follow(&engine, run_dir, None, &beginning, screen)) {
            // Another test forked while the script was open for writing here.
            Err(e) if e.to_string().contains("Text file busy") => std::thread::sleep(POLL),
            result => return result,
        }
    }
}

fn finished(seq: u64, step: u64) -> String {
    let event = Event::Finished {
        step,
        seconds: 2.0,
        stopped: false,
        last_checkpoint: Some(format!("checkpoint-{step}")),
        best_checkpoint: None,
        best_metric: None,
    };
    let mut line = serde_json::to_value(event).unwrap();
    line["seq"] = seq.into();
    line["time"] = 1.5.into();
    line.to_string()
}

#[test]
fn a_resumed_runs_old_end_is_not_taken_for_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("events.jsonl"), finished(1, 50) + "\n").unwrap();
    let outcome = play(dir.path(), &format!("sleep 0.3; echo '{}' >> $2/events.jsonl", finished(2, 100)))
        .unwrap()
        .unwrap();
    assert_eq!((outcome.step, outcome.last_checkpoint.as_deref()), (100, Some("checkpoint-100")));
}

#[test]
fn a_worker_that_vanishes_is_explained_by_its_own_last_words() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("worker.log"), "words of an earlier worker\n").unwrap();
    let error = play(dir.path(), "echo on stdout; echo on stderr >&2; kill -9 $$").unwrap_err();
    assert_eq!(error.exit_code(), 1);
    let text = error.to_string();
    assert!(text.contains("SIGKILL") && text.contains("on stdout") && text.contains("on stderr"), "{text}");
    assert!(!text.contains("earlier"), "{text}");
}

#[test]
fn a_failure_keeps_its_exit_status() {
    let failed = |exit_code| {
        ending(Event::Failed { exit_code, message: "no such model".into() }).unwrap().unwrap_err()
    };
    assert_eq!(failed(2).exit_code(), 2);
    assert_eq!(failed(1).exit_code(), 1);
    assert!(ending(Event::Paused { step: 3 }).is_none());
}
