//! Directories that stand whole or not at all: filled under a hidden name beside their place, synced, renamed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::{Pid, test_kill_process};

use super::files::{file_error, sync_dir};
use crate::error::{Error, Result};

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

/// Makes the directory `target`, which `fill` puts the files into, in the place of what may be there: it stands whole
/// or not at all, and what it replaces stays until then. What writers that have died left of the same directory is
/// removed first.
///
/// # Errors
/// `Error::User` of the disk, named as `target`; what `fill` returns. Nothing is left behind.
pub fn write_directory(target: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let name = target.file_name().map(|name| name.to_string_lossy().into_owned());
    let (Some(name), Some(parent)) = (name, target.parent()) else {
        return Err(Error::user(format!("{}: has no name to make a directory of", target.display())));
    };
    fs::create_dir_all(parent).map_err(|e| file_error("create", parent, &e))?;
    clean(parent, &name, target);
    let hidden = |state: &str| parent.join(format!(".{name}.{state}-{}", std::process::id()));
    let tmp = Temporary(hidden("tmp"));
    fs::create_dir(&tmp.0).map_err(|e| file_error("create", &tmp.0, &e))?;
    let written = fill(&tmp.0)
        .and_then(|()| sync(&tmp.0))
        .and_then(|()| put(&tmp.0, target, &hidden("old")).map_err(|e| file_error("create", target, &e)));
    sync_dir(parent);
    // People know it by its name.
    let shown = |m: String| m.replace(&tmp.0.display().to_string(), &target.display().to_string());
    written.map_err(|e| e.map(shown))
}

/// Whether another process is at [`write_directory`] with this `target`.
pub fn is_being_written(target: &Path) -> bool {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let begin = format!(".{name}.tmp-");
    let entries = target.parent().and_then(|p| fs::read_dir(p).ok()).into_iter().flatten().flatten();
    let pid = |entry: fs::DirEntry| entry.file_name().to_string_lossy().strip_prefix(&begin)?.parse().ok();
    entries.filter_map(pid).any(|pid| !is_dead(pid))
}

/// Removes what dead writers of `name` left, and puts back what was moved aside and not replaced.
fn clean(parent: &Path, name: &str, target: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let hidden = entry.file_name();
        let hidden = hidden.to_string_lossy();
        let rest = hidden.strip_prefix('.').and_then(|h| h.strip_prefix(name)?.strip_prefix('.'));
        let Some((state, pid)) = rest.and_then(|rest| rest.split_once('-')) else { continue };
        if !pid.parse().is_ok_and(is_dead) {
            continue;
        }
        if state == "old" && !target.exists() {
            let _ = fs::rename(entry.path(), target);
        } else if ["tmp", "old"].contains(&state) {
            let _ = remove(&entry.path());
        }
    }
}

/// Syncs the files of `dir`, and then their names.
fn sync(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(|e| file_error("read", dir, &e))?.flatten() {
        let path = entry.path();
        File::open(&path).and_then(|f| f.sync_all()).map_err(|e| file_error("write", &path, &e))?;
    }
    sync_dir(dir);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_directory_is_made_replaced_or_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("deep/merged");
        let fill = |word: &'static str| {
            move |d: &Path| fs::write(d.join(word), word).map_err(|e| file_error("write", d, &e))
        };
        write_directory(&target, fill("one")).unwrap();
        write_directory(&target, fill("two")).unwrap();
        assert_eq!(
            (names(&target), names(&dir.path().join("deep"))),
            (vec!["two".into()], vec!["merged".into()])
        );
        let e = write_directory(&target, |d| {
            fs::write(d.join("half"), "").unwrap();
            Err(Error::user(format!("cannot write {}/half", d.display())))
        })
        .unwrap_err();
        assert_eq!(e.to_string(), format!("cannot write {}/half", target.display()));
        assert_eq!(
            (names(&target), names(&dir.path().join("deep"))),
            (vec!["two".into()], vec!["merged".into()])
        );
    }

    #[test]
    fn what_dead_writers_left_goes_and_what_living_ones_make_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let living = rustix::process::getppid().unwrap().as_raw_nonzero();
        for name in [
            format!(".m.tmp-{dead}"),
            format!(".m.old-{dead}"),
            format!(".m.tmp-{living}"),
            format!(".other.tmp-{dead}"),
            ".m.tmp-x".to_owned(),
        ] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join(format!(".m.old-{dead}/kept")), "").unwrap();
        write_directory(&dir.path().join("m"), |d| {
            assert!(dir.path().join("m/kept").is_file(), "what was moved aside is back until it is replaced");
            fs::write(d.join("new"), "").map_err(|e| file_error("write", d, &e))
        })
        .unwrap();
        let left =
            [format!(".m.tmp-{living}"), ".m.tmp-x".to_owned(), format!(".other.tmp-{dead}"), "m".to_owned()];
        assert_eq!(names(dir.path()), left);
        assert_eq!(names(&dir.path().join("m")), ["new"]);
    }
}
