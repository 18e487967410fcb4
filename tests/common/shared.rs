//! Reference data, which not every machine has. Tests of both packages include this file.

use std::path::{Path, PathBuf};

/// `name` in the folder of reference data, `$QWEN_TUI_SHARED` or `shared` beside the repository; None (said on standard
/// error) where it is absent.
pub fn shared(name: &str) -> Option<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The workspace's root has the lock file.
    let root = package.ancestors().find(|dir| dir.join("Cargo.lock").is_file()).unwrap_or(package);
    let folder = std::env::var_os("QWEN_TUI_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}
