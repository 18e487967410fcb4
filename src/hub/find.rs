//! From the names in a job's arguments to directories and files: what is named outright, what lies in the hubs' caches,
//! and what a hub would have to be asked for.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::absent::Absent;
use super::caches::{Caches, Found, check_model};
use super::names::{DataSet, hub_first, model_repos};
use super::page::{Given, answer, no_rows};
use super::repo::Repo;
use super::sources::Sources;
use crate::args::{InferArgs, SftArgs};
use crate::data::resolve_dataset_name;
use crate::error::{Error, Result};

/// Characters of a commit that are shown.
const SHORT: usize = 12;

/// The arguments that name a model and data sets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub model_type: String,
    pub model_id_or_path: Option<String>,
    pub model_revision: Option<String>,
    pub model_cache_dir: Option<String>,
    pub hub: Option<String>,
    pub dataset: Vec<String>,
}

/// [`Wanted`] from the arguments of either program.
macro_rules! wanted {
    ($Args:ty) => {
        impl From<&$Args> for Wanted {
            fn from(args: &$Args) -> Wanted {
                Wanted {
                    model_type: args.model_type.clone(),
                    model_id_or_path: args.model_id_or_path.clone(),
                    model_revision: args.model_revision.clone(),
                    model_cache_dir: args.model_cache_dir.clone(),
                    hub: args.hub.clone(),
                    dataset: args.dataset.clone(),
                }
            }
        }
    };
}
wanted!(SftArgs);
wanted!(InferArgs);

/// Where something named is.
#[derive(Debug, Clone)]
pub enum Place {
    /// A directory or a file by its path; whether it is there has not been looked at.
    Path(PathBuf),
    /// In a hub's cache.
    Cached(Cached),
    /// Not on this machine; a hub may have it.
    Absent(Absent),
}

/// A repository found in a cache.
#[derive(Debug, Clone)]
pub struct Cached {
    pub repo: Repo,
    pub found: Found,
}

/// Fetches what is absent; returns its directory.
pub type Fetch<'a> = dyn FnMut(&Absent) -> Result<PathBuf> + 'a;

/// Everything that a job reads, found.
#[derive(Debug, Clone, Default)]
pub struct Located {
    /// None where the arguments name nothing but paths.
    pub sources: Option<Sources>,
    /// What was found where, a line each.
    pub notes: Vec<String>,
    /// The model, where it was found in a cache by its name.
    pub model: Option<Cached>,
}

impl Wanted {
    /// Where the model is.
    ///
    /// # Errors
    /// The arguments name none.
    pub fn model(&self, caches: &Caches) -> Result<Place> {
        if let Some(dir) = &self.model_cache_dir {
            return Ok(Place::Path(dir.into()));
        }
        let Some(name) = &self.model_id_or_path else {
            return Err(Error::user(format!(
                "model_type {:?} names no directory: set model_id_or_path to the model's (config.json, \
                 model.safetensors, qwen.tiktoken)",
                self.model_type
            )));
        };
        let path = Path::new(name);
        if path.exists() {
            return Ok(Place::Path(path.to_owned()));
        }
        if let Some(told) = answer(name, Given::Model) {
            return Err(Error::user(told));
        }
        let repos = model_repos(name, self.model_revision.as_deref(), hub_first(self.hub.as_deref())?);
        if repos.is_empty() {
            return Ok(Place::Path(path.to_owned()));
        }
        Ok(look_in(caches, "model_id_or_path", name, repos))
    }

    /// Where each of the data sets is.
    ///
    /// # Errors
    /// A name that is neither a file's nor in the table.
    pub fn data(&self, caches: &Caches) -> Result<Vec<Place>> {
        let place = |name: &String| {
            if Path::new(name).exists() {
                return Ok(Place::Path(name.into()));
            }
            if let Some(set) = DataSet::by_name(name) {
                return Ok(look_in(caches, "dataset", name, vec![set.repo()]));
            }
            // Before the path: a page may be called as a file is.
            if let Some(told) = answer(name, Given::Dataset) {
                return Err(Error::user(told));
            }
            resolve_dataset_name(name).map(Place::Path).map_err(|e| no_rows(name, e))
        };
        self.dataset.iter().map(place).collect()
    }

    /// What its names, where they are none of paths, have been found to be.
    ///
    /// # Errors
    /// Names that mean nothing.
    pub fn names(&self, caches: &Caches) -> Result<Vec<Place>> {
        let places = [self.model(caches)?].into_iter().chain(self.data(caches)?);
        Ok(places.filter(|place| !matches!(place, Place::Path(_))).collect())
    }

    /// Finds all of it; `fetch` is asked for what is not on this machine. `before` is what the run was given last time:
    /// where the same is wanted and it is still whole, it is taken again, whatever the caches have since.
    ///
    /// # Errors
    /// Names that mean nothing, before anything is fetched; `fetch`'s.
    pub fn locate(&self, before: Option<&Sources>, fetch: &mut Fetch<'_>) -> Result<Located> {
        let caches = Caches::here();
        let before = before.filter(|before| before.answers(self));
        let mut notes = Vec::new();
        let (mut model, data) = (self.model(&caches)?, self.data(&caches)?);
        if let (Some(before), Place::Cached(_) | Place::Absent(_)) = (before, &model)
            && check_model(&before.model).is_ok()
        {
            notes.push(format!("{}: as before, from {}", self.model_name(), before.model.display()));
            model = Place::Path(before.model.clone());
        }
        let by_name =
            before.is_some() || [&model].into_iter().chain(&data).any(|p| !matches!(p, Place::Path(_)));
        if !by_name {
            return Ok(Located::default());
        }
        let mut absent: Vec<Absent> =
            data.iter().chain([&model]).filter_map(Place::absent).cloned().collect();
        let mut path = |place: &Place| -> Result<PathBuf> {
            match place {
                Place::Path(path) => Ok(path.clone()),
                Place::Cached(cached) => {
                    notes.push(cached.to_string());
                    Ok(cached.found.dir.clone())
                }
                Place::Absent(this) => {
                    absent.retain(|other| other.name != this.name);
                    // One message names all that has to be brought.
                    fetch(this).map_err(|e| match e {
                        Error::User(message) => {
                            let others = absent.iter().map(|other| format!("\n{}", other.error(None)));
                            Error::User(message + &others.collect::<String>())
                        }
                        e => e,
                    })
                }
            }
        };
        // The small ones first: what is wrong with them shows sooner.
        let dirs = data.iter().map(&mut path).collect::<Result<Vec<_>>>()?;
        let sources = self.sources(path(&model)?, &data, dirs);
        let model = if let Place::Cached(cached) = model { Some(cached) } else { None };
        Ok(Located { sources: Some(sources), notes, model })
    }

    /// What of it can be read now, without asking anybody: a model that is not here keeps its name in the place of a
    /// directory, and where none is named there is none.
    ///
    /// # Errors
    /// A data set that is not here.
    pub fn here(&self) -> Result<Sources> {
        let caches = Caches::here();
        let (model, data) = (self.model(&caches), self.data(&caches)?);
        if let Some(absent) = data.iter().find_map(Place::absent) {
            return Err(Error::user(format!(
                "{} is not on this machine: starting the job fetches it, and so does `qwen-tui pull {}`",
                absent.called(),
                absent.name
            )));
        }
        let dirs = data.iter().map(|place| place.path().to_owned()).collect();
        let model = model.map_or_else(|_| PathBuf::new(), |place| place.path().to_owned());
        Ok(self.sources(model, &data, dirs))
    }

    /// The files behind the data sets, which are in `dirs`.
    fn sources(&self, model: PathBuf, data: &[Place], dirs: Vec<PathBuf>) -> Sources {
        let (mut train, mut validation) = (Vec::new(), Vec::new());
        for ((place, name), dir) in data.iter().zip(&self.dataset).zip(dirs) {
            match DataSet::by_name(name).filter(|_| !matches!(place, Place::Path(_))) {
                None => train.push(dir),
                Some(set) => {
                    train.push(dir.join(set.train));
                    validation.push(dir.join(set.validation));
                }
            }
        }
        Sources { wanted: self.clone(), model, train, validation }
    }

    /// Whether both name the same model, whatever data beside it.
    pub fn same_model(&self, other: &Wanted) -> bool {
        Wanted { dataset: Vec::new(), ..self.clone() } == Wanted { dataset: Vec::new(), ..other.clone() }
    }

    /// What the model is called in messages.
    fn model_name(&self) -> &str {
        self.model_id_or_path.as_deref().unwrap_or(&self.model_type)
    }
}

/// For places where nothing may be fetched: says that `absent` is not here.
pub fn nothing_is_fetched(absent: &Absent) -> Result<PathBuf> {
    Err(absent.error(None))
}

/// Looks for `name` in the caches of the hubs that may have it.
fn look_in(caches: &Caches, key: &'static str, name: &str, repos: Vec<Repo>) -> Place {
    let mut looks = Vec::new();
    for repo in &repos {
        let mut look = caches.look(repo);
        if let Some(found) = look.found.take() {
            return Place::Cached(Cached { repo: repo.clone(), found });
        }
        looks.push(look);
    }
    Place::Absent(Absent { key, name: name.to_owned(), repos, looks })
}

impl Place {
    /// What is not on this machine.
    pub fn absent(&self) -> Option<&Absent> {
        if let Place::Absent(absent) = self { Some(absent) } else { None }
    }

    /// The directory or file; of something absent what it would be called.
    pub fn path(&self) -> &Path {
        match self {
            Place::Path(path) => path,
            Place::Cached(cached) => &cached.found.dir,
            Place::Absent(absent) => Path::new(&absent.name),
        }
    }
}

/// The line that says where it is, or that it would be fetched.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Path(path) => write!(f, "{}", path.display()),
            Place::Cached(cached) => write!(f, "{cached}"),
            Place::Absent(absent) => {
                write!(f, "{}: not on this machine; it is fetched from {}", absent.called(), absent.hubs())
            }
        }
    }
}

impl std::fmt::Display for Cached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (repo, found) = (&self.repo, &self.found);
        write!(f, "{}: found in {}'s cache, {}", repo.id, repo.hub, found.dir.display())?;
        match &found.revision {
            // It stands in the path.
            Some(revision) if found.dir.ends_with(revision) => Ok(()),
            Some(revision) => write!(f, " (revision {})", revision.get(..SHORT).unwrap_or(revision)),
            None => Ok(()),
        }
    }
}
