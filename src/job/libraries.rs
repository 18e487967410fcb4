//! Whether the loader finds the engine's libraries: told before it starts, in words a person can use.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::elf;
use crate::error::{Error, Result};

/// The library that is libtorch to the engine.
pub const LIBTORCH: &str = "libtorch_cpu.so";

/// The version that the engine's bindings are written for.
pub const WANTED: &str = "2.11";

/// What is wrong with a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Missing,
    /// It is there and cut short or overwritten.
    Damaged,
    /// It is there and lacks what the engine calls: libtorch of another version.
    OtherVersion,
}

/// Why the loader could not start the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// Its name, or its path where it was found; empty where the loader names only a symbol.
    pub library: String,
    pub fault: Fault,
}

impl Unusable {
    /// Out of what the loader printed; `None` where that is about something else.
    pub fn from_loader(output: &str) -> Option<Unusable> {
        if output.contains("symbol lookup error: ") {
            return Some(Unusable { library: String::new(), fault: Fault::OtherVersion });
        }
        // `PROGRAM: LIBRARY: version `X' not found (required by ...)`
        if let Some(line) =
            output.lines().find(|l| l.contains(": version `") && l.contains("not found (required by"))
        {
            let library = line.split(": ").nth(1).unwrap_or_default().to_owned();
            return Some(Unusable { library, fault: Fault::OtherVersion });
        }
        let (_, rest) = output.split_once("error while loading shared libraries: ")?;
        let library = rest.split(':').next().map(str::trim).filter(|s| !s.is_empty())?.to_owned();
        let damaged = ["file too short", "invalid ELF header", "ELF load command", "cannot read file data"];
        let damaged = damaged.iter().any(|words| rest.contains(words));
        Some(Unusable { library, fault: if damaged { Fault::Damaged } else { Fault::Missing } })
    }

    /// What is wrong, in words.
    pub fn told(&self) -> String {
        let library = &self.library;
        match self.fault {
            Fault::Missing => format!("the loader does not find the library {library}"),
            Fault::Damaged => format!("{library} is damaged: it is cut short or overwritten"),
            Fault::OtherVersion if library.is_empty() => {
                format!("the libtorch it finds is of another version than the {WANTED} it was built with")
            }
            Fault::OtherVersion => format!("{library} is of another version than the one it was built with"),
        }
    }

    /// As an error of the whole command.
    pub fn error(&self) -> Error {
        Error::user(format!(
            "the engine could not start: {}. `qwen-tui doctor` says what is wrong and what to do",
            self.told()
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

/// The version of the libtorch whose libraries lie in `folder`, out of the Python package, the downloaded archive or
/// the headers.
pub fn version(folder: &Path) -> Option<String> {
    let read = |name: &str| std::fs::read_to_string(folder.join("..").join(name)).ok();
    let python = read("version.py").and_then(|text| quoted(&text, "__version__"));
    let archive = || read("build-version").map(|t| t.trim().to_string()).filter(|t| !t.is_empty());
    let headers = || {
        let text = read("include/torch/headeronly/version.h")
            .or_else(|| read("include/torch/csrc/api/include/torch/version.h"))?;
        let part = |name: &str| {
            let line = text.lines().find(|l| l.starts_with("#define") && l.contains(name))?;
            line.split_whitespace().nth(2)?.parse::<u32>().ok()
        };
        let [major, minor, patch] = ["VERSION_MAJOR", "VERSION_MINOR", "VERSION_PATCH"].map(part);
        Some(format!("{}.{}.{}", major?, minor?, patch?))
    };
    python.or_else(archive).or_else(headers)
}

/// The value of `name = 'value'` (a type may stand between) in a Python file.
pub fn quoted(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|l| l.strip_prefix(name).is_some_and(|r| r.starts_with([' ', ':', '='])))?;
    let value = line.split_once('=')?.1.trim();
    let value = value.strip_prefix(['\'', '"'])?.strip_suffix(['\'', '"'])?;
    Some(value.to_string())
}

/// Whether a version, as [`version`] gives it, is the one wanted.
pub fn is_wanted(version: &str) -> bool {
    version.strip_prefix(WANTED).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '+']))
}

/// Looks whether `engine` can be loaded.
///
/// # Errors
/// `Error::User` as [`look`] finds it.
pub fn check(engine: &Path) -> Result<()> {
    look(engine).map_or(Ok(()), |unusable| Err(unusable.error()))
}

/// The library (or the engine itself) that is missing, damaged or of another version; all but free of cost where
/// libtorch is in its place, whole and of the wanted version.
pub fn look(engine: &Path) -> Option<Unusable> {
    let at = |path: &Path| Some(Unusable { library: path.display().to_string(), fault: Fault::Damaged });
    if elf::dynamic(engine).is_err() {
        let elf = std::fs::read(engine).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF"));
        // A script has no need of a loader.
        return elf.then_some(engine).and_then(at);
    }
    let folders: Vec<PathBuf> = search_path(engine).into_iter().map(|(folder, _)| folder).collect();
    if let Some(path) = damaged(engine, &folders) {
        return at(&path);
    }
    let found = folders.iter().find(|folder| folder.join(LIBTORCH).exists());
    if found.and_then(|folder| version(folder)).is_some_and(|version| is_wanted(&version)) {
        return None;
    }
    // The loader knows more places than this; it has the last word.
    let tried = Command::new(engine).arg("--version").stdin(Stdio::null()).output().ok()?;
    Unusable::from_loader(&String::from_utf8_lossy(&tried.stderr)).or_else(|| match tried.status.signal() {
        // What the loader mapped is no code.
        Some(7 | 11) => at(&found?.join(LIBTORCH)),
        _ => None,
    })
}

/// The first library that `engine` needs, or one of its libraries does, that lies in `folders` and is damaged.
fn damaged(engine: &Path, folders: &[PathBuf]) -> Option<PathBuf> {
    let mut waiting = elf::dynamic(engine).map(|d| d.needed).unwrap_or_default();
    let mut seen = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        // Those of the system lie elsewhere.
        let Some(path) = folders.iter().map(|folder| folder.join(&name)).find(|path| path.exists()) else {
            continue;
        };
        match elf::dynamic(&path) {
            Ok(dynamic) => waiting.extend(dynamic.needed),
            Err(_) => return Some(path),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_words_become_a_hint() {
        let missing = "engine: error while loading shared libraries: libtorch_cpu.so: cannot open shared object file: No such file or directory\n";
        let missing = Unusable::from_loader(missing).unwrap();
        assert!(missing.fault == Fault::Missing && missing.library == LIBTORCH);
        for words in ["file too short", "cannot read file data: Input/output error"] {
            let short = format!("engine: error while loading shared libraries: /x/libtorch_cpu.so: {words}");
            let short = Unusable::from_loader(&short).unwrap();
            assert!(short.fault == Fault::Damaged && short.library == "/x/libtorch_cpu.so");
            assert!(short.error().to_string().contains("/x/libtorch_cpu.so is damaged"));
        }
        let symbol = "engine: symbol lookup error: engine: undefined symbol: _ZTVN5torch8autograd\n";
        let versioned = "engine: /x/libc10.so: version `C10_2' not found (required by engine)\n";
        for said in [symbol, versioned] {
            let other = Unusable::from_loader(said).unwrap();
            assert!(
                other.fault == Fault::OtherVersion && other.told().contains("another version"),
                "{other:?}"
            );
            assert!(!other.told().contains("_ZTV") && other.error().exit_code() == 2);
        }
        let text = missing.error().to_string();
        assert!(text.contains("doctor") && text.contains(LIBTORCH) && !text.contains("object file"));
        assert_eq!(Unusable::from_loader("error: no such file"), None);
    }

    #[test]
    fn only_2_11_is_wanted() {
        for (version, wanted) in
            [("2.11.0", true), ("2.11.0+cu130", true), ("2.11", true), ("2.1.0", false), ("2.110.0", false)]
        {
            assert_eq!(is_wanted(version), wanted, "{version}");
        }
    }

    #[test]
    fn a_damaged_library_behind_another_is_found() {
        let dir = tempfile::tempdir().unwrap();
        // This test's own program needs the C library, which is looked for in `folders` first.
        let own = std::env::current_exe().unwrap();
        let name = elf::dynamic(&own).unwrap().needed.into_iter().find(|n| n.starts_with("libc.so")).unwrap();
        let folders = [dir.path().to_owned()];
        assert_eq!(damaged(&own, &folders), None);
        std::fs::write(dir.path().join(&name), "\x7fELF").unwrap();
        assert_eq!(damaged(&own, &folders), Some(dir.path().join(name)));
    }

    #[test]
    fn the_folders_searched_stand_in_the_loaders_order() {
        let folders =
            search_path_of(["/a".into(), "".into()].into_iter(), &["/b".into()], Path::new("/x/engine"));
        let names: Vec<_> = folders.iter().map(|(p, by)| (p.to_str().unwrap(), *by)).collect();
        assert_eq!(names[..2], [("/a", "LD_LIBRARY_PATH"), ("/b", "built into the engine")]);
    }
}
