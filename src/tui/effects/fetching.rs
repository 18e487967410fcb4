//! Fetching what a job names and this machine does not have, before it starts; it can be told to end.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::hub::{self, Absent, Failed, Fetch, FileProgress, FileState, Progress};
use crate::tui::action::Notice;
use crate::tui::fetching::{FetchNews, Fetching, FileLine};
use crate::tui::message::Message;

/// How often it is told how far a fetch is.
const TELL: Duration = Duration::from_millis(200);
/// Time that a file's rate is taken over.
const WINDOW: Duration = Duration::from_secs(5);
/// Files that are told of; no screen has more lines.
const MOST: usize = 200;
/// How long the end of the cockpit waits for a fetch to leave its folder in order: it looks ten times a second.
const LEAVE: Duration = Duration::from_secs(1);

/// The fetches at work: each by what tells it to end.
#[derive(Default)]
pub struct Fetches {
    at_work: Mutex<Vec<Arc<AtomicBool>>>,
    left: Condvar,
}

impl Fetches {
    fn at_work(&self) -> MutexGuard<'_, Vec<Arc<AtomicBool>>> {
        // Nobody stops half-way through a change.
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those at work to end.
    pub fn cancel(&self) {
        self.at_work().iter().for_each(|stop| stop.store(true, Ordering::Relaxed));
    }

    /// Ends them, and waits a moment until they have gone.
    pub fn end(&self) {
        self.cancel();
        let waits = |all: &mut Vec<_>| !all.is_empty();
        drop(self.left.wait_timeout_while(self.at_work(), LEAVE, waits));
    }

    /// Starts a job by `start`, which asks for what is to be fetched. None where that was told already: it was cancelled,
    /// or came to nothing after something had been fetched.
    pub fn for_job<T>(
        &self,
        send: &dyn Fn(Message),
        start: impl FnOnce(&mut Fetch<'_>) -> Result<T>,
    ) -> Option<Result<T>> {
        let mut turn = Turn { fetches: self, send, stop: Arc::default(), has_begun: false, here: Vec::new() };
        let started = start(&mut |absent| turn.fetch(absent));
        match started {
            Err(_) if turn.stop.load(Ordering::Relaxed) => {
                turn.end(FetchNews::Cancelled);
                None
            }
            Err(e) if turn.has_begun => {
                turn.end(FetchNews::Failed(e.to_string()));
                None
            }
            started => {
                if !turn.here.is_empty() {
                    send(Message::Notice(Notice::info(turn.here.join("\n"))));
                }
                Some(started)
            }
        }
    }
}

/// What is fetched for one job.
struct Turn<'a> {
    fetches: &'a Fetches,
    send: &'a dyn Fn(Message),
    stop: Arc<AtomicBool>,
    has_begun: bool,
    /// What has been fetched into where.
    here: Vec<String>,
}

impl Turn<'_> {
    fn fetch(&mut self, absent: &Absent) -> Result<PathBuf> {
        if !self.has_begun {
            self.has_begun = true;
            self.fetches.at_work().push(Arc::clone(&self.stop));
        }
        let hubs = absent.repos.iter().map(|repo| repo.hub.to_string()).collect();
        let mut fetching = Fetching::new(absent.called(), hubs);
        fetching.note = self.here.last().cloned();
        let tell = |fetching: &Fetching| {
            (self.send)(Message::Fetch(FetchNews::Goes(Box::new(fetching.clone()))));
        };
        tell(&fetching);
        let (mut rates, mut said) = (Rates::default(), Instant::now());
        let mut hear = |progress: &Progress| {
            let entered = progress.stage != fetching.stage;
            if let Some(note) = progress.notes.last() {
                fetching.note = Some(note.clone());
            }
            if entered || said.elapsed() >= TELL {
                said = Instant::now();
                see(&mut fetching, progress, &mut rates);
                tell(&fetching);
            }
        };
        let fetched = hub::fetch(absent, &mut hear, &|| self.stop.load(Ordering::Relaxed));
        match fetched {
            // Told to end when it was done all but for a moment: no job is to start then either.
            Ok(_) if self.stop.load(Ordering::Relaxed) => Err(Error::from(Failed::Cancelled)),
            Ok(dir) => {
                self.here.push(format!("{}: fetched into {}", absent.name, dir.display()));
                Ok(dir)
            }
            Err(failed) => Err(failed.into()),
        }
    }

    fn end(&mut self, news: FetchNews) {
        if std::mem::take(&mut self.has_begun) {
            (self.send)(Message::Fetch(news));
            self.fetches.at_work().retain(|stop| !Arc::ptr_eq(stop, &self.stop));
            self.fetches.left.notify_all();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.end(FetchNews::Over);
    }
}

/// Takes over how far it is.
fn see(fetching: &mut Fetching, progress: &Progress, rates: &mut Rates) {
    fetching.stage = progress.stage;
    fetching.count = progress.files.len();
    fetching.finished = progress.files.iter().filter(|file| file.state == FileState::Done).count();
    (fetching.total, fetching.done) = (progress.total, progress.done);
    (fetching.rate, fetching.left) = (progress.rate, progress.left);
    let now = Instant::now();
    let of =
        |states: &'static [FileState]| progress.files.iter().filter(move |file| states.contains(&file.state));
    let in_order = of(&[FileState::Fetching, FileState::Checking])
        .chain(of(&[FileState::Open]))
        .chain(of(&[FileState::Done]));
    fetching.files = in_order
        .take(MOST)
        .map(|file| FileLine {
            path: file.path.clone(),
            size: file.size,
            done: file.done,
            rate: rates.of(file, now),
            state: file.state,
        })
        .collect();
}

/// How fast each file comes: its bytes at some moments of late.
#[derive(Default)]
struct Rates(HashMap<String, VecDeque<(Instant, u64)>>);

impl Rates {
    fn of(&mut self, file: &FileProgress, now: Instant) -> f64 {
        if file.state != FileState::Fetching {
            self.0.remove(&file.path);
            return 0.0;
        }
        let marks = self.0.entry(file.path.clone()).or_default();
        marks.push_back((now, file.done));
        while marks.len() > 2 && now - marks[1].0 > WINDOW {
            marks.pop_front();
        }
        let (since, before) = marks[0];
        let seconds = (now - since).as_secs_f64();
        // A file that was wrong begins anew.
        if seconds > 0.0 { file.done.saturating_sub(before) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(
        start: impl FnOnce(&mut Fetch<'_>) -> Result<u8>,
        fetches: &Fetches,
    ) -> (Option<Result<u8>>, Vec<Message>) {
        let heard = Mutex::new(Vec::new());
        let started = fetches.for_job(&|message| heard.lock().unwrap().push(message), start);
        (started, heard.into_inner().unwrap())
    }

    #[test]
    fn what_needs_no_fetch_says_nothing_of_one() {
        let fetches = Fetches::default();
        let (started, said) = heard(|_| Ok(1), &fetches);
        assert!(matches!(started, Some(Ok(1))) && said.is_empty());
        let (started, said) = heard(|_| Err(Error::user("no engine")), &fetches);
        assert!(matches!(started, Some(Err(_))) && said.is_empty());
        // Nobody is waited for.
        fetches.end();
    }

    #[test]
    fn a_rate_is_that_of_late_and_of_what_came_just_now() {
        let mut rates = Rates::default();
        let began = Instant::now();
        let file = |done, state| FileProgress { path: "a".into(), size: 1000, done, state };
        let at = |seconds| began + Duration::from_secs(seconds);
        // What was there from before is none of it.
        assert_eq!(rates.of(&file(500, FileState::Fetching), at(0)), 0.0);
        assert_eq!(rates.of(&file(600, FileState::Fetching), at(1)), 100.0);
        assert_eq!(rates.of(&file(600, FileState::Fetching), at(20)), 0.0);
        assert_eq!(rates.of(&file(0, FileState::Fetching), at(21)), 0.0, "it was wrong, and comes anew");
        assert_eq!(rates.of(&file(1000, FileState::Done), at(22)), 0.0);
        assert!(rates.0.is_empty());
    }

    #[test]
    fn what_is_at_work_comes_first() {
        let file = |path: &str, state| FileProgress { path: path.into(), size: 10, done: 5, state };
        let files = vec![
            file("done", FileState::Done),
            file("open", FileState::Open),
            file("checked", FileState::Checking),
            file("fetched", FileState::Fetching),
        ];
        let progress = Progress {
            stage: hub::Stage::Fetching,
            files,
            total: 40,
            done: 20,
            rate: 2.0,
            left: Some(Duration::from_secs(10)),
            notes: Vec::new(),
        };
        let mut fetching = Fetching::new("名".into(), vec!["ModelScope".into()]);
        see(&mut fetching, &progress, &mut Rates::default());
        let order: Vec<&str> = fetching.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(order, ["checked", "fetched", "open", "done"]);
        assert_eq!((fetching.count, fetching.finished, fetching.percent()), (4, 1, 50));
    }
}
