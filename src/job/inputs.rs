//! What a training reads: whether the model and the data are where the arguments say. Cheap, so that it can be asked
//! before anything is made or started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf, absolute};

use crate::args::{SftArgs, adapter_file, models};
use crate::data::rows::{check_file, resolve_dataset_name};
use crate::data::tokenizer::VOCABULARY_FILE;
use crate::error::{Context, Error, Result};
use crate::run::{adapter_folder, has_adapter};

/// The arguments that name what a training reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    model_type: String,
    model_cache_dir: Option<String>,
    model_id_or_path: Option<String>,
    dataset: Vec<String>,
    custom_train_dataset_path: Vec<String>,
    custom_val_dataset_path: Vec<String>,
    init_adapter: Option<String>,
}

impl From<&SftArgs> for Inputs {
    fn from(args: &SftArgs) -> Inputs {
        Inputs {
            model_type: args.model_type.clone(),
            model_cache_dir: args.model_cache_dir.clone(),
            model_id_or_path: args.model_id_or_path.clone(),
            dataset: args.dataset.clone(),
            custom_train_dataset_path: args.custom_train_dataset_path.clone(),
            custom_val_dataset_path: args.custom_val_dataset_path.clone(),
            init_adapter: args.init_adapter.clone(),
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
    /// Looks for the model, then for the data.
    ///
    /// # Errors
    /// The first thing that is not there.
    pub fn look(&self) -> Result<(), Missing> {
        self.missing().into_iter().next().map_or(Ok(()), Err)
    }

    /// What is not there, the model first; of each argument the first thing.
    pub fn missing(&self) -> Vec<Missing> {
        let missing = |key| move |e: Error| Missing { key, message: format!("{key}: {e}") };
        let (cache_dir, id_or_path) = (self.model_cache_dir.as_deref(), self.model_id_or_path.as_deref());
        let key = if cache_dir.is_some() { "model_cache_dir" } else { "model_id_or_path" };
        let dir = named_model_dir(&self.model_type, cache_dir, id_or_path);
        let model = dir.and_then(check_model_dir).map_err(missing(key));
        let key = "dataset";
        let named = self.dataset.iter().try_for_each(|name| {
            let path = resolve_dataset_name(name).map_err(|e| Missing { key, message: e.to_string() })?;
            check_file(&path).map_err(missing(key))
        });
        let files = [
            ("custom_train_dataset_path", &self.custom_train_dataset_path),
            ("custom_val_dataset_path", &self.custom_val_dataset_path),
        ];
        let files = files.map(|(key, paths)| {
            paths.iter().try_for_each(|path| check_file(Path::new(path))).map_err(missing(key))
        });
        let adapter = self.init_adapter.as_deref().map_or(Ok(()), |named| init_adapter_file(named).map(drop));
        let adapter = adapter.map_err(|e| Missing { key: "init_adapter", message: e.to_string() });
        [model, named].into_iter().chain(files).chain([adapter]).filter_map(Result::err).collect()
    }
}

/// The adapter's weights that `init_adapter` names, by themselves or by a checkpoint's directory.
///
/// # Errors
/// There is no such file, or none in the directory.
pub fn init_adapter_file(named: &str) -> Result<PathBuf> {
    let path = Path::new(named);
    let file = if path.is_file() { Some(path.to_owned()) } else { adapter_file(path) };
    file.ok_or_else(|| {
        let what = match path.is_dir() {
            true if has_adapter(path) => match adapter_folder(path) {
                Err(several) => return several.context("init_adapter"),
                Ok(_) => "there is no adapter_model.safetensors beside its adapter_config.json",
            },
            true => "there is no adapter_model.safetensors in this directory",
            false => "no such file",
        };
        Error::user(format!(
            "init_adapter: {named}: {what}; give a checkpoint or an adapter's .safetensors file"
        ))
    })
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
/// A hub's id that is no directory here: nothing is downloaded yet.
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
    if cache_dir.is_none() && !path.exists() && models::by_id(dir).is_some() {
        return Err(Error::user(format!(
            "{dir} (model_type {model_type}) is a hub's name, and there is no directory {}; download the model and set \
             model_id_or_path to its directory",
            whole(path).display()
        )));
    }
    Ok(path)
}

/// Says what a model directory lacks before it is read.
///
/// # Errors
/// The first thing that is missing.
pub fn check_model_dir(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Err(Error::user(format!(
            "{}: no such model directory; set model_id_or_path to the directory of a Qwen-1 model (config.json, \
             model.safetensors, qwen.tiktoken)",
            whole(dir).display()
        )));
    }
    if !dir.is_dir() {
        return Err(Error::user(format!("{}: is a file; a model is a directory", whole(dir).display())));
    }
    for file in ["config.json", VOCABULARY_FILE] {
        if !dir.join(file).is_file() {
            return Err(Error::user(format!(
                "{}: missing; a Qwen-1 model directory has it",
                whole(dir).join(file).display()
            )));
        }
    }
    weight_files(dir).map(drop)
}

/// The files that hold the weights of the model in `dir`: `model.safetensors`, or the shards its index names.
///
/// Returns each file with the names expected in it (none: whatever it holds).
///
/// # Errors
/// There are none, or not all.
pub fn weight_files(dir: &Path) -> Result<Vec<(PathBuf, Vec<String>)>> {
    let index = dir.join("model.safetensors.index.json");
    if index.is_file() {
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let text = std::fs::read_to_string(&index).user(index.display())?;
        let Index { weight_map } = serde_json::from_str(&text)
            .user(format!("{}: not an index of shards; fetch it again", index.display()))?;
        let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (tensor, file) in weight_map {
            if Path::new(&file).components().count() != 1 || file.contains("..") {
                return Err(Error::user(format!("{}: {file:?} is not a file name", index.display())));
            }
            shards.entry(file).or_default().push(tensor);
        }
        for file in shards.keys() {
            if !dir.join(file).is_file() {
                return Err(Error::user(format!(
                    "{}: the shard {file} that {} names is missing ({} of {} shards are there); fetch it again",
                    dir.join(file).display(),
                    index.display(),
                    shards.keys().filter(|f| dir.join(f).is_file()).count(),
                    shards.len()
                )));
            }
        }
        return Ok(shards.into_iter().map(|(file, names)| (dir.join(file), names)).collect());
    }
    let single = dir.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![(single, Vec::new())]);
    }
    let pickles = std::fs::read_dir(dir)
        .map(|d| d.flatten().any(|f| f.file_name().to_string_lossy().ends_with(".bin")))
        .unwrap_or(false);
    let hint = if pickles {
        "; there are .bin files, which are Python pickles and never loaded here: convert them in Python with \
         `model.save_pretrained(DIR, safe_serialization=True)`"
    } else {
        ""
    };
    Err(Error::user(format!(
        "{}: no weights: neither model.safetensors nor model.safetensors.index.json{hint}",
        dir.display()
    )))
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
