//! Data sets that `MsDataset` of `modelscope` 1.11 has loaded: `{owner}/{name}/{revision}/data_files`, each file under the
//! SHA256 of its address and without an extension, and beside it, with `.json`, that address (modelscope's
//! `msdatasets/data_files`, and `cached_path` of `datasets` 2). They are used in place by links that have their names.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use serde::Deserialize;

use super::{Found, LINE, Layout, modelscope, named, parts};
use crate::hub::names;
use crate::hub::repo::{Repo, Sort};
use crate::plain;

/// What stands beside a file.
#[derive(Deserialize)]
struct Origin {
    url: String,
}

/// The data set `repo` where `root` has every file of it that a job reads: a directory in `links`, which is made.
pub fn find(root: &Path, links: &Path, repo: &Repo) -> Option<Found> {
    let files = names::files_of(repo);
    let (owner, name) = parts(repo).filter(|_| repo.sort == Sort::Dataset && !files.is_empty())?;
    let revision = repo.revision();
    let there = named(root, &[owner, name, revision, "data_files"]).into_iter().find_map(|dir| {
        let there = origins(&dir);
        let newest = |file: &'static str| {
            let mut all: Vec<_> = there.iter().filter(|(name, ..)| name == file).collect();
            all.sort_by_key(|(_, changed, _)| *changed);
            Some((file, all.last()?.2.clone()))
        };
        files.iter().copied().map(newest).collect::<Option<Vec<_>>>()
    })?;
    let dir = links.join(modelscope::folder(repo)).join(revision);
    fs::create_dir_all(&dir).ok()?;
    for (file, there) in there {
        link(&there, &dir.join(file)).ok()?;
    }
    Some(Found { dir, revision: Some(revision.to_owned()), layout: Layout::ModelScopeOld })
}

/// The files in `dir` by their names in the repository, and when they were written.
fn origins(dir: &Path) -> Vec<(String, Option<SystemTime>, PathBuf)> {
    let mut all = Vec::new();
    for beside in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let file = beside.with_extension("");
        if beside.extension().is_none_or(|extension| extension != "json") || !file.is_file() {
            continue;
        }
        let Ok(text) = plain::read(&beside, LINE) else { continue };
        let Ok(Origin { url }) = serde_json::from_slice(&text) else { continue };
        let name = url.split_once("FilePath=").and_then(|(_, name)| name.split('&').next());
        let changed = fs::metadata(&file).and_then(|meta| meta.modified()).ok();
        all.extend(name.map(|name| (name.to_owned(), changed, file)));
    }
    all
}

/// Links that were made: no two threads make one under the same name.
static LINKS: AtomicU32 = AtomicU32::new(0);

/// A link at `at`, whatever an earlier one led to.
fn link(to: &Path, at: &Path) -> std::io::Result<()> {
    if fs::read_link(at).is_ok_and(|there| there == to) {
        return Ok(());
    }
    let number = LINKS.fetch_add(1, Ordering::Relaxed);
    let beside = at.with_extension(format!("{}-{number}.tmp", std::process::id()));
    symlink(to, &beside)?;
    fs::rename(&beside, at)
}
