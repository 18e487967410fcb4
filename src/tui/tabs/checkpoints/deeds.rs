//! What can be done with the marked line, or why it cannot.

use super::rows::{Item, Row};
use super::{is_finished, is_running, questions};
use crate::job::checkpoints::CheckpointSummary;
use crate::job::merge::usual_target;
use crate::tui::action::{Action, Notice};
use crate::tui::component::Handled;
use crate::tui::popups::Question;
use crate::tui::state::State;

/// What is said of a run that is not known yet.
const READING: &str = "the run is still being read";

/// The action, or the words that it cannot be.
pub fn or_say(outcome: Result<Action, String>) -> Handled {
    Handled::with(outcome.unwrap_or_else(|why| Action::Tell(Notice::info(why))))
}

/// The marked checkpoint or base in the REPL; of a run its best.
pub fn try_it(row: &Row) -> Result<Action, String> {
    let path = match row.item {
        Item::Base(base) => {
            base.path.clone().ok_or_else(|| format!("{} is not on this machine", base.name))?
        }
        Item::Merged(merged) => merged.path.clone(),
        _ => chosen(row)?.path.clone(),
    };
    Ok(Action::OpenInRepl(path))
}

/// The marked checkpoint; of a run its best.
fn chosen<'a>(row: &Row<'a>) -> Result<&'a CheckpointSummary, String> {
    match row.item {
        Item::Checkpoint(checkpoint) => whole(checkpoint),
        Item::Run => {
            let details = row.details.ok_or(READING)?;
            match (details.best_or_last(), &details.checkpoints[..]) {
                (Some(checkpoint), _) => Ok(checkpoint),
                (None, []) => Err("the run has no checkpoint".to_owned()),
                (None, [only]) => whole(only),
                (None, all) => Err(format!("the run's {} checkpoints are all damaged", all.len())),
            }
        }
        Item::Merged(_) | Item::Base(_) => Err("mark a checkpoint".to_owned()),
    }
}

/// Folds the marked checkpoint's adapter into its base; of a run its best checkpoint's.
pub fn merge(row: &Row, state: &State) -> Result<Action, String> {
    let checkpoint = chosen(row).map_err(|why| match row.item {
        Item::Base(_) => format!("an adapter is merged: {why}"),
        Item::Merged(_) => "it is merged already".to_owned(),
        _ => why,
    })?;
    if let Some(merging) = state.merging(&checkpoint.path) {
        return Err(format!("{} is being merged", merging.name()));
    }
    let there = row.details.into_iter().flat_map(|d| &d.merged).find(|m| m.step == checkpoint.step);
    if let Some(other) = there.filter(|m| !m.is_ours) {
        return Err(format!(
            "{} is in the way, and was not made here: move it away or remove it, then m",
            other.path.display()
        ));
    }
    Ok(Action::Ask(Box::new(questions::merge(row, checkpoint, there))))
}

fn whole(checkpoint: &CheckpointSummary) -> Result<&CheckpointSummary, String> {
    match checkpoint.whole {
        true => Ok(checkpoint),
        false => Err(format!("checkpoint-{} is damaged: files are missing or cut short", checkpoint.step)),
    }
}

/// The run's arguments into the Config tab.
pub fn load(row: &Row) -> Result<Action, String> {
    let details = row.details.ok_or(READING)?;
    details.args.as_ref().map(|_| Action::LoadConfig(details.args_file.clone())).map_err(String::clone)
}

/// Goes on from the marked checkpoint; of a run from its last, or from the beginning where it has none.
pub fn resume(row: &Row, state: &State) -> Result<Action, String> {
    if matches!(row.item, Item::Base(_) | Item::Merged(_)) {
        return Err("a training goes on from a checkpoint: mark one".to_owned());
    }
    if is_running(row, state) {
        return Err("the run is being trained already".to_owned());
    }
    if is_finished(row, state) {
        return Err("the run is finished: nothing is left to go on with".to_owned());
    }
    if let Some(Err(missing)) = &state.engine {
        return Ok(Action::Ask(Box::new(Question::no_engine(missing))));
    }
    let details = row.details.ok_or(READING)?;
    let checkpoint = match row.item {
        Item::Checkpoint(checkpoint) => Some(checkpoint),
        _ => details.checkpoints.iter().find(|c| c.last),
    };
    if let Some(checkpoint) = checkpoint {
        whole(checkpoint)?.resumable.clone()?;
    }
    details.ready.clone()?;
    let question = checkpoint.map_or_else(|| questions::begin_again(row), |c| questions::resume(row, c));
    Ok(Action::Ask(Box::new(question)))
}

pub fn delete(row: &Row, state: &State) -> Result<Action, String> {
    if is_running(row, state) {
        return Err("the run is being trained: stop it first, then delete".to_owned());
    }
    let merging = match row.item {
        Item::Run => state.merging(&row.run.path),
        Item::Checkpoint(checkpoint) => state.merging(&checkpoint.path),
        Item::Merged(merged) => state.merges.iter().find(|m| usual_target(&m.checkpoint) == merged.path),
        Item::Base(_) => None,
    };
    if let Some(merging) = merging {
        return Err(format!("{} is being merged: delete when that is done", merging.name()));
    }
    if let Item::Merged(merged) = row.item
        && !merged.is_ours
    {
        return Err(format!("{} was not made here: remove it yourself", merged.path.display()));
    }
    let (name, stays) = match row.item {
        Item::Checkpoint(checkpoint) => {
            (format!("checkpoint-{}", checkpoint.step), &row.run.checkpoints_stay)
        }
        Item::Merged(_) => ("the merged model".to_owned(), &row.run.checkpoints_stay),
        Item::Run | Item::Base(_) => ("the run".to_owned(), &row.run.stays),
    };
    if let Some(why) = stays.as_ref().filter(|_| !matches!(row.item, Item::Base(_))) {
        return Err(format!("{name} is not deleted: {why}"));
    }
    let question = questions::delete(row).ok_or("the base model is not the run's; it stays")?;
    Ok(Action::Ask(Box::new(question)))
}
