//! Where files lie until all of them are there: beside the place they are moved to, so that a move is a rename.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::hub::client::RemoteFile;
use crate::hub::client::fault::{Fault, MAKE_DIR, disk};

/// The folder of what is being fetched.
const FOLDER: &str = ".pull";
/// What holds the lock.
const LOCK: &str = "lock";

/// A folder of files that are being fetched, of which one process at a time has the lock. The kernel drops it with the
/// process.
pub struct Staging {
    dir: PathBuf,
    _lock: File,
    left: AtomicBool,
}

/// Where what goes to `target` is fetched to. What belongs to a hub's cache lies in the repository's folder, in which the
/// hub's tool looks for `snapshots` and its like alone; else in the directory, or beside one that is not there yet.
pub fn folder(target: &Path, in_cache: bool) -> PathBuf {
    if in_cache {
        let repository = target.ancestors().nth(2).unwrap_or(target);
        return repository.join(FOLDER);
    }
    let beside =
        target.file_name().map(|name| target.with_file_name(format!(".{}{FOLDER}", name.to_string_lossy())));
    match beside {
        Some(beside) if !target.is_dir() || beside.is_dir() => beside,
        _ => target.join(FOLDER),
    }
}

impl Staging {
    /// Takes the lock of the folder, making it; none while another process has it.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn enter(dir: &Path) -> Result<Option<Self>, Fault> {
        loop {
            fs::create_dir_all(dir).map_err(|e| disk(MAKE_DIR, dir, &e))?;
            let path = dir.join(LOCK);
            let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
            let lock = match opened {
                Ok(lock) => lock,
                // Whoever had it is done, and has taken the folder away just now.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(disk("write", &path, &e)),
            };
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                // A file system without locks: two at once would fetch the same twice.
                Err(_) => {}
            }
            let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
            let still = fs::symlink_metadata(&path).ok().zip(lock.metadata().ok());
            if still.is_some_and(|(named, held)| same(named, held)) {
                return Ok(Some(Self { dir: dir.to_owned(), _lock: lock, left: AtomicBool::new(false) }));
            }
        }
    }

    /// Where a file's bytes are written to. It is named by their checksum, so that what is left of a cut pull is gone on
    /// with where it belongs, and nowhere else.
    pub fn part(&self, file: &RemoteFile) -> PathBuf {
        self.dir.join(match &file.checksum {
            Some(checksum) => format!("{}.part", checksum.hex()),
            None => {
                let hash = Sha256::digest(file.path.as_bytes());
                format!("{}.unchecked", hash[..16].iter().map(|b| format!("{b:02x}")).collect::<String>())
            }
        })
    }

    /// Bytes that are there of a file from before. What has no checksum is fetched anew.
    pub fn has(&self, file: &RemoteFile) -> u64 {
        if file.checksum.is_none() {
            return 0;
        }
        let there = fs::symlink_metadata(self.part(file)).ok().filter(fs::Metadata::is_file);
        there.map_or(0, |meta| meta.len()).min(file.size.unwrap_or(u64::MAX))
    }

    /// The folder, to be named.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes the folder away, its lock last: all that was in it is where it belongs.
    pub fn leave(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.file_name() != LOCK {
                let path = entry.path();
                let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            }
        }
        self.take_lock_away();
    }

    fn take_lock_away(&self) {
        // Once: the next one's lock may lie there then.
        if !self.left.swap(true, Ordering::SeqCst) {
            let _ = fs::remove_file(self.dir.join(LOCK));
            let _ = fs::remove_dir(&self.dir);
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Nothing came that could be gone on with.
        if fs::read_dir(&self.dir).is_ok_and(|entries| entries.count() == 1) {
            self.take_lock_away();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_next_when_it_has_gone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(&dir.path().join("model"), false);
        assert_eq!(folder, dir.path().join(".model.pull"));
        let first = Staging::enter(&folder).unwrap().unwrap();
        assert!(Staging::enter(&folder).unwrap().is_none());
        drop(first);
        assert!(!folder.exists(), "there is nothing to go on with");
        let second = Staging::enter(&folder).unwrap().unwrap();
        fs::write(second.dir.join("x.part"), "x").unwrap();
        second.leave();
        assert!(!folder.exists());
        Staging::enter(&folder).unwrap().unwrap().leave();
    }

    #[test]
    fn it_is_on_the_disk_of_the_target() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("models--a--b/snapshots/c");
        assert_eq!(folder(&cache, true), dir.path().join("models--a--b/.pull"));
        // A directory that is there may be a disk of its own.
        assert_eq!(folder(dir.path(), false), dir.path().join(".pull"));
    }
}
