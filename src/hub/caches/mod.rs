//! Where the hubs' own tools keep what they downloaded: found there and used in place, never changed.
//!
//! Read from their sources: `modelscope` 1.11 and 1.30, `modelscope_hub` 0.5 (which `modelscope` from 1.38 on downloads
//! with), `huggingface_hub` 2.4.

mod hf;
mod loaded;
mod modelscope;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::names;
use super::repo::{Hub, Repo, Sort};
use crate::error::{Error, Result};
use crate::model::{Shard, check_model_dir, weight_files};
use crate::plain;

/// Bytes of the longest file of a cache that holds a commit or a revision.
const LINE: u64 = 1 << 12;

/// Where the hubs' own tools keep what they downloaded, by the environment.
#[derive(Debug, Clone)]
pub struct Caches {
    /// `MODELSCOPE_CACHE`, or `~/.cache/modelscope`.
    modelscope: PathBuf,
    /// `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or `huggingface/hub` in `XDG_CACHE_HOME` or `~/.cache`.
    hf: PathBuf,
    /// Where `MsDataset` keeps what it loads: `MS_DATASETS_CACHE`, or `datasets` in `MS_CACHE_HOME`, or
    /// `modelscope/hub/datasets` in `CACHE_HOME` or `~/.cache`.
    loaded: PathBuf,
    /// This program's own links: `qwen-tui/datasets` in `XDG_CACHE_HOME` or `~/.cache`.
    links: PathBuf,
}

/// How a cache is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// ModelScope's since 1.38: `models/{owner}--{name}/snapshots/{revision}`.
    ModelScope,
    /// ModelScope's before that: `models/{owner}/{name}` or `{owner}/{name}`, a dot in the name as `___`.
    ModelScopeOld,
    /// Hugging Face's: `models--{owner}--{name}/snapshots/{commit}`, of links to `blobs`, with branches in `refs`.
    Hf,
}

/// A repository that is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub dir: PathBuf,
    /// Branch or tag (ModelScope) or commit (Hugging Face), where it is written down.
    pub revision: Option<String>,
    pub layout: Layout,
}

/// What a look at the caches has come to.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// The first that is whole.
    pub found: Option<Found>,
    /// What lies there and cannot be used, with the reason.
    pub unusable: Vec<(PathBuf, String)>,
}

impl Caches {
    /// The caches that this process's environment names.
    pub fn here() -> Caches {
        Caches::of(|name| std::env::var_os(name))
    }

    /// The caches that `env` names.
    pub(super) fn of(env: impl Fn(&str) -> Option<OsString>) -> Caches {
        let set = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = set("HOME").or_else(std::env::home_dir).unwrap_or_default();
        let within_home = |path: PathBuf| match path.strip_prefix("~") {
            Ok(rest) => home.join(rest),
            Err(_) => path,
        };
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let cache = home.join(".cache");
        let modelscope = set("MODELSCOPE_CACHE").map_or_else(|| cache.join("modelscope"), within_home);
        let loaded = set("MS_DATASETS_CACHE").unwrap_or_else(|| {
            let hub = || set("CACHE_HOME").unwrap_or_else(|| cache.clone()).join("modelscope/hub");
            set("MS_CACHE_HOME").map_or_else(hub, within_home).join("datasets")
        });
        let cache = set("XDG_CACHE_HOME").unwrap_or(cache);
        let links = cache.join("qwen-tui/datasets");
        let hf_home = set("HF_HOME").unwrap_or_else(|| cache.join("huggingface"));
        let hf = set("HF_HUB_CACHE").or_else(|| set("HUGGINGFACE_HUB_CACHE"));
        Caches {
            modelscope: absolute(modelscope),
            hf: absolute(within_home(hf.unwrap_or_else(|| hf_home.join("hub")))),
            loaded: absolute(loaded),
            links: absolute(links),
        }
    }

    /// The folder that `hub`'s tool of today keeps its repositories in.
    pub fn root(&self, hub: Hub) -> &Path {
        match hub {
            Hub::ModelScope => &self.modelscope,
            Hub::Hf => &self.hf,
        }
    }

    /// The directory of `repo` where it is whole on this machine.
    pub fn find(&self, repo: &Repo) -> Option<Found> {
        self.look(repo).found
    }

    /// [`find`](Self::find), and what lies there and cannot be used.
    pub fn look(&self, repo: &Repo) -> Look {
        let mut look = Look::default();
        for candidate in self.candidates(repo, &mut look.unusable) {
            let usable = is_revision(&candidate, repo).and_then(|()| check_repo(repo, &candidate.dir));
            match usable {
                Ok(()) => {
                    look.found = Some(candidate);
                    break;
                }
                Err(why) => {
                    let link = dangling(&candidate.dir).map(|link| format!("; {link}")).unwrap_or_default();
                    look.unusable.push((candidate.dir, format!("{why}{link}")));
                }
            }
        }
        if look.found.is_none() && repo.hub == Hub::ModelScope {
            look.found = loaded::find(&self.loaded, &self.links, repo);
        }
        look
    }

    /// The directory that the hub's own Python tool of today puts `repo` into, at its `commit`.
    ///
    /// On ModelScope it is named by the revision that was asked for, on Hugging Face by the commit (the tool finds it by
    /// `refs/{revision}`, a file that holds the commit, and its files are links to `blobs/{etag}`).
    pub fn place(&self, repo: &Repo, commit: &str) -> PathBuf {
        let snapshots = self.root(repo.hub).join(folder(repo)).join("snapshots");
        match repo.hub {
            Hub::ModelScope => snapshots.join(repo.revision()),
            Hub::Hf => snapshots.join(commit),
        }
    }

    /// What of the name of `repo` there is, whole or not, in the order in which it is taken; what is no directory of files
    /// goes to `unusable`.
    pub(super) fn candidates(&self, repo: &Repo, unusable: &mut Vec<(PathBuf, String)>) -> Vec<Found> {
        let Some((owner, name)) = parts(repo) else { return Vec::new() };
        match repo.hub {
            Hub::Hf => hf::snapshots(&self.hf, repo, unusable),
            Hub::ModelScope => {
                let mut all = Vec::new();
                for root in [self.modelscope.clone(), self.modelscope.join("hub")] {
                    all.extend(modelscope::snapshots(&root, repo));
                    all.extend(modelscope::old(&root, repo.sort, owner, name));
                }
                all
            }
        }
    }
}

/// Whether `found` is the revision that is asked for.
///
/// # Errors
/// It is another one, or nobody wrote down which it is.
fn is_revision(found: &Found, repo: &Repo) -> Result<()> {
    let Some(wanted) = repo.revision.as_deref().filter(|_| found.layout == Layout::ModelScopeOld) else {
        return Ok(());
    };
    match found.revision.as_deref() {
        Some(revision) if revision == wanted => Ok(()),
        Some(other) => Err(Error::user(format!("it is revision {other}, and {wanted} is asked for"))),
        None => Err(Error::user(format!(
            "which revision it is is not written down, and {wanted} is asked for; name its directory to use it"
        ))),
    }
}

/// Whether all is there that a job reads of `repo`: a download that was cut is not whole.
///
/// # Errors
/// What is missing.
fn check_repo(repo: &Repo, dir: &Path) -> Result<()> {
    match repo.sort {
        Sort::Model => check_model(dir),
        Sort::Dataset => {
            let files = names::files_of(repo);
            match files.iter().find(|file| !dir.join(file).is_file()) {
                Some(missing) => {
                    let path = dir.join(missing);
                    let is = if path.exists() { "no regular file" } else { "missing" };
                    Err(Error::user(format!("{} is {is}", path.display())))
                }
                None => Ok(()),
            }
        }
    }
}

/// Whether the model in `dir` is whole: its files are there, and each shard is as long as its header says.
///
/// # Errors
/// What is missing or cut.
pub fn check_model(dir: &Path) -> Result<()> {
    check_model_dir(dir)?;
    weight_files(dir)?.iter().try_for_each(|(file, _)| Shard::open(file)?.tensors().map(drop))
}

/// The folder of a repository in its hub's cache of today.
fn folder(repo: &Repo) -> PathBuf {
    match repo.hub {
        Hub::ModelScope => Path::new(segment(repo.sort)).join(modelscope::folder(repo)),
        Hub::Hf => hf::folder(repo).into(),
    }
}

pub(super) fn segment(sort: Sort) -> &'static str {
    match sort {
        Sort::Model => "models",
        Sort::Dataset => "datasets",
    }
}

/// Owner and name, each the name of one folder.
fn parts(repo: &Repo) -> Option<(&str, &str)> {
    let (owner, name) = repo.id.split_once('/')?;
    let folder = |part: &&str| is_plain(part) && !part.contains('/');
    Some((owner, name)).filter(|_| [owner, name].iter().all(folder))
}

/// Whether a path made of it stays in its folder.
fn is_plain(text: &str) -> bool {
    let mut parts = Path::new(text).components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// The directories at `names` under `root`, the one that is written just so first: both hubs take `qwen` for `Qwen`, and
/// their tools name folders by what was typed.
fn named(root: &Path, names: &[&str]) -> Vec<PathBuf> {
    let Some((name, rest)) = names.split_first() else { return vec![root.to_owned()] };
    let mut dirs: Vec<PathBuf> = Vec::new();
    let exact = root.join(name);
    let mut others: Vec<OsString> = match fs::read_dir(root) {
        Ok(entries) => entries.flatten().map(|entry| entry.file_name()).collect(),
        Err(_) => Vec::new(),
    };
    others.retain(|other| other.eq_ignore_ascii_case(name) && other != OsStr::new(name));
    others.sort();
    for dir in [exact].into_iter().chain(others.iter().map(|other| root.join(other))) {
        if dir.is_dir() {
            dirs.extend(named(&dir, rest));
        }
    }
    dirs
}

/// A link in `dir` to a file that is not there, in words: a blob that somebody has deleted.
fn dangling(dir: &Path) -> Option<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.iter().find_map(|file| leads_nowhere(file))
}

/// That `file` is a link to what is not there, in words; none where it is not.
pub(super) fn leads_nowhere(file: &Path) -> Option<String> {
    if file.exists() {
        return None;
    }
    let (name, to) = (file.file_name()?.display(), fs::read_link(file).ok()?);
    let to = file.parent().unwrap_or(file).join(to);
    Some(format!("{name} is a link to {}, which is not there", to.display()))
}

/// The name of the one folder in `dir`; none where there are more.
fn only(dir: &Path) -> Option<String> {
    let mut names = fs::read_dir(dir).ok()?.flatten().filter(|entry| entry.path().is_dir());
    let name = names.next()?.file_name().into_string().ok();
    name.filter(|_| names.next().is_none())
}

/// The text of a short file, without the space around it.
fn line(path: &Path) -> Option<String> {
    let text = plain::read_text(path, LINE).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
