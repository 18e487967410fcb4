//! The list of models, narrowed by what is typed; what is typed may also be a directory.

use std::path::PathBuf;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::choice::Choice;
use crate::tui::model::short_name;
use crate::tui::repl::{Model, RunModels};
use crate::tui::state::State;
use crate::tui::{keys, popups, text, widgets};

/// Characters of the longest name or path.
const LONGEST: usize = 4096;

/// The list, while it is open.
#[derive(Debug, Default)]
pub struct Picker {
    typed: String,
    marked: usize,
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
        } else if keys::EMPTY.is(key) {
            self.type_in(|typed| typed.clear());
        } else {
            match key.code {
                KeyCode::Char(c) if key.modifiers.difference(KeyModifiers::SHIFT).is_empty() => {
                    self.paste(c.encode_utf8(&mut [0; 4]));
                }
                KeyCode::Backspace => self.type_in(|typed| {
                    typed.pop();
                }),
                KeyCode::Up => self.marked = self.marked.saturating_sub(1),
                KeyCode::Down => self.marked = (self.marked + 1).min(last),
                KeyCode::PageUp => self.marked = self.marked.saturating_sub(10),
                KeyCode::PageDown => self.marked = (self.marked + 10).min(last),
                _ => {}
            }
        }
        Picked::Open
    }

    /// Adds to what is typed; of several lines the first.
    pub fn paste(&mut self, pasted: &str) {
        let line = text::clean(pasted.lines().next().unwrap_or_default());
        if self.typed.chars().count() + line.chars().count() <= LONGEST {
            self.type_in(|typed| typed.push_str(&line));
        }
    }

    fn type_in(&mut self, change: impl FnOnce(&mut String)) {
        change(&mut self.typed);
        self.marked = 0;
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
            if let Some(base) = &models.base {
                let choice = Choice::Fixed(Model::BaseOf(models.run.clone()));
                entries.push(Entry { choice, left: name.clone(), right: format!("base: {base}") });
            }
        }
        let typed = self.typed.trim();
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
        let typed = text::fit_end(&self.typed, cells.saturating_sub(ASKED.len() + 1));
        let caret = ASKED.len() + text::width(&typed);
        let mut lines = vec![
            Line::from(vec![Span::styled(ASKED, theme.dim), Span::styled(typed, theme.strong)]),
            Line::default(),
        ];
        let entries = self.entries(state);
        let room = inner.height as usize - 2;
        let marked = self.marked.min(entries.len().saturating_sub(1));
        let first = (marked + 1).saturating_sub(room);
        let left = entries.iter().map(|e| text::width(&e.left)).max().unwrap_or(0).min(cells / 2);
        for (i, entry) in entries.iter().enumerate().skip(first).take(room) {
            let style = if i == marked { theme.selected } else { theme.text };
            let right = text::fit_end(&entry.right, cells.saturating_sub(left + 4));
            let line = format!(" {}  {right} ", text::pad(&entry.left, left));
            lines.push(Line::styled(text::fit(&line, cells), style));
        }
        if self.models.is_none() && entries.len() < room {
            lines.push(Line::styled(" Looking for checkpoints", theme.dim));
        } else if entries.is_empty() {
            lines.push(Line::styled(" There are no runs yet; type a model's directory.", theme.dim));
        }
        frame.render_widget(Paragraph::new(lines), inner);
        let x = inner.x + (caret as u16).min(inner.width.saturating_sub(1));
        widgets::caret(frame, Position { x, y: inner.y }, state);
    }
}
