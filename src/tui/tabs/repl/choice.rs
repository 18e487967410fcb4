//! Which model answers.

use crate::tui::model::{Checkpoint, RunState};
use crate::tui::repl::Model;
use crate::tui::state::State;

/// What was chosen. Two of these go with the run that is followed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Choice {
    /// Its best checkpoint, its last where none was found the best, or its base while there is none.
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
            _ => best(run).or(newest(run)),
        };
        Some(match checkpoint {
            Some(c) => Model::Checkpoint(run.path.join(&c.path)),
            None => Model::BaseOf(run.path.clone()),
        })
    }

    /// What it goes with, for the header; nothing for a model of its own.
    pub fn words(&self, state: &State) -> &'static str {
        let run = state.run.as_ref();
        let any = run.is_some_and(|r| !r.checkpoints.is_empty());
        match self {
            Choice::Fixed(_) => "",
            Choice::Best if run.and_then(best).is_some() => "the run's best",
            Choice::Best if any => "the run's last; none is best",
            Choice::Newest if any => "the run's newest, followed",
            Choice::Best => "the run has no checkpoint yet",
            Choice::Newest => "no checkpoint yet, the newest is followed",
        }
    }

    /// What it is in the list of models, with what it is now.
    pub fn entry(&self, state: &State) -> String {
        let now = self.model(state).map_or(String::new(), |m| m.short());
        let run = state.run.as_ref();
        let what = match self {
            Choice::Newest => "newest, followed",
            _ if run.and_then(best).is_some() => "best",
            _ if run.is_some_and(|r| !r.checkpoints.is_empty()) => "last (none is best)",
            _ => "no checkpoint yet",
        };
        format!("{what}: {now}")
    }
}

/// The one with the lowest `eval_loss`. One that a stop or somebody had saved is never it.
fn best(run: &RunState) -> Option<&Checkpoint> {
    run.checkpoints.iter().find(|c| c.best)
}

/// The one written last; a resumed run may have written smaller steps after larger ones.
fn newest(run: &RunState) -> Option<&Checkpoint> {
    run.checkpoints.iter().max_by(|a, b| a.time.total_cmp(&b.time).then(a.step.cmp(&b.step)))
}
