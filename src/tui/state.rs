//! What all components see: the fold of the messages.

use std::path::{Path, PathBuf};

use super::action::Whom;
use super::configs::ConfigNews;
use super::fetching::{FetchNews, Fetching};
use super::message::Message;
use super::model::RunState;
use super::repl::BaseModel;
use super::theme::Theme;
use crate::args::models::by_type;
use crate::job::queue::{Job, Listing};
use crate::job::runs::{RunStatus, RunSummary};

/// How times are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    Local,
    Utc,
}

impl Clock {
    /// `HH:MM:SS`.
    pub fn time(self, unix: f64) -> String {
        self.format(unix, "%H:%M:%S")
    }

    /// `YYYY-MM-DD HH:MM`.
    pub fn date(self, unix: f64) -> String {
        self.format(unix, "%Y-%m-%d %H:%M")
    }

    fn format(self, unix: f64, pattern: &str) -> String {
        let Some(utc) = chrono::DateTime::from_timestamp(unix as i64, 0) else { return "?".to_owned() };
        match self {
            Clock::Local => utc.with_timezone(&chrono::Local).format(pattern).to_string(),
            Clock::Utc => utc.format(pattern).to_string(),
        }
    }
}

/// A merge at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merging {
    /// The checkpoint's directory.
    pub checkpoint: PathBuf,
    pub percent: u64,
}

impl Merging {
    /// `checkpoint-N`.
    pub fn name(&self) -> String {
        self.checkpoint.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// How it stands with a job that something is asked of.
#[derive(Debug)]
pub enum Hearing<'a> {
    /// What it needs is being fetched.
    Fetch(&'a Fetching),
    /// Its worker does not hear yet.
    Starts,
    /// Its worker hears.
    Run(&'a RunState),
    /// It has ended, has not come to be, or is not followed any more.
    Nobody,
}

/// What is known of the world.
#[derive(Debug)]
pub struct State {
    pub theme: Theme,
    pub clock: Clock,
    /// Unix seconds.
    pub now: f64,
    /// Where runs are looked for and made.
    pub output_dir: PathBuf,
    /// The engine, or what to do to get one; `None` until it has been looked for.
    pub engine: Option<Result<PathBuf, String>>,
    /// Newest first; `None` until they have been looked for.
    pub runs: Option<Vec<RunSummary>>,
    /// The run that is followed.
    pub run: Option<RunState>,
    /// A new run is being started: it takes the place of the one that is followed.
    pub starting: bool,
    /// The run that has come of the start that was asked for last.
    pub begun: Option<PathBuf>,
    /// The run that was followed until its directory went.
    pub gone: Option<PathBuf>,
    /// The base model that the arguments of the next job name, where it is there.
    pub base: Option<BaseModel>,
    /// What is fetched for a job that is to start.
    pub fetch: Option<Fetching>,
    /// The merges at work, and how far they are.
    pub merges: Vec<Merging>,
    /// What waits for a device.
    pub queue: Listing,
    /// A page or a question is over the tabs.
    pub covered: bool,
}

impl State {
    pub fn new(theme: Theme, clock: Clock, output_dir: PathBuf, now: f64) -> State {
        State {
            theme,
            clock,
            now,
            output_dir,
            engine: None,
            runs: None,
            run: None,
            starting: false,
            begun: None,
            gone: None,
            base: None,
            fetch: None,
            merges: Vec::new(),
            queue: Listing::default(),
            covered: false,
        }
    }

    /// Takes in a message; returns whether anything on the screen may have changed.
    pub fn see(&mut self, message: &Message) -> bool {
        let now = self.now;
        match message {
            Message::Tick(now) => {
                self.now = *now;
                // The times on the screen count while something runs.
                return self.is_live();
            }
            Message::Engine(found) => self.engine = Some(found.clone()),
            Message::Runs { output_dir, .. } if *output_dir != self.output_dir => return false,
            Message::Runs { runs, .. } => self.runs = Some(runs.clone()),
            Message::Opened(path) => {
                if std::mem::take(&mut self.starting) {
                    self.begun = Some(path.clone());
                }
                (self.run, self.gone, self.starting) = (Some(RunState::new(path)), None, false);
                self.look_around(path);
            }
            Message::Events { run, records } => match self.followed(run) {
                Some(state) => records.iter().for_each(|r| state.see(r)),
                None => return false,
            },
            Message::Worker { run, worker } => match self.followed(run) {
                Some(state) => state.see_worker(worker, now),
                None => return false,
            },
            Message::RunDetails(details) => {
                // A live worker's newest may have come after the look; it tells itself which it removes.
                if let Some(run) = self.followed(&details.path).filter(|r| !r.is_live()) {
                    run.keep_checkpoints(&details.checkpoints);
                }
            }
            Message::Deleted(path) => match self.followed(path) {
                Some(_) => (self.run, self.gone) = (None, Some(path.clone())),
                None => return false,
            },
            Message::Merge { checkpoint, percent: None } => {
                self.merges.retain(|m| m.checkpoint != *checkpoint);
            }
            Message::Merge { checkpoint, percent: Some(percent) } => {
                match self.merges.iter_mut().find(|m| m.checkpoint == *checkpoint) {
                    Some(merging) => merging.percent = *percent,
                    None => {
                        self.merges.push(Merging { checkpoint: checkpoint.clone(), percent: *percent });
                    }
                }
            }
            Message::Fetch(FetchNews::Goes(fetching)) => {
                let is_ending = self.fetch.as_ref().is_some_and(|before| before.is_ending);
                self.fetch = Some(Fetching { is_ending, ..fetching.as_ref().clone() });
            }
            Message::Fetch(FetchNews::Starts) => {
                if let Some(fetching) = &mut self.fetch {
                    (fetching.starts, fetching.is_ending) = (true, false);
                }
            }
            Message::Fetch(FetchNews::Over) => self.fetch = None,
            Message::Fetch(FetchNews::Cancelled | FetchNews::Failed(_)) => {
                (self.fetch, self.starting) = (None, false);
            }
            Message::Queue(listing) => self.queue = listing.clone(),
            // The run that was made for it is no loss.
            Message::Config(ConfigNews::NotStarted(_)) => (self.starting, self.gone) = (false, None),
            Message::Config(ConfigNews::Occupied(_)) => self.starting = false,
            Message::Notice(notice) if notice.is_error => self.starting = false,
            Message::Config(_) | Message::Repl(_) | Message::Notice(_) | Message::Exit => {}
        }
        true
    }

    /// Where `run` lies outside the output directory, its own one takes the place: it is listed with its neighbours, which
    /// are then to be looked for.
    pub(super) fn look_around(&mut self, run: &Path) {
        let listed = self.runs.iter().flatten().any(|r| r.path == run);
        if listed || run.starts_with(&self.output_dir) {
            return;
        }
        // MODEL_TYPE/vN-... beneath it, or itself.
        let is_suffix =
            |dir: &Path| dir.file_name().and_then(|n| n.to_str()).is_some_and(|n| by_type(n).is_some());
        let above = run.parent().filter(|dir| is_suffix(dir)).and_then(Path::parent);
        self.output_dir = above.unwrap_or(run).to_owned();
        self.runs = None;
    }

    /// The run at `path`, if it is the one that is followed: late news of another are dropped.
    fn followed(&mut self, path: &Path) -> Option<&mut RunState> {
        self.run.as_mut().filter(|r| r.path == path)
    }

    /// Listed runs that a worker is at, but for the one that is followed.
    pub fn other_jobs(&self) -> usize {
        let followed = self.run.as_ref().map(|r| &r.path);
        let runs = self.runs.iter().flatten().filter(|r| r.status == RunStatus::Running);
        runs.filter(|r| Some(&r.path) != followed).count()
    }

    /// Whether a job is known to run, followed or not, or starts. One whose worker has not been looked for yet counts.
    pub fn has_job(&self) -> bool {
        self.starting
            || self.run.as_ref().is_some_and(|run| run.is_live() || run.may_be_live())
            || self.other_jobs() > 0
            || self.queue.jobs.iter().any(Job::is_taken)
    }

    /// The merge at work of `path`, or of what lies in it.
    pub fn merging(&self, path: &Path) -> Option<&Merging> {
        self.merges.iter().find(|m| m.checkpoint.starts_with(path))
    }

    /// The run that is followed, unless a new one is about to take its place: one that a worker is at is shown until then.
    pub fn shown(&self) -> Option<&RunState> {
        self.run.as_ref().filter(|run| !self.starting || run.is_live())
    }

    /// Whether what is asked of the job has to wait: it is being started, and its worker does not hear it yet. What is fetched
    /// for it may take long.
    pub fn is_starting(&self) -> bool {
        let is_next = self.starting && self.fetch.as_ref().is_none_or(|fetching| fetching.starts);
        is_next || self.run.as_ref().is_some_and(RunState::is_starting)
    }

    /// The job that the keys of the Train tab are for.
    pub fn whom(&self) -> Whom {
        match &self.run {
            Some(run)
                if run.is_live() && (!self.starting || self.fetch.as_ref().is_some_and(|f| !f.starts)) =>
            {
                Whom::Run(run.path.clone())
            }
            _ => Whom::Next,
        }
    }

    /// How it stands with the job that something is asked of.
    pub fn hearing(&self, whom: &Whom) -> Hearing<'_> {
        let path = match whom {
            Whom::Next => match (&self.begun, &self.fetch) {
                (_, Some(fetching)) if !fetching.starts => return Hearing::Fetch(fetching),
                _ if self.starting => return Hearing::Starts,
                (Some(path), _) => path,
                (None, _) => return Hearing::Nobody,
            },
            Whom::Run(path) => path,
        };
        match self.run.as_ref().filter(|run| run.path == *path) {
            Some(run) if run.is_starting() => Hearing::Starts,
            Some(run) if run.is_live() => Hearing::Run(run),
            _ => Hearing::Nobody,
        }
    }

    /// What to call the job that something is asked of.
    pub fn name(&self, whom: &Whom) -> String {
        let path = match whom {
            Whom::Next => self.begun.as_deref(),
            Whom::Run(path) => Some(path.as_path()),
        };
        let name = path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_else(|| "the job that is to start".to_owned())
    }

    /// Whether a worker is at the run that is followed.
    pub fn is_live(&self) -> bool {
        self.run.as_ref().is_some_and(RunState::is_live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_elsewhere_brings_its_neighbours() {
        let opened = |run: &str| {
            let mut state = State::new(Theme::plain(), Clock::Utc, "/work/output".into(), 0.0);
            state.see(&Message::Opened(run.into()));
            state.output_dir
        };
        assert_eq!(opened("/work/output/qwen-demo/v0-x"), Path::new("/work/output"));
        assert_eq!(opened("/work/out/qwen-demo/v0-x"), Path::new("/work/out"));
        assert_eq!(opened("/work/mine"), Path::new("/work/mine"));
    }
}
