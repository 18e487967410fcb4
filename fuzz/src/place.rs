//! A directory in memory for the files that are made of the bytes, and what an error must be.

use std::fs;
use std::path::{Path, PathBuf};

use qwen_tui::error::{Error, Result};
use tempfile::TempDir;

/// Bytes of the longest message: it may quote a name or a value, and never a file.
const MESSAGE: usize = 4000;

thread_local! {
    static DIR: TempDir = {
        let memory = Path::new("/dev/shm");
        let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        made.expect("a directory for the inputs")
    };
}

/// A directory of this thread's own.
pub fn dir() -> PathBuf {
    DIR.with(|dir| dir.path().to_owned())
}

/// Writes `bytes` to `name` in it, whose folders are made.
pub fn write(name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir().join(name);
    if fs::write(&path, bytes).is_err() {
        fs::create_dir_all(path.parent().expect("it has a name")).expect("a folder for an input");
        fs::write(&path, bytes).expect("the input's file");
    }
    path
}

/// What was read, or nothing where the user was told why not. Another error is a fault of the program.
pub fn for_people<T>(read: Result<T>) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(Error::User(message) | Error::NoRoom(message)) => {
            message_for_people(&message);
            None
        }
        Err(Error::Internal(message)) => panic!("an error of the program's own: {message}"),
    }
}

/// Looks at a message that stands on a terminal.
pub fn message_for_people(message: &str) {
    assert!(message.len() <= MESSAGE, "{} bytes: {message}", message.len());
    assert!(!message.is_empty());
}

/// The first byte, which chooses what is done, and the rest.
pub fn choice(bytes: &[u8]) -> (u8, &[u8]) {
    bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest))
}
