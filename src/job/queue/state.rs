//! How a job of the queue stands.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::args::{check_plain, chosen_of, read_object};
use crate::run::resolved;

/// No state comes near this many bytes.
const STATE_LIMIT: u64 = 1 << 20;

/// How a job stands, as `job-N.state` has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    Waiting {
        /// What it waits for, or what has kept it from starting.
        #[serde(default)]
        note: Option<String>,
    },
    /// It is being started, or its worker trains. Written before the worker begins.
    Taken {
        /// The run directory, once there is one.
        run: Option<PathBuf>,
        /// Whether the run is a new one.
        new: bool,
        /// Bytes of the run's event log before the worker began; none until the run directory is there.
        log: Option<u64>,
        /// What was there before a new run's directory, and stays where the run comes to nothing.
        kept: PathBuf,
        /// Its worker never began, and the directory is being taken away: that it is gone does not mean that the job has
        /// ended.
        #[serde(default)]
        undone: bool,
    },
    /// It could not be started, or was refused before its first step.
    Failed { message: String },
}

impl State {
    /// It waits, and nothing is to be said of it.
    pub fn waiting() -> State {
        State::Waiting { note: None }
    }

    pub fn is_waiting(&self) -> bool {
        matches!(self, State::Waiting { .. })
    }

    pub fn is_taken(&self) -> bool {
        matches!(self, State::Taken { .. })
    }
}

/// What a job would train, in short.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct What {
    pub model_type: String,
    /// The names of its data files.
    pub data: Vec<String>,
    pub output_dir: String,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// The run or checkpoint that it goes on with.
    pub resumes: Option<String>,
    /// All its arguments.
    pub args: Map<String, Value>,
}

/// A job of the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Stays the same for as long as it is in the queue.
    pub number: u64,
    /// Its file of arguments.
    pub file: PathBuf,
    /// Unix seconds: when it was put there.
    pub put: f64,
    /// Or why that is not known.
    pub state: Result<State, String>,
    /// Or why that is not known.
    pub what: Result<What, String>,
}

impl Job {
    /// Reads job `number` in `dir`; none where it is not there.
    pub(super) fn read(dir: &Path, number: u64) -> Option<Job> {
        let file = arguments_file(dir, number);
        let meta = fs::symlink_metadata(&file).ok()?;
        let put = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        let what = read_object(&file).map(What::of).map_err(|e| e.to_string());
        let state = read_state(dir, number);
        Some(Job { number, file, put: put.map_or(0.0, |d| d.as_secs_f64()), state, what })
    }

    pub fn is_waiting(&self) -> bool {
        self.what.is_ok() && self.state.as_ref().is_ok_and(State::is_waiting)
    }

    pub fn is_taken(&self) -> bool {
        self.state.as_ref().is_ok_and(State::is_taken)
    }

    /// The run directory of a job that has one.
    pub fn run(&self) -> Option<&Path> {
        match &self.state {
            Ok(State::Taken { run, .. }) => run.as_deref(),
            _ => None,
        }
    }

    /// What is wrong with it, or what it waits for.
    pub fn note(&self) -> Option<&str> {
        match (&self.state, &self.what) {
            (Err(why), _) | (Ok(State::Waiting { .. }), Err(why)) => Some(why),
            (Ok(State::Waiting { note }), Ok(_)) => note.as_deref(),
            (Ok(State::Failed { message }), _) => Some(message),
            (Ok(State::Taken { .. }), _) => None,
        }
    }

    /// How it stands, in a word.
    pub fn word(&self) -> &'static str {
        match (&self.state, &self.what) {
            (Err(_), _) | (Ok(State::Waiting { .. }), Err(_)) => "unreadable",
            (Ok(State::Waiting { .. }), Ok(_)) => "waiting",
            (Ok(State::Taken { run: None, .. }), _) => "starting",
            (Ok(State::Taken { .. }), _) => "running",
            (Ok(State::Failed { .. }), _) => "failed",
        }
    }
}

impl What {
    /// What these arguments would train.
    pub fn of(object: Map<String, Value>) -> What {
        let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
        let list = |key: &str| object.get(key).and_then(Value::as_array).into_iter().flatten();
        let files = list("dataset").chain(list("custom_train_dataset_path")).filter_map(Value::as_str);
        let name = |path: &str| {
            Path::new(path).file_name().map_or(path.to_owned(), |n| n.to_string_lossy().into_owned())
        };
        What {
            model_type: text("model_type").unwrap_or_default(),
            data: files.map(name).collect(),
            output_dir: text("output_dir").unwrap_or_default(),
            device: text("device").unwrap_or_else(|| "auto".to_owned()),
            resumes: text("resume_from_checkpoint"),
            args: object,
        }
    }

    /// The arguments other than the defaults, as names and readable values.
    pub fn chosen(&self) -> Vec<(&'static str, String)> {
        chosen_of(&self.args)
    }

    /// The job in a few words: what is trained on what, or what it goes on with.
    pub fn words(&self) -> String {
        match (&self.resumes, &self.data[..]) {
            (Some(run), _) => format!("goes on with {run}"),
            (None, []) => self.model_type.clone(),
            (None, [data]) => format!("{} on {data}", self.model_type),
            (None, [first, rest @ ..]) => format!("{} on {first} and {} more", self.model_type, rest.len()),
        }
    }
}

/// The directory that a job of these arguments will have made for itself and nobody else (`add_output_dir_suffix` false),
/// with its links followed. None for one that goes on with a run, or with the last one by then.
pub(super) fn own_directory(args: &Map<String, Value>) -> Option<PathBuf> {
    let goes_on = args.get("resume_from_checkpoint").is_some_and(|v| !v.is_null());
    if goes_on { None } else { named_directory(args) }
}

/// The run directory of a job that does not leave its name to the program.
pub(super) fn named_directory(args: &Map<String, Value>) -> Option<PathBuf> {
    if args.get("add_output_dir_suffix") != Some(&Value::Bool(false)) {
        return None;
    }
    Some(resolved(Path::new(args.get("output_dir")?.as_str()?)))
}

pub(super) fn arguments_file(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("job-{number}.json"))
}

pub(super) fn state_file(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("job-{number}.state"))
}

pub(super) fn lock_file(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("job-{number}.lock"))
}

/// The number in `job-N.ENDING`, written as this program writes it.
pub(super) fn number_of(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_prefix("job-")?.strip_suffix(ending)?;
    digits.parse().ok().filter(|n: &u64| n.to_string() == digits)
}

/// The state of job `number`; without a file it waits.
pub(super) fn read_state(dir: &Path, number: u64) -> Result<State, String> {
    let path = state_file(dir, number);
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(&path)?.take(STATE_LIMIT).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    check_plain(&path).map_err(|_| format!("{} is no regular file", path.display()))?;
    match read() {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
            format!("{} is damaged ({e}): whether it has been started is not known", path.display())
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(State::waiting()),
        Err(e) => Err(format!("{} cannot be read: {e}", path.display())),
    }
}
