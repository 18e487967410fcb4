//! Hugging Face's cache: `models--{owner}--{name}/snapshots/{commit}`, of links to `blobs`, with branches in `refs`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Found, LINE, Layout, is_plain, named, only, segment};
use crate::hub::repo::Repo;
use crate::plain;

/// Characters of a commit that are shown, which may be anything.
const LONGEST_COMMIT: usize = 64;

/// The snapshot of the revision in the cache at `root`; a reference that names none goes to `unusable`.
pub fn snapshots(root: &Path, repo: &Repo, unusable: &mut Vec<(PathBuf, String)>) -> Vec<Found> {
    let mut all = Vec::new();
    for cache in named(root, &[&folder(repo)]) {
        let snapshots = cache.join("snapshots");
        let revision = repo.revision();
        let reference = cache.join("refs").join(revision);
        // Whatever lies there: a broken one is told, and not guessed.
        let is_told = reference.symlink_metadata().is_ok();
        let commit = match &repo.revision {
            _ if is_told => match read(&reference) {
                Ok(commit) => Some(commit),
                Err(why) => {
                    unusable.push((cache, format!("{} names no commit: {why}", reference.display())));
                    continue;
                }
            },
            Some(commit) => Some(commit.clone()),
            // Fetched by its commit alone.
            None => only(&snapshots),
        };
        let dir = commit.as_deref().filter(|c| is_plain(c)).map(|commit| snapshots.join(commit));
        if is_told && !dir.as_ref().is_some_and(|dir| dir.is_dir()) {
            let named: String =
                commit.iter().flat_map(|commit| commit.chars()).take(LONGEST_COMMIT).collect();
            let (reference, snapshots) = (reference.display(), snapshots.display());
            unusable.push((
                cache,
                format!("{reference} names the commit {named:?}, which is not in {snapshots}"),
            ));
        }
        all.extend(dir.filter(|dir| dir.is_dir()).map(|dir| Found {
            dir,
            revision: commit,
            layout: Layout::Hf,
        }));
    }
    all
}

/// The commit in a reference; why there is none.
fn read(reference: &Path) -> Result<String, String> {
    let text = plain::read_text(reference, LINE).map_err(|e| match e.kind() {
        ErrorKind::FileTooLarge => "it is too long".to_owned(),
        _ => e.to_string(),
    })?;
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        commit => Ok(commit.to_owned()),
    }
}

/// The folder of a repository.
pub fn folder(repo: &Repo) -> String {
    format!("{}--{}", segment(repo.sort), repo.id.replace('/', "--"))
}
