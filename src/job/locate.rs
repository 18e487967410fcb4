//! Finding what the names in a job's arguments stand for, before it is started.

use std::path::Path;

use crate::args::SftArgs;
use crate::error::Result;
use crate::hub::{Fetch, Located, Sources, Wanted};
use crate::job::inputs::Inputs;
use crate::job::resume::Resume;

/// Finds all that a new run of `args` reads; `fetch` is asked for what is not on this machine, when all the rest is there.
///
/// # Errors
/// `Error::User` names what is not there; `fetch`'s.
pub fn locate(args: &SftArgs, fetch: &mut Fetch<'_>) -> Result<Located> {
    find(args, None, &|args| Ok(Inputs::from(args).look()?), fetch)
}

impl Resume {
    /// Finds again all that the run reads: where it has been found before, if it is still whole there. Writes it down
    /// for the worker.
    ///
    /// # Errors
    /// As [`locate`]; the run's directory cannot be written.
    pub fn locate(&self, fetch: &mut Fetch<'_>) -> Result<Vec<String>> {
        let located = find(&self.args, Some(self.run.path()), &|args| self.look_by(args), fetch)?;
        Sources::write(located.sources.as_ref(), self.run.path())?;
        Ok(located.notes)
    }
}

fn find(
    args: &SftArgs,
    run: Option<&Path>,
    look: &dyn Fn(&SftArgs) -> Result<()>,
    fetch: &mut Fetch<'_>,
) -> Result<Located> {
    look(args)?;
    // One that cannot be read is as good as none.
    let before = run.and_then(|run| Sources::read(run).ok()).flatten();
    let located = Wanted::from(args).locate(before.as_ref(), fetch)?;
    if let Some(sources) = &located.sources {
        look(&sources.apply(args)?)?;
    }
    Ok(located)
}
