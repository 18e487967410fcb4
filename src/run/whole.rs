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
    pid == std::process::id() as i32 || has_ended(pid)
}

/// Whether there is no process `pid`, or only what is left of one: on its way out it has closed its files, and so given
/// its locks back, long before it is gone, and until its parent hears of its end something is left, in a container whose
/// first program hears of nothing for ever. False of a number that no process can have.
pub fn has_ended(pid: i32) -> bool {
    let Some(id) = Pid::from_raw(pid).filter(|_| pid > 0) else { return false };
    match test_kill_process(id) {
        Err(e) => e == rustix::io::Errno::SRCH,
        Ok(()) => fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| is_leaving(&stat)),
    }
}

/// The kernel's flag of a process on its way out.
const PF_EXITING: u32 = 4;

/// By a line of `/proc/PID/stat`: the state stands behind the name, which is in parentheses and may hold anything, and the
/// flags six words further on.
fn is_leaving(stat: &str) -> bool {
    let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
    let flags = rest.split(' ').nth(6).and_then(|word| word.parse::<u32>().ok());
    rest.starts_with(['Z', 'X']) || flags.is_some_and(|flags| flags & PF_EXITING != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_process_has_ended_before_its_parent_hears_of_it() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = child.id() as i32;
        assert!(!has_ended(pid) && !is_dead(pid));
        child.kill().unwrap();
        let began = std::time::Instant::now();
        while !has_ended(pid) {
            assert!(began.elapsed() < std::time::Duration::from_secs(60), "it lives");
        }
        child.wait().unwrap();
        assert!(has_ended(pid) && !has_ended(-1) && !has_ended(0));
        assert!(!has_ended(std::process::id() as i32) && is_dead(std::process::id() as i32));
        assert!(is_leaving("7 (a) Z (b) Z 1 1") && !is_leaving("7 (a) Z (b) S 1 1") && !is_leaving("7 (a"));
        // As the kernel writes them, of one that lives and of one on its way out.
        assert!(!is_leaving("7 (a) R 1 7 7 0 -1 4194304 9") && is_leaving("7 (a) R 1 7 7 0 -1 4194308 9"));
    }
}
