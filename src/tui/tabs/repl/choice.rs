//! Which model answers.

use crate::tui::model::{Checkpoint, RunState};
use crate::tui::repl::Model;
use crate::tui::state::State;

/// What was chosen. Two of these go with the run that is followed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Choice {
    /// Its best checkpoint, or its base while there is none.
    #[default]
    Best,
    /// Its newest one, as they come.
    Newest,
    Fixed(Model),
}

impl Choice {
    /// The model that this is now; none where no run is followed.
    pub fn model(&self, state: &State) -> Option<Model> {
        if let Choice::Fixed(model) = self {
            return Some(model.clone());
        }
        let run = state.run.as_ref()?;
        let checkpoint = match self {
            Choice::Newest => newest(run),
            _ => run.checkpoints.iter().find(|c| c.best).or(newest(run)),
        };
        Some(match checkpoint {
            Some(c) => Model::Checkpoint(run.path.join(&c.path)),
            None => Model::BaseOf(run.path.clone()),
        })
    }

    /// What it goes with, for the header; nothing for a model of its own.
    pub fn words(&self, state: &State) -> &'static str {
        let any = state.run.as_ref().is_some_and(|r| !r.checkpoints.is_empty());
        match self {
            Choice::Fixed(_) => "",
            Choice::Best if any => "the run's best",
            Choice::Newest if any => "the run's newest, followed",
            Choice::Best => "the run has no checkpoint yet",
            Choice::Newest => "no checkpoint yet, the newest is followed",
        }
    }
}

/// The one written last; a resumed run may have written smaller steps after larger ones.
fn newest(run: &RunState) -> Option<&Checkpoint> {
    run.checkpoints.iter().max_by(|a, b| a.time.total_cmp(&b.time).then(a.step.cmp(&b.step)))
}
