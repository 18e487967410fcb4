//! How a run ended that was told to end at once and has nothing left to save.

use std::path::Path;
use std::time::Duration;

use qwen_tui::job::branch::Branch;
use qwen_tui::job::event::Event;
use qwen_tui::run::{TrainerState, list_checkpoints_in};

use crate::train::resume::Progress;

/// The end of the run in `dir` after `steps` steps, where its newest checkpoint has all of them: it has stopped, as one
/// that was told to stop once. None where a step would be lost. `elapsed` is the time of this worker, which is told where the
/// checkpoint does not know how long the training took.
pub fn all_saved(dir: &Path, steps: u64, elapsed: Duration) -> Option<Event> {
    let branch = Branch::read(dir);
    let mut whole = list_checkpoints_in(dir);
    branch.sort(&mut whole);
    let newest = whole.into_iter().next()?;
    if newest.step != steps || branch.has_left(newest.step, newest.written) {
        return None;
    }
    let seconds = Progress::read(&newest.path).map_or(elapsed.as_secs_f64(), |progress| progress.seconds);
    let state = TrainerState::read(&newest.path).ok();
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let best = state.as_ref().and_then(|state| name(Path::new(state.best_model_checkpoint.as_deref()?)));
    Some(Event::Finished {
        step: steps,
        seconds,
        stopped: true,
        last_checkpoint: name(&newest.path),
        best_checkpoint: best.filter(|best| dir.join(best).is_dir()),
        best_metric: state.and_then(|state| state.best_metric),
    })
}
