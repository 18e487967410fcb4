//! The runs of this user that are being trained, wherever they lie: a link for each in the state directory.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::runs::worker_alive;

/// The register's folder in the state directory.
const RUNNING: &str = "running";

/// `$XDG_STATE_HOME/qwen-tui`, or beneath `~/.local/state`; none without a home.
pub fn state_dir() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p: &PathBuf| p.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("qwen-tui"))
}

/// A run's place in the register; dropped, it is taken out.
#[derive(Debug)]
pub struct Registered(Option<PathBuf>);

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(link) = &self.0 {
            let _ = fs::remove_file(link);
        }
    }
}

/// Enters the run in `run`, an absolute path, for as long as the result lives. Where that cannot be written the run is
/// worth as much, and found under its output directory alone.
pub fn register(run: &Path) -> Registered {
    Registered(place().and_then(|register| enter(&register, run).ok()))
}

/// The run directories that a worker trains. Links that killed workers have left are removed.
pub fn running() -> Vec<PathBuf> {
    place().map_or_else(Vec::new, |register| look(&register))
}

/// This machine's register.
fn place() -> Option<PathBuf> {
    of_this_machine(RUNNING)
}

/// This machine's folder in the state directory's `kind`. Several may share a home, and a lock is seen for certain on its
/// own machine only.
pub(super) fn of_this_machine(kind: &str) -> Option<PathBuf> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(state_dir()?.join(kind).join(host.trim()))
}

fn enter(register: &Path, run: &Path) -> std::io::Result<PathBuf> {
    fs::create_dir_all(register)?;
    let hash = Sha256::digest(run.as_os_str().as_encoded_bytes());
    let link = register.join(hash[..12].iter().map(|b| format!("{b:02x}")).collect::<String>());
    // Left by a worker of this run that was killed.
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(run, &link)?;
    Ok(link)
}

fn look(register: &Path) -> Vec<PathBuf> {
    let links = fs::read_dir(register).into_iter().flatten().flatten().map(|entry| entry.path());
    let alive = |link: PathBuf| {
        // Only what this program has put there: anything else is no link.
        let run = fs::read_link(&link).ok()?;
        let alive = worker_alive(&run);
        if !alive {
            let _ = fs::remove_file(&link);
        }
        alive.then_some(run)
    };
    links.filter_map(alive).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_runs_with_a_worker_are_told_and_dead_links_go() {
        let dir = tempfile::tempdir().unwrap();
        let register = dir.path().join("state/running");
        assert!(look(&register).is_empty());
        let runs = ["评论/v0", "v1"].map(|name| dir.path().join(name));
        let locks = runs.each_ref().map(|run| {
            fs::create_dir_all(run).unwrap();
            let lock = fs::File::create(run.join("worker.lock")).unwrap();
            lock.lock().unwrap();
            enter(&register, run).unwrap();
            // Entered again by the next worker.
            enter(&register, run).unwrap();
            lock
        });
        enter(&register, &dir.path().join("deleted")).unwrap();
        fs::write(register.join("a file of somebody's"), "").unwrap();
        let mut told = look(&register);
        told.sort();
        let mut wanted = runs.to_vec();
        wanted.sort();
        assert_eq!(told, wanted);
        let [first, second] = locks;
        drop(first);
        assert_eq!(look(&register), [runs[1].clone()]);
        drop(second);
        assert!(look(&register).is_empty());
        assert_eq!(fs::read_dir(&register).unwrap().count(), 1, "the file stays");
    }

    #[test]
    fn a_run_that_ends_is_taken_out() {
        let dir = tempfile::tempdir().unwrap();
        let link = enter(dir.path(), Path::new("/a/run")).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/a/run"));
        drop(Registered(Some(link.clone())));
        assert!(fs::symlink_metadata(&link).is_err());
    }
}
