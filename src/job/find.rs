//! A run by what a person calls it: its directory, its name, or `last`.

use std::path::{Path, PathBuf};

use super::listing::list_with;
use super::register;
use super::runs::{RunStatus, RunSummary, is_run};
use crate::error::{Error, Result, shown};
use crate::shell;

/// The word for the newest running job, and in `resume_from_checkpoint` for the newest run in `output_dir`.
pub const LAST: &str = "last";

/// The runs under `output_dir`, and those that are trained elsewhere, newest first.
pub fn all_runs(output_dir: &Path) -> Vec<RunSummary> {
    all_runs_and(output_dir, Vec::new())
}

/// [`all_runs`], and of `known` ones, wherever they lie, those that are there still.
pub fn all_runs_and(output_dir: &Path, known: Vec<PathBuf>) -> Vec<RunSummary> {
    let known = known.into_iter().filter(|dir| is_run(dir));
    list_with(output_dir, register::running().into_iter().chain(known).collect())
}

/// The one of `runs` whose worker began last, of those that run.
pub fn newest_running<'a>(runs: impl IntoIterator<Item = &'a RunSummary>) -> Option<&'a RunSummary> {
    let running = runs.into_iter().filter(|r| r.status == RunStatus::Running);
    running.max_by(|a, b| a.began.total_cmp(&b.began).then_with(|| a.path.cmp(&b.path)))
}

/// The directory of the run that `word` names: a run's directory, a run's name (`v3-20261126-101500`, also with its
/// model's folder before it), or `last`, the running job that began last.
///
/// # Errors
/// `Error::User` where there is none, or there are several.
pub fn find(word: &Path, output_dir: &Path) -> Result<PathBuf> {
    if *word != *Path::new(LAST) && is_run(word) {
        return Ok(word.canonicalize().unwrap_or_else(|_| word.to_owned()));
    }
    choose(word, output_dir, &all_runs(output_dir))
}

fn choose(word: &Path, output_dir: &Path, runs: &[RunSummary]) -> Result<PathBuf> {
    let place = shown(output_dir);
    let known = format!("`qwen-tui jobs --output_dir {}` lists the runs there", shell::word(output_dir));
    if *word == *Path::new(LAST) {
        let none = || Error::user(format!("no job is running, under {place} or elsewhere; {known}"));
        return newest_running(runs).map(|run| run.path.clone()).ok_or_else(none);
    }
    let named: Vec<&RunSummary> =
        runs.iter().filter(|r| !word.as_os_str().is_empty() && r.path.ends_with(word)).collect();
    match named[..] {
        [run] => Ok(run.path.clone()),
        [] if word.is_dir() => Err(Error::user(format!("{} is no run directory; {known}", shown(word)))),
        [] => Err(Error::user(format!(
            "{}: no run of that name under {place}, and no running job of that name elsewhere; give its directory, or another --output_dir. {known}",
            shown(word)
        ))),
        _ => {
            let paths: Vec<String> = named.iter().map(|r| format!("\n  {}", shown(&r.path))).collect();
            let name = shown(word);
            Err(Error::user(format!(
                "{name} names several runs; give the directory of one:{}",
                paths.concat()
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::runs::list_runs;
    use crate::job::runs::tests::{STARTED, run};

    #[test]
    fn a_run_is_found_by_directory_name_and_as_the_last() {
        let out = tempfile::tempdir().unwrap();
        let root = out.path().canonicalize().unwrap();
        let started = |at: u64| STARTED.replace("\"time\":10", &format!("\"time\":{at}"));
        let ended = run(&root, "qwen-1_8b/v0-a", &[&started(50)]);
        let older = run(&root, "qwen-1_8b/v1-b", &[&started(20)]);
        let newer = run(&root, "评论/v0-a", &[&started(30)]);
        let say = |word: &str| find(Path::new(word), &root).map_err(|e| e.to_string());
        let e = say("last").unwrap_err();
        assert!(e.contains("no job is running") && e.contains("qwen-tui jobs"), "{e}");
        let locks = [&older, &newer].map(|dir| {
            let lock = std::fs::File::create(dir.join("worker.lock")).unwrap();
            lock.lock().unwrap();
            lock
        });
        assert_eq!(choose(Path::new("last"), &root, &list_runs(&root)).unwrap(), newer);
        assert_eq!(say(ended.to_str().unwrap()).unwrap(), ended);
        assert_eq!(say("v1-b").unwrap(), older);
        assert_eq!(say("评论/v0-a").unwrap(), newer);
        let e = say("v0-a").unwrap_err();
        assert!(e.contains("several runs") && e.contains(newer.to_str().unwrap()), "{e}");
        for word in ["v9", "", "v1", "/", root.to_str().unwrap(), "/nowhere"] {
            let e = find(Path::new(word), &root).unwrap_err();
            assert!(e.exit_code() == 2 && e.to_string().contains("qwen-tui jobs"), "{word:?}: {e}");
        }
        drop(locks);
    }

    #[test]
    fn a_job_that_runs_elsewhere_is_among_them_once() {
        let (out, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let here = run(&out.path().canonicalize().unwrap(), "m/v0", &[STARTED]);
        let far = run(&elsewhere.path().canonicalize().unwrap(), "m/v1", &[&STARTED.replace(":10", ":99")]);
        let runs = list_with(out.path(), vec![here.clone(), far.clone(), far.clone()]);
        assert_eq!(runs.iter().map(|r| &r.path).collect::<Vec<_>>(), [&far, &here]);
        assert_eq!(runs.iter().map(RunSummary::is_elsewhere).collect::<Vec<_>>(), [true, false]);
        assert!(runs[0].stays.as_deref().is_some_and(|why| why.contains("not beneath")), "{runs:?}");
    }

    #[test]
    fn what_was_known_elsewhere_stays_listed_until_it_is_deleted() {
        let (out, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let far = run(&elsewhere.path().canonicalize().unwrap(), "评论/v1", &[STARTED]);
        let listed = || all_runs_and(out.path(), vec![far.clone()]).iter().any(|r| r.path == far);
        assert!(listed());
        std::fs::remove_dir_all(&far).unwrap();
        assert!(!listed());
    }
}
