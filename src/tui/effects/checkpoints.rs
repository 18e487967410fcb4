//! Looking into runs, merging, and deleting.

use std::path::Path;

use super::looks::{Looks, Place};
use crate::job::checkpoints::RunDetails;
use crate::job::merge::AtWork;
use crate::job::{human, merge, remove, runs};
use crate::tui::action::Notice;
use crate::tui::message::Message;

/// Reads a run's details.
pub fn inspect(run: &Path, send: &dyn Fn(Message)) {
    send(Message::RunDetails(Box::new(RunDetails::read(run))));
}

/// Merges the adapter of `checkpoint` into its base, tells how far it is, and looks at its run in its turn.
pub fn merge(
    engine: &Path,
    checkpoint: &Path,
    overwrite: bool,
    at_work: &AtWork,
    looks: &Looks,
    send: &dyn Fn(Message),
) {
    let is_at = |percent| send(Message::Merge { checkpoint: checkpoint.to_owned(), percent });
    is_at(Some(0));
    let merged = merge::merge(engine, checkpoint, overwrite, at_work, &mut |percent| is_at(Some(percent)));
    is_at(None);
    let notice = |notice| send(Message::Notice(notice));
    if let Some(run) = checkpoint.parent().filter(|p| runs::is_run(p)) {
        let _turn = looks.turn();
        inspect(run, send);
    }
    notice(match merged {
        Ok((dir, said)) => Notice::info(format!("{said}: {dir}; o on it tries it")),
        // Only where it came to be there after the question; the engine's words are for the command line.
        Err(_) if !overwrite && merge::usual_target(checkpoint).exists() => Notice::error(format!(
            "{} is there already: m asks about it again",
            merge::usual_target(checkpoint).display()
        )),
        Err(e) => Notice::error(e.to_string()),
    });
}

/// Deletes a checkpoint, a merged model or a run, and looks at what is left in its turn; `gone` is called before it is
/// told that it is gone.
pub fn delete(
    target: &Path,
    place: &Place,
    at_work: &AtWork,
    gone: impl FnOnce(),
    looks: &Looks,
    send: &dyn Fn(Message),
) {
    if let Some(checkpoint) = at_work.of(target) {
        let text = format!("{} is being merged: delete it when that is done", checkpoint.display());
        return send(Message::Notice(Notice::error(text)));
    }
    let notice = match remove::remove(target, place.output_dir()) {
        Ok(bytes) => {
            gone();
            send(Message::Deleted(target.to_owned()));
            Notice::info(format!("deleted {}, {}", target.display(), human::bytes(bytes)))
        }
        Err(e) => Notice::error(e.to_string()),
    };
    let _turn = looks.turn();
    // The run of a checkpoint; beside a run there is none to look into.
    if let Some(parent) = target.parent().filter(|p| runs::is_run(p)) {
        inspect(parent, send);
    }
    send(place.runs());
    send(Message::Notice(notice));
}
