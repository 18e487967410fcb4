//! Finding runs under an output directory.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::remove::stays;
use super::runs::{RunSummary, inspect, is_run};

/// How far beneath the output directory runs lie.
const DEPTH: usize = 2;

/// The runs in `output_dir`, beneath it (`MODEL_TYPE/vN-...`) or at it, newest first, and what is there and cannot be
/// read. Links to runs are followed, and each run is named once.
pub fn list_runs(output_dir: &Path) -> Vec<RunSummary> {
    list_with(output_dir, Vec::new())
}

/// [`list_runs`], and those in the directories of `others`, wherever they lie.
pub(super) fn list_with(output_dir: &Path, others: Vec<PathBuf>) -> Vec<RunSummary> {
    // Without links, as `RunDir::open` has it: a run has one path.
    let root = fs::canonicalize(output_dir).or_else(|_| std::path::absolute(output_dir));
    let root = root.unwrap_or_else(|_| output_dir.to_owned());
    let mut look = Look { seen: HashSet::from([root.clone()]), links: Vec::new(), runs: Vec::new() };
    look.collect(&root, DEPTH, false);
    // Last: what a link leads to within the directory lies deeper or less deep than the link.
    while let Some((link, depth)) = look.links.pop() {
        look.follow(&link, depth);
    }
    let mut runs = look.runs;
    for other in others {
        let path = fs::canonicalize(&other).unwrap_or(other);
        if runs.iter().all(|r| r.path != path) {
            runs.push(inspect(&path));
        }
    }
    for run in &mut runs {
        run.stays = stays(&run.path, &root);
        run.checkpoints_stay = run.stays.clone().filter(|_| !run.path.starts_with(&root));
    }
    runs.sort_by(|a, b| b.newest.total_cmp(&a.newest).then_with(|| b.path.cmp(&a.path)));
    runs
}

/// A look around an output directory.
struct Look {
    /// Directories that were looked into, without links.
    seen: HashSet<PathBuf>,
    /// Links that were met, and how far beneath them runs may lie.
    links: Vec<(PathBuf, usize)>,
    runs: Vec<RunSummary>,
}

impl Look {
    /// `linked`: it lies behind a link. What else is there is somebody's own: only runs are told of it.
    fn collect(&mut self, dir: &Path, depth: usize, linked: bool) {
        let is_run = is_run(dir);
        if is_run {
            self.runs.push(inspect(dir));
        }
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            // Nothing there is no error: it comes with the first run.
            Err(e) if is_run || linked || e.kind() == io::ErrorKind::NotFound => return,
            Err(e) => return self.runs.push(RunSummary::unreadable(dir, &e)),
        };
        for entry in entries.flatten().filter(|_| depth > 0) {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if is_no_run(&path) || !(kind.is_dir() || kind.is_symlink()) => {}
                Ok(kind) if kind.is_symlink() => self.links.push((path, depth - 1)),
                Ok(_) if self.seen.insert(path.clone()) => self.collect(&path, depth - 1, linked),
                _ => {}
            }
        }
    }

    fn follow(&mut self, link: &Path, depth: usize) {
        match fs::canonicalize(link) {
            Ok(path) if !path.is_dir() || is_no_run(&path) || !self.seen.insert(path.clone()) => {}
            Ok(path) => match fs::read_dir(&path) {
                Ok(_) => self.collect(&path, depth, true),
                Err(e) => self.runs.push(RunSummary::unreadable(&path, &e)),
            },
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                self.runs.push(RunSummary::unreadable(link, &e));
            }
            // To nothing, or in a circle: there is no run.
            Err(_) => {}
        }
    }
}

/// Whether a directory of this name is none for runs. Checkpoints carry the arguments too.
fn is_no_run(dir: &Path) -> bool {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || name.starts_with("checkpoint-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::runs::RunStatus;
    use crate::job::runs::tests::{STARTED, run};
    use crate::run::EVENTS;

    #[test]
    fn links_to_runs_are_followed_and_each_run_is_told_once() {
        let (out, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = out.path().canonicalize().unwrap();
        let far = run(&elsewhere.path().canonicalize().unwrap(), "评论/v7", &[STARTED]);
        let near = run(&root, "m/v0-a", &[STARTED]);
        let below = run(&root, "other/v1-b", &[STARTED]);
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, root.join(name)).unwrap();
        link(&far, "best");
        link(&far, "m/again");
        link(far.parent().unwrap(), "models");
        link(&near, "latest");
        link(&root.join("other"), "m/deeper");
        link(&root, "m/up");
        link(&root.join("circle"), "circle");
        link(&root.join("nothing"), "gone");
        link(&near.join("checkpoint-5"), "best-checkpoint");
        link(Path::new("/etc/passwd"), "file");
        for run in list_runs(&root) {
            let stays = run.stays.as_deref().is_some_and(|why| why.contains("not beneath"));
            assert_eq!((stays, run.checkpoints_stay), (run.path == far, run.stays.clone()));
        }
        let whole = &list_runs(&near)[0];
        assert!(whole.stays.as_deref().is_some_and(|why| why.contains("whole output directory")));
        assert_eq!(whole.checkpoints_stay, None);
        let mut told: Vec<_> = list_runs(&root).into_iter().map(|r| (r.path, r.problem)).collect();
        told.sort();
        let mut wanted = [far, near, below].map(|path| (path, None));
        wanted.sort();
        assert_eq!(told, wanted);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_the_reason() {
        const DIR: &str = "QWEN_TUI_TEST_UNREADABLE";
        use std::os::unix::fs::PermissionsExt;
        // A file is no directory, for root too. One that is not there is only empty.
        let out = tempfile::tempdir().unwrap();
        let file = out.path().join("file");
        fs::write(&file, "").unwrap();
        let told = list_runs(&file);
        assert_eq!((told.len(), told[0].status), (1, RunStatus::Unreadable));
        assert!(
            told[0].problem.as_deref().unwrap().contains("file cannot be read: Not a directory"),
            "{told:?}"
        );
        assert_eq!(list_runs(&out.path().join("none")), []);

        if let Some(dir) = std::env::var_os(DIR) {
            let told: Vec<_> = list_runs(Path::new(&dir));
            let of = |name: &str| told.iter().find(|r| r.path.ends_with(name)).unwrap().problem.as_deref();
            assert!(of("m/v0-a").unwrap().contains("v0-a cannot be read: Permission denied"), "{told:?}");
            assert!(of("m/v1-b").unwrap().contains("v1-b/events.jsonl cannot be read"), "{told:?}");
            assert!(of("m/v2-c").is_none() && told.len() == 3, "{told:?}");
            return;
        }
        let dirs = ["v0-a", "v1-b", "v2-c"].map(|name| run(out.path(), &format!("m/{name}"), &[STARTED]));
        let forbid = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        forbid(out.path(), 0o755);
        forbid(&dirs[0], 0);
        forbid(&dirs[1].join(EVENTS), 0);
        // Root may read everything: then somebody else looks.
        use std::os::unix::process::CommandExt;
        let this = concat!(module_path!(), "::what_cannot_be_read_is_told_with_the_reason");
        let this = this.split_once("::").unwrap().1;
        let mut other = std::process::Command::new(std::env::current_exe().unwrap());
        other.args(["--exact", this]).env(DIR, out.path());
        if rustix::process::geteuid().is_root() {
            other.uid(65534).gid(65534);
        }
        match other.output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(output.status.success() && said.contains("1 passed"), "{said}");
            }
            Err(e) => eprintln!("skipped: nobody else can run this test here: {e}"),
        }
        forbid(&dirs[0], 0o755);
    }
}
