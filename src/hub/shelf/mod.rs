//! What there is to choose from: the models and data sets on this machine, and those of the table that a hub would have to
//! be asked for.

mod family;
mod folders;
mod offer;
mod paged;
mod rows;

use std::path::{Path, PathBuf};

use super::caches::{Caches, check_model};
use super::names::{DATA_SETS, files_of, first_hub, model_repos};
use super::page::nothing_at;
use super::repo::{Hub, Repo, Sort};
use super::url::repo_of;
use crate::args::models::{self, MODELS, is_id};
use crate::model::{QwenConfig, Shard, weight_files};
use folders::{files, ids, size};

pub use offer::{Offer, offer, offer_by};
pub use paged::at_revision;
pub use rows::Rows;

/// The demo's base model, where the program is run in its own folder.
const DEMO: &str = "demo/base";
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
    /// Of a data set that is no name of the table: its files.
    pub rows: Option<Rows>,
    /// The page that named it: its hub and revision are set with it.
    pub page: Option<Repo>,
}

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shelf {
    /// In the cache of this hub's tools.
    Cache(Hub, PathBuf),
    /// In a directory of its own.
    Directory(PathBuf),
    /// Not whole, and why; the repositories that it would be fetched from.
    Broken(PathBuf, String, Vec<Repo>),
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
        for id in ids(caches, hub, Sort::Model) {
            items.extend(cached(caches, Repo { hub, sort: Sort::Model, id, revision: None }));
        }
    }
    let demo = Path::new(DEMO);
    if check_model(demo).is_ok() {
        let item = model(demo, DEMO.to_owned(), Shelf::Directory(demo.to_owned()));
        items.push(Item { model_type: Some("qwen-demo".to_owned()), ..item });
    }
    once(&mut items);
    for known in MODELS.iter().filter(|known| known.id.is_some()) {
        if !items.iter().any(|item| item.model_type.as_deref() == Some(known.model_type)) {
            let name = known.id.unwrap_or_default();
            let family = named_family(known.model_type);
            let model_type = Some(known.model_type.to_owned());
            items.push(Item { model_type, family, ..absent(name, model_repos(name, None, first_hub(None))) });
        }
    }
    items.extend(data_sets(caches));
    items.sort_by_key(|item| {
        (item.sort == Sort::Dataset, !item.is_here(), matches!(item.place, Shelf::Absent(_)))
    });
    items
}

/// Takes out what is not whole where the same is whole elsewhere, and a second one that is not.
fn once(items: &mut Vec<Item>) {
    items.sort_by_key(|item| !item.is_here());
    let mut seen: Vec<String> = Vec::new();
    items.retain(|item| {
        let name = item.name.to_ascii_lowercase();
        let is_new = !seen.contains(&name);
        seen.push(name);
        is_new || item.is_here()
    });
}

/// The data sets of the table, and others in the caches.
fn data_sets(caches: &Caches) -> Vec<Item> {
    let mut items = Vec::new();
    for set in &DATA_SETS {
        let repo = set.repo();
        let look = caches.look(&repo);
        let (place, bytes) = match (look.found, look.unusable.into_iter().next()) {
            (Some(found), _) => {
                let files = files_of(&repo).into_iter().map(|file| size(&found.dir.join(file)));
                let bytes = files.sum();
                (Shelf::Cache(repo.hub, found.dir), Some(bytes))
            }
            (None, Some((dir, why))) => (Shelf::Broken(dir, why, vec![repo.clone()]), None),
            (None, None) => (Shelf::Absent(vec![repo.clone()]), None),
        };
        let item = absent(set.name, vec![repo]);
        items.push(Item { family: set.id.to_owned(), bytes, place, ..item });
    }
    let is_of_table = |repo: &Repo| {
        DATA_SETS.iter().any(|set| set.repo().hub == repo.hub && set.id.eq_ignore_ascii_case(&repo.id))
    };
    for hub in [Hub::ModelScope, Hub::Hf] {
        let repo = |id| Repo { hub, sort: Sort::Dataset, id, revision: None };
        let repos = ids(caches, hub, Sort::Dataset).into_iter().map(repo);
        items.extend(repos.filter(|repo| !is_of_table(repo)).filter_map(|repo| rows::cached(caches, &repo)));
    }
    items
}

/// The name in what is typed: of the address of a page, what that names.
pub fn name_in(typed: &str) -> String {
    let typed = typed.trim();
    repo_of(typed).map_or_else(|| typed.to_owned(), |page| page.id)
}

/// What a typed name, or the address of a page at its hub's own revision ([`at_revision`] has the others), may mean that is
/// none of `items`: a model or a data set on a hub. Nothing where it is no name of one.
pub fn typed(text: &str, items: &[Item]) -> Vec<Item> {
    let (name, page) = (name_in(text), repo_of(text.trim()));
    // `hf.co/NAME` would be one, and is an address.
    if !is_id(&name) || nothing_at(text).is_some() {
        return Vec::new();
    }
    let is_it = |item: &Item, sort| item.sort == sort && item.is_called(&name);
    let sorts = [Sort::Model, Sort::Dataset].into_iter();
    let mut typed = Vec::new();
    // A page says what it is of.
    for sort in sorts.filter(|sort| page.as_ref().is_none_or(|page| page.sort == *sort)) {
        if !items.iter().any(|item| is_it(item, sort)) {
            let revision = page.as_ref().and_then(|page| page.revision.as_deref());
            let first = page.as_ref().map_or_else(|| first_hub(None), |page| page.hub);
            let repos = model_repos(&name, revision, first).into_iter();
            let item = absent(&name, repos.map(|repo| Repo { sort, ..repo }).collect());
            typed.push(match &page {
                Some(page) => item.on_page(page),
                None => item,
            });
        }
    }
    typed
}

/// What is not here.
fn absent(name: &str, repos: Vec<Repo>) -> Item {
    Item {
        sort: repos.first().map_or(Sort::Model, |repo| repo.sort),
        name: name.to_owned(),
        model_type: None,
        family: String::new(),
        bytes: None,
        dtype: None,
        place: Shelf::Absent(repos),
        rows: None,
        page: None,
    }
}

impl Item {
    /// Whether it can be used as it is.
    pub fn is_here(&self) -> bool {
        matches!(self.place, Shelf::Cache(..) | Shelf::Directory(_))
    }

    /// Whether it is called just so, in any case.
    pub fn is_called(&self, name: &str) -> bool {
        !name.is_empty() && [&self.name, &self.family].iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// The repositories that a hub would be asked for: none of what is here.
    pub fn repos(&self) -> &[Repo] {
        match &self.place {
            Shelf::Broken(_, _, repos) | Shelf::Absent(repos) => repos,
            Shelf::Cache(..) | Shelf::Directory(_) => &[],
        }
    }

    /// Whether arguments can name it. A data set that no table knows is named by its files, which have to be here.
    pub fn can_be_named(&self) -> bool {
        self.sort == Sort::Model || self.is_here() || DATA_SETS.iter().any(|set| set.name == self.name)
    }
}

/// The Qwen in the cache of a hub by this id; none where it is another model.
fn cached(caches: &Caches, repo: Repo) -> Option<Item> {
    let look = caches.look(&repo);
    let known = models::by_id(&repo.id);
    let name = known.and_then(|known| known.id).map_or(repo.id.clone(), str::to_owned);
    let model_type = known.map(|known| known.model_type.to_owned());
    let unusable = match look.found {
        Some(found) => match QwenConfig::load(&found.dir) {
            Ok(_) => Ok((repo.hub, found.dir)),
            Err(e) => Err((found.dir, e.to_string())),
        },
        None => Err(look.unusable.into_iter().next()?),
    };
    let item = match unusable {
        Ok((hub, dir)) => model(&dir.clone(), name, Shelf::Cache(hub, dir)),
        Err((dir, why)) => {
            // What belongs to other families is not this program's to judge.
            if known.is_none() && !family::may_be_qwen(&dir) {
                return None;
            }
            let repos = model_repos(&name, None, first_hub(None));
            model(&dir.clone(), name, Shelf::Broken(dir, why, repos))
        }
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
        rows: None,
        page: None,
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

#[cfg(test)]
mod tests;
