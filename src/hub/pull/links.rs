//! Hugging Face's cache: `blobs/{etag}`, `snapshots/{commit}/{path}` as links to them, `refs/{revision}` with the commit.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::stage::Staging;
use super::target::{in_order, make_parent, sync};
use crate::hub::Repo;
use crate::hub::client::fault::{Fault, disk};
use crate::hub::client::{Listing, RemoteFile};
use crate::plain;
use crate::run::put_atomic;

/// The folder of the repository that a snapshot belongs to.
fn repository(snapshot: &Path) -> &Path {
    snapshot.ancestors().nth(2).unwrap_or(snapshot)
}

fn blob(snapshot: &Path, file: &RemoteFile) -> Option<PathBuf> {
    Some(repository(snapshot).join("blobs").join(file.checksum.as_ref()?.hex()))
}

fn is_file_of(path: &Path, size: Option<u64>) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && size.is_none_or(|size| size == meta.len()))
}

/// Whether the bytes of a file are there. Its name in `blobs` is its checksum, which whoever put it there has compared.
pub fn is_there(snapshot: &Path, file: &RemoteFile) -> bool {
    let blob = blob(snapshot, file).is_some_and(|blob| is_file_of(&blob, file.size));
    blob || is_file_of(&snapshot.join(&file.path), file.size)
}

/// Whether every file has its link and the revision its commit.
pub fn is_placed(snapshot: &Path, repo: &Repo, listing: &Listing) -> bool {
    let linked = listing.needed().all(|file| is_file_of(&snapshot.join(&file.path), file.size));
    let reference = reference(snapshot, repo, listing);
    let told = reference
        .is_none_or(|path| plain::read_text(&path, 1 << 12).is_ok_and(|text| text.trim() == listing.commit));
    linked && told
}

/// The file that holds the commit of a branch or tag; none where the commit itself was asked for.
fn reference(snapshot: &Path, repo: &Repo, listing: &Listing) -> Option<PathBuf> {
    let revision = repo.revision();
    let named = revision != listing.commit && crate::hub::client::is_inside(revision);
    named.then(|| repository(snapshot).join("refs").join(revision))
}

/// Moves what was fetched to `blobs`, and makes the snapshot's links and the reference.
pub fn place(
    snapshot: &Path,
    repo: &Repo,
    listing: &Listing,
    fetched: &[RemoteFile],
    staging: &Staging,
) -> Result<(), Fault> {
    for file in fetched {
        let Some(blob) = blob(snapshot, file) else { continue };
        let part = staging.part(file);
        // Two names of one file share a blob.
        if part.exists() {
            make_parent(&blob)?;
            fs::rename(&part, &blob).map_err(|e| disk("write", &blob, &e))?;
        }
    }
    sync(&repository(snapshot).join("blobs"));
    let there = snapshot.is_dir();
    let into = if there { snapshot.to_owned() } else { staging.dir().join("snapshot") };
    if !there {
        let _ = fs::remove_dir_all(&into);
        fs::create_dir_all(&into).map_err(|e| disk("make the directory", &into, &e))?;
    }
    let needed: Vec<RemoteFile> = listing.needed().cloned().collect();
    for file in in_order(&needed) {
        let path = into.join(&file.path);
        if is_file_of(&path, file.size) {
            continue;
        }
        make_parent(&path)?;
        link(file, &path, staging).map_err(|e| disk("write", &path, &e))?;
    }
    if !there {
        make_parent(snapshot)?;
        fs::rename(&into, snapshot).map_err(|e| disk("make the directory", snapshot, &e))?;
        sync(snapshot.parent().unwrap_or(snapshot));
    }
    if let Some(path) = reference(snapshot, repo, listing) {
        make_parent(&path)?;
        put_atomic(&path, listing.commit.as_bytes()).map_err(|e| disk("write", &path, &e))?;
    }
    Ok(())
}

/// A link from the file's name in the snapshot to its blob, relative, so that a cache can be moved. A file that a mirror
/// tells no checksum of has no blob and lies there itself.
fn link(file: &RemoteFile, path: &Path, staging: &Staging) -> std::io::Result<()> {
    let Some(checksum) = &file.checksum else { return fs::rename(staging.part(file), path) };
    let up = "../".repeat(file.path.split('/').count() + 1);
    let beside = staging.dir().join("link");
    let _ = fs::remove_file(&beside);
    symlink(format!("{up}blobs/{}", checksum.hex()), &beside)?;
    fs::rename(&beside, path)
}
