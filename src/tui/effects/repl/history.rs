//! What was typed in earlier sessions: a file of JSON strings, a line each, for the person alone.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Texts that are kept.
pub const KEPT: usize = 500;
/// Bytes that are read of the file, its last ones, and of a text that is kept.
const READ: u64 = 1 << 20;
const LONGEST: usize = 16 << 10;

/// `$XDG_STATE_HOME/qwen-tui/repl_history`, or beneath `~/.local/state`; none without a home.
pub fn path() -> Option<PathBuf> {
    Some(crate::job::register::state_dir()?.join("repl_history"))
}

/// The newest texts, oldest first; a file that has grown is cut down to them. What cannot be read is no history.
pub fn load(path: &Path) -> Vec<String> {
    // Anything but a file could keep the reader waiting for ever.
    if !fs::metadata(path).is_ok_and(|m| m.is_file()) {
        return Vec::new();
    }
    let read = || -> std::io::Result<(Vec<u8>, u64)> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(READ)))?;
        let mut bytes = Vec::new();
        file.take(READ).read_to_end(&mut bytes)?;
        Ok((bytes, length))
    };
    let (bytes, length) = read().unwrap_or_default();
    let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).collect();
    let mut texts: Vec<String> = lines.iter().filter_map(|l| serde_json::from_slice(l).ok()).collect();
    texts.drain(..texts.len().saturating_sub(KEPT));
    if lines.len() > 2 * KEPT || length > READ {
        // Where it cannot be written, it only stays long.
        let _ = rewrite(path, &texts);
    }
    texts
}

/// Adds a text. Long ones are pasted documents, which nobody looks for in a history.
///
/// # Errors
/// The file cannot be written.
pub fn append(path: &Path, text: &str) -> std::io::Result<()> {
    if text.len() > LONGEST {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    if fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return Err(std::io::Error::other("not a file"));
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    // In one write, so that two cockpits do not tear each other's lines.
    file.write_all(line(text).as_bytes())
}

fn line(text: &str) -> String {
    format!("{}\n", serde_json::Value::from(text))
}

fn rewrite(path: &Path, texts: &[String]) -> std::io::Result<()> {
    let aside = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(texts.iter().map(|t| line(t)).collect::<String>().as_bytes())?;
    fs::rename(aside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_in_order_with_their_lines_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/qwen-tui/repl_history");
        assert!(load(&path).is_empty());
        for text in ["很好", "第一行\n第二行 \"引\"", "差"] {
            append(&path, text).unwrap();
        }
        append(&path, &"长".repeat(LONGEST)).unwrap();
        assert_eq!(load(&path), ["很好", "第一行\n第二行 \"引\"", "差"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn it_stays_short_and_broken_lines_fall_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("repl_history");
        let lines: String = (0..3 * KEPT).map(|i| line(&format!("第{i}"))).collect();
        fs::write(&path, format!("{lines}\"torn\n\u{0}\n7\n")).unwrap();
        let texts = load(&path);
        assert_eq!((texts.len(), texts.last().unwrap().as_str()), (KEPT, "第1499"));
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), KEPT);
        assert_eq!(load(&path), texts);
        // A huge one is read at its end.
        fs::write(&path, "\"x\"\n".repeat(READ as usize)).unwrap();
        assert_eq!(load(&path).len(), KEPT);
        assert!(fs::metadata(&path).unwrap().len() < READ);
        // A directory in its place is no history and no harm.
        assert!(load(dir.path()).is_empty() && append(dir.path(), "x").is_err());
    }
}
