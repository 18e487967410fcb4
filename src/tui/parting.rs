//! What is told on the shell's screen when the cockpit has gone: what goes on without it, and what does not.

use super::fetching::Fetching;
use super::state::State;
use crate::error::shown;
use crate::job::merge::usual_target;
use crate::shell;

/// How things were left.
#[derive(Debug, Clone, Copy)]
pub struct Left {
    /// The worker has been told to end as the cockpit does, or the merges have.
    pub stopping: bool,
    pub stopping_merges: bool,
    /// The worker has been told to pause, and has not yet said that it does.
    pub pausing: bool,
}

impl Left {
    /// A line for each; none where nothing is left.
    pub fn words(self, state: &State) -> Option<String> {
        let merges = state.merges.iter().map(|merging| {
            let checkpoint = shown(&merging.checkpoint);
            let target = shown(&usual_target(&merging.checkpoint));
            match self.stopping_merges {
                true => format!("the merge of {checkpoint} was told to end, and leaves nothing behind"),
                false => format!("{checkpoint} is merged on: {target} is there when it is done"),
            }
        });
        let fetch = state.fetch.as_ref().map(Fetching::parting_words);
        let words: Vec<String> = self.of_run(state).into_iter().chain(fetch).chain(merges).collect();
        (!words.is_empty()).then(|| words.join("\n"))
    }

    fn of_run(self, state: &State) -> Option<String> {
        let run = state.run.as_ref().filter(|_| state.is_live())?;
        let (path, word) = (shown(&run.path), shell::word(&run.path));
        // What its log tells of an earlier worker is not so any more.
        let is_paused = run.paused && !run.is_starting();
        let what = match self.stopping {
            true if run.hung(state.now).is_some() => {
                return Some(format!("{path} hangs, and was told to end: {}", run.way_out()));
            }
            true if run.no_room.is_some() => {
                "was told to end: without room on the disk nothing more is saved"
            }
            true => "finishes its step, saves and ends",
            false if is_paused || self.pausing => {
                let how = if is_paused { "is paused" } else { "pauses after its step" };
                return Some(format!(
                    "{path} {how} and stays so: `qwen-tui --run {word}` shows it, p resumes it"
                ));
            }
            false => "trains on",
        };
        Some(format!("{path} {what}; `qwen-tui --run {word}` shows it"))
    }
}
