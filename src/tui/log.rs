//! The cockpit's own log: a file, as the screen is taken.

use std::path::{Path, PathBuf};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};

use super::configs::CONFIGS;
use crate::job::register::state_dir;

/// The log's directory in a project's.
const LOGS: &str = "logs";
const FILE: &str = "cockpit.log";

/// Where the log is written; none without a home.
pub fn path() -> Option<PathBuf> {
    Some(dir(Path::new(""), state_dir())?.join(FILE))
}

/// `logs` where `here` is a project's directory, which has that or `configs`; anywhere else nothing is strewn about.
fn dir(here: &Path, state: Option<PathBuf>) -> Option<PathBuf> {
    match [LOGS, CONFIGS].iter().any(|name| here.join(name).is_dir()) {
        true => Some(here.join(LOGS)),
        false => state,
    }
}

/// Begins the log. Where none can be written, nothing is logged.
pub fn start() -> Option<WorkerGuard> {
    let path = path()?;
    let file = RollingFileAppender::builder()
        .rotation(Rotation::NEVER)
        .filename_prefix(FILE)
        .build(path.parent()?)
        .ok()?;
    let (writer, guard) = NonBlockingBuilder::default().lossy(false).finish(file);
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).with_env_filter(filter);
    log.try_init().ok().map(|()| guard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_projects_directory_gets_logs() {
        let here = tempfile::tempdir().unwrap();
        let state = || Some(PathBuf::from("/state/qwen-tui"));
        assert_eq!(dir(here.path(), state()), state());
        assert_eq!(dir(here.path(), None), None);
        for name in [CONFIGS, LOGS] {
            std::fs::create_dir(here.path().join(name)).unwrap();
            assert_eq!(dir(here.path(), state()), Some(here.path().join("logs")));
            std::fs::remove_dir(here.path().join(name)).unwrap();
        }
        // A file of that name makes no project.
        std::fs::write(here.path().join(LOGS), "").unwrap();
        assert_eq!(dir(here.path(), state()), state());
    }
}
