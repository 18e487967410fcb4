//! Starting a job.

use std::path::{Path, PathBuf};

use crate::args::SftArgs;
use crate::error::{Error, Result};
use crate::hub::{Cached, Fetch, Sources};
use crate::job::{Begin, Session, Worker, locate, ready_engine};
use crate::run::{RunDir, existing};

/// A run that has just been made.
#[derive(Debug)]
pub struct Started {
    pub run: RunDir,
    pub worker: Worker,
    /// What was there before it, and stays where the run comes to nothing.
    pub there_before: PathBuf,
    /// What the user should know of its beginning.
    pub notes: Vec<String>,
    /// The model, where its hub is to be asked for a newer one.
    pub model: Option<Cached>,
}

/// Makes the run directory, writes its arguments, starts the worker in a session of its own. `fetch` is asked for what is
/// not on this machine, `wanted` then whether the job is to start.
///
/// # Errors
/// `wanted`'s; `Error::User` where the engine, the model or the data are not there, or the directory cannot be made; nothing is left
/// behind.
pub fn start(args: &SftArgs, fetch: &mut Fetch<'_>, wanted: &dyn Fn() -> Result<()>) -> Result<Started> {
    // A new run cannot go on with an old one; in silence it would begin anew.
    if args.resume_from_checkpoint.is_some() && !args.resume_only_model {
        return Err(Error::user(
            "resume_from_checkpoint: R on the Checkpoints tab goes on from a checkpoint; set resume_only_model to start \
             a new run from its weights alone, or unset it",
        ));
    }
    let engine = ready_engine()?;
    let mut args = args.clone();
    args.make_paths_absolute();
    let Begin::New { args, mut notes, .. } = Begin::from(args)? else {
        return Err(Error::internal("a new run goes on with none"));
    };
    let located = locate(&args, fetch)?;
    let model = located.model.filter(|_| args.check_model_is_latest);
    notes.extend(located.notes);
    wanted()?;
    let there_before = existing(Path::new(&args.output_dir));
    let run = RunDir::create(Path::new(&args.output_dir), &args.model_type, args.add_output_dir_suffix)?;
    let started = run
        .write_args(&args.to_json())
        .and_then(|()| Sources::write(located.sources.as_ref(), run.path()))
        .and_then(|()| Worker::start_engine(&engine, run.path(), Session::Background));
    match started {
        Ok(worker) => Ok(Started { run, worker, there_before, notes, model }),
        Err(e) => {
            run.discard(&there_before);
            Err(e)
        }
    }
}
