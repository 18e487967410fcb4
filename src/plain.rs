//! Reading files that somebody hands over: only regular ones, and no more of them than is sensible.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Bytes of the longest file of settings or figures that is read: a trainer state of half a million lines of log.
pub const SETTINGS: u64 = 128 << 20;

/// Opens a regular file for reading. A named pipe or a device would be waited for, or read, without an end.
///
/// # Errors
/// It cannot be opened, or is none.
pub fn open(path: &Path) -> io::Result<File> {
    // Without NONBLOCK the opening of a named pipe waits for a writer; regular files do not know it.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    let kind = file.metadata()?.file_type();
    match kind.is_file() {
        true => Ok(file),
        false if kind.is_dir() => Err(rustix::io::Errno::ISDIR.into()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// The content of a regular file of at most `limit` bytes.
///
/// # Errors
/// It cannot be read, is no regular file, or is longer.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {} MB", limit >> 20)))
        }
        false => Ok(bytes),
    }
}

/// [`read`] of text.
///
/// # Errors
/// Those, and bytes that are not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?).map_err(|e| {
        io::Error::new(io::ErrorKind::InvalidData, format!("it is not UTF-8 text: {}", e.utf8_error()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let link = dir.path().join("link.json");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        for path in [&pipe, &link] {
            assert_eq!(read(path, SETTINGS).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(read(dir.path(), SETTINGS).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(read(&dir.path().join("none"), 9).unwrap_err().kind(), io::ErrorKind::NotFound);
        let file = dir.path().join("file");
        std::fs::write(&file, "abc").unwrap();
        assert_eq!(read_text(&file, 3).unwrap(), "abc");
        assert_eq!(read(&file, 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        std::fs::write(&file, b"a\xff").unwrap();
        assert_eq!(read_text(&file, 3).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
