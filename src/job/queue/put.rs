//! Putting a job into the queue: what is wrong with it is told now, and not when its turn has come.

use std::path::{Path, PathBuf};

use super::changes::Added;
use super::folder::{Listing, Queue};
use super::start::vacant;
use super::state::{Job, own_directory};
use crate::args::{Change, SftArgs};
use crate::error::{Error, Result, shown};
use crate::job::begin::Begin;
use crate::job::find::LAST;
use crate::job::inputs::Inputs;
use crate::run::{check_output_dir, check_writable, resolved, step_of};
use crate::shell;

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
        let goes_on = from.as_deref() == Some(LAST) && !weights_alone;
        let before = if goes_on { self.list()?.before(&args)? } else { None };
        let begin = match before {
            // What it leaves is not known yet; how it ends decides what is begun from.
            Some(number) => {
                args.resume_from_checkpoint = None;
                let notes = vec![format!("the job goes on with what job {number} of the queue leaves")];
                Begin::New { args: Box::new(args), notes }
            }
            None => Begin::from(args)?,
        };
        let (mut args, notes) = match begin {
            Begin::New { mut args, notes } => {
                // There may be a run by then: of the job before it in the queue, say.
                args.resume_from_checkpoint = from.filter(|_| goes_on);
                if args.resume_from_checkpoint.is_none() {
                    vacant(&args)?;
                }
                // Where another job will have made its directory by then, that is told or waited for.
                let own = own_directory(&args.to_json());
                own.map_or(Ok(()), |dir| self.list()?.leaves(&dir))?;
                if before.is_none() {
                    let output_dir = Path::new(&args.output_dir);
                    check_writable(&check_output_dir(
                        output_dir,
                        &args.model_type,
                        args.add_output_dir_suffix,
                    )?)?;
                }
                (*args, notes)
            }
            Begin::Resume { resume, args } => {
                resume.fits(&args)?;
                let run = resume.run.path();
                if resume.finished {
                    let run = shown(run);
                    return Err(Error::user(format!("{run} is finished; nothing is left to train")));
                }
                // One of its checkpoints, where one was named.
                let name = from.as_deref().and_then(|from| Path::new(from).file_name()?.to_str());
                let checkpoint = name.filter(|name| step_of(name).is_some()).map(|name| run.join(name));
                let names_checkpoint = checkpoint.is_some();
                let place = checkpoint.unwrap_or_else(|| run.to_owned());
                let place = place.to_str().map(str::to_owned).ok_or_else(|| {
                    Error::user(format!("{}: the path is not UTF-8; rename or link it", shown(&place)))
                })?;
                let mut args = *args;
                args.resume_from_checkpoint = Some(place.clone());
                args.output_dir.clone_from(&resume.args.output_dir);
                let mut notes = vec![format!("the job goes on with {}", shown(Path::new(&place)))];
                if let Some(number) = self.list()?.going_on_with(run) {
                    let then = match names_checkpoint {
                        true => format!(
                            "this one goes on from this very checkpoint all the same. It fails where that one has removed \
                             it by then (save_total_limit), and has nothing to do where that one finishes the run; \
                             `--resume_from_checkpoint {}` goes on with what that one leaves",
                            shell::word(run)
                        ),
                        false => "this one goes on with what that one leaves, and has nothing to do where that one \
                                  finishes it"
                            .to_owned(),
                    };
                    notes.push(format!("job {number} of the queue goes on with the same run: {then}"));
                }
                (args, notes)
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

impl Listing {
    /// The last job of the queue that goes on with the run in `run`, which it or a checkpoint of it names.
    fn going_on_with(&self, run: &Path) -> Option<u64> {
        let goes_on = |job: &&Job| {
            let Ok(args) = SftArgs::from_file(&job.file) else { return false };
            let named = match args.resume_from_checkpoint.as_deref().filter(|_| !args.resume_only_model) {
                Some(LAST) if !args.add_output_dir_suffix => Path::new(&args.output_dir),
                None | Some(LAST) => return false,
                Some(dir) => Path::new(dir),
            };
            let is_checkpoint = named.file_name().is_some_and(|n| step_of(&n.to_string_lossy()).is_some());
            let named = if is_checkpoint { named.parent().unwrap_or(named) } else { named };
            (job.is_waiting() || job.is_taken()) && resolved(named) == resolved(run)
        };
        self.jobs.iter().rfind(goes_on).map(|job| job.number)
    }

    /// The last job of the queue whose run a job of `args` will go on with that goes on with the newest run, by its
    /// arguments.
    ///
    /// # Errors
    /// `Error::User` where a job trains before it in the one directory that is left to it, with arguments that make another
    /// run.
    fn before(&self, args: &SftArgs) -> Result<Option<u64>> {
        let own = place(args);
        // Where each run has a directory of its own, one of other arguments is passed over.
        let alone = !args.add_output_dir_suffix;
        let mut found = None;
        for job in self.jobs.iter().filter(|job| job.is_waiting() || job.is_taken()) {
            let Ok(theirs) = SftArgs::from_file(&job.file) else { continue };
            let goes_on = theirs.resume_from_checkpoint.as_deref();
            if goes_on.is_some_and(|from| from != LAST) || place(&theirs) != own {
                continue;
            }
            let changes = theirs.changes(args);
            match changes.first() {
                None if theirs.moved(args).is_empty() => found = Some(job.number),
                Some(change) if alone => return Err(other(job, change, &own.0)),
                _ => {}
            }
        }
        Ok(found)
    }
}

/// Whether `later` goes on with what `earlier` leaves, as it stands before it.
pub(super) fn follows(later: &Job, earlier: &Job) -> bool {
    let args = |job: &Job| SftArgs::from_file(&job.file).ok();
    let Some((ours, theirs)) = args(later).zip(args(earlier)) else { return false };
    let goes_on = |args: &SftArgs| args.resume_from_checkpoint.as_deref() == Some(LAST);
    // Of two that go on with the same, either may come first.
    goes_on(&ours)
        && !ours.resume_only_model
        && theirs.resume_from_checkpoint.is_none()
        && place(&ours) == place(&theirs)
        && theirs.changes(&ours).is_empty()
        && theirs.moved(&ours).is_empty()
}

/// Where the runs of these arguments lie, and whether each has a directory of its own there.
fn place(args: &SftArgs) -> (PathBuf, bool) {
    let output_dir = Path::new(&args.output_dir);
    match args.add_output_dir_suffix {
        true => (resolved(&output_dir.join(&args.model_type)), true),
        false => (resolved(output_dir), false),
    }
}

/// Why a job cannot go on with what `job` leaves.
fn other(job: &Job, change: &Change, dir: &Path) -> Error {
    let Change { key, old, new } = change;
    Error::user(format!(
        "{key} is {new} here and {old} in job {} of the queue, which is {} and trains in {} before: a run goes on as it \
         began; give the old value, or choose another output_dir",
        job.number,
        job.word(),
        shown(dir)
    ))
}
