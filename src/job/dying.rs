//! Workers on their way out: one that was killed has its run's lock until the kernel has taken it apart.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::runs::worker_alive;
use crate::error::{Error, Result, shown};
use crate::run::{WORKER_LOCK as LOCK, has_ended};

/// How long such a worker is waited for. A small one is gone in a moment; gigabytes of memory, or a GPU, take seconds.
const LEAVING: Duration = Duration::from_secs(30);
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// Whether whoever holds the lock of the run in `dir` will do nothing more, as far as can be seen: it is on its way out,
/// or a SIGKILL has been sent to it.
pub(super) fn is_dying(dir: &Path) -> bool {
    let Ok(lock) = fs::metadata(dir.join(LOCK)) else { return false };
    let holders = holders(&fs::read_to_string("/proc/locks").unwrap_or_default(), lock.ino());
    match &holders[..] {
        // It has gone meanwhile; or it is on another machine, of which nothing is seen here.
        [] => !worker_alive(dir),
        // In this order: one that is taken apart has no signals any more.
        holders => holders.iter().all(|&pid| is_killed(pid) || has_ended(pid)),
    }
}

/// Waits until a worker that is dying has given back the lock of the run in `dir`; one that lives is not waited for.
///
/// # Errors
/// `Error::User` where it is still there after half a minute.
pub(super) fn wait_for_the_dying(dir: &Path) -> Result<()> {
    let began = Instant::now();
    while worker_alive(dir) && is_dying(dir) {
        if began.elapsed() > LEAVING {
            return Err(Error::user(format!(
                "{}: its worker was killed, and has not gone yet: try again in a moment",
                shown(dir)
            )));
        }
        std::thread::sleep(TRY_AGAIN);
    }
    Ok(())
}

/// The processes that `/proc/locks` says have a whole file of number `inode` for themselves. Files of other file systems may
/// have the same number; that of the file system is another one there than `stat` tells on some.
fn holders(locks: &str, inode: u64) -> Vec<i32> {
    let holder = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, file, ..] = words[..] else { return None };
        let is_it = file.rsplit(':').next()?.parse() == Ok(inode);
        is_it.then(|| pid.parse().ok())?
    };
    locks.lines().filter_map(holder).collect()
}

/// Whether a signal that ends it has been sent to a process that the kernel has not begun to take apart: it may have been
/// in the middle of a call that cannot be broken off, or be written to disk as a core.
fn is_killed(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| says_killed(&status))
}

fn says_killed(status: &str) -> bool {
    let of = |key: &str| status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
    let kill = 1u64 << (libc::SIGKILL - 1);
    let pending =
        |key| of(key).and_then(|word| u64::from_str_radix(word, 16).ok()).is_some_and(|s| s & kill != 0);
    pending("SigPnd") || pending("ShdPnd") || of("CoreDumping") == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let locks = "1: FLOCK  ADVISORY  WRITE 8092 fe:00:77 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 9 fe:00:77 0 EOF\n\
            2: FLOCK  ADVISORY  READ 7 fe:00:77 0 EOF\n3: POSIX  ADVISORY  WRITE 6 fe:00:77 0 EOF\n\
            4: FLOCK  ADVISORY  WRITE 5 fe:00:7 0 EOF\n5: FLOCK";
        assert_eq!(holders(locks, 77), [8092]);
        assert_eq!(holders(locks, 7), [5]);
        let status = |own: &str, shared: &str, core: &str| {
            says_killed(&format!(
                "Name:\tx\nCoreDumping:\t{core}\nSigPnd:\t{own}\nShdPnd:\t{shared}\nSigBlk:\t0\n"
            ))
        };
        let (none, int, kill) = ("0000000000000000", "0000000000000002", "0000000000000100");
        assert!(status(none, kill, "0") && status(kill, none, "0") && status(none, none, "1"));
        assert!(!status(none, int, "0") && !says_killed(""));
    }
}
