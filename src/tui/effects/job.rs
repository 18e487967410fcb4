//! Starting a job.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::args::SftArgs;
use crate::error::{Error, Result};
use crate::hub::{self, Absent, Cached, Fetch, Progress, Sources};
use crate::job::{Begin, Session, Worker, human, locate, ready_engine};
use crate::run::{RunDir, existing};
use crate::tui::action::Notice;
use crate::tui::message::Message;

/// How often it is told how far a fetch is.
const TELL: Duration = Duration::from_secs(1);

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
/// not on this machine.
///
/// # Errors
/// `Error::User` where the engine, the model or the data are not there, or the directory cannot be made; nothing is left
/// behind.
pub fn start(args: &SftArgs, fetch: &mut Fetch<'_>) -> Result<Started> {
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

/// Fetches what a job names and this machine does not have, and tells now and then how far it is. The end of the cockpit
/// ends it; the next start goes on from there.
///
/// # Errors
/// No hub that may have it gives it.
pub fn fetch(absent: &Absent, send: &dyn Fn(Message)) -> Result<PathBuf> {
    let tell = |text: String| send(Message::Notice(Notice::info(text)));
    tell(absent.told());
    let mut said = Instant::now();
    let mut hear = |progress: &Progress| {
        if said.elapsed() < TELL || progress.total == 0 {
            return;
        }
        said = Instant::now();
        let (done, total) = (human::bytes(progress.done), human::bytes(progress.total));
        let left = progress.left.map_or(String::new(), |left| {
            format!(
                ", {}/s, {} left",
                human::bytes(progress.rate as u64),
                human::duration(left.as_secs_f64())
            )
        });
        tell(format!("fetching {}: {done} of {total}{left}", absent.name));
    };
    let dir = hub::fetch(absent, &mut hear, &|| false)?;
    tell(format!("{}: fetched into {}", absent.name, dir.display()));
    Ok(dir)
}
