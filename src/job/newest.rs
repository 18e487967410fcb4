//! The newest checkpoint of a run that something can be begun from.

use std::path::Path;

use crate::error::{Error, Result, shown};
use crate::job::branch::Branch;
use crate::job::go_on::{its_weights, new_run};
use crate::run::{Needed, RunDir, look_at_checkpoints, verify};

/// The newest checkpoint of a run that is of use.
#[derive(Debug)]
pub(super) struct Newest {
    pub step: Option<u64>,
    /// Those that were passed over, and why.
    pub warnings: Vec<String>,
}

/// What a checkpoint is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The run goes on from it.
    Training,
    /// It is what a finished run has left.
    Result,
    /// A new run takes its weights.
    Weights,
}

impl Wanted {
    fn needed(self) -> Needed {
        if self == Wanted::Weights { Needed::Weights } else { Needed::All }
    }
}

/// The step of the newest checkpoint of `run` that is as it was written, by its checksums.
pub fn newest_whole(run: &RunDir) -> Option<u64> {
    newest(run, Wanted::Result, |_| Ok(())).ok()?.step
}

/// The newest checkpoint of `run` of which what is `wanted` is whole, and that is `usable`, by the time of writing. A run
/// that went on from an earlier checkpoint has left those of later steps behind: they come after all that it comes from.
///
/// # Errors
/// There are checkpoints and none of them is usable: why the newest whole one is not, or else what is wrong with each.
pub(super) fn newest(run: &RunDir, wanted: Wanted, usable: impl Fn(&Path) -> Result<()>) -> Result<Newest> {
    let needed = wanted.needed();
    let (mut whole, mut broken) = look_at_checkpoints(run.path(), needed);
    let branch = Branch::read(run.path());
    branch.sort(&mut whole);
    let not_whole = |broken: &[(u64, Error)]| -> Vec<String> {
        broken.iter().map(|(step, e)| format!("checkpoint-{step} is not whole: {e}")).collect()
    };
    let mut refused = None;
    for checkpoint in whole {
        if let Err(e) = verify(&checkpoint.path, needed) {
            broken.push((checkpoint.step, e));
        } else if let Err(e) = usable(&checkpoint.path) {
            refused.get_or_insert(e);
        } else {
            let mut warnings = not_whole(&broken);
            if branch.has_left(checkpoint.step, checkpoint.written) {
                warnings.push(format!(
                    "the run had gone back from checkpoint-{}; no other whole one is left",
                    checkpoint.step
                ));
            }
            return Ok(Newest { step: Some(checkpoint.step), warnings });
        }
    }
    match refused {
        Some(e) => Err(e),
        None if broken.is_empty() => Ok(Newest { step: None, warnings: Vec::new() }),
        None => Err(none_whole(run, wanted, &broken)),
    }
}

/// Nothing is begun anew over checkpoints that a person may still mend: what is wrong with them, and what can be done.
fn none_whole(run: &RunDir, wanted: Wanted, broken: &[(u64, Error)]) -> Error {
    let each: Vec<String> = broken.iter().map(|(step, e)| format!("checkpoint-{step}: {e}")).collect();
    // Of the newest whose weights are of use.
    let advice = |(step, _): &(u64, Error)| Some((*step, its_weights(&run.checkpoint(*step))?));
    let weights = match broken.iter().rev().find_map(advice) {
        Some((step, advice)) => format!("; checkpoint-{step}: {advice}"),
        None => String::new(),
    };
    let anew = match wanted {
        Wanted::Training => "; to train the run from its beginning, move its checkpoints away".to_owned(),
        // It stays finished whatever is moved.
        Wanted::Result => new_run(&run.args_file())
            .map_or_else(String::new, |command| format!("; `{command}` trains another run of its arguments")),
        Wanted::Weights => String::new(),
    };
    Error::user(format!(
        "{} has checkpoints, and none of them is whole ({}): put the files back from a copy{weights}{anew}",
        shown(run.path()),
        each.join("; ")
    ))
}
