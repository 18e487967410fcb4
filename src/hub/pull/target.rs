//! Where a repository is placed, and what of it is there.

use std::fs;
use std::path::{Path, PathBuf};

use super::hash::{Hasher, count};
use super::stage::{Staging, folder};
use super::state::{FileState, Shared};
use super::{PullOptions, links, plain_dir};
use crate::hub::client::fault::{Fault, Kind, MAKE_DIR, disk};
use crate::hub::client::{Checksum, Listing, RemoteFile};
use crate::hub::{Caches, Hub, Repo};

/// The place of a repository at a commit.
pub struct Target {
    pub repo: Repo,
    /// The directory that holds the files, or links to them.
    pub dir: PathBuf,
    /// Whether it is a snapshot of Hugging Face's cache, of links to blobs.
    pub links: bool,
    /// Where files lie until all are there.
    pub staging: PathBuf,
}

impl Target {
    pub fn new(repo: &Repo, options: &PullOptions, listing: &Listing) -> Result<Self, Fault> {
        let own = options.to.as_ref();
        let dir = own.cloned().unwrap_or_else(|| Caches::here().place(repo, &listing.commit));
        let dir = std::path::absolute(&dir).map_err(|e| disk("find", &dir, &e))?;
        check_place(&dir)?;
        let links = own.is_none() && repo.hub == Hub::Hf;
        Ok(Self { repo: repo.clone(), staging: folder(&dir, own.is_none()), dir, links })
    }

    /// The files that are not there, or not as the hub has them.
    ///
    /// # Errors
    /// What is there cannot be read, or is another file that somebody else put there.
    pub async fn missing(&self, listing: &Listing, shared: &Shared) -> Result<Vec<RemoteFile>, Fault> {
        let mut open = Vec::new();
        for file in listing.needed() {
            match self.is_there(file, shared).await? {
                true => shared.set(&file.path, self.bytes(file), FileState::Done),
                false => {
                    shared.set(&file.path, 0, FileState::Open);
                    open.push(file.clone());
                }
            }
        }
        Ok(open)
    }

    async fn is_there(&self, file: &RemoteFile, shared: &Shared) -> Result<bool, Fault> {
        if self.links {
            return Ok(links::is_there(&self.dir, file));
        }
        plain_dir::check_way(&self.dir, &file.path)?;
        let path = self.dir.join(&file.path);
        let Ok(meta) = fs::metadata(&path) else { return Ok(false) };
        if meta.is_file() && file.size.is_none_or(|size| size == meta.len()) {
            let Some(checksum) = &file.checksum else { return Ok(true) };
            if self.is_same(file, checksum, &path, meta.len(), shared).await? {
                return Ok(true);
            }
        }
        for checksum in plain_dir::ours_of(&self.dir, &file.path) {
            // Nobody has changed it since.
            if meta.is_file() && self.is_same(file, &checksum, &path, meta.len(), shared).await? {
                return Ok(false);
            }
        }
        Err(Fault::new(
            Kind::Other,
            format!(
                "{} is another file than the hub has, and no pull has put it there as it is: nothing was changed. Update it \
                 with the tool that did, take the directory away, or name another",
                path.display()
            ),
        )
        .of_place())
    }

    /// Bytes of a file that is there.
    fn bytes(&self, file: &RemoteFile) -> u64 {
        file.size.unwrap_or_else(|| fs::metadata(self.dir.join(&file.path)).map_or(0, |meta| meta.len()))
    }

    async fn is_same(
        &self,
        file: &RemoteFile,
        checksum: &Checksum,
        path: &Path,
        size: u64,
        shared: &Shared,
    ) -> Result<bool, Fault> {
        shared.set(&file.path, 0, FileState::Checking);
        let Some(mut hasher) = Hasher::new(checksum, Some(size)) else { return Ok(false) };
        count(path, size, &mut hasher, &|done| shared.had(&file.path, done)).await?;
        Ok(hasher.hex() == checksum.hex())
    }

    /// Whether nothing is left to do where every file is there.
    pub fn is_placed(&self, listing: &Listing) -> bool {
        !self.links || links::is_placed(&self.dir, &self.repo, listing)
    }

    /// Takes back what a pull had begun to place that was killed then.
    pub fn recover(&self, listing: &Listing, staging: &Staging) {
        if !self.links {
            plain_dir::recover(listing, staging);
        }
    }

    /// Moves what was fetched to its place.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn place(&self, listing: &Listing, fetched: &[RemoteFile], staging: &Staging) -> Result<(), Fault> {
        match self.links {
            true => links::place(&self.dir, &self.repo, listing, fetched, staging),
            false => plain_dir::place(&self.dir, &self.repo, fetched, staging),
        }
    }
}

/// Refuses a place where no directory can be, before anything is fetched for it.
fn check_place(dir: &Path) -> Result<(), Fault> {
    // What is nearest to it is what it would be made in.
    let there = dir.ancestors().find_map(|at| Some((at, fs::symlink_metadata(at).ok()?)));
    let Some((at, meta)) = there else { return Ok(()) };
    let message = match (fs::metadata(at), fs::read_link(at)) {
        (Ok(meta), _) if meta.is_dir() => return Ok(()),
        (Ok(_), _) => format!("{} is a file, and no directory: name another directory", at.display()),
        (Err(e), Ok(_)) if e.raw_os_error() == Some(libc::ELOOP) => format!(
            "{} is a link that leads back to itself: take it away, or name another directory",
            at.display()
        ),
        (Err(_), Ok(to)) if meta.is_symlink() => format!(
            "{} is a link to {}, which is not there: make that directory, take the link away, or name another directory",
            at.display(),
            to.display()
        ),
        // Whoever may not look will be told by what is tried there.
        (Err(_), _) => return Ok(()),
    };
    Err(Fault::new(Kind::Other, message).of_place())
}

/// What makes a directory look whole comes last, where files are placed one after the other.
pub fn in_order(files: &[RemoteFile]) -> Vec<&RemoteFile> {
    let mut files: Vec<&RemoteFile> = files.iter().collect();
    files.sort_by_key(|file| (file.path == "config.json", file.path.ends_with(".json")));
    files
}

/// Has the entries of a directory on the disk; a file system that cannot promises it some other way.
pub fn sync(dir: &Path) {
    if let Ok(dir) = fs::File::open(dir) {
        let _ = dir.sync_all();
    }
}

/// Makes the directory that holds `path`.
pub fn make_parent(path: &Path) -> Result<(), Fault> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|e| disk(MAKE_DIR, parent, &e))
}
