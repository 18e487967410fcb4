//! Looking into runs, and deleting.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::job::checkpoints::RunDetails;
use crate::job::{human, remove, runs};
use crate::tui::action::Notice;
use crate::tui::message::Message;

/// Reads a run's details.
pub fn inspect(run: &Path, send: &dyn Fn(Message)) {
    send(Message::RunDetails(Box::new(RunDetails::read(run))));
}

/// Deletes a checkpoint or a run, and looks at what is left while it holds `look`; `gone` is called before it is told
/// that it is gone.
pub fn delete(
    target: &Path,
    output_dir: &Path,
    gone: impl FnOnce(),
    look: &Mutex<()>,
    send: &dyn Fn(Message),
) {
    let notice = match remove::remove(target, output_dir) {
        Ok(bytes) => {
            gone();
            send(Message::Deleted(target.to_owned()));
            Notice::info(format!("deleted {}, {}", target.display(), human::bytes(bytes)))
        }
        Err(e) => Notice::error(e.to_string()),
    };
    let _one = look.lock().unwrap_or_else(PoisonError::into_inner);
    // The run of a checkpoint; beside a run there is none to look into.
    if let Some(parent) = target.parent().filter(|p| runs::is_run(p)) {
        inspect(parent, send);
    }
    send(Message::Runs(runs::list_runs(output_dir)));
    send(Message::Notice(notice));
}
