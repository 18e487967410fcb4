//! Fetching what a job names and this machine does not have, before it starts; it can be told to end.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::hub::{self, Absent, Failed, Fetch, FileProgress, FileState, Network, Progress};
use crate::tui::action::Notice;
use crate::tui::fetching::{FetchNews, Fetching, FileLine};
use crate::tui::message::Message;

/// How often it is told how far a fetch is.
const TELL: Duration = Duration::from_millis(200);
/// Time that a file's rate is taken over.
const WINDOW: Duration = Duration::from_secs(5);
/// Files that are told of; no screen has more lines.
const MOST: usize = 200;
/// How long the end of the cockpit waits for a fetch to leave its folder in order (it looks ten times a second), and for a
/// job that cannot be kept from starting any more.
const LEAVE: Duration = Duration::from_secs(1);

/// The fetches at work, and the jobs whose starts they are a part of.
#[derive(Default)]
pub struct Fetches {
    at_work: Mutex<Vec<Arc<Fate>>>,
    left: Condvar,
}

/// What becomes of a job that something is fetched for. Changed under the lock on all of them: whether a job is cancelled
/// or starts is decided once.
#[derive(Default)]
struct Fate {
    cancelled: AtomicBool,
    /// All has been fetched, and the job starts whatever is asked after that.
    starts: AtomicBool,
}

impl Fate {
    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

impl Fetches {
    fn at_work(&self) -> MutexGuard<'_, Vec<Arc<Fate>>> {
        // Nobody stops half-way through a change.
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those at work to end whose jobs do not start yet.
    pub fn cancel(&self) {
        for fate in self.at_work().iter().filter(|fate| !fate.starts.load(Ordering::Relaxed)) {
            fate.cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// Ends them, and waits a moment until they have gone, or their jobs have started.
    pub fn end(&self) {
        self.cancel();
        let waits = |all: &mut Vec<_>| !all.is_empty();
        drop(self.left.wait_timeout_while(self.at_work(), LEAVE, waits));
    }

    /// Decides that a job starts: from then on nobody cancels it.
    ///
    /// # Errors
    /// It has been cancelled.
    fn decide(&self, fate: &Arc<Fate>, send: &dyn Fn(Message)) -> Result<()> {
        let at_work = self.at_work();
        if fate.is_cancelled() {
            return Err(Failed::Cancelled.into());
        }
        if at_work.iter().any(|other| Arc::ptr_eq(other, fate)) {
            fate.starts.store(true, Ordering::Relaxed);
            // Told under the lock too: whoever has ended the fetches knows which jobs start all the same.
            send(Message::Fetch(FetchNews::Starts));
        }
        Ok(())
    }

    /// Starts a job by `start`, which asks for what is to be fetched and, before it makes anything, whether the job is
    /// still wanted. None where the end was told already: it was cancelled, or came to nothing after something had been
    /// fetched.
    pub fn for_job<T>(
        &self,
        send: &dyn Fn(Message),
        start: impl FnOnce(&mut Fetch<'_>, &dyn Fn() -> Result<()>) -> Result<T>,
    ) -> Option<Result<T>> {
        let fate = Arc::<Fate>::default();
        let mut turn =
            Turn { fetches: self, send, fate: Arc::clone(&fate), has_begun: false, here: Vec::new() };
        let started = start(&mut |absent| turn.fetch(absent), &|| self.decide(&fate, send));
        match started {
            Err(_) if fate.is_cancelled() => {
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
    fate: Arc<Fate>,
    has_begun: bool,
    /// What has been fetched into where.
    here: Vec<String>,
}

impl Turn<'_> {
    fn fetch(&mut self, absent: &Absent) -> Result<PathBuf> {
        if !self.has_begun {
            self.has_begun = true;
            self.fetches.at_work().push(Arc::clone(&self.fate));
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
        let dir = hub::fetch(absent, &Network::default(), &mut hear, &|| self.fate.is_cancelled())?;
        self.here.push(format!("{}: fetched into {}", absent.name, dir.display()));
        Ok(dir)
    }

    fn end(&mut self, news: FetchNews) {
        if std::mem::take(&mut self.has_begun) {
            (self.send)(Message::Fetch(news));
            self.fetches.at_work().retain(|fate| !Arc::ptr_eq(fate, &self.fate));
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
    (fetching.total, fetching.done) = (progress.total.unwrap_or(0), progress.done);
    (fetching.rate, fetching.left) = (progress.rate, progress.left);
    fetching.waits = progress.waits.iter().map(|wait| wait.to_string()).collect();
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
    use crate::error::Error;

    fn heard(
        start: impl FnOnce(&mut Fetch<'_>, &dyn Fn() -> Result<()>) -> Result<u8>,
        fetches: &Fetches,
    ) -> (Option<Result<u8>>, Vec<Message>) {
        let heard = Mutex::new(Vec::new());
        let started = fetches.for_job(&|message| heard.lock().unwrap().push(message), start);
        (started, heard.into_inner().unwrap())
    }

    #[test]
    fn what_needs_no_fetch_says_nothing_of_one() {
        let fetches = Fetches::default();
        let (started, said) = heard(|_, wanted| wanted().map(|()| 1), &fetches);
        assert!(matches!(started, Some(Ok(1))) && said.is_empty());
        let (started, said) = heard(|_, _| Err(Error::user("no engine")), &fetches);
        assert!(matches!(started, Some(Err(_))) && said.is_empty());
        // Nobody is waited for.
        fetches.end();
    }

    /// As when all has come: what stands in the table of those at work is what was fetched for.
    fn fetched(fetches: &Fetches) -> Arc<Fate> {
        let fate = Arc::<Fate>::default();
        fetches.at_work().push(Arc::clone(&fate));
        fate
    }

    #[test]
    fn a_job_is_cancelled_or_starts_and_never_both() {
        let fetches = Fetches::default();
        let news = Mutex::new(Vec::new());
        let send = |message| match message {
            Message::Fetch(FetchNews::Starts) => news.lock().unwrap().push("starts"),
            other => panic!("{other:?}"),
        };
        // After the last byte, before anything is made.
        let fate = fetched(&fetches);
        fetches.cancel();
        assert!(fetches.decide(&fate, &send).is_err() && news.lock().unwrap().is_empty());
        // A moment later it starts, whatever is asked, and is said to.
        fetches.at_work().clear();
        let fate = fetched(&fetches);
        fetches.decide(&fate, &send).unwrap();
        fetches.cancel();
        assert!(!fate.is_cancelled());
        assert_eq!(*news.lock().unwrap(), ["starts"]);
        // Both at once, from two threads.
        for _ in 0..200 {
            fetches.at_work().clear();
            let fate = fetched(&fetches);
            let starts = std::thread::scope(|threads| {
                let decided = threads.spawn(|| fetches.decide(&fate, &|_| {}).is_ok());
                fetches.cancel();
                decided.join().unwrap()
            });
            assert_ne!(starts, fate.is_cancelled());
        }
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
            total: Some(40),
            done: 20,
            rate: 2.0,
            left: Some(Duration::from_secs(10)),
            notes: Vec::new(),
            waits: Vec::new(),
        };
        let mut fetching = Fetching::new("名".into(), vec!["ModelScope".into()]);
        see(&mut fetching, &progress, &mut Rates::default());
        let order: Vec<&str> = fetching.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(order, ["checked", "fetched", "open", "done"]);
        assert_eq!((fetching.count, fetching.finished, fetching.percent()), (4, 1, 50));
        assert_eq!((fetching.far(), fetching.figures()), ("50 %".to_owned(), "20 B of 40 B".to_owned()));
        // Of which the hub does not tell how much there is.
        see(&mut fetching, &Progress { total: None, left: None, ..progress }, &mut Rates::default());
        assert_eq!((fetching.far(), fetching.figures()), ("20 B".to_owned(), "20 B".to_owned()));
    }
}
