//! Files of arguments and the data they name: what the Config tab asks of the effects, and what it hears.

use std::path::PathBuf;

use crate::args::{ReadDraft, SftArgs};
use crate::hub::Repo;
use crate::hub::shelf::{Item, Offer};
use crate::job::inputs::{Inputs, Missing};

/// Where files of arguments are looked for and saved, beneath the working directory.
pub const CONFIGS: &str = "configs";

/// What the effects are asked for.
#[derive(Debug, Clone)]
pub enum ConfigWork {
    /// Looks for files under [`CONFIGS`].
    List,
    Load(PathBuf),
    /// Writes `text` to `path`; a file that is there stays unless `overwrite`.
    Save {
        path: PathBuf,
        text: String,
        overwrite: bool,
    },
    /// Looks whether model and data are there.
    Find(Box<Inputs>),
    /// Looks for models and data sets to choose from.
    Shelves,
    /// Asks the hubs what would be fetched of the first of these that one has; nothing is fetched.
    Ask(Vec<Repo>),
    /// Nobody waits for what was asked any more.
    StopAsking,
    /// Reads the rows that the arguments name; a newer look ends this one.
    Preview(Box<SftArgs>),
}

/// What comes of it.
#[derive(Debug, Clone)]
pub enum ConfigNews {
    Files(Vec<PathBuf>),
    /// `file` is none for the defaults.
    Loaded {
        file: Option<PathBuf>,
        read: ReadDraft,
    },
    Saved(PathBuf),
    /// There is a file of this name already; nothing was written.
    Exists {
        path: PathBuf,
        text: String,
    },
    /// What of them is not there.
    Found {
        inputs: Box<Inputs>,
        missing: Vec<Missing>,
        names: Names,
    },
    /// Models and data sets to choose from.
    Shelves(Vec<Item>),
    /// What would be fetched, or why that is not known.
    Offer {
        repos: Vec<Repo>,
        told: Result<Offer, String>,
    },
    /// The job is in the queue.
    Queued,
    /// Others run: it is to be asked whether this one is to start beside them.
    Occupied(Box<SftArgs>),
    /// A training did not begin; nothing is left of it.
    NotStarted(String),
    /// The error is the loader's.
    Preview(Result<Box<Preview>, String>),
}

/// What the names among the inputs stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Where each is, or that it would be fetched: a line each.
    pub lines: Vec<String>,
    /// The directory of a model that is named and is on this machine.
    pub model: Option<PathBuf>,
}

/// A look at the rows that a job would be trained on.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    pub train: Part,
    pub validation: Part,
    /// The first training rows, of each label by turns: prompt and response.
    pub first: Vec<[String; 2]>,
    /// What the loader warns of.
    pub warnings: Vec<String>,
    /// What would end the training before its first step.
    pub problem: Option<String>,
    pub unit: Unit,
    /// `max_length`, in tokens.
    pub limit: Option<u32>,
    /// Longer rows keep their ends instead of being left out.
    pub cut: bool,
}

/// Some of the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    pub rows: usize,
    /// Rows of their files that are broken.
    pub broken: u64,
    /// Rows by response, the most frequent first; none where nearly every response is another.
    pub labels: Vec<(String, u64)>,
    /// Of every row, ascending.
    pub lengths: Vec<u32>,
}

/// What lengths are counted in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unit {
    Tokens,
    /// There is no tokenizer, which says why.
    Characters(String),
}

impl Part {
    /// Rows longer than `limit`.
    pub fn longer(&self, limit: u32) -> usize {
        self.lengths.len() - self.lengths.partition_point(|l| *l <= limit)
    }
}
