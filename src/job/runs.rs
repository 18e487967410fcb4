//! Telling how a run stands.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::dying::is_dying;
use crate::args::ARGS_FILE;
use crate::job::event::Event;
use crate::plain;
use crate::run::{EVENTS, LOGGING, MERGED, Record, WORKER_LOCK, WORKER_LOG, step_of};

pub use super::listing::list_runs;

/// Bytes read of an event log's beginning and of its end: the plan stands in the one, how it went in the other.
const HEAD: u64 = 64 << 10;
const TAIL: u64 = 64 << 10;
/// Bytes and lines of a worker's last words.
const WORDS: u64 = 16 << 10;
const WORD_LINES: usize = 12;
/// How long a lock that somebody only looks at is waited for, and how often it is tried.
const LOOKING: Duration = Duration::from_secs(2);
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStatus {
    /// A worker holds its lock, and is not on its way out.
    Running,
    Finished,
    /// Told to stop before its last step, and everything saved.
    Stopped,
    Failed,
    /// A worker began and went without saying how it ended.
    Crashed,
    /// No worker has begun on it, or another program made it.
    Idle,
    /// Its log is there and tells nothing.
    Broken,
    /// It cannot be read, or its log cannot.
    Unreadable,
}

impl RunStatus {
    pub fn word(self) -> &'static str {
        match self {
            RunStatus::Running => "running",
            RunStatus::Finished => "finished",
            RunStatus::Stopped => "stopped",
            RunStatus::Failed => "failed",
            RunStatus::Crashed => "crashed",
            RunStatus::Idle => "no log",
            RunStatus::Broken => "bad log",
            RunStatus::Unreadable => "unreadable",
        }
    }
}

/// A run as a list shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// The run directory, absolute.
    pub path: PathBuf,
    pub status: RunStatus,
    /// Steps done, and in all where the log says so.
    pub step: u64,
    pub total_steps: Option<u64>,
    /// Unix seconds of the first and of the newest event; without events 0, and when its log or else its arguments were
    /// written.
    pub began: f64,
    pub newest: f64,
    /// What cannot be read, and why.
    pub problem: Option<String>,
    /// Why it is not deleted from here, where its place says so, and why its checkpoints are not.
    pub stays: Option<String>,
    pub checkpoints_stay: Option<String>,
}

impl RunSummary {
    fn new(path: &Path) -> RunSummary {
        RunSummary {
            path: path.to_owned(),
            status: RunStatus::Idle,
            step: 0,
            total_steps: None,
            began: 0.0,
            newest: 0.0,
            problem: None,
            stays: None,
            checkpoints_stay: None,
        }
    }

    /// Whether it lies outside the output directory under which it is listed: a link leads to it, or it is trained there.
    pub fn is_elsewhere(&self) -> bool {
        self.checkpoints_stay.is_some()
    }

    pub(super) fn unreadable(path: &Path, error: &io::Error) -> RunSummary {
        let problem = Some(format!("{} cannot be read: {error}", path.display()));
        RunSummary { status: RunStatus::Unreadable, problem, ..RunSummary::new(path) }
    }
}

/// Whether `dir` is a run, ours or SWIFT's, or holds checkpoints that were copied without the rest of theirs.
pub fn is_run(dir: &Path) -> bool {
    let is_checkpoint = |e: fs::DirEntry| {
        step_of(&e.file_name().to_string_lossy()).is_some() && e.file_type().is_ok_and(|t| t.is_dir())
    };
    if dir.join(MERGED).is_file() {
        return false;
    }
    has_run_files(dir) || fs::read_dir(dir).into_iter().flatten().flatten().any(is_checkpoint)
}

/// Whether `dir` is a run by its own files.
pub(super) fn has_run_files(dir: &Path) -> bool {
    [EVENTS, ARGS_FILE, LOGGING].iter().any(|f| dir.join(f).is_file())
}

/// How the run in `dir` stands.
pub fn inspect(dir: &Path) -> RunSummary {
    // Asked before the log is read, so that an end written meanwhile is not taken for none.
    let alive = worker_alive(dir) && !is_dying(dir);
    let log = dir.join(EVENTS);
    let mut run = RunSummary::new(dir);
    let records = match head_and_tail(&log) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            run = RunSummary::unreadable(&log, &e);
            run.path = dir.to_owned();
            Vec::new()
        }
        records => records.unwrap_or_default(),
    };
    for record in records {
        if run.began == 0.0 {
            run.began = record.time;
        }
        run.newest = record.time;
        match record.event {
            Event::Started { step, .. } => {
                run.status = RunStatus::Crashed;
                run.step = step;
            }
            Event::Plan { total_steps, .. } => run.total_steps = Some(total_steps),
            Event::Step { step, .. } => {
                run.step = step;
                // After an end only where a newer worker began in the part that was not read.
                run.status = RunStatus::Crashed;
            }
            Event::Finished { stopped: false, .. } => run.status = RunStatus::Finished,
            Event::Finished { .. } => run.status = RunStatus::Stopped,
            Event::Failed { .. } => run.status = RunStatus::Failed,
            _ => {}
        }
    }
    if run.newest == 0.0 {
        // A worker that went before its first event; or SWIFT's log, which tells no time of its own; or a run that has
        // just been made.
        let silent = !last_words(dir).is_empty();
        let log = if silent { WORKER_LOG } else { LOGGING };
        if silent && run.problem.is_none() {
            run.status = RunStatus::Crashed;
        }
        if run.problem.is_none() && dir.join(EVENTS).exists() && untold(dir).is_some() {
            run.status = RunStatus::Broken;
        }
        let modified = |file: &str| fs::metadata(dir.join(file)).and_then(|m| m.modified()).ok();
        let since = modified(log).or_else(|| modified(ARGS_FILE));
        let since = since.and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        run.newest = since.map_or(0.0, |d| d.as_secs_f64());
    }
    if alive {
        run.status = RunStatus::Running;
    }
    run
}

/// Why nothing is known of what the run in `dir` did, where that is so: its log tells no event, and no worker that went
/// before its first one has left words.
pub fn untold(dir: &Path) -> Option<String> {
    let log = dir.join(EVENTS);
    let (why, may_have_words) = match (head_and_tail(&log), fs::metadata(&log)) {
        (Ok(records), _) if !records.is_empty() => return None,
        (Ok(_), Ok(there)) if there.len() > 0 => {
            (format!("{EVENTS} is damaged: no line of it is an event."), false)
        }
        (Ok(_), _) => (format!("{EVENTS} is empty."), true),
        (Err(e), _) if e.kind() == io::ErrorKind::NotFound => {
            let why = "it was deleted, or another program made the run";
            (format!("There is no {EVENTS}: {why}."), true)
        }
        (Err(e), _) => (format!("{EVENTS} cannot be read: {e}."), false),
    };
    (!may_have_words || last_words(dir).is_empty()).then_some(why)
}

/// The events in the first and in the last part of a log.
pub(super) fn head_and_tail(path: &Path) -> io::Result<Vec<Record<Event>>> {
    let mut file = plain::open(path)?;
    let length = file.metadata()?.len();
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    Read::by_ref(&mut file).take(HEAD).read_to_end(&mut head)?;
    if length > HEAD {
        file.seek(SeekFrom::Start(HEAD.max(length.saturating_sub(TAIL))))?;
        file.take(TAIL).read_to_end(&mut tail)?;
    }
    // Lines cut at either end of a part are no JSON and fall out.
    let lines = head.split(|b| *b == b'\n').chain(tail.split(|b| *b == b'\n'));
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// Whether a worker holds the run's lock. The kernel drops it with the process, however that ended.
pub fn worker_alive(dir: &Path) -> bool {
    let Ok(file) = plain::open(&dir.join(WORKER_LOCK)) else { return false };
    // Shared, so that two who ask at once do not take each other for a worker; dropped again with the file.
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Takes the lock that a worker holds, on its open file; false where a worker has it. Those who
/// only look (`worker_alive`) hold it for a moment, which is waited for.
pub fn take_lock(file: &File) -> bool {
    let until = Instant::now() + LOOKING;
    while file.try_lock().is_err() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(TRY_AGAIN);
    }
    true
}

/// The end of what the run's worker printed, without what it says when all is well; empty where it printed nothing.
pub fn last_words(dir: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = plain::open(&dir.join(WORKER_LOG))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(WORDS)))?;
        let mut bytes = Vec::new();
        file.take(WORDS).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    let lines: Vec<&str> =
        text.lines().map(str::trim_end).filter(|l| !l.is_empty() && !is_chatter(l)).collect();
    lines[lines.len().saturating_sub(WORD_LINES)..].join("\n")
}

/// Whether `line` is one of our own that reports and does not warn: a time, then the level.
pub(super) fn is_chatter(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let is_time = words.next().is_some_and(|w| chrono::DateTime::parse_from_rfc3339(w).is_ok());
    is_time && words.next().is_some_and(|w| matches!(w, "INFO" | "DEBUG" | "TRACE"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub const STARTED: &str = r#"{"seq":1,"time":10,"kind":"started","pid":1,"version":"0","libtorch":"2","device":"cpu","device_name":"","threads":1}"#;
    const PLAN: &str = r#"{"seq":2,"time":11,"kind":"plan","total_steps":9,"warmup_steps":0,"micro_batches":9,"accumulation":1,"learning_rate":1,"scheduler":"linear"}"#;

    pub fn run(root: &Path, name: &str, lines: &[&str]) -> PathBuf {
        let dir = root.join(name);
        fs::create_dir_all(dir.join("checkpoint-5")).unwrap();
        fs::write(dir.join("checkpoint-5/sft_args.json"), "{}").unwrap();
        fs::write(dir.join("events.jsonl"), lines.iter().map(|l| format!("{l}\n")).collect::<String>())
            .unwrap();
        dir
    }

    fn finished(time: u64, stopped: bool) -> String {
        format!(
            r#"{{"seq":9,"time":{time},"kind":"finished","step":9,"seconds":1,"stopped":{stopped},"last_checkpoint":null,"best_checkpoint":null,"best_metric":null}}"#
        )
    }

    #[test]
    fn each_run_is_found_once_and_told_as_it_is() {
        let out = tempfile::tempdir().unwrap();
        let failed = r#"{"seq":9,"time":30,"kind":"failed","exit_code":2,"message":"m"}"#;
        run(out.path(), "m/v0-a", &[STARTED, PLAN, &finished(20, false)]);
        run(out.path(), "m/v1-b", &[STARTED, PLAN, failed]);
        run(out.path(), "m/v2-c", &[STARTED, PLAN, &finished(40, true)]);
        run(out.path(), "mine", &[STARTED, PLAN]);
        let live = run(out.path(), "m/v3-d", &[STARTED, PLAN]);
        let lock = File::create(live.join("worker.lock")).unwrap();
        lock.lock().unwrap();
        fs::create_dir_all(out.path().join("m/swift")).unwrap();
        fs::write(out.path().join("m/swift/sft_args.json"), "{}").unwrap();
        fs::create_dir_all(out.path().join("demo-data")).unwrap();

        let told: Vec<_> = list_runs(out.path())
            .into_iter()
            .map(|r| (r.path.file_name().unwrap().to_string_lossy().into_owned(), r.status, r.total_steps))
            .collect();
        let wanted = [
            // Nothing has happened in it yet: it is as new as its arguments.
            ("swift", RunStatus::Idle, None),
            ("v2-c", RunStatus::Stopped, Some(9)),
            ("v1-b", RunStatus::Failed, Some(9)),
            ("v0-a", RunStatus::Finished, Some(9)),
            ("mine", RunStatus::Crashed, Some(9)),
            ("v3-d", RunStatus::Running, Some(9)),
        ];
        assert_eq!(told, wanted.map(|(n, s, t)| (n.to_owned(), s, t)));
        drop(lock);
        assert_eq!(inspect(&live).status, RunStatus::Crashed);
    }

    #[test]
    fn who_only_looks_keeps_no_worker_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("worker.lock");
        let worker = File::create(&path).unwrap();
        let looking = File::open(&path).unwrap();
        looking.lock_shared().unwrap();
        std::thread::scope(|s| {
            s.spawn(|| {
                std::thread::sleep(Duration::from_millis(100));
                looking.unlock().unwrap();
            });
            assert!(take_lock(&worker));
        });
        assert!(worker_alive(dir.path()) && !take_lock(&File::open(&path).unwrap()));
    }

    #[test]
    fn a_long_log_is_read_at_both_ends() {
        let out = tempfile::tempdir().unwrap();
        let step = |n: u64| {
            format!(
                r#"{{"seq":{n},"time":{n},"kind":"step","step":{n},"epoch":0.5,"loss":"NaN","acc":0,"learning_rate":0,"grad_norm":0,"rows":1,"tokens":1,"seconds":1}}"#
            )
        };
        let steps: Vec<String> = (100..3000).map(step).collect();
        let mut lines = vec![STARTED, PLAN];
        lines.extend(steps.iter().map(String::as_str));
        let dir = run(out.path(), "long", &lines);
        assert!(fs::metadata(dir.join("events.jsonl")).unwrap().len() > 2 * (HEAD + TAIL));
        let summary = inspect(&dir);
        assert_eq!((summary.began, summary.newest, summary.step), (10.0, 2999.0, 2999));
        assert_eq!(summary.total_steps, Some(9));
    }

    #[test]
    fn last_words_are_few() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last_words(dir.path()), "");
        let log: String = (0..99).map(|i| format!("line {i}\n\n")).collect();
        fs::write(dir.path().join("worker.log"), log).unwrap();
        let words = last_words(dir.path());
        assert!(words.starts_with("line 87\n") && words.ends_with("line 98"), "{words}");
        let log = "2026-11-25T04:05:08.117042Z  INFO SIGTERM: ending\n\
            2026-11-25T04:05:08.117042Z  WARN full\nINFO of others\n";
        fs::write(dir.path().join("worker.log"), log).unwrap();
        assert_eq!(last_words(dir.path()), "2026-11-25T04:05:08.117042Z  WARN full\nINFO of others");
    }

    #[test]
    fn a_worker_that_went_before_its_first_event_has_crashed() {
        let out = tempfile::tempdir().unwrap();
        let dir = run(out.path(), "v0", &[]);
        assert_eq!(inspect(&dir).status, RunStatus::Broken, "it is empty");
        fs::write(dir.join("worker.log"), "lib.so is missing\n").unwrap();
        let told = inspect(&dir);
        assert!(told.status == RunStatus::Crashed && told.newest > 0.0);
        fs::remove_file(dir.join("events.jsonl")).unwrap();
        assert_eq!(inspect(&dir).status, RunStatus::Crashed);
        let lock = File::create(dir.join("worker.lock")).unwrap();
        lock.lock().unwrap();
        assert_eq!(inspect(&dir).status, RunStatus::Running);
    }
    #[test]
    fn a_log_that_tells_nothing_is_told_as_it_is() {
        let out = tempfile::tempdir().unwrap();
        let dir = run(out.path(), "v0", &[STARTED]);
        assert_eq!(untold(&dir), None);
        let log = dir.join(EVENTS);
        let damaged = "events.jsonl is damaged: no line of it is an event.".to_owned();
        for (bytes, told) in [
            (&b""[..], "events.jsonl is empty.".to_owned()),
            (&[0; 5000][..], damaged.clone()),
            (&b"\x9b\xff\n{}\n{\"seq\":1}\n"[..], damaged.clone()),
        ] {
            fs::write(&log, bytes).unwrap();
            assert_eq!((untold(&dir).as_ref(), inspect(&dir).status), (Some(&told), RunStatus::Broken));
        }
        // What a worker has said before its end does not make a damaged log whole.
        fs::write(dir.join("worker.log"), "lib.so is missing\n").unwrap();
        assert_eq!((untold(&dir), inspect(&dir).status), (Some(damaged), RunStatus::Broken));
        fs::remove_file(dir.join("worker.log")).unwrap();
        fs::remove_file(&log).unwrap();
        assert!(untold(&dir).is_some_and(|why| why.starts_with("There is no ")));
        assert_eq!(inspect(&dir).status, RunStatus::Idle);
        fs::create_dir(&log).unwrap();
        assert!(untold(&dir).is_some_and(|why| why.contains("cannot be read: Is a directory")));
    }
}
