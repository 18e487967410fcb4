//! What a name means: the repositories that it may lie in, in the order in which they are looked for.

use super::repo::{Hub, Repo, Sort};
use crate::args::models::{self, is_id};
use crate::error::{Error, Result, brief};

/// A data set of SWIFT's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataSet {
    /// What `dataset` is set to.
    pub name: &'static str,
    /// Its id on ModelScope. It is on no other hub.
    pub id: &'static str,
    /// The files of training and of validation rows in the repository.
    pub train: &'static str,
    pub validation: &'static str,
}

/// The data sets that are known by name.
pub static DATA_SETS: [DataSet; 1] =
    [DataSet { name: "jd-sentiment-zh", id: "DAMO_NLP/jd", train: "train.csv", validation: "dev.csv" }];

/// The environment variable that SWIFT's later versions choose the hub by.
pub const USE_HF: &str = "USE_HF";

impl DataSet {
    /// The one that `dataset` names.
    pub fn by_name(name: &str) -> Option<&'static DataSet> {
        DATA_SETS.iter().find(|set| set.name == name)
    }

    /// The one that has this id on its hub.
    pub fn by_id(id: &str) -> Option<&'static DataSet> {
        DATA_SETS.iter().find(|set| set.id.eq_ignore_ascii_case(id))
    }

    pub fn repo(&self) -> Repo {
        Repo { hub: Hub::ModelScope, sort: Sort::Dataset, id: self.id.to_owned(), revision: None }
    }
}

/// The files of a data set's repository that a job reads; empty where that is not known.
pub fn files_of(repo: &Repo) -> Vec<&'static str> {
    let is_it = |set: &&DataSet| repo.sort == Sort::Dataset && set.id.eq_ignore_ascii_case(&repo.id);
    DATA_SETS.iter().find(is_it).map_or_else(Vec::new, |set| vec![set.train, set.validation])
}

/// The hub that comes first: the one that `named` says, else by [`USE_HF`], else ModelScope, as in SWIFT.
///
/// # Errors
/// [`USE_HF`] says neither yes nor no, which SWIFT does not begin with either.
pub fn hub_first(named: Option<&str>) -> Result<Hub> {
    let value = std::env::var_os(USE_HF).filter(|_| named.is_none());
    let value = value.unwrap_or_default().to_string_lossy().into_owned();
    match (named, is_true(&value)) {
        (Some("hf"), _) | (None, Some(true)) => Ok(Hub::Hf),
        (Some(_), _) | (None, Some(false)) => Ok(Hub::ModelScope),
        (None, None) => Err(Error::user(format!(
            "{USE_HF}={} says neither yes nor no: set it to 1 for Hugging Face first, or to 0 for ModelScope",
            brief(&value)
        ))),
    }
}

/// [`hub_first`] for whoever only shows what there is.
pub fn first_hub(named: Option<&str>) -> Hub {
    hub_first(named).unwrap_or(Hub::ModelScope)
}

/// As Python's `strtobool`, which SWIFT reads it with; nothing is no.
fn is_true(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "y" | "yes" | "t" | "true" | "on" | "1" => Some(true),
        "n" | "no" | "f" | "false" | "off" | "0" | "" => Some(false),
        _ => None,
    }
}

/// The repositories of a model by its name, a model type of SWIFT's table or `owner/name`, with the `first` hub's first;
/// empty where it is none. On a hub the table's own ids are written as that hub writes them.
pub fn model_repos(name: &str, revision: Option<&str>, first: Hub) -> Vec<Repo> {
    let known = models::by_type(name).or_else(|| models::by_id(name));
    let id = |hub: Hub| match (known, hub) {
        (Some(model), Hub::ModelScope) => model.id.map(str::to_owned),
        (Some(model), Hub::Hf) => model.hf.map(str::to_owned),
        (None, _) => is_id(name).then(|| name.to_owned()),
    };
    // What SWIFT writes down where nobody asked for a revision, whatever the hub.
    let usual =
        |revision: &&str| [Hub::ModelScope, Hub::Hf].iter().any(|hub| hub.default_revision() == *revision);
    let revision = revision.filter(|revision| !revision.is_empty() && !usual(revision));
    let hubs = match first {
        Hub::ModelScope => [Hub::ModelScope, Hub::Hf],
        Hub::Hf => [Hub::Hf, Hub::ModelScope],
    };
    let repo =
        |hub: Hub| Some(Repo { hub, sort: Sort::Model, id: id(hub)?, revision: revision.map(str::to_owned) });
    hubs.into_iter().filter_map(repo).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, revision: Option<&str>, first: Hub) -> Vec<String> {
        let repos = model_repos(name, revision, first);
        repos.iter().map(|repo| format!("{} {} {}", repo.hub, repo.id, repo.revision())).collect()
    }

    #[test]
    fn each_hub_has_its_own_name_and_branch() {
        let both = ["ModelScope qwen/Qwen-1_8B master", "Hugging Face Qwen/Qwen-1_8B main"];
        for name in ["qwen-1_8b", "qwen/Qwen-1_8B", "Qwen/Qwen-1_8B"] {
            for revision in [None, Some("master"), Some("main")] {
                assert_eq!(told(name, revision, Hub::ModelScope), both, "{name} {revision:?}");
            }
        }
        assert_eq!(
            told("me/My-Qwen.v2", Some("v1.0.0"), Hub::Hf),
            ["Hugging Face me/My-Qwen.v2 v1.0.0", "ModelScope me/My-Qwen.v2 v1.0.0"]
        );
        for none in
            ["qwen-demo", "models", "/models/qwen", "../qwen", "a/../b", "a/b/c", "~/m", "a/", "模型/底座"]
        {
            assert_eq!(told(none, None, Hub::Hf), Vec::<String>::new(), "{none}");
        }
    }

    #[test]
    fn the_table_names_every_model_on_both_hubs() {
        for model in models::MODELS.iter().filter(|model| model.id.is_some()) {
            let repos = model_repos(model.model_type, None, Hub::ModelScope);
            assert_eq!(repos.len(), 2, "{}", model.model_type);
            assert!(repos.iter().all(|repo| models::by_id(&repo.id) == Some(model)));
        }
    }

    #[test]
    fn the_hub_is_the_one_that_is_asked_for() {
        assert_eq!((first_hub(Some("hf")), first_hub(Some("modelscope"))), (Hub::Hf, Hub::ModelScope));
        assert!(["1", "true", "Yes", "ON"].iter().all(|value| is_true(value) == Some(true)));
        assert!(["", "0", "false", "No"].iter().all(|value| is_true(value) == Some(false)));
        assert!(["2", "hf", " 1"].iter().all(|value| is_true(value).is_none()));
    }
}
