//! The runs under the output directory and their checkpoints: what became of them, and what can be done with them.

mod deeds;
mod detail;
mod list;
mod questions;
mod rows;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

use crate::job::event::Event;
use crate::job::runs::{RunStatus, RunSummary};
use crate::tui::action::{Action, Notice, Tab};
use crate::tui::component::{CommandInfo, Component, Handled};
use crate::tui::keys;
use crate::tui::message::Message;
use crate::tui::model::{Phase, RunState};
use crate::tui::state::State;
use crate::tui::widgets;
use deeds::{delete, load, merge, or_say, resume, try_it};
use rows::{Item, Known, Mark, Part, Row, rows};

/// From this width on the details stand beside the list.
const WIDE: u16 = 130;
/// Cells of the list there.
const LIST: u16 = 80;
/// Lines that a page up or down goes.
const PAGE: usize = 10;
/// Seconds between two looks at the runs, where some are trained and not followed, and where none is known to be.
const LOOK_EVERY: u64 = 10;
const LOOK_ANYWAY: u64 = 60;

/// The tree of runs.
#[derive(Debug, Default)]
pub struct Checkpoints {
    known: Known,
    /// The newest event that a run had when it was read.
    read_at: HashMap<PathBuf, f64>,
    /// Everything on the screen is to be read anew with the next list.
    look_again: bool,
    mark: Mark,
    /// The run that somebody was asked about going on with; it is shown once its new worker is there.
    resuming: Option<PathBuf>,
}

impl Checkpoints {
    fn rows<'a>(&'a self, state: &'a State) -> Vec<Row<'a>> {
        rows(state, &self.known, self.mark.run())
    }

    /// Marks a part of a run, which is read where it has not been.
    fn mark(&mut self, run: PathBuf, part: Part, state: &State) -> Handled {
        self.mark.set(&run, part);
        self.mark.settle(state.runs.as_deref().unwrap_or_default());
        match self.known.contains_key(&run) {
            true => Handled::done(),
            false => Handled::with(Action::InspectRun(run)),
        }
    }

    /// The line that a key leads to from line `at`.
    fn target(key: &KeyEvent, rows: &[Row], at: usize) -> Option<usize> {
        let is_run = |i: &usize| matches!(rows[*i].item, Item::Run);
        let to = if keys::UP.is(key) {
            at.saturating_sub(1)
        } else if keys::DOWN.is(key) {
            (at + 1).min(rows.len().saturating_sub(1))
        } else if keys::PAGE_UP.is(key) {
            at.saturating_sub(PAGE)
        } else if keys::PAGE_DOWN.is(key) {
            (at + PAGE).min(rows.len().saturating_sub(1))
        } else if keys::FIRST.is(key) {
            0
        } else if keys::LAST.is(key) {
            rows.len().saturating_sub(1)
        } else if keys::RUN_ABOVE.is(key) {
            (0..at).rev().find(is_run).unwrap_or(at)
        } else if keys::RUN_BELOW.is(key) {
            (at + 1..rows.len()).find(is_run).unwrap_or(at)
        } else {
            return None;
        };
        Some(to)
    }
}

impl Component for Checkpoints {
    fn commands(&self, state: &State) -> Vec<CommandInfo> {
        let rows = self.rows(state);
        let row = rows.get(self.mark.index(&rows));
        // Nothing can be done with what cannot be read.
        let row = row.filter(|r| r.run.status != RunStatus::Unreadable);
        let on = |wanted: fn(&Item) -> bool| row.is_some_and(|r| wanted(&r.item));
        let idle = row.is_some_and(|r| !is_running(r, state));
        vec![
            CommandInfo::main(&keys::OPEN_RUN, row.is_some()),
            CommandInfo::main(&keys::TO_REPL, row.is_some_and(|r| try_it(r).is_ok())),
            CommandInfo::main(
                &keys::RESUME_FROM,
                idle && on(|i| matches!(i, Item::Run | Item::Checkpoint(_)))
                    && !row.is_some_and(|r| is_finished(r, state)),
            ),
            CommandInfo::main(
                &keys::MERGE,
                state.engine.as_ref().is_some_and(Result::is_ok)
                    && row.is_some_and(|r| merge(r, state).is_ok()),
            ),
            CommandInfo::main(&keys::DELETE, idle && on(|i| !matches!(i, Item::Base(_)))),
            CommandInfo::main(&keys::TO_CONFIG, row.is_some()),
            CommandInfo::main(&keys::REFRESH, true),
            CommandInfo::other(&keys::UP),
            CommandInfo::other(&keys::DOWN),
            CommandInfo::other(&keys::RUN_ABOVE),
            CommandInfo::other(&keys::RUN_BELOW),
            CommandInfo::other(&keys::PAGE_UP),
            CommandInfo::other(&keys::PAGE_DOWN),
            CommandInfo::other(&keys::FIRST),
            CommandInfo::other(&keys::LAST),
        ]
    }

    fn handle(&mut self, key: &KeyEvent, state: &State) -> Handled {
        if keys::REFRESH.is(key) {
            self.look_again = true;
            return Handled::with(Action::ListRuns);
        }
        let rows = self.rows(state);
        let at = self.mark.index(&rows);
        let Some(row) = rows.get(at) else { return Handled::No };
        if let Some(to) = Self::target(key, &rows, at) {
            let (run, part) = (rows[to].run.path.clone(), rows[to].part());
            return self.mark(run, part, state);
        }
        let wanted = [
            &keys::OPEN_RUN,
            &keys::TO_REPL,
            &keys::TO_CONFIG,
            &keys::RESUME_FROM,
            &keys::MERGE,
            &keys::DELETE,
        ];
        if let Some(problem) = row.run.problem.as_ref().filter(|_| wanted.iter().any(|b| b.is(key))) {
            return Handled::with(Action::Tell(Notice::error(problem.clone())));
        }
        if keys::OPEN_RUN.is(key) && matches!(row.item, Item::Run) {
            Handled::Yes(vec![Action::OpenRun(row.run.path.clone()), Action::Show(Tab::Train)])
        } else if keys::OPEN_RUN.is(key) || keys::TO_REPL.is(key) {
            or_say(try_it(row))
        } else if keys::TO_CONFIG.is(key) {
            or_say(load(row))
        } else if keys::RESUME_FROM.is(key) {
            let (run, asked) = (row.run.path.clone(), resume(row, state));
            // What was missing may have come back: the next time it is known.
            let again = row.details.filter(|d| asked.is_err() && d.ready.is_err());
            let again = again.map(|_| Action::InspectRun(run.clone()));
            self.resuming = asked.is_ok().then_some(run);
            match or_say(asked) {
                Handled::Yes(actions) => Handled::Yes(actions.into_iter().chain(again).collect()),
                Handled::No => Handled::No,
            }
        } else if keys::MERGE.is(key) {
            or_say(merge(row, state))
        } else if keys::DELETE.is(key) {
            or_say(delete(row, state))
        } else {
            Handled::No
        }
    }

    fn receive(&mut self, message: &Message, state: &State) -> Vec<Action> {
        let runs = state.runs.as_deref().unwrap_or_default();
        match message {
            Message::Runs { .. } => {
                self.known.retain(|path, _| runs.iter().any(|r| r.path == *path));
                self.mark.settle(runs);
                self.read_at.retain(|path, _| self.known.contains_key(path));
                let all = std::mem::take(&mut self.look_again);
                let on_screen =
                    |r: &&RunSummary| Some(&*r.path) == self.mark.run() || is_followed(&r.path, state);
                let is_old = |r: &&RunSummary| all || self.read_at.get(&r.path) != Some(&r.newest);
                let old: Vec<_> = runs.iter().filter(on_screen).filter(is_old).collect();
                self.read_at.extend(old.iter().map(|r| (r.path.clone(), r.newest)));
                old.iter().map(|r| Action::InspectRun(r.path.clone())).collect()
            }
            Message::RunDetails(details) => {
                self.known.insert(details.path.clone(), (**details).clone());
                // What took the place of a checkpoint that is gone stays marked.
                let rows = self.rows(state);
                let part =
                    rows.get(self.mark.index(&rows)).filter(|r| r.run.path == details.path).map(Row::part);
                if let Some(part) = part {
                    self.mark.set(&details.path, part);
                }
                Vec::new()
            }
            Message::Deleted(path) if runs.iter().any(|r| r.path == *path) => vec![Action::ListRuns],
            Message::Opened(path) if self.resuming.as_ref() == Some(path) => {
                self.resuming = None;
                vec![Action::Show(Tab::Train)]
            }
            Message::Opened(path) if runs.iter().all(|r| r.path != *path) => {
                self.mark.set(path, Part::Run);
                vec![Action::ListRuns]
            }
            // A new one that a look at the disk has found before it was told of.
            Message::Opened(path) if !self.known.contains_key(path) && state.runs.is_some() => {
                self.mark.set(path, Part::Run);
                vec![Action::InspectRun(path.clone())]
            }
            Message::Events { run, records } if is_followed(run, state) => {
                let changes = records.iter().any(|r| {
                    let event = &r.event;
                    matches!(event, Event::Eval { .. } | Event::Checkpoint { .. } | Event::Finished { .. })
                        || matches!(event, Event::CheckpointRemoved { .. })
                });
                // The checkpoints of a run that is not listed yet come with the list.
                let listed = runs.iter().any(|r| r.path == *run);
                (changes && listed).then(|| Action::InspectRun(run.clone())).into_iter().collect()
            }
            // The list may be older than the worker: one that was not yet at its run when it was looked at has left a
            // run behind that is told as idle, or as its last worker left it.
            Message::Worker { run, .. } => {
                let now = state.run.as_ref().filter(|r| r.path == *run).and_then(status);
                let listed = runs.iter().find(|r| r.path == *run).map(|r| r.status);
                let outdated = now.is_some() && listed.is_some() && now != listed;
                outdated.then_some(Action::ListRuns).into_iter().collect()
            }
            Message::Tick(now) => {
                let every = if state.other_jobs() > 0 { LOOK_EVERY } else { LOOK_ANYWAY };
                (*now as u64).is_multiple_of(every).then_some(Action::ListRuns).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn draw(&self, frame: &mut Frame, area: Rect, state: &State) {
        let theme = &state.theme;
        let rows = self.rows(state);
        let at = self.mark.index(&rows);
        let title = format!(" Runs under {} ", state.output_dir.display());
        let mut title = Line::styled(title, theme.title);
        for merging in &state.merges {
            let words = format!(" merging {}: {} % ", merging.name(), merging.percent);
            title.push_span(Span::styled(words, theme.warning));
        }
        let Some(row) = rows.get(at) else {
            let inner = widgets::panel(frame, area, title, theme);
            let text = match &state.runs {
                None => "Looking for runs",
                Some(_) => "There are no runs yet. 1 Config starts one.",
            };
            return widgets::words(frame, inner, text, theme.dim);
        };
        let [upper, curve, arguments] = areas(area, rows.len());
        let inner = widgets::panel(frame, upper, title, theme);
        list::draw(frame, inner, &rows, at, state);
        detail::curve(frame, curve, row, state);
        detail::arguments(frame, arguments, row, state);
    }
}

/// Places of the list, the curve and the arguments.
fn areas(area: Rect, lines: usize) -> [Rect; 3] {
    if area.width >= WIDE {
        let [list, side] =
            Layout::horizontal([Constraint::Length(LIST), Constraint::Min(0)]).spacing(1).areas(area);
        let [curve, arguments] = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(side);
        return [list, curve, arguments];
    }
    // Title, header and path beside the lines; the details get no less than half.
    let height = (lines.min(200) as u16 + 3).clamp(7, (area.height / 2).max(7));
    let [list, below] = Layout::vertical([Constraint::Length(height), Constraint::Min(0)]).areas(area);
    let [curve, arguments] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(1).areas(below);
    [list, curve, arguments]
}

fn is_followed(run: &Path, state: &State) -> bool {
    state.run.as_ref().is_some_and(|r| r.path == run)
}

/// Whether a worker is at the row's run, by the list or, where it is followed, by what is newer.
fn is_running(row: &Row, state: &State) -> bool {
    let followed = state.run.as_ref().filter(|r| r.path == row.run.path);
    // What is followed is newer than the list, once its log has been read.
    match followed.and_then(|run| Some((run, status(run)?))) {
        Some((run, now)) => now == RunStatus::Running || run.is_live(),
        None => row.run.status == RunStatus::Running || followed.is_some_and(RunState::is_live),
    }
}

/// How a run stands by what was heard of it last, once its log and its worker are known.
pub(super) fn status(run: &RunState) -> Option<RunStatus> {
    match run.phase() {
        Phase::Opening | Phase::Untold => None,
        Phase::Starting | Phase::Busy(_) | Phase::Paused | Phase::NoRoom => {
            run.is_live().then_some(RunStatus::Running)
        }
        Phase::Finished => Some(RunStatus::Finished),
        Phase::Stopped => Some(RunStatus::Stopped),
        Phase::Failed => Some(RunStatus::Failed),
        Phase::Crashed => Some(RunStatus::Crashed),
    }
}

/// Whether the row's run has come to its end.
fn is_finished(row: &Row, state: &State) -> bool {
    let followed = state.run.as_ref().filter(|r| r.path == row.run.path);
    match followed.map(RunState::phase) {
        Some(Phase::Finished) => true,
        // What is followed is newer than the list, once its log has been read.
        Some(Phase::Opening | Phase::Untold) | None => row.run.status == RunStatus::Finished,
        Some(_) => false,
    }
}
