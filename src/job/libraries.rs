//! Whether the loader finds the engine's libraries: told before it starts, in words a person can use.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::elf;
use crate::error::{Error, Result};

/// The library that is libtorch to the engine.
pub const LIBTORCH: &str = "libtorch_cpu.so";

/// A library that the loader could not use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// Its name, or its path where it was found.
    pub library: String,
    /// It is there and cut short or overwritten.
    pub damaged: bool,
}

impl Unusable {
    /// Out of what the loader printed; `None` where that is about something else.
    pub fn from_loader(output: &str) -> Option<Unusable> {
        let (_, rest) = output.split_once("error while loading shared libraries: ")?;
        let library = rest.split(':').next().map(str::trim).filter(|s| !s.is_empty())?.to_owned();
        let damaged = ["file too short", "invalid ELF header", "ELF load command"];
        Some(Unusable { library, damaged: damaged.iter().any(|words| rest.contains(words)) })
    }

    /// As an error of the whole command.
    pub fn error(&self) -> Error {
        let what = match self.damaged {
            true => format!("{} is damaged", self.library),
            false => format!("the library {} was not found or does not fit", self.library),
        };
        Error::user(format!(
            "the engine could not start: {what}. `qwen-tui doctor` says what is wrong and what to do"
        ))
    }
}

/// The folders in which the loader looks for `engine`'s libraries, in its order, each with where it is named.
pub fn search_path(engine: &Path) -> Vec<(PathBuf, &'static str)> {
    let variable = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let baked = elf::dynamic(engine).map(|d| d.search).unwrap_or_default();
    search_path_of(std::env::split_paths(&variable), &baked, engine)
}

/// [`search_path`] with the variable and the RUNPATH given.
pub fn search_path_of(
    variable: impl Iterator<Item = PathBuf>,
    baked: &[String],
    engine: &Path,
) -> Vec<(PathBuf, &'static str)> {
    let origin =
        engine.canonicalize().ok().and_then(|p| p.parent().map(Path::to_path_buf)).unwrap_or_default();
    let origin = origin.to_string_lossy();
    let variable = variable.filter(|p| !p.as_os_str().is_empty()).map(|p| (p, "LD_LIBRARY_PATH"));
    let baked = baked.iter().map(|p| {
        let path = p.replace("$ORIGIN", &origin).replace("${ORIGIN}", &origin);
        (PathBuf::from(path), "built into the engine")
    });
    let system = ["/usr/local/lib", "/usr/lib"].map(|p| (PathBuf::from(p), "the system's"));
    variable.chain(baked).chain(system).collect()
}

/// Looks whether `engine` can be loaded; free of cost where libtorch is in its place and whole.
///
/// # Errors
/// `Error::User` with the library that is missing or damaged.
pub fn check(engine: &Path) -> Result<()> {
    let found = search_path(engine).into_iter().map(|(dir, _)| dir.join(LIBTORCH)).find(|p| p.exists());
    if found.is_some_and(|path| elf::dynamic(&path).is_ok()) {
        return Ok(());
    }
    // The loader knows more places than this; it has the last word.
    let tried = Command::new(engine).arg("--version").stdin(Stdio::null()).output();
    let said = tried.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default();
    Unusable::from_loader(&said).map_or(Ok(()), |unusable| Err(unusable.error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_words_become_a_hint() {
        let missing = "engine: error while loading shared libraries: libtorch_cpu.so: cannot open shared object file: No such file or directory\n";
        let missing = Unusable::from_loader(missing).unwrap();
        assert!(!missing.damaged && missing.library == LIBTORCH);
        let short = "engine: error while loading shared libraries: /x/libtorch_cpu.so: file too short";
        let short = Unusable::from_loader(short).unwrap();
        assert!(short.damaged && short.library == "/x/libtorch_cpu.so");
        for unusable in [&missing, &short] {
            let error = unusable.error();
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(text.contains("doctor") && text.contains(LIBTORCH) && !text.contains("object file"));
        }
        assert!(short.error().to_string().contains("/x/libtorch_cpu.so is damaged"));
        assert_eq!(Unusable::from_loader("error: no such file"), None);
    }

    #[test]
    fn the_folders_searched_stand_in_the_loaders_order() {
        let folders =
            search_path_of(["/a".into(), "".into()].into_iter(), &["/b".into()], Path::new("/x/engine"));
        let names: Vec<_> = folders.iter().map(|(p, by)| (p.to_str().unwrap(), *by)).collect();
        assert_eq!(names[..2], [("/a", "LD_LIBRARY_PATH"), ("/b", "built into the engine")]);
    }
}
