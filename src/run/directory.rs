//! Directories that are made, or replaced, whole or not at all, and without the loss of what came into them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::files::{file_error, sync_dir};
use super::whole::is_dead;
use crate::error;
use crate::error::{Error, Result};

/// Which entries of a directory were made with it, and so may go with it. Nothing else is ever removed.
#[derive(Clone, Copy)]
pub struct Contents {
    /// Names of those of its files, in the order in which they are to go.
    pub own: fn(&Path) -> Vec<OsString>,
    /// Whether a file of this name, which came later, goes along to what takes the directory's place.
    pub kept: fn(&OsStr) -> bool,
}

impl Contents {
    /// Whatever files are in it.
    const ALL: Contents = Contents { own: files, kept: |_| false };

    /// Names in `dir` that neither were made with it nor go along to its successor, sorted.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn foreign(&self, dir: &Path) -> Result<Vec<OsString>> {
        let own = (self.own)(dir);
        let is_file = |name: &OsStr| dir.join(name).symlink_metadata().is_ok_and(|m| m.is_file());
        let mut names = names(dir).map_err(|e| file_error("read", dir, &e))?;
        names.retain(|name| !(own.contains(name) || (self.kept)(name) && is_file(name)));
        names.sort();
        Ok(names)
    }

    /// Removes the directory `dir`, whose place `successor` has taken: what else came into it moves there.
    fn discard(&self, dir: &Path, successor: &Path) {
        for name in (self.own)(dir) {
            let _ = fs::remove_file(dir.join(name));
        }
        for name in names(dir).unwrap_or_default() {
            let (here, there) = (dir.join(&name), successor.join(&name));
            // A file that went along is there by a second name, or as a copy.
            match renameat_with(CWD, &here, CWD, &there, RenameFlags::NOREPLACE) {
                Err(_) if same(&here, &there) => drop(fs::remove_file(here)),
                _ => {}
            }
        }
        let _ = fs::remove_dir(dir);
    }
}

/// The names in `dir`.
fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(dir)?.map(|entry| entry.map(|e| e.file_name())).collect()
}

/// The names in `dir` that are no directories.
fn files(dir: &Path) -> Vec<OsString> {
    let mut names = names(dir).unwrap_or_default();
    names.retain(|name| !dir.join(name).symlink_metadata().is_ok_and(|m| m.is_dir()));
    names
}

/// Whether two files have the same bytes.
fn same(a: &Path, b: &Path) -> bool {
    fs::read(a).is_ok_and(|bytes| fs::read(b).is_ok_and(|others| bytes == others))
}

/// Discards its directory when it goes out of scope: what was half-written, or what was replaced.
struct Hidden<'a> {
    dir: PathBuf,
    target: &'a Path,
    contents: Contents,
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        self.contents.discard(&self.dir, self.target);
    }
}

/// Makes the directory `target`, which `fill` puts files into: it stands whole or not at all. There may be an empty one.
///
/// # Errors
/// Those of [`replace_directory`].
pub fn write_directory(target: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    replace_directory(target, Contents::ALL, false, fill)
}

/// Whether another process is at [`replace_directory`] with this `target`.
pub fn is_being_written(target: &Path) -> bool {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let begin = format!(".{name}.tmp-");
    let entries = target.parent().and_then(|p| fs::read_dir(p).ok()).into_iter().flatten().flatten();
    let pid = |entry: fs::DirEntry| entry.file_name().to_string_lossy().strip_prefix(&begin)?.parse().ok();
    entries.filter_map(pid).any(|pid| !is_dead(pid))
}

/// [`write_directory`], where `replace` also in the place of a directory of the same `contents`, which stays until then.
/// What writers that have died left of the same directory is cleared away first.
///
/// # Errors
/// `Error::User` of the disk, named as `target`; something at `target` that is not to be replaced, whenever it came
/// there; what `fill` returns. Nothing is left behind.
pub fn replace_directory(
    target: &Path,
    contents: Contents,
    replace: bool,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let name = target.file_name().map(|name| name.to_string_lossy().into_owned());
    let (Some(name), Some(parent)) = (name, target.parent()) else {
        return Err(Error::user(format!("{}: has no name to make a directory of", error::shown(target))));
    };
    fs::create_dir_all(parent).map_err(|e| file_error("create", parent, &e))?;
    clean(parent, &name, target, contents);
    let hidden = |state: &str| parent.join(format!(".{name}.{state}-{}", std::process::id()));
    let dir = hidden("tmp");
    fs::create_dir(&dir).map_err(|e| file_error("create", &dir, &e))?;
    let tmp = Hidden { dir, target, contents };
    let written = fill(&tmp.dir).and_then(|()| sync(&tmp.dir)).and_then(|()| match replace {
        true => exchange(&tmp, &hidden("old")),
        false => put_new(&tmp.dir, target),
    });
    sync_dir(parent);
    // People know it by its name.
    let shown = |m: String| m.replace(&error::shown(&tmp.dir), &error::shown(target));
    written.map_err(|e| e.map(shown))
}

/// Renames `tmp` to `target`, where at most an empty directory may be.
fn put_new(tmp: &Path, target: &Path) -> Result<()> {
    fs::rename(tmp, target).map_err(|e| match e.kind() {
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => Error::user(format!(
            "{}: has been made by another process meanwhile, and is left as it is",
            error::shown(target)
        )),
        _ => file_error("create", target, &e),
    })
}

/// Puts `tmp` in the place of the directory it is to replace; `old` is where that can be put meanwhile.
fn exchange(tmp: &Hidden<'_>, old: &Path) -> Result<()> {
    let (target, contents) = (tmp.target, tmp.contents);
    if !target.exists() || names(target).is_ok_and(|names| names.is_empty()) {
        return put_new(&tmp.dir, target);
    }
    let foreign = contents.foreign(target)?;
    if !foreign.is_empty() {
        return Err(Error::user(format!(
            "{}: {} came into it meanwhile; it is left as it is",
            error::shown(target),
            foreign.join(OsStr::new(", ")).display()
        )));
    }
    // Before the exchange, so that they are at `target` at every moment.
    for name in names(target).unwrap_or_default().into_iter().filter(|name| (contents.kept)(name)) {
        let (from, to) = (target.join(&name), tmp.dir.join(&name));
        fs::hard_link(&from, &to)
            .or_else(|_| fs::copy(&from, &to).map(drop))
            .map_err(|e| file_error("keep", &from, &e))?;
    }
    if renameat_with(CWD, &tmp.dir, CWD, target, RenameFlags::EXCHANGE).is_ok() {
        return Ok(());
    }
    // Should we die between the two renames, the next writer takes the first back.
    let renamed = fs::rename(target, old).and_then(|()| {
        fs::rename(&tmp.dir, target).inspect_err(|_| {
            let _ = fs::rename(old, target);
        })
    });
    renamed.map_err(|e| file_error("create", target, &e))?;
    contents.discard(old, target);
    Ok(())
}

/// Clears away what dead writers of `name` left, and puts back what was moved aside and not replaced.
fn clean(parent: &Path, name: &str, target: &Path, contents: Contents) {
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
            contents.discard(&entry.path(), target);
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

    /// Sorted.
    fn names(dir: &Path) -> Vec<String> {
        let names = super::names(dir).unwrap().into_iter().map(|name| name.into_string().unwrap());
        let mut names: Vec<String> = names.collect();
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
        let e = write_directory(&target, fill("late")).unwrap_err();
        assert!(e.exit_code() == 2 && e.to_string().contains("another process"), "{e}");
        assert_eq!(names(&target), ["one"]);
        replace_directory(&target, Contents::ALL, true, fill("two")).unwrap();
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

    /// `one` and `two` are its own, answers go along.
    const OURS: Contents = Contents {
        own: |dir| files(dir).into_iter().filter(|name| name == "one" || name == "two").collect(),
        kept: |name| name == "answers",
    };

    #[test]
    fn what_is_not_its_own_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("m");
        let put = |path: PathBuf| fs::write(path, "x").unwrap();
        let fill = |word: &'static str| {
            move |d: &Path| fs::write(d.join(word), word).map_err(|e| file_error("write", d, &e))
        };
        replace_directory(&target, OURS, true, fill("one")).unwrap();
        put(target.join("answers"));
        replace_directory(&target, OURS, true, fill("two")).unwrap();
        assert_eq!(
            (names(&target), names(dir.path())),
            (vec!["answers".into(), "two".into()], vec!["m".into()])
        );

        // What comes while the successor is being filled.
        let e = replace_directory(&target, OURS, true, |d| {
            put(d.join("one"));
            fs::create_dir_all(target.join("output/checkpoint-2")).unwrap();
            put(target.join("notes"));
            Ok(())
        })
        .unwrap_err();
        assert!(e.exit_code() == 2 && e.to_string().contains("notes, output came"), "{e}");
        let whole = ["answers", "notes", "output", "two"];
        assert_eq!((names(&target), names(dir.path())), (whole.map(String::from).into(), vec!["m".into()]));

        // After a kill between the exchange and the end, with what came in the moment before: all of it comes back.
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let hidden = dir.path().join(format!(".m.tmp-{}", child.id()));
        child.wait().unwrap();
        fs::rename(&target, &hidden).unwrap();
        fs::create_dir(&target).unwrap();
        put(target.join("one"));
        fs::hard_link(hidden.join("answers"), target.join("answers")).unwrap();
        let e = replace_directory(&target, OURS, true, fill("two")).unwrap_err();
        assert!(e.to_string().contains("notes, output"), "{e}");
        let whole = ["answers", "notes", "one", "output"];
        assert_eq!((names(&target), names(dir.path())), (whole.map(String::from).into(), vec!["m".into()]));
        assert!(target.join("output/checkpoint-2").is_dir());
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
        replace_directory(&dir.path().join("m"), Contents::ALL, true, |d| {
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
