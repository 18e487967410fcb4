//! ModelScope's caches, of its tools of today and before.

use std::path::{Path, PathBuf};

use super::{Found, Layout, is_plain, line, named, only, segment};
use crate::hub::repo::{Hub, Repo, Sort};

/// `{root}/models/{owner}--{name}/snapshots/{revision}`
pub fn snapshots(root: &Path, repo: &Repo) -> Vec<Found> {
    let mut all = Vec::new();
    for cache in named(root, &[segment(repo.sort), &folder(repo)]) {
        let snapshots = cache.join("snapshots");
        let mut revisions = match &repo.revision {
            Some(revision) => vec![revision.clone()],
            None => [Hub::ModelScope, Hub::Hf].map(|hub| hub.default_revision().to_owned()).to_vec(),
        };
        revisions.retain(|revision| is_plain(revision) && snapshots.join(revision).is_dir());
        if revisions.is_empty() && repo.revision.is_none() {
            revisions.extend(only(&snapshots));
        }
        all.extend(revisions.into_iter().map(|revision| Found {
            dir: snapshots.join(&revision),
            revision: Some(revision),
            layout: Layout::ModelScope,
        }));
    }
    all
}

/// `{root}/models/{owner}/{name}`, and 1.11's `{root}/{owner}/{name}`.
pub fn old(root: &Path, sort: Sort, owner: &str, name: &str) -> Vec<Found> {
    let masked = name.replace('.', "___");
    let mut dirs: Vec<PathBuf> = Vec::new();
    for name in [masked.as_str(), name] {
        dirs.extend(named(root, &[segment(sort), owner, name]));
        if sort == Sort::Model {
            dirs.extend(named(root, &[owner, name]));
        }
    }
    if sort == Sort::Dataset {
        // 1.11 keeps a data set's files beside what it knows of it.
        let meta: Vec<PathBuf> =
            dirs.iter().flat_map(|dir| named(dir, &[Hub::ModelScope.default_revision(), "meta"])).collect();
        dirs.extend(meta);
    }
    dirs.dedup();
    let found = |dir: PathBuf| Found { revision: version(&dir), dir, layout: Layout::ModelScopeOld };
    dirs.into_iter().map(found).collect()
}

/// The revision in `.mv`: `Revision:v1.0.0,CreatedAt:1700000000`, or the revision alone. (`.msc` and `.mdl` are Python
/// pickles, which nothing here reads.)
fn version(dir: &Path) -> Option<String> {
    let text = line(&dir.join(".mv"))?;
    let first = text.split(',').next().unwrap_or_default();
    Some(first.strip_prefix("Revision:").unwrap_or(first).to_owned()).filter(|revision| !revision.is_empty())
}

/// The folder of a repository, since 1.38.
pub fn folder(repo: &Repo) -> String {
    repo.id.replace('/', "--")
}
