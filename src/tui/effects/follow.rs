//! Which run is followed: one at a time, each in the place of the one before.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{job, watch};
use crate::error::{Error, Result};
use crate::job::Worker;
use crate::run::RunDir;
use crate::tui::action::Notice;
use crate::tui::configs::ConfigNews;
use crate::tui::message::Message;

/// Follows a new run; where its worker goes before its first event, nothing is left of it but what it said.
pub fn follow_new(started: job::Started, followed: &AtomicU64, send: &dyn Fn(Message)) {
    let job::Started { run, worker, there_before, notes, .. } = started;
    let this = followed.fetch_add(1, Ordering::Relaxed) + 1;
    let wanted = || followed.load(Ordering::Relaxed) == this;
    notes.into_iter().for_each(|note| send(Message::Notice(Notice::info(note))));
    if let Some(why) = watch::watch_new(run.path(), worker, &wanted, send) {
        let path = run.path().to_owned();
        run.discard(&there_before);
        send(Message::Deleted(path));
        let why = format!("{why}\nThe run directory is removed again.");
        send(Message::Config(ConfigNews::NotStarted(why)));
    }
}

/// Follows `run` in the place of the one before. Only now: where the new one did not come to be, the old one stays.
pub fn follow(run: &Path, own: Option<Worker>, followed: &AtomicU64, send: &dyn Fn(Message)) {
    let this = followed.fetch_add(1, Ordering::Relaxed) + 1;
    watch::watch(run, own, &|| followed.load(Ordering::Relaxed) == this, send);
}

/// A run directory as it was typed, made absolute.
///
/// # Errors
/// `Error::User` where there is no run.
pub fn run_dir(path: &Path) -> Result<PathBuf> {
    let known =
        "give a run's directory: `qwen-tui jobs` lists those under `output`, and those that run elsewhere";
    match RunDir::open(path) {
        Ok(run) => Ok(run.path().to_owned()),
        Err(Error::User(_)) if path.symlink_metadata().is_err_and(|e| e.kind() == ErrorKind::NotFound) => {
            Err(Error::user(format!("--run: there is no directory {}; {known}", path.display())))
        }
        Err(Error::User(message)) => Err(Error::user(format!("--run: {message}; {known}"))),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Session;
    use std::sync::Mutex;

    #[test]
    fn what_is_no_run_is_told_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("评论.csv");
        std::fs::write(&file, "").unwrap();
        for (path, told) in [
            (dir.path().join("nope"), "there is no directory "),
            (file.join("v0"), "Not a directory"),
            (file, "is a file, not a run directory"),
            (dir.path().to_owned(), "is not a run directory: it has no sft_args.json"),
        ] {
            let error = run_dir(&path).unwrap_err();
            let words = error.to_string();
            assert_eq!(error.exit_code(), 2);
            assert!(words.starts_with("--run: ") && words.contains(told), "{words}");
            assert!(words.contains("; give a run's directory: `qwen-tui jobs` lists"), "{words}");
        }
    }

    #[test]
    fn a_run_whose_worker_goes_before_its_first_event_leaves_its_words_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(&dir.path().join("out"), "qwen-demo", true).unwrap();
        let path = run.path().to_owned();
        std::fs::write(run.args_file(), "{}").unwrap();
        let worker = Worker::start_engine(Path::new("/bin/false"), &path, Session::Background).unwrap();
        let heard = Mutex::new(Vec::new());
        let started =
            job::Started { run, worker, there_before: dir.path().to_owned(), notes: Vec::new(), model: None };
        follow_new(started, &AtomicU64::new(0), &|message| heard.lock().unwrap().push(message));
        let heard = heard.into_inner().unwrap();
        assert!(matches!(&heard[0], Message::Opened(opened) if *opened == path), "{heard:?}");
        match &heard[heard.len() - 2..] {
            [Message::Deleted(gone), Message::Config(ConfigNews::NotStarted(why))] => {
                assert!(*gone == path && why.contains("status 1"), "{why}");
                assert!(!why.contains("worker.log"), "it is there no more: {why}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
