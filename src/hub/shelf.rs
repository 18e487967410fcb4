//! What there is to choose from: the models and data sets on this machine, and those of the table that a hub would have to
//! be asked for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::caches::{Caches, check_model};
use super::client::{Network, list};
use super::names::{DATA_SETS, files_of, first_hub, model_repos};
use super::repo::{Hub, Repo, Sort};
use crate::args::models::{self, MODELS, is_id};
use crate::data::tokenizer::VOCABULARY_FILE;
use crate::error::{Error, Result};
use crate::model::{QwenConfig, Shard, weight_files};

/// The demo's base model, where the program is run in its own folder.
const DEMO: &str = "demo/base";
/// Folders of ModelScope's cache that are no owner's.
const NO_OWNERS: [&str; 5] = ["models", "datasets", "hub", "temp", "credentials"];
/// Entries that are read of a folder: a cache has some dozens.
const MOST: usize = 10_000;

/// A model or a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub sort: Sort,
    /// What arguments call it: a hub's id, a data set's name, a directory.
    pub name: String,
    /// The `model_type` to be set with it, where it is known.
    pub model_type: Option<String>,
    /// `Qwen-1.8B`, or the model's shape; the id of a data set.
    pub family: String,
    /// Of its files; not known where it is not here.
    pub bytes: Option<u64>,
    /// Of its weights.
    pub dtype: Option<String>,
    pub place: Shelf,
}

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shelf {
    /// In the cache of this hub's tools.
    Cache(Hub, PathBuf),
    /// In a directory of its own.
    Directory(PathBuf),
    /// Not whole, and why.
    Broken(PathBuf, String),
    /// Not here: the repositories that a hub would be asked for.
    Absent(Vec<Repo>),
}

/// All there is to choose from: models first, what is here before what is not.
pub fn items() -> Vec<Item> {
    of(&Caches::here())
}

fn of(caches: &Caches) -> Vec<Item> {
    let mut items = Vec::new();
    for hub in [Hub::ModelScope, Hub::Hf] {
        for id in ids(caches, hub) {
            items.extend(cached(caches, Repo { hub, sort: Sort::Model, id, revision: None }));
        }
    }
    let demo = Path::new(DEMO);
    if check_model(demo).is_ok() {
        let item = model(demo, DEMO.to_owned(), Shelf::Directory(demo.to_owned()));
        items.push(Item { model_type: Some("qwen-demo".to_owned()), ..item });
    }
    for known in MODELS.iter().filter(|known| known.id.is_some()) {
        let is_it = |item: &Item| item.model_type.as_deref() == Some(known.model_type) && item.is_here();
        if !items.iter().any(is_it) {
            let repos = model_repos(known.model_type, None, first_hub(None));
            items.push(Item {
                sort: Sort::Model,
                name: known.id.unwrap_or_default().to_owned(),
                model_type: Some(known.model_type.to_owned()),
                family: named_family(known.model_type),
                bytes: None,
                dtype: None,
                place: Shelf::Absent(repos),
            });
        }
    }
    items.sort_by_key(|item| (!item.is_here(), matches!(item.place, Shelf::Absent(_))));
    for set in &DATA_SETS {
        let repo = set.repo();
        let look = caches.look(&repo);
        let (place, bytes) = match look.found {
            Some(found) => {
                let files = files_of(&repo).into_iter().map(|file| size(&found.dir.join(file)));
                (Shelf::Cache(repo.hub, found.dir.clone()), Some(files.sum()))
            }
            None => (Shelf::Absent(vec![repo.clone()]), None),
        };
        let (name, family) = (set.name.to_owned(), set.id.to_owned());
        items.push(Item { sort: Sort::Dataset, name, model_type: None, family, bytes, dtype: None, place });
    }
    items
}

impl Item {
    /// Whether it can be used as it is.
    pub fn is_here(&self) -> bool {
        matches!(self.place, Shelf::Cache(..) | Shelf::Directory(_))
    }
}

/// What a hub would send for `repos`: asked of the first that answers. Nothing is fetched.
///
/// # Errors
/// What each of them said.
pub fn download(repos: &[Repo]) -> Result<(Hub, u64, usize)> {
    let mut said = Vec::new();
    for repo in repos {
        match list(repo, &Network::default(), &|| false) {
            Ok(listing) => {
                let known = files_of(repo);
                let files = listing.needed().filter(|f| known.is_empty() || known.contains(&f.path.as_str()));
                let (bytes, count) = files.fold((0, 0), |(b, n), f| (b + f.size.unwrap_or(0), n + 1));
                return Ok((repo.hub, bytes, count));
            }
            Err(e) => said.push(e.to_string()),
        }
    }
    Err(Error::User(format!("{}; by hand: docs/hub.md", said.join("; "))))
}

/// The Qwen in the cache of a hub by this id; none where it is another model.
fn cached(caches: &Caches, repo: Repo) -> Option<Item> {
    let look = caches.look(&repo);
    let known = models::by_id(&repo.id);
    let name = known.and_then(|known| known.id).map_or(repo.id.clone(), str::to_owned);
    let model_type = known.map(|known| known.model_type.to_owned());
    let item = match (look.found, look.unusable.into_iter().next()) {
        (Some(found), _) => {
            QwenConfig::load(&found.dir).ok()?;
            let dir = found.dir.clone();
            model(&found.dir, name, Shelf::Cache(repo.hub, dir))
        }
        (None, Some((dir, why))) => {
            // What belongs to other families is not this program's to judge.
            if known.is_none() && !(dir.join(VOCABULARY_FILE).is_file() && QwenConfig::load(&dir).is_ok()) {
                return None;
            }
            model(&dir.clone(), name, Shelf::Broken(dir, why))
        }
        (None, None) => return None,
    };
    let family = model_type.as_deref().map_or(item.family.clone(), named_family);
    Some(Item { model_type, family, ..item })
}

fn model(dir: &Path, name: String, place: Shelf) -> Item {
    let config = QwenConfig::load(dir).ok();
    let family =
        config.map_or_else(String::new, |c| format!("{} layers of {}", c.num_hidden_layers, c.hidden_size));
    Item {
        sort: Sort::Model,
        name,
        model_type: None,
        family,
        bytes: Some(files(dir).iter().map(|file| size(file)).sum()),
        dtype: dtype(dir),
        place,
    }
}

/// `Qwen-1.8B-Chat` of `qwen-1_8b-chat`.
fn named_family(model_type: &str) -> String {
    let parts = model_type.split('-').map(|part| match part {
        "qwen" => "Qwen".to_owned(),
        "chat" => "Chat".to_owned(),
        size => size.replace('_', ".").to_uppercase(),
    });
    parts.collect::<Vec<_>>().join("-")
}

/// Of the first tensor.
fn dtype(dir: &Path) -> Option<String> {
    let (file, _) = weight_files(dir).ok()?.into_iter().next()?;
    let shard = Shard::open(&file).ok()?;
    let dtype = shard.tensors().ok()?.iter().next().map(|(_, view)| view.dtype())?;
    Some(match dtype {
        safetensors::Dtype::BF16 => "bf16".to_owned(),
        safetensors::Dtype::F16 => "fp16".to_owned(),
        safetensors::Dtype::F32 => "fp32".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    })
}

/// Links are followed: Hugging Face's cache is made of them.
fn size(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |m| if m.is_file() { m.len() } else { 0 })
}

/// The ids of the models in a hub's cache, whole or not, each once in any case.
fn ids(caches: &Caches, hub: Hub) -> BTreeSet<String> {
    let root = caches.root(hub);
    let mut ids: Vec<String> = Vec::new();
    // `OWNER--NAME`; neither has two dashes in a row.
    let dashed = |folder: &str| folder.split_once("--").map(|(owner, name)| format!("{owner}/{name}"));
    match hub {
        Hub::Hf => {
            let folders = names(root);
            ids.extend(folders.iter().filter_map(|name| dashed(name.strip_prefix("models--")?)));
        }
        Hub::ModelScope => {
            for root in [root.to_owned(), root.join("hub")] {
                for above in [root.join("models"), root] {
                    for folder in names(&above).into_iter().filter(|name| !NO_OWNERS.contains(&name.as_str()))
                    {
                        match dashed(&folder) {
                            Some(id) => ids.push(id),
                            None => {
                                let named = names(&above.join(&folder));
                                ids.extend(
                                    named.iter().map(|name| format!("{folder}/{}", name.replace("___", "."))),
                                );
                            }
                        }
                    }
                }
            }
        }
    }
    ids.retain(|id| is_id(id));
    ids.sort();
    ids.dedup_by(|a, b| a.eq_ignore_ascii_case(b));
    ids.into_iter().collect()
}

/// The names of the folders in `dir`, but for hidden ones.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().take(MOST);
    let folders = entries.filter(|entry| entry.path().is_dir());
    let names = folders.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// The files in `dir`.
fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().take(MOST).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Links to the demo's base in a directory of a cache.
    fn put(dir: &Path, leave_out: &str) {
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join(DEMO);
        fs::create_dir_all(dir).unwrap();
        for file in files(&base).iter().filter(|file| !file.ends_with(leave_out)) {
            symlink(file, dir.join(file.file_name().unwrap())).unwrap();
        }
    }

    #[test]
    fn what_is_here_comes_before_what_is_not() {
        let home = tempfile::tempdir().unwrap();
        let cache = |place: &str| home.path().join(place);
        put(&cache("modelscope/models/Qwen--Qwen-1_8B/snapshots/master"), "-");
        put(&cache("modelscope/hub/me/我的"), "-");
        put(&cache("modelscope/hub/models/me/my___qwen"), "-");
        put(&cache("modelscope/hub/qwen/Qwen-7B"), "model.safetensors");
        put(&cache(&format!("hf/models--me--hub-only/snapshots/{}", "a".repeat(40))), "-");
        // Another family's.
        fs::create_dir_all(cache("modelscope/hub/models/baichuan/b")).unwrap();
        fs::write(cache("modelscope/hub/models/baichuan/b/config.json"), r#"{"model_type":"baichuan"}"#)
            .unwrap();
        let env = [("MODELSCOPE_CACHE", cache("modelscope")), ("HF_HUB_CACHE", cache("hf"))];
        let caches =
            Caches::of(|name| env.iter().find(|(n, _)| *n == name).map(|(_, path)| path.clone().into()));
        let items = of(&caches);
        let told = |item: &Item| {
            let place = match &item.place {
                Shelf::Cache(hub, _) => hub.to_string(),
                Shelf::Directory(_) => "directory".to_owned(),
                Shelf::Broken(_, why) => why.split(':').next_back().unwrap_or_default().trim().to_owned(),
                Shelf::Absent(repos) => format!("{} hubs", repos.len()),
            };
            format!("{} {} {} {place}", item.name, item.family, item.dtype.as_deref().unwrap_or("-"))
        };
        let all: Vec<String> = items.iter().map(told).collect();
        let here: Vec<&str> = all.iter().map(String::as_str).filter(|line| !line.contains(" hubs")).collect();
        assert_eq!(
            here[..4],
            [
                "qwen/Qwen-1_8B Qwen-1.8B bf16 ModelScope",
                "me/my.qwen 4 layers of 256 bf16 ModelScope",
                "me/hub-only 4 layers of 256 bf16 Hugging Face",
                "demo/base 4 layers of 256 bf16 directory",
            ],
            "{all:#?}"
        );
        assert!(here[4].starts_with("qwen/Qwen-7B Qwen-7B - ") && here.len() == 5, "{all:#?}");
        let base =
            files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(DEMO)).iter().map(|file| size(file)).sum();
        assert_eq!(items[0].bytes, Some(base));
        // Every other name of the table, and the data set.
        assert!(all.contains(&"qwen/Qwen-72B-Chat Qwen-72B-Chat - 2 hubs".to_owned()), "{all:#?}");
        assert_eq!(all.last().unwrap(), "jd-sentiment-zh DAMO_NLP/jd - 1 hubs");
    }
}
