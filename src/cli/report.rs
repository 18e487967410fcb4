//! What `sft` and `attach` leave on standard output for scripts.

use std::path::{Path, PathBuf};

use qwen_tui::job::Outcome;
use qwen_tui::job::runs::RunStatus;
use qwen_tui::run::{RunDir, TrainerState, verify_checkpoint};

/// The checkpoints that scripts are told of.
#[derive(Default)]
pub struct Left {
    last: Option<PathBuf>,
    best: Option<PathBuf>,
}

impl Left {
    /// As the worker has named them, which has just written them.
    pub fn told(run: &RunDir, outcome: &Outcome) -> Left {
        let whole = |name: &Option<String>| name.as_ref().map(|name| run.path().join(name));
        Left { last: whole(&outcome.last_checkpoint), best: whole(&outcome.best_checkpoint) }
    }

    /// As the worker has named them, where they are still as it wrote them; or else what lies on disk, with `last` the
    /// newest whole one.
    pub fn checked(run: &RunDir, outcome: &Outcome, last: Option<u64>) -> Left {
        let told = Left::told(run, outcome);
        let is_whole = |path: &Option<PathBuf>| path.as_ref().is_none_or(|p| verify_checkpoint(p).is_ok());
        match is_whole(&told.last) && is_whole(&told.best) {
            true => told,
            false => Left::on_disk(run, last),
        }
    }

    /// What lies on disk, with `last` the newest whole checkpoint; it stands in the place of a best one that is damaged.
    pub fn on_disk(run: &RunDir, last: Option<u64>) -> Left {
        let Some(last) = last.map(|step| run.checkpoint(step)) else { return Left::default() };
        let best = TrainerState::read(&last).ok().and_then(|state| state.best_model_checkpoint);
        // By its name alone: the run may have been moved.
        let best = best.and_then(|path| Some(run.path().join(Path::new(&path).file_name()?)));
        let best = best.filter(|path| path.is_dir());
        let is_whole = |path: &PathBuf| *path == last || verify_checkpoint(path).is_ok();
        let best = best.map(|best| if is_whole(&best) { best } else { last.clone() });
        Left { last: Some(last), best }
    }
}

/// A path as scripts read it: as it is, but for line ends, which would make two lines of it.
pub fn one_line(path: &Path) -> String {
    path.display().to_string().replace('\n', "\\n").replace('\r', "\\r")
}

/// What scripts read from standard output.
pub fn report(run: &RunDir, left: Left, status: RunStatus) -> String {
    let mut text = format!("run_dir: {}\n", one_line(run.path()));
    for (name, checkpoint) in [("last_checkpoint", left.last), ("best_checkpoint", left.best)] {
        if let Some(checkpoint) = checkpoint {
            text += &format!("{name}: {}\n", one_line(&checkpoint));
        }
    }
    text + &format!("state: {}\n", status.word())
}

#[cfg(test)]
mod tests {
    use super::*;
    use qwen_tui::job::newest_whole;

    #[test]
    fn scripts_get_absolute_checkpoints() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path(), "", false).unwrap();
        let at = run.path().display();
        let outcome = Outcome { last_checkpoint: Some("checkpoint-9".into()), ..Outcome::default() };
        assert_eq!(
            report(&run, Left::told(&run, &outcome), RunStatus::Stopped),
            format!("run_dir: {at}\nlast_checkpoint: {at}/checkpoint-9\nstate: stopped\n")
        );
        let failed = || report(&run, Left::on_disk(&run, newest_whole(&run)), RunStatus::Failed);
        assert_eq!(failed(), format!("run_dir: {at}\nstate: failed\n"));

        // Long after its end: what was named is not there any more.
        let (whole, told) = (newest_whole(&run), Left::checked(&run, &outcome, newest_whole(&run)));
        assert_eq!(whole, None);
        assert_eq!(report(&run, told, RunStatus::Finished), format!("run_dir: {at}\nstate: finished\n"));
        assert_eq!(one_line(Path::new("/a\nb/评论\r c")), "/a\\nb/评论\\r c");

        // A run that failed later on.
        for step in [5, 10] {
            std::fs::create_dir(run.checkpoint(step)).unwrap();
            let best = Some("/before/it/was/moved/checkpoint-5".to_owned());
            let state = TrainerState { best_model_checkpoint: best, ..TrainerState::default() };
            state.write(&run.checkpoint(step)).unwrap();
        }
        assert_eq!(
            failed(),
            format!(
                "run_dir: {at}\nlast_checkpoint: {at}/checkpoint-10\nbest_checkpoint: {at}/checkpoint-5\nstate: failed\n"
            )
        );
    }
}
