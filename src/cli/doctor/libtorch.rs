//! Which libtorch the engine gets, read from files alone.

use std::path::{Path, PathBuf};

use qwen_tui::job::elf;
use qwen_tui::job::libraries::{self, LIBTORCH, WANTED, is_wanted, quoted, version};

use super::Check;

/// A libtorch on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Libtorch {
    /// The folder of `libtorch_cpu.so`.
    pub folder: PathBuf,
    /// How the engine comes to it, in words.
    pub by: String,
    /// Such as `2.11.0` or `2.11.0+cu130`, where a file beside it says so.
    pub version: Option<String>,
    /// The CUDA version it was built for, (major, minor); `None` for a build for the CPU.
    pub cuda: Option<(u32, Option<u32>)>,
}

/// Looks for `libtorch_cpu.so` as the loader does for `engine`: `LD_LIBRARY_PATH`, then RUNPATH, then the system.
///
/// # Errors
/// The folders searched, in words.
pub fn find(engine: &Path) -> Result<Libtorch, String> {
    find_in(libraries::search_path(engine))
}

fn find_in(folders: Vec<(PathBuf, &str)>) -> Result<Libtorch, String> {
    let mut searched = Vec::new();
    for (folder, by) in folders {
        if folder.join(LIBTORCH).exists() {
            let (version, cuda) = (version(&folder), cuda(&folder));
            return Ok(Libtorch { folder, by: by.to_string(), version, cuda });
        }
        searched.push(format!("{} ({by})", folder.display()));
    }
    Err(searched.join(", "))
}

/// The CUDA version of a build for GPUs: exact where the version tells it, else by the CUDA runtime it is linked to.
fn cuda(folder: &Path) -> Option<(u32, Option<u32>)> {
    let library = folder.join("libtorch_cuda.so");
    if !library.exists() {
        return None;
    }
    let python = std::fs::read_to_string(folder.join("../version.py")).ok().and_then(|t| quoted(&t, "cuda"));
    let exact = python.and_then(|v| {
        let (major, minor) = v.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()))
    });
    let tag = || {
        let version = version(folder)?;
        let digits = version.split_once("+cu")?.1;
        let (major, minor) = digits.split_at_checked(2)?;
        Some((major.parse().ok()?, minor.parse().ok()))
    };
    let linked = || {
        let needed = elf::dynamic(&library).ok()?.needed;
        let major =
            needed.iter().find_map(|n| n.strip_prefix("libcudart.so.")?.split('.').next()?.parse().ok());
        major.map(|m| (m, None))
    };
    exact.or_else(tag).or_else(linked)
}

/// `13.0`, or `13` where the minor version is not known.
pub fn cuda_name((major, minor): (u32, Option<u32>)) -> String {
    minor.map_or(major.to_string(), |minor| format!("{major}.{minor}"))
}

/// `source` is where to run `make`, in words.
pub fn check(libtorch: &Result<Libtorch, String>, engine_loads: bool, source: &str) -> Check {
    let get = format!(
        "`make libtorch build`{source} gets and uses libtorch 2.11; an installed PyTorch 2.11 is used by \
               `LIBTORCH_USE_PYTORCH=1 make build`, or LD_LIBRARY_PATH=.../torch/lib when running"
    );
    let libtorch = match libtorch {
        Ok(libtorch) => libtorch,
        // A statically linked engine has no libtorch_cpu.so to be found.
        Err(_) if engine_loads => return Check::ok("libtorch", "found by the engine's loader"),
        Err(searched) => {
            return Check::missing("libtorch", format!("no libtorch_cpu.so in: {searched}"), get);
        }
    };
    let version = libtorch.version.as_deref().unwrap_or("of unknown version");
    let built_for = match libtorch.cuda {
        Some(cuda) => format!("built for CUDA {}", cuda_name(cuda)),
        None => "for the CPU only".to_string(),
    };
    let found = format!("{version}, {built_for}, in {} ({})", libtorch.folder.display(), libtorch.by);
    let wrong = libtorch.version.as_ref().is_some_and(|v| !is_wanted(v));
    let by_variable = libtorch.by == "LD_LIBRARY_PATH";
    let get = match by_variable {
        // Nothing that is built or fetched counts while it is set.
        true => "`unset LD_LIBRARY_PATH`, so that the libtorch built into the engine is used".to_owned(),
        false => get,
    };
    match (wrong, engine_loads) {
        (true, false) => Check::missing("libtorch", format!("{found}; wanted is {WANTED}"), get),
        (true, true) => Check::warn("libtorch", format!("{found}; wanted is {WANTED}"), get),
        (false, false) => Check::missing(
            "libtorch",
            format!("{found}; the engine does not start with it"),
            match by_variable {
                true => {
                    format!("a library it needs is missing or damaged (see the engine's line): {get}")
                }
                false => format!(
                    "a library it needs is missing or damaged (see the engine's line): `rm -r .libtorch; make \
                     libtorch build`{source} gets it anew"
                ),
            },
        ),
        (false, true) => Check::ok("libtorch", found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pytorchs_own_files_tell_version_and_cuda() {
        let dir = tempfile::tempdir().unwrap();
        let lib = dir.path().join("torch/lib");
        std::fs::create_dir_all(&lib).unwrap();
        std::fs::write(lib.join("libtorch_cpu.so"), "").unwrap();
        std::fs::write(lib.join("libtorch_cuda.so"), "").unwrap();
        let python = "from typing import Optional\n__all__ = ['__version__']\n__version__ = '2.4.1+cu121'\ncuda: Optional[str] = '12.1'\n";
        std::fs::write(dir.path().join("torch/version.py"), python).unwrap();

        let found = find_in(vec![(lib.clone(), "LD_LIBRARY_PATH")]).unwrap();
        assert_eq!((found.version.as_deref(), found.cuda), (Some("2.4.1+cu121"), Some((12, Some(1)))));
        let check = check(&Ok(found), false, "");
        assert_eq!(check.status, super::super::Status::Missing);
        assert!(
            check.found.contains("2.4.1+cu121, built for CUDA 12.1")
                && check.found.contains("wanted is 2.11")
        );
        assert!(check.todo.is_some_and(|todo| todo.starts_with("`unset LD_LIBRARY_PATH`")));

        std::fs::remove_file(dir.path().join("torch/version.py")).unwrap();
        std::fs::write(dir.path().join("torch/build-version"), "2.11.0+cu126\n").unwrap();
        let found = find_in(vec![(lib, "LD_LIBRARY_PATH")]).unwrap();
        assert_eq!((found.version.as_deref(), found.cuda), (Some("2.11.0+cu126"), Some((12, Some(6)))));
    }
}
