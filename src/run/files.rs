//! Writing files so that a crash or a full disk leaves the old content or the new one, never a half.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::error::{Context, Error, Result, shown};
use crate::plain;

/// The error of a file operation. The disk is the user's, so the user can mend it; the message says how where it
/// is clear.
pub(crate) fn file_error(doing: &str, path: &Path, e: &io::Error) -> Error {
    let message = format!("cannot {doing} {}: {e}{}", shown(path), advice(path, e));
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoRoom(message),
        _ => Error::User(message),
    }
}

/// What to do about it; empty where that is not clear.
pub(super) fn advice(path: &Path, e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::StorageFull => make_room(path),
        io::ErrorKind::QuotaExceeded => "; your quota is used up".to_owned(),
        io::ErrorKind::PermissionDenied => "; change its permissions or choose another directory".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "; choose a directory on a disk that can be written".to_owned(),
        _ => String::new(),
    }
}

/// What to do where the disk of `path` is full.
pub(super) fn make_room(path: &Path) -> String {
    let left = match free_bytes(path) {
        Some(bytes) => format!(" ({:.1} MB are left)", bytes as f64 / 1e6),
        None => String::new(),
    };
    format!("; free some space there{left}, or set output_dir to another disk")
}

/// Bytes that are free where `path` lies, or would; none where the system does not say.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let path = std::path::absolute(path).ok()?;
    let there = path.ancestors().find(|p| p.exists())?;
    statvfs(there).ok().map(|disk| disk.f_bavail * disk.f_frsize)
}

/// A file's bytes, and their SHA-256 in lower-case hexadecimal.
pub fn sha256(path: &Path) -> io::Result<(u64, String)> {
    let mut file = plain::open(path)?;
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        sha.update(&buffer[..n]);
        bytes += n as u64;
    }
    Ok((bytes, sha.finalize().iter().map(|b| format!("{b:02x}")).collect()))
}

/// Makes the entries of `dir` (new names, renames) survive a power cut. File systems that cannot sync a directory
/// keep their own promises, so their refusal is no error.
pub(super) fn sync_dir(dir: &Path) {
    if let Ok(d) = File::open(dir) {
        let _ = d.sync_all();
    }
}

/// What stands between the name that a file is to get and the process that writes it.
const UNNAMED: &str = ".tmp-";

/// The process that writes, or wrote, a file of this name, which has not got its own yet; none where it is another's.
pub(super) fn unnamed_by(name: &str) -> Option<i32> {
    let (_, pid) = name.strip_prefix('.')?.rsplit_once(UNNAMED)?;
    pid.parse().ok().filter(|pid| *pid > 0)
}

/// Puts `bytes` at `path` in one rename, from a synced temporary beside it.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    put_atomic(path, bytes).map_err(|e| file_error("write", path, &e))
}

/// [`write_atomic`] for those who say themselves what can be done where it fails.
pub fn put_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file's path"));
    };
    let tmp = dir.join(format!(".{}{UNNAMED}{}", name.to_string_lossy(), std::process::id()));
    let written = File::create(&tmp).and_then(|mut f| f.write_all(bytes).and_then(|()| f.sync_all()));
    written.and_then(|()| fs::rename(&tmp, path)).inspect_err(|_| drop(fs::remove_file(&tmp)))?;
    sync_dir(dir);
    Ok(())
}

/// `value` as JSON with the given indentation, Chinese text unescaped, ending in a newline.
pub fn pretty_json<T: Serialize + ?Sized>(value: &T, indent: usize) -> Result<Vec<u8>> {
    let spaces = vec![b' '; indent];
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(&spaces);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    value.serialize(&mut serializer).internal("writing JSON")?;
    out.push(b'\n');
    Ok(out)
}

/// Writes `value` as the project's JSON files are: indented by 2, UTF-8, whole or not at all.
pub fn write_json<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<()> {
    write_atomic(path, &pretty_json(value, 2)?)
}

/// Reads a JSON file, Python's included: its `NaN` and `Infinity` are no JSON and are read as null.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = plain::read_text(path, plain::SETTINGS).map_err(|e| file_error("read", path, &e))?;
    serde_json::from_str(&text)
        .or_else(|e| match without_python_constants(&text) {
            Some(plain) => serde_json::from_str(&plain),
            None => Err(e),
        })
        .user(format!("cannot make sense of {}", shown(path)))
}

/// `text` with the bare words `NaN`, `Infinity` and `-Infinity` outside strings replaced by null; None where there
/// are none.
fn without_python_constants(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut in_string, mut found) = (text, false, false);
    while let Some(c) = rest.chars().next() {
        if in_string && c == '\\' {
            let n = rest.chars().take(2).map(char::len_utf8).sum();
            out.push_str(&rest[..n]);
            rest = &rest[n..];
            continue;
        }
        in_string ^= c == '"';
        let word = ["NaN", "-Infinity", "Infinity"].iter().find(|w| !in_string && rest.starts_with(**w));
        if let Some(word) = word {
            found = true;
            out.push_str("null");
            rest = &rest[word.len()..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    found.then_some(out)
}

/// A file of lines that only grows. Opening it cuts off a torn last line; a line that cannot be written whole is
/// taken back.
#[derive(Debug)]
pub(super) struct AppendFile {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    len: u64,
    /// Where the room ends that the disk keeps for it beyond them.
    reserved: u64,
}

impl AppendFile {
    /// Opens or creates `path`; the second value is its content, whole lines only.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<u8>)> {
        let open = || -> io::Result<(Self, Vec<u8>)> {
            let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
            let mut content = Vec::new();
            file.read_to_end(&mut content)?;
            let whole = content.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
            if whole < content.len() {
                file.set_len(whole as u64)?;
                content.truncate(whole);
            }
            Ok((Self { path: path.to_owned(), file, len: whole as u64, reserved: 0 }, content))
        };
        open().map_err(|e| file_error("open", path, &e))
    }

    /// Appends `line`, which ends in a newline, with one write(2).
    pub(super) fn append(&mut self, line: &[u8]) -> Result<()> {
        debug_assert!(line.ends_with(b"\n"));
        // write_all goes on after a short write, and so learns why it was short.
        if let Err(e) = self.file.write_all(line) {
            self.take_back();
            return Err(file_error("write", &self.path, &e));
        }
        self.len += line.len() as u64;
        Ok(())
    }

    /// Sees to it that some `bytes` more can be written whatever happens to the disk (at least half of them): blocks
    /// are taken beyond the end of the file, which keeps its length. File systems that cannot do so promise nothing.
    pub(super) fn reserve(&mut self, bytes: u64) -> Result<()> {
        if self.reserved >= self.len + bytes / 2 {
            return Ok(());
        }
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.len, bytes) {
            Ok(()) => self.reserved = self.len + bytes,
            Err(e @ (Errno::NOSPC | Errno::DQUOT)) => return Err(file_error("write", &self.path, &e.into())),
            Err(_) => self.reserved = u64::MAX,
        }
        Ok(())
    }

    /// Leaves the first `len` bytes, whole lines.
    pub(super) fn cut(&mut self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(|e| file_error("write", &self.path, &e))?;
        self.len = len;
        Ok(())
    }

    /// Takes back what stands after the whole lines, and the room that is reserved.
    fn take_back(&mut self) {
        let _ = self.file.set_len(self.len);
        if self.reserved != u64::MAX {
            self.reserved = 0;
        }
    }

    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| file_error("write", &self.path, &e))
    }

    /// One that always finds the disk full.
    #[cfg(test)]
    pub(super) fn full_disk() -> Self {
        let path = PathBuf::from("/dev/full");
        Self { file: OpenOptions::new().append(true).open(&path).unwrap(), path, len: 0, reserved: 0 }
    }
}

impl Drop for AppendFile {
    fn drop(&mut self) {
        if (1..u64::MAX).contains(&self.reserved) {
            self.take_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn python_constants_are_null_and_strings_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity], "NaN": "\"NaN\\", "好": "Infinity"}"#;
        fs::write(&path, text).unwrap();
        let v: Value = read_json(&path).unwrap();
        assert_eq!(v, json!({"a": null, "b": [null, null], "NaN": "\"NaN\\", "好": "Infinity"}));
        fs::write(&path, "{\"a\": NaN, oops}").unwrap();
        let e = read_json::<Value>(&path).unwrap_err();
        assert!(e.exit_code() == 2 && e.to_string().contains("x.json"), "{e}");
    }

    #[test]
    fn an_atomic_write_replaces_and_leaves_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // A directory in the file's place cannot be replaced.
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/x"), "").unwrap();
        assert_eq!(write_atomic(&dir.path().join("d"), b"").unwrap_err().exit_code(), 2);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
