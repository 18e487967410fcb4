//! A directory of plain files: ModelScope's snapshots, and `--to`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::stage::Staging;
use super::target::{in_order, make_parent, sync};
use crate::hub::client::fault::{Fault, Kind, disk};
use crate::hub::client::{Checksum, Listing, RemoteFile};
use crate::hub::{Hub, Repo};
use crate::plain;
use crate::run::put_atomic;

/// Which files of a directory a pull has put there, and what they were; all others are somebody's, and are never changed.
const OURS: &str = ".pulled.json";
/// A directory that is made in the staging folder.
const WHOLE: &str = "whole";

#[derive(Serialize, Deserialize)]
struct Ours {
    hub: Hub,
    repository: String,
    revision: String,
    /// The checksums of what was put there, the latest and those before.
    files: BTreeMap<String, BTreeSet<String>>,
}

fn ours(dir: &Path) -> Option<Ours> {
    serde_json::from_slice(&plain::read(&dir.join(OURS), plain::SETTINGS).ok()?).ok()
}

/// The checksums of what pulls have put there under this name.
pub fn ours_of(dir: &Path, path: &str) -> Vec<Checksum> {
    let all = ours(dir).and_then(|mut ours| ours.files.remove(path)).unwrap_or_default();
    all.iter().filter_map(|hex| Checksum::of(hex)).collect()
}

/// Refuses a way to a file that leads through a link: it may end anywhere.
pub fn check_way(dir: &Path, path: &str) -> Result<(), Fault> {
    let mut at = dir.to_owned();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        at.push(part);
        if parts.peek().is_some() && at.is_symlink() {
            let message = format!(
                "{} is a link, behind which {path} would be written: take it away first",
                at.display()
            );
            return Err(Fault::new(Kind::Other, message));
        }
    }
    Ok(())
}

/// Puts what a killed pull had gathered back to where it was fetched to.
pub fn recover(listing: &Listing, staging: &Staging) {
    let whole = staging.dir().join(WHOLE);
    for file in listing.needed() {
        let (there, part) = (whole.join(&file.path), staging.part(file));
        if !part.exists() && there.is_file() {
            let _ = fs::rename(there, part);
        }
    }
    let _ = fs::remove_dir_all(whole);
}

/// Moves what was fetched into `dir`: a directory that is not there yet appears whole.
pub fn place(dir: &Path, repo: &Repo, fetched: &[RemoteFile], staging: &Staging) -> Result<(), Fault> {
    let there = dir.exists();
    let into = if there { dir.to_owned() } else { staging.dir().join(WHOLE) };
    fs::create_dir_all(&into).map_err(|e| disk("make the directory", &into, &e))?;
    // First: a file that is ours and is replaced must not look like somebody's when this is cut short.
    write_ours(&into, repo, fetched)?;
    let mut uses: HashMap<PathBuf, usize> = HashMap::new();
    for file in fetched {
        *uses.entry(staging.part(file)).or_default() += 1;
    }
    for file in in_order(fetched) {
        check_way(&into, &file.path)?;
        let (part, path) = (staging.part(file), into.join(&file.path));
        make_parent(&path)?;
        let left = uses.get_mut(&part).map_or(0, |left| {
            *left -= 1;
            *left
        });
        let moved = match left {
            0 => fs::rename(&part, &path),
            _ => copy(&part, &path),
        };
        moved.map_err(|e| disk("write", &path, &e))?;
        sync(path.parent().unwrap_or(&into));
    }
    if !there {
        make_parent(dir)?;
        fs::rename(&into, dir).map_err(|e| disk("make the directory", dir, &e))?;
        sync(dir.parent().unwrap_or(dir));
    }
    Ok(())
}

/// The same file under a second name.
fn copy(part: &Path, path: &Path) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    fs::copy(part, &beside)?;
    fs::File::open(&beside)?.sync_all()?;
    fs::rename(&beside, path)
}

fn write_ours(dir: &Path, repo: &Repo, fetched: &[RemoteFile]) -> Result<(), Fault> {
    let mut files = ours(dir).map(|ours| ours.files).unwrap_or_default();
    for file in fetched {
        let checksums = files.entry(file.path.clone()).or_default();
        checksums.extend(file.checksum.as_ref().map(|checksum| checksum.hex().to_owned()));
    }
    let ours =
        Ours { hub: repo.hub, repository: repo.id.clone(), revision: repo.revision().to_owned(), files };
    let path = dir.join(OURS);
    let text = serde_json::to_vec_pretty(&ours)
        .map_err(|e| Fault::new(Kind::Other, format!("{}: {e}", path.display())))?;
    put_atomic(&path, &text).map_err(|e| disk("write", &path, &e))
}
