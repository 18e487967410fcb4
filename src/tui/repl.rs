//! What the REPL tab asks of the engine's REPL server, and what it hears back. The server is kept in `effects`.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::model::short_name;

/// A model that can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Model {
    /// The checkpoint in this directory.
    Checkpoint(PathBuf),
    /// The base model of the run in this directory, in the run's template.
    BaseOf(PathBuf),
    /// A base model by itself, as arguments name it.
    Base(BaseModel),
    /// What lies in this directory: a checkpoint, or a base model.
    At(PathBuf),
}

/// A base model, and what SWIFT's arguments say of how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseModel {
    pub dir: PathBuf,
    pub model_type: String,
    pub template_type: String,
    pub system: Option<String>,
    pub dtype: String,
}

impl Model {
    /// The run that its template and its ways of drawing an answer are from.
    pub fn run(&self) -> Option<&Path> {
        match self {
            Model::Checkpoint(dir) => dir.parent(),
            Model::BaseOf(run) => Some(run),
            Model::Base(_) | Model::At(_) => None,
        }
    }

    /// The directory that it lies in, where it names one.
    pub fn dir(&self) -> Option<&Path> {
        match self {
            Model::Checkpoint(dir) | Model::At(dir) | Model::Base(BaseModel { dir, .. }) => Some(dir),
            Model::BaseOf(_) => None,
        }
    }

    /// The step of a directory named `checkpoint-N`.
    pub fn step(&self) -> Option<u64> {
        self.dir()?.file_name()?.to_str()?.strip_prefix("checkpoint-")?.parse().ok()
    }

    /// With its run, as in `qwen-1_8b/v0-20250101-120000/checkpoint-50`.
    pub fn name(&self) -> String {
        match (self, self.dir()) {
            (Model::BaseOf(run), _) => format!("base model of {}", short_name(run)),
            (_, None) => String::new(),
            (_, Some(dir)) => match dir.parent().filter(|_| self.step().is_some()) {
                Some(run) => format!("{}/{}", short_name(run), self.short()),
                None => dir.display().to_string(),
            },
        }
    }

    /// Without its run: `checkpoint-50`.
    pub fn short(&self) -> String {
        let Some(dir) = self.dir() else { return "base model".to_owned() };
        dir.file_name().map_or_else(|| dir.display().to_string(), |n| n.to_string_lossy().into_owned())
    }
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Which label?
    Classify(String),
    /// How does it go on? Templates that know conversations get the earlier turns too.
    Generate(String),
}

/// To the keeper of the server. Questions are answered in the order of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Answers what is asked from now on with this model; starts the server where there is none.
    Open(Model),
    /// A question; answered under its id. Starts the server with the last model where it has died.
    Ask { id: u64, ask: Ask },
    /// Takes a question back, or stops its answer.
    Cancel { id: u64 },
    /// Forgets the conversation.
    Forget,
    /// Ends the server, which frees its memory.
    Unload,
    /// Writes a text to the history's file.
    Remember(String),
    /// Looks for the checkpoints of these runs, in their order.
    List(Vec<PathBuf>),
}

/// From the keeper of the server.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// The texts of earlier sessions, oldest first.
    History(Vec<String>),
    /// What can be chosen from.
    Models(Vec<RunModels>),
    /// The person has chosen a model elsewhere.
    Chosen(PathBuf),
    /// It is being loaded.
    Loading(Model),
    /// It answers from now on.
    Loaded(Loaded),
    /// It could not be opened; the one before answers on, if there was one.
    Refused { model: Model, why: String },
    /// The files of this model, which answers, are there no more.
    Gone(Model),
    /// The question's turn has come.
    Begun { id: u64 },
    /// The answer has grown by this.
    Piece { id: u64, text: String },
    /// The label, with each label's probability.
    Label { id: u64, label: String, probabilities: Map<String, Value>, seconds: f64 },
    /// The whole answer; cancelled: what there was of it.
    Done { id: u64, text: String, cancelled: bool, seconds: f64 },
    /// There will be no answer.
    Failed { id: u64, why: String },
    /// The server has ended; why, where nobody has asked it to. What was asked and not answered will not be.
    Ended { why: Option<String> },
}

/// A model that has been loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub model: Model,
    /// `cpu` or `cuda:N`.
    pub device: String,
    pub seconds: f64,
    /// How it draws answers, in words.
    pub drawing: String,
    pub warnings: Vec<String>,
}

/// The models of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunModels {
    /// The run directory.
    pub run: PathBuf,
    /// Its base model's directory, as the run's arguments name it.
    pub base: Option<String>,
    /// Steps, oldest first.
    pub checkpoints: Vec<u64>,
    /// Steps of those that are merged into whole models.
    pub merged: Vec<u64>,
    /// The steps of the best one and of the newest that the run comes from.
    pub best: Option<u64>,
    pub last: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_a_name_with_its_run_and_one_without() {
        let checkpoint = Model::Checkpoint("/out/qwen-demo/v0-x/checkpoint-50".into());
        assert_eq!(checkpoint.name(), "qwen-demo/v0-x/checkpoint-50");
        assert_eq!((checkpoint.short().as_str(), checkpoint.step()), ("checkpoint-50", Some(50)));
        assert_eq!(checkpoint.run(), Some(Path::new("/out/qwen-demo/v0-x")));
        assert_eq!(Model::BaseOf("/out/qwen-demo/v0-x".into()).name(), "base model of qwen-demo/v0-x");
        let typed = Model::At("/models/我的模型".into());
        assert_eq!((typed.name().as_str(), typed.short().as_str()), ("/models/我的模型", "我的模型"));
        assert_eq!((typed.step(), typed.run()), (None, None));
        assert_eq!(Model::At("/".into()).short(), "/");
    }
}
