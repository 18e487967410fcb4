//! What is asked before something is deleted, merged or gone on with.

use std::path::Path;

use super::rows::{Item, Row};
use crate::job::checkpoints::{CheckpointSummary, Merged};
use crate::job::human::{bytes, counted};
use crate::job::merge::usual_target;
use crate::tui::action::Action;
use crate::tui::model::short_name;
use crate::tui::popups::{Choice, Question};

/// Whether to delete what is marked; `None` where it is nothing of ours.
pub fn delete(row: &Row) -> Option<Question> {
    let name = short_name(&row.run.path);
    let (path, text) = match row.item {
        Item::Base(_) => return None,
        Item::Checkpoint(c) => {
            let kept = match (c.best, c.last) {
                (true, true) => " It is the run's best checkpoint, and its last.",
                (true, false) => " It is the run's best checkpoint.",
                (false, true) => " It is the run's last checkpoint.",
                (false, false) => "",
            };
            (&c.path, format!("checkpoint-{} ({}) of {name}?{kept}", c.step, bytes(c.bytes)))
        }
        Item::Merged(m) => (
            &m.path,
            format!("the model that checkpoint-{} of {name} was merged into ({})?", m.step, bytes(m.bytes)),
        ),
        Item::Run => {
            let what = match row.details {
                Some(d) => {
                    let checkpoints = counted(d.checkpoints.len() as u64, "checkpoint");
                    let models = d.merged.iter().filter(|m| m.is_model).count() as u64;
                    let models = match models {
                        0 => String::new(),
                        n => format!(", {}", counted(n, "merged model")),
                    };
                    format!("with {checkpoints}{models}, its logs and all else in it ({})", bytes(d.bytes))
                }
                None => "with everything in it".to_owned(),
            };
            (&row.run.path, format!("the run {name} {what}?"))
        }
    };
    let text = format!("Delete {text}\n\n{}\n\nIt cannot be brought back.", path.display());
    // Not the key that asks: a key held down a moment too long must not answer.
    let choices = vec![
        Choice::new('y', "Yes, delete it", vec![Action::Delete(path.clone())]),
        Choice::new('k', "Keep it", Vec::new()),
    ];
    Some(Question::new("Delete", text, choices))
}

/// Whether to go on from a checkpoint.
pub fn resume(row: &Row, checkpoint: &CheckpointSummary) -> Question {
    let again = match row.run.step.saturating_sub(checkpoint.step) {
        0 => String::new(),
        1 => " The step after it is done again.".to_owned(),
        n => format!(" The {n} steps after it are done again."),
    };
    let back = if checkpoint.left { " The run had gone back from it to an earlier one." } else { "" };
    let text = format!(
        "Go on training {} from checkpoint-{}, in the same run directory?{back}{again}",
        short_name(&row.run.path),
        checkpoint.step
    );
    go_on(text, "Yes, go on", &checkpoint.path)
}

/// Whether to begin a run without a whole checkpoint again.
pub fn begin_again(row: &Row) -> Question {
    let lost = match row.run.step {
        0 => String::new(),
        1 => " Its one step so far is done again, and no longer shown.".to_owned(),
        n => format!(" Its {n} steps so far are done again, and no longer shown."),
    };
    let text = format!(
        "{} has no whole checkpoint to go on from. Train it from the beginning, in the same run directory and with the \
         same arguments?{lost}",
        short_name(&row.run.path)
    );
    go_on(text, "Yes, from the beginning", &row.run.path)
}

fn go_on(text: String, yes: &'static str, from: &Path) -> Question {
    let choices = vec![
        Choice::new('y', yes, vec![Action::Resume(from.to_owned())]),
        Choice::new('k', "Keep it as it is", Vec::new()),
    ];
    Question::new("Resume", text, choices)
}

/// Whether to merge a checkpoint's adapter into its base; `there` is its earlier merge.
pub fn merge(row: &Row, checkpoint: &CheckpointSummary, there: Option<&Merged>) -> Question {
    let (name, step) = (short_name(&row.run.path), checkpoint.step);
    let asked = match there {
        None => format!(
            "Merge the adapter of checkpoint-{step} of {name} into its base model?\n\nA whole model is made beside it, as \
             large as the base:"
        ),
        Some(there) => format!(
            "checkpoint-{step} of {name} is merged already ({}). Merge it anew, in the place of that?\n\nThe earlier one \
             stays until the new one is whole:",
            bytes(there.bytes)
        ),
    };
    let merge = |overwrite| vec![Action::Merge { checkpoint: checkpoint.path.clone(), overwrite }];
    let yes = match there {
        None => Choice::new('y', "Yes, merge it", merge(false)),
        Some(_) => Choice::new('r', "Yes, and replace the earlier merge", merge(true)),
    };
    let choices = vec![yes, Choice::new('k', "Keep it as it is", Vec::new())];
    let path = usual_target(&checkpoint.path);
    Question::new("Merge", format!("{asked}\n{}", path.display()), choices)
}
