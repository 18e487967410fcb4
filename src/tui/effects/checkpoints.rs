//! Looking into runs, merging, and deleting.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::job::checkpoints::RunDetails;
use crate::job::{human, merge, remove, runs};
use crate::tui::action::Notice;
use crate::tui::message::Message;

/// Reads a run's details.
pub fn inspect(run: &Path, send: &dyn Fn(Message)) {
    send(Message::RunDetails(Box::new(RunDetails::read(run))));
}

/// Merges the adapter of `checkpoint` into its base, tells how far it is, and looks at its run while it holds `look`.
pub fn merge(engine: &Path, checkpoint: &Path, overwrite: bool, look: &Mutex<()>, send: &dyn Fn(Message)) {
    let name = checkpoint.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let notice = |notice| send(Message::Notice(notice));
    notice(Notice::info(format!("merging {name}")));
    let merged = merge::merge(engine, checkpoint, overwrite, &mut |percent| {
        notice(Notice::info(format!("merging {name}: {percent} %")));
    });
    if let Some(run) = checkpoint.parent().filter(|p| runs::is_run(p)) {
        let _one = look.lock().unwrap_or_else(PoisonError::into_inner);
        inspect(run, send);
    }
    notice(match merged {
        Ok((dir, said)) => Notice::info(format!("{said}: {dir}; Ctrl+O in the REPL takes this path")),
        Err(e) => Notice::error(e.to_string()),
    });
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
