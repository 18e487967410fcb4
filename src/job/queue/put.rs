//! Putting a job into the queue: what is wrong with it is told now, and not when its turn has come.

use std::path::Path;

use super::changes::Added;
use super::folder::Queue;
use super::start::vacant;
use crate::args::SftArgs;
use crate::error::{Error, Result};
use crate::job::begin::Begin;
use crate::job::find::LAST;
use crate::job::inputs::Inputs;
use crate::run::step_of;

impl Queue {
    /// Puts a job of these arguments at the end; also tells what the user should know of its beginning. What a run takes
    /// its weights from is chosen now; the checkpoint that a run goes on from, when it goes on.
    ///
    /// # Errors
    /// `Error::User`: the model, the data or the run to go on with are not there, its directory is another job's or holds
    /// a run, or the queue cannot be written.
    pub fn put(&self, mut args: SftArgs) -> Result<(Added, Vec<String>)> {
        args.make_paths_absolute();
        let (from, weights_alone) = (args.resume_from_checkpoint.clone(), args.resume_only_model);
        let (mut args, notes) = match Begin::from(args)? {
            Begin::New { mut args, notes } => {
                // There may be a run by then: of the job before it in the queue, say.
                args.resume_from_checkpoint = from.filter(|from| from == LAST && !weights_alone);
                if args.resume_from_checkpoint.is_none() {
                    vacant(&args)?;
                }
                (*args, notes)
            }
            Begin::Resume { resume, args } => {
                resume.fits(&args)?;
                let run = resume.run.path();
                if resume.finished {
                    let run = run.display();
                    return Err(Error::user(format!("{run} is finished; nothing is left to train")));
                }
                // One of its checkpoints, where one was named.
                let name = from.as_deref().and_then(|from| Path::new(from).file_name()?.to_str());
                let checkpoint = name.filter(|name| step_of(name).is_some()).map(|name| run.join(name));
                let place = checkpoint.unwrap_or_else(|| run.to_owned());
                let place = place.to_str().map(str::to_owned).ok_or_else(|| {
                    Error::user(format!("{}: the path is not UTF-8; rename or link it", place.display()))
                })?;
                let mut args = *args;
                args.resume_from_checkpoint = Some(place.clone());
                args.output_dir.clone_from(&resume.args.output_dir);
                (args, vec![format!("the job goes on with {place}")])
            }
        };
        let inputs = Inputs::from(&args);
        inputs.look()?;
        let fetched = inputs.absent().into_iter().map(|absent| absent.told_later());
        let notes = notes.into_iter().chain(fetched).collect();
        // Whoever starts it stands elsewhere.
        if let Ok(absolute) = std::path::absolute(&args.output_dir)
            && let Some(text) = absolute.to_str()
        {
            args.output_dir = text.to_owned();
        }
        Ok((self.add(&args)?, notes))
    }
}
