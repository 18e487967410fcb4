//! Directories that stand whole or not at all: filled under a hidden name beside their place, synced, renamed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::{Pid, test_kill_process};

use super::files::file_error;
use crate::error::Result;

/// Removes its directory when it goes out of scope: after an error or a panic what was half-written, after an
/// exchange what was replaced, and nothing after a plain rename.
pub(super) struct Temporary(pub PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = remove(&self.0);
    }
}

/// Removes a directory that may not exist.
pub(super) fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(file_error("remove", dir, &e)),
        _ => Ok(()),
    }
}

/// Renames `tmp` to `target`, in the place of what may be there; `old` is where that can be put meanwhile.
pub(super) fn put(tmp: &Path, target: &Path, old: &Path) -> io::Result<()> {
    if !target.exists() {
        return fs::rename(tmp, target);
    }
    if renameat_with(CWD, tmp, CWD, target, RenameFlags::EXCHANGE).is_ok() {
        return Ok(());
    }
    put_in_two_steps(tmp, target, old)
}

/// For a file system without exchange. Should we die between the two renames, the next writer takes the first back.
pub(super) fn put_in_two_steps(tmp: &Path, target: &Path, old: &Path) -> io::Result<()> {
    remove(old).map_err(io::Error::other)?;
    fs::rename(target, old)?;
    if let Err(e) = fs::rename(tmp, target) {
        let _ = fs::rename(old, target);
        return Err(e);
    }
    let _ = remove(old);
    Ok(())
}

/// Whether what the process `pid` left half-done is nobody's any more. One with this process's own id must be an
/// earlier process's: in a container the ids repeat.
pub(super) fn is_dead(pid: i32) -> bool {
    pid == std::process::id() as i32
        || Pid::from_raw(pid).is_none_or(|p| test_kill_process(p) == Err(rustix::io::Errno::SRCH))
}
