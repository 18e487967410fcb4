//! What a training reads: whether the model and the data are where the arguments say. Cheap, so that it can be asked
//! before anything is made or started.

use std::path::{Path, PathBuf, absolute};

use crate::args::{SftArgs, models};
use crate::data::rows::check_file;
use crate::error::{Error, Result, shown};
use crate::hub::{Absent, Caches, Place, Wanted};
use crate::job::initial_adapter::InitialAdapter;
pub use crate::model::check_model_dir;

/// The arguments that name what a training reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    wanted: Wanted,
    custom_train_dataset_path: Vec<String>,
    custom_val_dataset_path: Vec<String>,
    init_adapter: Option<InitialAdapter>,
}

impl From<&SftArgs> for Inputs {
    fn from(args: &SftArgs) -> Inputs {
        Inputs {
            wanted: args.into(),
            custom_train_dataset_path: args.custom_train_dataset_path.clone(),
            custom_val_dataset_path: args.custom_val_dataset_path.clone(),
            init_adapter: InitialAdapter::of(args),
        }
    }
}

/// Something that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The argument that names it.
    pub key: &'static str,
    /// What is missing, where it was looked for, what to do.
    pub message: String,
}

impl Missing {
    /// Whether it is the base model.
    pub fn is_model(&self) -> bool {
        matches!(self.key, "model_cache_dir" | "model_id_or_path")
    }
}

impl From<Missing> for Error {
    fn from(missing: Missing) -> Error {
        Error::User(missing.message)
    }
}

impl Inputs {
    /// What its names, where they are none of paths, stand for; nothing where they mean nothing.
    pub fn names(&self) -> Vec<Place> {
        self.wanted.names(&Caches::here()).unwrap_or_default()
    }

    /// What is not on this machine and would be fetched.
    pub fn absent(&self) -> Vec<Absent> {
        self.names().iter().filter_map(Place::absent).cloned().collect()
    }

    /// Looks for the model, then for the data.
    ///
    /// # Errors
    /// The first thing that is not there.
    pub fn look(&self) -> Result<(), Missing> {
        self.missing().into_iter().next().map_or(Ok(()), Err)
    }

    /// What is not there, the model first; of each argument the first thing. What a hub may have is not missing.
    pub fn missing(&self) -> Vec<Missing> {
        let missing = |key| move |e: Error| Missing { key, message: format!("{key}: {e}") };
        let caches = Caches::here();
        let key = if self.wanted.model_cache_dir.is_some() { "model_cache_dir" } else { "model_id_or_path" };
        // What it says of a name has the argument in it.
        let model = self.wanted.model(&caches).map_err(|e| Missing { key, message: e.to_string() });
        let model = model.and_then(|place| match place {
            Place::Path(dir) => check_model_dir(&dir).map_err(missing(key)),
            Place::Cached(_) | Place::Absent(_) => Ok(()),
        });
        let key = "dataset";
        let named = self.wanted.data(&caches).map_err(|e| Missing { key, message: e.to_string() });
        let named = named.and_then(|places| {
            let files = places.iter().filter(|place| matches!(place, Place::Path(_)));
            files.map(Place::path).try_for_each(check_file).map_err(missing(key))
        });
        let files = [
            ("custom_train_dataset_path", &self.custom_train_dataset_path),
            ("custom_val_dataset_path", &self.custom_val_dataset_path),
        ];
        let files = files.map(|(key, paths)| {
            paths.iter().try_for_each(|path| check_file(Path::new(path))).map_err(missing(key))
        });
        let adapter = self.init_adapter.as_ref().map_or(Ok(()), InitialAdapter::look);
        let adapter = adapter.map_err(|e| Missing { key: "init_adapter", message: e.to_string() });
        [model, named].into_iter().chain(files).chain([adapter]).filter_map(Result::err).collect()
    }
}

/// The directory of the base model that `args` name.
///
/// # Errors
/// As [`named_model_dir`].
pub fn model_dir(args: &SftArgs) -> Result<&Path> {
    named_model_dir(&args.model_type, args.model_cache_dir.as_deref(), args.model_id_or_path.as_deref())
}

/// The directory that `model_cache_dir` names, or else `model_id_or_path`.
///
/// # Errors
/// A hub's id that is no directory here: names are found by whoever starts a job (`hub`), not by who reads.
pub fn named_model_dir<'a>(
    model_type: &str,
    cache_dir: Option<&'a str>,
    id_or_path: Option<&'a str>,
) -> Result<&'a Path> {
    let dir = cache_dir.or(id_or_path).ok_or_else(|| {
        Error::user(format!(
            "model_type {model_type:?} names no directory: set model_id_or_path to the model's (config.json, \
             model.safetensors, qwen.tiktoken)"
        ))
    })?;
    let path = Path::new(dir);
    if cache_dir.is_none() && !path.exists() && models::is_id(dir) {
        return Err(Error::user(format!(
            "{dir} (model_type {model_type}) is a hub's name, and there is no directory {}; set \
             model_id_or_path to the model's directory",
            shown(&whole(path))
        )));
    }
    Ok(path)
}

/// `path` with all that leads to it: where a relative one was looked for.
fn whole(path: &Path) -> PathBuf {
    absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::load_sft;
    use std::fs::write;

    fn look(args: &SftArgs) -> Result<(), Missing> {
        Inputs::from(args).look()
    }

    fn args(model: &str, rest: &str) -> SftArgs {
        let words = format!("--model_type qwen-demo --model_id_or_path {model} {rest}");
        load_sft(None, &words.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).unwrap().args
    }

    #[test]
    fn what_is_missing_is_told_with_its_argument_and_where_it_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (rows, model) = (dir.path().join("rows.csv"), dir.path().join("model"));
        std::fs::create_dir(&model).unwrap();
        let all = args(model.to_str().unwrap(), &format!("--custom_train_dataset_path {}", rows.display()));
        let mut wanted = vec![("model_id_or_path", model.join("config.json"))];
        for file in ["config.json", "qwen.tiktoken", "model.safetensors"] {
            let (key, path) = wanted.pop().unwrap();
            let missing = look(&all).unwrap_err();
            assert_eq!(missing.key, key);
            assert!(missing.message.contains(path.to_str().unwrap()), "{missing:?}");
            write(model.join(file), "x").unwrap();
            wanted.push((
                "model_id_or_path",
                if file == "config.json" { model.join("qwen.tiktoken") } else { model.clone() },
            ));
        }
        let missing = look(&all).unwrap_err();
        assert_eq!(missing.key, "custom_train_dataset_path");
        assert!(missing.message.contains(&format!("{}: no such data file", rows.display())), "{missing:?}");
        write(&rows, "x").unwrap();
        assert_eq!(look(&all), Ok(()));

        let both = args("no/such/model", "--dataset none.csv --init_adapter 没有");
        let keys: Vec<_> = Inputs::from(&both).missing().into_iter().map(|m| m.key).collect();
        assert_eq!(keys, ["model_id_or_path", "dataset", "init_adapter"], "each by itself");

        let here = std::env::current_dir().unwrap();
        for (model, rest, key, told) in [
            ("no/such/model", "--dataset a", "model_id_or_path", here.join("no/such/model")),
            (model.to_str().unwrap(), "--dataset none.jsonl", "dataset", here.join("none.jsonl")),
            (
                model.to_str().unwrap(),
                "--dataset rows --custom_val_dataset_path none.json",
                "dataset",
                "rows".into(),
            ),
        ] {
            let missing = look(&args(model, rest)).unwrap_err();
            assert_eq!(missing.key, key, "{missing:?}");
            assert!(missing.message.contains(told.to_str().unwrap()), "{missing:?}");
        }
    }
}
