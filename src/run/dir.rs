//! The run directory: where it is made, and what lies where in it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde_json::{Map, Value};

use super::files::{advice, file_error, pretty_json, sync_dir, write_atomic};
use super::tensorboard;
use crate::args::SftArgs;
use crate::error::{Context, Error, Result, shown};

/// SWIFT's log in the run directory, see [`super::logging`].
pub const LOGGING: &str = "logging.jsonl";
/// What a merged model was made of: the file that tells it from a run with the same arguments.
pub const MERGED: &str = "merged.json";
/// The event log in the run directory, see [`super::event_log`].
pub const EVENTS: &str = "events.jsonl";
/// What the worker and the native libraries in it print.
pub const WORKER_LOG: &str = "worker.log";
/// The lock that lets one worker into a run.
pub const WORKER_LOCK: &str = "worker.lock";
/// Where model and data lie that the arguments name.
pub const SOURCES: &str = "sources.json";
/// How the worker ended, where whoever started it saw that.
pub const WORKER_EXIT: &str = "worker.exit";

/// A run directory that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    root: PathBuf,
}

/// The local time as SWIFT writes it into names: `YYYYMMDD-HHMMSS`.
pub fn timestamp() -> String {
    chrono::Local::now().format("%Y%m%d-%H%M%S").to_string()
}

impl RunDir {
    /// Makes the directory of a new run.
    ///
    /// With `add_suffix` it is `output_dir/model_type/vN-YYYYMMDD-HHMMSS`, N one above the highest there, as SWIFT
    /// counts (from 0); runs created at the same time get different N. Without, it is `output_dir` itself, which
    /// must not hold a run yet (to go on with one, use [`RunDir::open`]).
    ///
    /// Errors: `Error::User` where the directory cannot be made or written, or holds a run already.
    pub fn create(output_dir: &Path, model_type: &str, add_suffix: bool) -> Result<RunDir> {
        let place = check_output_dir(output_dir, model_type, add_suffix)?;
        if !add_suffix {
            return Self::create_at(place);
        }
        let stamp = timestamp;
        Self::create_version(&place, stamp)
    }

    /// `stamp` makes the second half of the name.
    fn create_version(parent: &Path, stamp: impl Fn() -> String) -> Result<RunDir> {
        fs::create_dir_all(parent).map_err(|e| output_error("create the output directory", parent, &e))?;
        // Two runs started at once would find the same highest N and, a second apart, both get it. Where the file
        // system knows no locks the names still differ, only N may not.
        let guard = File::open(parent).map_err(|e| file_error("open the output directory", parent, &e))?;
        let _ = flock(&guard, FlockOperation::LockExclusive);
        loop {
            let n = next_version(parent).map_err(|e| file_error("list the output directory", parent, &e))?;
            let root = parent.join(format!("v{n}-{}", stamp()));
            match fs::create_dir(&root) {
                Ok(()) => {
                    sync_dir(parent);
                    return Ok(RunDir { root });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(output_error("create the run directory", &root, &e)),
            }
        }
    }

    fn create_at(root: PathBuf) -> Result<RunDir> {
        fs::create_dir_all(&root).map_err(|e| output_error("create the output directory", &root, &e))?;
        let run = RunDir { root };
        // Made, not looked for: of two that start at once, one gets it. It also tells a read-only directory now
        // rather than after the model is loaded.
        match OpenOptions::new().write(true).create_new(true).open(run.events_file()) {
            Ok(_) => Ok(run),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(Error::user(format!(
                "output_dir {} already holds a run (events.jsonl): choose \
                 another output_dir, or leave add_output_dir_suffix true",
                shown(&run.root)
            ))),
            Err(e) => Err(output_error("write into the output directory", &run.root, &e)),
        }
    }

    /// A run that is there already, ours or SWIFT's: a directory with `sft_args.json`, `events.jsonl` or
    /// `logging.jsonl` in it. Errors: `Error::User` where it is none.
    pub fn open(root: &Path) -> Result<RunDir> {
        let root = fs::canonicalize(root).map_err(|e| file_error("open the run directory", root, &e))?;
        let run = RunDir { root };
        if !run.root.is_dir() {
            return Err(Error::user(format!("{} is a file, not a run directory", shown(&run.root))));
        }
        if ![run.args_file(), run.events_file(), run.logging_file()].iter().any(|f| f.is_file()) {
            return Err(Error::user(format!(
                "{} is not a run directory: it has no sft_args.json, events.jsonl or logging.jsonl",
                shown(&run.root)
            )));
        }
        Ok(run)
    }

    /// One that has been made in `root`, an absolute path, and may have nothing in it yet.
    pub fn made(root: &Path) -> RunDir {
        RunDir { root: root.to_owned() }
    }

    /// Removes a run that came to nothing: the files that every worker makes, and then the directories that are
    /// empty, up to but not including `kept`. What else lies there stays.
    pub fn discard(self, kept: &Path) {
        // A file that cannot be removed keeps its directory, and nobody is worse off.
        let (exit, sources) = (self.root.join(WORKER_EXIT), self.root.join(SOURCES));
        let made = [
            self.args_file(),
            self.training_args_file(),
            self.events_file(),
            self.worker_log(),
            exit,
            sources,
            self.lock(),
            self.socket(),
        ];
        for file in made {
            let _ = fs::remove_file(file);
        }
        tensorboard::discard(&self.runs_dir());
        let mut dir = self.root.as_path();
        while dir != kept && fs::remove_dir(dir).is_ok() {
            let Some(parent) = dir.parent() else { break };
            dir = parent;
        }
    }

    /// Absolute.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The arguments of the run, in SWIFT's form.
    pub fn args_file(&self) -> PathBuf {
        self.root.join("sft_args.json")
    }

    pub fn logging_file(&self) -> PathBuf {
        self.root.join(LOGGING)
    }

    pub fn events_file(&self) -> PathBuf {
        self.root.join(EVENTS)
    }

    pub fn worker_log(&self) -> PathBuf {
        self.root.join(WORKER_LOG)
    }

    /// transformers' arguments, see [`super::training_args`].
    pub fn training_args_file(&self) -> PathBuf {
        self.root.join("training_args.json")
    }

    /// TensorBoard's files, unless `logging_dir` names another place.
    pub fn runs_dir(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Where TensorBoard's files go: `logging_dir`, or [`runs`](Self::runs_dir) here.
    pub fn tensorboard_dir(&self, args: &SftArgs) -> PathBuf {
        args.logging_dir.as_ref().map_or_else(|| self.runs_dir(), PathBuf::from)
    }

    /// The plots of a run that has ended.
    pub fn images_dir(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The worker's socket. A socket's path has room for 107 bytes, which a deep run directory can exceed: bind and
    /// connect must be ready for that.
    pub fn socket(&self) -> PathBuf {
        self.root.join("worker.sock")
    }

    /// Held by the worker as long as it lives.
    pub fn lock(&self) -> PathBuf {
        self.root.join(WORKER_LOCK)
    }

    /// Where the checkpoint after optimizer step `step` lies, or would.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.root.join(format!("checkpoint-{step}"))
    }

    /// Writes `sft_args.json` in one rename: indented by 2, Chinese text as it is.
    pub fn write_args(&self, args: &Map<String, Value>) -> Result<()> {
        write_atomic(&self.args_file(), &pretty_json(args, 2)?)
    }
}

/// A run's place cannot be made; there is always another.
fn output_error(doing: &str, path: &Path, e: &io::Error) -> Error {
    match file_error(doing, path, e) {
        Error::User(message) if advice(path, e).is_empty() => {
            Error::User(format!("{message}; set output_dir to a directory that can be written"))
        }
        e => e,
    }
}

/// Where [`RunDir::create`] would make a run: refused where a file or a link to nothing is in the way, before what would
/// take time is done for it, and where a line break in the path would split the lines that scripts read.
///
/// # Errors
/// `Error::User` as [`RunDir::create`]'s.
pub fn check_output_dir(output_dir: &Path, model_type: &str, add_suffix: bool) -> Result<PathBuf> {
    let mut place =
        std::path::absolute(output_dir).user(format!("output_dir {:?} is no path", shown(output_dir)))?;
    if add_suffix {
        place.push(model_type);
    }
    if place.as_os_str().as_encoded_bytes().iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Err(Error::user(format!(
            "output_dir {} has a line break in its name, and scripts read it as one line: choose another",
            shown(&place)
        )));
    }
    let is_nothing = |path: &&Path| path.metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
    let nearest = place.ancestors().find(|path| path.symlink_metadata().is_ok());
    let is_circle =
        |path: &&Path| path.metadata().is_err_and(|e| e.raw_os_error() == Some(Errno::LOOP.raw_os_error()));
    if let Some(link) = nearest.filter(is_circle) {
        return Err(Error::user(format!(
            "cannot create the output directory {}: {} is a link that leads to itself; remove it, or set output_dir to \
             another directory",
            shown(&place),
            shown(link)
        )));
    }
    if let Some(link) = nearest.filter(is_nothing) {
        return Err(Error::user(format!(
            "cannot create the output directory {}: {} is a link to {}, which is not there; make that, or set output_dir \
             to another directory",
            shown(&place),
            shown(link),
            shown(&fs::read_link(link).unwrap_or_default())
        )));
    }
    match existing(&place).is_dir() {
        true => Ok(place),
        false => Err(output_error("create the output directory", &place, &Errno::NOTDIR.into())),
    }
}

/// Refuses a `place` of [`check_output_dir`] in which [`RunDir::create`] could make nothing, where it is to make something
/// only later. A directory is made and removed: what may be written is told by nothing else, least of all to root. A full
/// disk is no obstacle to what has time.
///
/// # Errors
/// `Error::User` as [`RunDir::create`]'s.
pub fn check_writable(place: &Path) -> Result<()> {
    let probe = existing(place).join(format!(".qwen-tui-{}", std::process::id()));
    match fs::create_dir(&probe) {
        Ok(()) => drop(fs::remove_dir(&probe)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => match output_error("create the output directory", place, &e) {
            Error::NoRoom(_) => {}
            e => return Err(e),
        },
    }
    Ok(())
}

/// The nearest directory above `path` (or itself) that is there: what [`RunDir::discard`] keeps.
pub fn existing(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_default();
    path.ancestors().find(|p| p.exists()).unwrap_or(&path).to_owned()
}

/// One above the highest N of the entries named `vN...` in `parent`; 0 where there are none.
fn next_version(parent: &Path) -> io::Result<u64> {
    let mut next = 0;
    for entry in fs::read_dir(parent)? {
        let name = entry?.file_name();
        let digits: String = match name.to_string_lossy().strip_prefix('v') {
            Some(rest) => rest.chars().take_while(char::is_ascii_digit).collect(),
            None => continue,
        };
        if let Some(above) = digits.parse::<u64>().ok().and_then(|n| n.checked_add(1)) {
            next = next.max(above);
        }
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_link_that_leads_to_itself_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (from, to) in [("loop", "loop"), ("a", "b"), ("b", "a")] {
            std::os::unix::fs::symlink(to, dir.path().join(from)).unwrap();
        }
        for name in ["loop", "a", "loop/under/it"] {
            for add_suffix in [false, true] {
                let error = check_output_dir(&dir.path().join(name), "m", add_suffix).unwrap_err();
                assert_eq!(error.exit_code(), 2);
                assert!(error.to_string().contains("is a link that leads to itself"), "{error}");
            }
        }
    }

    fn version(run: &RunDir) -> String {
        let name = run.path().file_name().unwrap().to_string_lossy().into_owned();
        name.split('-').next().unwrap().to_owned()
    }

    #[test]
    fn versions_count_up_from_the_highest() {
        let out = tempfile::tempdir().unwrap();
        let first = RunDir::create(out.path(), "qwen-1_8b", true).unwrap();
        assert_eq!(version(&first), "v0");
        assert_eq!(first.path().parent().unwrap(), out.path().join("qwen-1_8b"));
        for name in ["v9-20240101-000000", "v10-x", "v99999999999999999999", "vx", "w77"] {
            fs::create_dir(out.path().join("qwen-1_8b").join(name)).unwrap();
        }
        let run = RunDir::create(out.path(), "qwen-1_8b", true).unwrap();
        assert_eq!(version(&run), "v11");
        let name = run.path().file_name().unwrap().to_string_lossy().into_owned();
        let time = name.strip_prefix("v11-").unwrap();
        assert!(chrono::NaiveDateTime::parse_from_str(time, "%Y%m%d-%H%M%S").is_ok(), "{name}");
    }

    #[test]
    fn runs_created_at_once_get_different_versions() {
        let out = tempfile::tempdir().unwrap();
        // Stamps that all differ, as across a second's border, and stamps that are all the same.
        for differ in [true, false] {
            let (parent, start) = (out.path().join(differ.to_string()), std::sync::Barrier::new(8));
            let create = |i: usize| {
                start.wait();
                let run =
                    RunDir::create_version(&parent, || if differ { format!("t{i}") } else { "t".to_owned() });
                version(&run.unwrap())
            };
            let mut versions: Vec<String> = std::thread::scope(|s| {
                let create = &create;
                let threads: Vec<_> = (0..8).map(|i| s.spawn(move || create(i))).collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            versions.sort();
            assert_eq!(versions, ["v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7"]);
        }
    }

    #[test]
    fn without_suffix_a_run_is_never_overwritten() {
        let out = tempfile::tempdir().unwrap();
        let root = out.path().join("mine");
        let created: Vec<_> = std::thread::scope(|s| {
            let create = || RunDir::create(&root, "qwen-1_8b", false);
            let threads: Vec<_> = (0..8).map(|_| s.spawn(create)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = created.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 7), "of those that start at once, one gets it");
        assert_eq!(won.into_iter().next().unwrap().unwrap().path(), root);
        for e in lost.into_iter().map(Result::unwrap_err) {
            assert!(e.exit_code() == 2 && e.to_string().contains("already holds a run"), "{e}");
        }
        assert_eq!(RunDir::open(&root).unwrap().path(), fs::canonicalize(&root).unwrap());
    }

    #[test]
    fn discarding_takes_what_was_made_and_nothing_else() {
        let out = tempfile::tempdir().unwrap();
        let run = RunDir::create(&out.path().join("a/b"), "qwen-1_8b", true).unwrap();
        let other = RunDir::create(&out.path().join("a"), "mine", true).unwrap();
        fs::create_dir(run.runs_dir()).unwrap();
        fs::create_dir(other.runs_dir()).unwrap();
        for file in [
            run.args_file(),
            run.training_args_file(),
            run.worker_log(),
            run.runs_dir().join("events.out.tfevents.1.a.1.0"),
            other.args_file(),
            other.runs_dir().join("notes.txt"),
        ] {
            fs::write(file, "x").unwrap();
        }
        run.discard(out.path());
        assert!(!out.path().join("a/b").exists() && out.path().join("a").is_dir());
        let kept = other.path().to_owned();
        other.discard(out.path());
        assert_eq!(fs::read_dir(&kept).unwrap().count(), 1);
        fs::remove_file(kept.join("runs/notes.txt")).unwrap();
        RunDir { root: kept }.discard(out.path());
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_output_directory_that_cannot_be_written_is_the_users_to_mend() {
        let out = tempfile::tempdir().unwrap();
        let file = out.path().join("file");
        fs::write(&file, "").unwrap();
        // /proc refuses new entries even to root; a file has no entries.
        for place in [Path::new("/proc/qwen-tui"), &file] {
            for suffix in [true, false] {
                let e = RunDir::create(place, "qwen-1_8b", suffix).unwrap_err();
                assert!(e.exit_code() == 2 && e.to_string().contains(place.to_str().unwrap()), "{e}");
                assert!(e.to_string().contains("output_dir"), "{e}");
            }
        }
        if !rustix::process::geteuid().is_root() {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(out.path(), fs::Permissions::from_mode(0o555)).unwrap();
            for suffix in [true, false] {
                let e = RunDir::create(out.path(), "qwen-1_8b", suffix).unwrap_err();
                assert!(e.exit_code() == 2 && e.to_string().contains("permissions"), "{e}");
            }
            fs::set_permissions(out.path(), fs::Permissions::from_mode(0o755)).unwrap();
        }
        // A link to nothing, and what would be two lines.
        let link = out.path().join("link");
        std::os::unix::fs::symlink(out.path().join("gone"), &link).unwrap();
        for (place, told) in [(link.clone(), "is a link to "), (link.join("a"), "is not there; make that")] {
            for suffix in [true, false] {
                let e = RunDir::create(&place, "qwen-1_8b", suffix).unwrap_err();
                assert!(e.exit_code() == 2 && e.to_string().contains(told), "{e}");
            }
        }
        let e = RunDir::create(&out.path().join("a\nb"), "qwen-1_8b", true).unwrap_err();
        assert!(e.exit_code() == 2 && e.to_string().contains("a\\nb/qwen-1_8b has a line break"), "{e}");
        // An existing directory in which nothing can be created.
        assert_eq!(RunDir::create(Path::new("/proc/self"), "", false).unwrap_err().exit_code(), 2);
        assert_eq!(RunDir::open(&file).unwrap_err().exit_code(), 2);
        assert_eq!(RunDir::open(&out.path().join("none")).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn arguments_are_written_as_swift_writes_them() {
        let out = tempfile::tempdir().unwrap();
        let run = RunDir::create(out.path(), "qwen-1_8b", true).unwrap();
        let Value::Object(args) = json!({"seed": 42, "system": "你好", "lora_target_modules": ["c_attn"]})
        else {
            panic!()
        };
        run.write_args(&args).unwrap();
        let text = fs::read_to_string(run.args_file()).unwrap();
        assert_eq!(
            text,
            "{\n  \"seed\": 42,\n  \"system\": \"你好\",\n  \"lora_target_modules\": [\n    \"c_attn\"\n  ]\n}\n"
        );
    }
}
