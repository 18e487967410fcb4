//! The lines of the tree, and which of them is marked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::job::checkpoints::{Base, CheckpointSummary, Merged, RunDetails};
use crate::job::runs::RunSummary;
use crate::tui::state::State;

/// What is known of runs, by their directories.
pub type Known = HashMap<PathBuf, RunDetails>;

/// A line of the tree.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub run: &'a RunSummary,
    /// Once they have been read.
    pub details: Option<&'a RunDetails>,
    pub item: Item<'a>,
}

#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    Run,
    Checkpoint(&'a CheckpointSummary),
    /// The model that a checkpoint was merged into.
    Merged(&'a Merged),
    /// The model that the run began with.
    Base(&'a Base),
}

/// Which part of a run is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Part {
    #[default]
    Run,
    Checkpoint(u64),
    Merged(u64),
    Base,
}

/// What is marked: by name and not by place, so that it stays marked while runs come and go around it.
#[derive(Debug, Clone, Default)]
pub struct Mark {
    run: Option<PathBuf>,
    part: Part,
    /// The run's place in the list, for when it is gone.
    place: usize,
}

impl Item<'_> {
    fn part(&self) -> Part {
        match self {
            Item::Run => Part::Run,
            Item::Checkpoint(checkpoint) => Part::Checkpoint(checkpoint.step),
            Item::Merged(merged) => Part::Merged(merged.step),
            Item::Base(_) => Part::Base,
        }
    }
}

impl Mark {
    /// Marks `run`.
    pub fn set(&mut self, run: &Path, part: Part) {
        (self.run, self.part) = (Some(run.to_owned()), part);
    }

    /// Keeps the run's place in mind, and what takes the place of a run that is gone.
    pub fn settle(&mut self, runs: &[RunSummary]) {
        match runs.iter().position(|r| Some(&r.path) == self.run.as_ref()) {
            Some(place) => self.place = place,
            None => {
                self.place = self.place.min(runs.len().saturating_sub(1));
                self.run = runs.get(self.place).map(|r| r.path.clone());
                self.part = Part::Run;
            }
        }
    }

    pub fn run(&self) -> Option<&Path> {
        self.run.as_deref()
    }

    /// The index of the marked line. Where a checkpoint is gone, the next one of its run takes its place, or the one
    /// before; the run's where there is none.
    pub fn index(&self, rows: &[Row]) -> usize {
        let of_run = |r: &Row| Some(r.run.path.as_path()) == self.run();
        let find = |wanted: &dyn Fn(Part) -> bool| rows.iter().position(|r| of_run(r) && wanted(r.part()));
        let exact = find(&|part| part == self.part);
        let near = || {
            let Part::Checkpoint(gone) = self.part else { return None };
            let above = || rows.iter().rposition(|r| of_run(r) && matches!(r.item, Item::Checkpoint(_)));
            find(&|part| matches!(part, Part::Checkpoint(step) if step < gone)).or_else(above)
        };
        let merged_from = || match self.part {
            Part::Merged(gone) => find(&|part| part == Part::Checkpoint(gone)),
            _ => None,
        };
        exact.or_else(merged_from).or_else(near).or_else(|| rows.iter().position(of_run)).unwrap_or(0)
    }
}

impl Row<'_> {
    pub fn part(&self) -> Part {
        self.item.part()
    }
}

/// All lines: the runs, and under the one that is `marked` and the one that is followed what belongs to them.
pub fn rows<'a>(state: &'a State, known: &'a Known, marked: Option<&Path>) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    let followed = state.run.as_ref().map(|r| r.path.as_path());
    for run in state.runs.iter().flatten() {
        let details = known.get(&run.path);
        let mut push = |item| rows.push(Row { run, details, item });
        push(Item::Run);
        let path = Some(run.path.as_path());
        if let Some(details) = details.filter(|_| path == marked || path == followed) {
            // Each merged model stands below its checkpoint.
            let checkpoints = details.checkpoints.iter().map(|c| (c.step, Item::Checkpoint(c)));
            let merged = details.merged.iter().filter(|m| m.is_model).map(|m| (m.step, Item::Merged(m)));
            let mut all: Vec<_> = checkpoints.chain(merged).collect();
            all.sort_by_key(|(step, _)| std::cmp::Reverse(*step));
            all.into_iter().for_each(|(_, item)| push(item));
            details.base.iter().for_each(|b| push(Item::Base(b)));
        }
    }
    rows
}
