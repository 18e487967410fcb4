//! Whether a run that is being trained is still where it was, and can still be written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::dir::EVENTS;
use super::files::file_error;
use crate::error::{Error, Result, shown};

/// Whether the run's directory and its event log are where they were. What a process has opened it can write to after
/// that is deleted, and nobody ever reads it.
///
/// # Errors
/// `Error::User` where one of them is gone. A disk that does not answer is no proof of that.
pub fn still_there(run_dir: &Path) -> Result<()> {
    let is_gone =
        |path: &Path| matches!(fs::symlink_metadata(path), Err(e) if e.kind() == io::ErrorKind::NotFound);
    let events = run_dir.join(EVENTS);
    let what = match (is_gone(run_dir), is_gone(&events)) {
        (true, _) => format!("the run's directory is gone: {}", shown(run_dir)),
        (false, true) => format!("the run's event log is gone: {}", shown(&events)),
        _ => return Ok(()),
    };
    Err(Error::user(format!(
        "{what} was deleted or moved while the run was trained; put it back where it was to go on from its last checkpoint, \
         or start the run anew"
    )))
}

/// Why a run that has gone without a word may have: its directory is gone, or cannot be written.
///
/// # Errors
/// `Error::User` that tells it; none where all looks well.
pub fn check_place(run_dir: &Path) -> Result<()> {
    still_there(run_dir)?;
    let events = run_dir.join(EVENTS);
    let opened = OpenOptions::new().append(true).open(&events);
    opened.map_err(|e| file_error("write", &events, &e))?;
    try_to_write(run_dir).map_err(|e| file_error("write", run_dir, &e))
}

/// Writes a byte to a file without a name, which nobody sees and nothing is left of. A file system that the kernel has
/// stopped writing to after an error lets files be opened all the same. One that knows no such files tells nothing.
fn try_to_write(dir: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(dir) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::StorageFull) => {
            return Err(e);
        }
        Err(_) => return Ok(()),
    };
    file.write_all(b"x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_named() {
        let out = tempfile::tempdir().unwrap();
        let run = out.path().join("run");
        fs::create_dir(&run).unwrap();
        fs::write(run.join(EVENTS), "").unwrap();
        assert!(check_place(&run).is_ok());
        assert_eq!(fs::read_dir(&run).unwrap().count(), 1, "the attempt leaves nothing");
        fs::rename(run.join(EVENTS), run.join("elsewhere")).unwrap();
        let e = check_place(&run).unwrap_err();
        assert!(e.exit_code() == 2 && e.to_string().contains("event log is gone"), "{e}");
        fs::remove_dir_all(&run).unwrap();
        let e = check_place(&run).unwrap_err();
        assert!(e.exit_code() == 2 && e.to_string().contains("the run's directory is gone"), "{e}");
    }
}
