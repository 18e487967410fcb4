//! The list of models, narrowed by what is typed; what is typed may also be a directory.

use std::path::PathBuf;

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line as TextLine;
use ratatui::widgets::Paragraph;

use super::choice::Choice;
use crate::job::merge::{SUFFIX, usual_target};
use crate::tui::model::short_name;
use crate::tui::repl::{Model, RunModels};
use crate::tui::state::State;
use crate::tui::tabs::config::edit::Line;
use crate::tui::{keys, popups, text};

/// The list, while it is open.
#[derive(Debug, Default)]
pub struct Picker {
    typed: Line,
    marked: usize,
    /// Why what was chosen cannot be had.
    refused: Option<String>,
    /// None while they are looked for.
    pub models: Option<Vec<RunModels>>,
}

/// What became of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Picked {
    Open,
    Closed,
    Chosen(Choice),
}

struct Entry {
    choice: Choice,
    /// The run or the kind, and the model.
    left: String,
    right: String,
}

impl Picker {
    /// Every key is the list's but those of other tabs and of the help page, which the caller keeps.
    pub fn key(&mut self, key: &KeyEvent, state: &State) -> Picked {
        let entries = self.entries(state);
        let last = entries.len().saturating_sub(1);
        self.marked = self.marked.min(last);
        if keys::CLOSE.is(key) {
            return Picked::Closed;
        } else if keys::CHOOSE.is(key) {
            let chosen = entries.into_iter().nth(self.marked);
            return chosen.map_or(Picked::Open, |e| Picked::Chosen(e.choice));
        }
        match key.code {
            KeyCode::Up => self.marked = self.marked.saturating_sub(1),
            KeyCode::Down => self.marked = (self.marked + 1).min(last),
            KeyCode::PageUp => self.marked = self.marked.saturating_sub(10),
            KeyCode::PageDown => self.marked = (self.marked + 10).min(last),
            _ => self.type_in(|typed| _ = typed.handle(key)),
        }
        Picked::Open
    }

    /// Adds to what is typed; of several lines the first.
    pub fn paste(&mut self, pasted: &str) {
        self.type_in(|typed| typed.paste(pasted.lines().next().unwrap_or_default()));
    }

    /// What was chosen cannot be had: it stands there still, to be mended.
    pub fn refuse(&mut self, why: &str) {
        self.refused = Some(why.to_owned());
    }

    fn type_in(&mut self, change: impl FnOnce(&mut Line)) {
        let before = self.typed.text().to_owned();
        change(&mut self.typed);
        // The caret alone changes nothing of the list.
        if self.typed.text() != before {
            (self.marked, self.refused) = (0, None);
        }
    }

    fn entries(&self, state: &State) -> Vec<Entry> {
        let mut entries = Vec::new();
        if let Some(run) = &state.run {
            let of = if run.is_live() { "the running job" } else { "the run on the Train tab" };
            for choice in [Choice::Best, Choice::Newest] {
                let right = choice.entry(state);
                entries.push(Entry { choice, left: of.to_owned(), right });
            }
        }
        if let Some(base) = &state.base {
            let right = format!("base: {}", base.dir.display());
            let choice = Choice::Fixed(Model::Base(base.clone()));
            entries.push(Entry { choice, left: "the Config tab".to_owned(), right });
        }
        for models in self.models.as_deref().unwrap_or_default() {
            let name = short_name(&models.run);
            for step in models.checkpoints.iter().rev() {
                let dir = models.run.join(format!("checkpoint-{step}"));
                let words = match (models.best == Some(*step), models.last == Some(*step)) {
                    (true, true) => ", best and last",
                    (true, false) => ", best",
                    (false, true) => ", last",
                    (false, false) => "",
                };
                let choice = Choice::Fixed(Model::Checkpoint(dir));
                entries.push(Entry {
                    choice,
                    left: name.clone(),
                    right: format!("checkpoint-{step}{words}"),
                });
            }
            for step in models.merged.iter().rev() {
                let dir = usual_target(&models.run.join(format!("checkpoint-{step}")));
                let right = format!("checkpoint-{step}{SUFFIX}, a whole model");
                let choice = Choice::Fixed(Model::At(dir));
                entries.push(Entry { choice, left: name.clone(), right });
            }
            if let Some(base) = &models.base {
                let choice = Choice::Fixed(Model::BaseOf(models.run.clone()));
                entries.push(Entry { choice, left: name.clone(), right: format!("base: {base}") });
            }
        }
        let typed = self.typed.text().trim();
        if typed.is_empty() {
            return entries;
        }
        let wanted = typed.to_lowercase();
        entries.retain(|e| format!("{} {}", e.left, e.right).to_lowercase().contains(&wanted));
        let path = Entry {
            choice: Choice::Fixed(Model::At(PathBuf::from(typed))),
            left: "the directory".to_owned(),
            right: typed.to_owned(),
        };
        // A path is hardly a part of a name, so it comes first.
        let at = if typed.contains('/') { 0 } else { entries.len() };
        entries.insert(at, path);
        entries
    }

    pub fn draw(&self, frame: &mut Frame, area: Rect, state: &State) {
        let theme = &state.theme;
        let width = area.width.saturating_sub(8).min(100);
        let inner =
            popups::open(frame, area, "Which model answers?", width, area.height.saturating_sub(4), theme);
        if inner.height < 3 {
            return;
        }
        let cells = inner.width as usize;
        const ASKED: &str = "part of a name, or a directory: ";
        let mut lines = vec![TextLine::styled(ASKED, theme.dim)];
        let said = self.refused.as_deref().map_or(Vec::new(), |why| text::wrap(why, cells));
        let most = (inner.height as usize / 2).saturating_sub(1);
        lines.extend(text::cut(said, most, cells).into_iter().map(|line| TextLine::styled(line, theme.bad)));
        if lines.len() == 1 {
            lines.push(TextLine::default());
        }
        let entries = self.entries(state);
        let room = inner.height as usize - lines.len();
        let marked = self.marked.min(entries.len().saturating_sub(1));
        let first = (marked + 1).saturating_sub(room);
        let left = entries.iter().map(|e| text::width(&e.left)).max().unwrap_or(0).min(cells / 2);
        for (i, entry) in entries.iter().enumerate().skip(first).take(room) {
            let style = if i == marked { theme.selected } else { theme.text };
            let right = text::fit_end(&entry.right, cells.saturating_sub(left + 4));
            let line = format!(" {}  {right} ", text::pad(&entry.left, left));
            lines.push(TextLine::styled(text::fit(&line, cells), style));
        }
        if self.models.is_none() && entries.len() < room {
            lines.push(TextLine::styled(" Looking for checkpoints", theme.dim));
        } else if entries.is_empty() {
            lines.push(TextLine::styled(" There are no runs yet; type a model's directory.", theme.dim));
        }
        frame.render_widget(Paragraph::new(lines), inner);
        let asked = (ASKED.len() as u16).min(inner.width);
        let place = Rect { x: inner.x + asked, width: inner.width - asked, ..inner };
        self.typed.draw(frame, place, theme.strong, state);
    }
}
