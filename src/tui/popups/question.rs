//! A question with a few answers, one of which changes nothing.

use std::cell::Cell;

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::PAGE;
use crate::tui::action::{Action, Whom};
use crate::tui::component::{CommandInfo, Component, Handled};
use crate::tui::keys;
use crate::tui::state::State;
use crate::tui::text;

/// Cells of the longest line of prose.
const READ_WELL: usize = 76;

/// A question. `Esc` takes the last answer, so that one must be harmless; it is also the one marked first.
#[derive(Debug, Clone)]
pub struct Question {
    pub title: String,
    pub text: String,
    pub choices: Vec<Choice>,
    /// The job that it asks about, whose state its words follow.
    pub about: Option<Whom>,
    marked: usize,
    /// Lines of the text that are scrolled away, and those that can be of what was drawn last.
    scroll: usize,
    most: Cell<usize>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Its key; shown before the label.
    pub key: char,
    pub label: &'static str,
    pub actions: Vec<Action>,
}

impl Choice {
    pub fn new(key: char, label: &'static str, actions: Vec<Action>) -> Choice {
        Choice { key, label, actions }
    }
}

impl Question {
    pub fn new(title: impl Into<String>, text: impl Into<String>, choices: Vec<Choice>) -> Question {
        let marked = choices.len().saturating_sub(1);
        Question {
            title: title.into(),
            text: text.into(),
            choices,
            about: None,
            marked,
            scroll: 0,
            most: Cell::default(),
        }
    }

    /// Of this job.
    pub fn about(self, whom: Whom) -> Question {
        Question { about: Some(whom), ..self }
    }

    /// Takes over where `before` was, whose words it has in their newest form.
    pub fn in_place_of(self, before: &Question) -> Question {
        let is_same = self.choices.len() == before.choices.len();
        let marked = if is_same { before.marked } else { self.marked };
        Question { marked, scroll: before.scroll, ..self }
    }

    /// Not a question: that nothing can be trained, and what is `missing`.
    pub fn no_engine(missing: &str) -> Question {
        let close = vec![Choice::new('c', "Close", Vec::new())];
        Question::new("There is no engine to train with", missing, close)
    }

    /// Cells that it wants: a path stays whole, prose does not run on for longer than is read well.
    fn width(&self) -> usize {
        let lines = || self.text.lines();
        let prose = lines().map(text::width).max().unwrap_or(0).min(READ_WELL);
        let words = lines().flat_map(|line| line.split(' ')).map(text::width);
        let answers = self.choices.iter().map(|c| text::width(c.label) + 6);
        words.chain(answers).chain([text::width(&self.title) + 2]).fold(prose, usize::max)
    }

    /// The answer that `key` gives; its actions follow.
    fn answer(&self, key: &KeyEvent) -> Option<Vec<Action>> {
        let chosen = if keys::CLOSE.is(key) {
            self.choices.last()
        } else if keys::CHOOSE.is(key) {
            self.choices.get(self.marked)
        } else if let KeyCode::Char(c) = key.code {
            self.choices.iter().find(|choice| choice.key.eq_ignore_ascii_case(&c))
        } else {
            None
        };
        chosen.map(|c| c.actions.clone())
    }
}

impl Component for Question {
    fn commands(&self, _: &State) -> Vec<CommandInfo> {
        let scrolls = self.most.get() > 0;
        let scroll = [&keys::PAGE_DOWN, &keys::PAGE_UP].map(|binding| CommandInfo {
            binding,
            enabled: scrolls,
            main: scrolls,
        });
        let several = self.choices.len() > 1;
        let keys =
            [(&keys::LEFT, several), (&keys::RIGHT, several), (&keys::CHOOSE, true), (&keys::CLOSE, true)];
        let keys = keys.map(|(binding, enabled)| CommandInfo::main(binding, enabled));
        scroll.into_iter().chain(keys).collect()
    }

    /// `Yes` closes the question; a key that only moves the mark, or means nothing here, is `No`.
    fn handle(&mut self, key: &KeyEvent, _: &State) -> Handled {
        if let Some(actions) = self.answer(key) {
            return Handled::Yes(actions);
        }
        let most = self.most.get();
        // With one answer there is nothing to go to but the rest of the text.
        let alone = self.choices.len() == 1;
        if keys::PAGE_DOWN.is(key) || alone && keys::RIGHT.is(key) {
            let by = if alone && keys::RIGHT.is(key) { 1 } else { PAGE };
            self.scroll = (self.scroll + by).min(most);
            return Handled::No;
        } else if keys::PAGE_UP.is(key) || alone && keys::LEFT.is(key) {
            let by = if alone && keys::LEFT.is(key) { 1 } else { PAGE };
            self.scroll = self.scroll.min(most).saturating_sub(by);
            return Handled::No;
        }
        let last = self.choices.len().saturating_sub(1);
        if keys::LEFT.is(key) {
            self.marked = self.marked.checked_sub(1).unwrap_or(last);
        } else if keys::RIGHT.is(key) {
            self.marked = if self.marked >= last { 0 } else { self.marked + 1 };
        }
        Handled::No
    }

    fn draw(&self, frame: &mut Frame, area: Rect, state: &State) {
        let theme = &state.theme;
        let width = (self.width() as u16).min(area.width.saturating_sub(4));
        let text = text::wrap(&self.text, width as usize);
        // Two rows are the frame's, one is blank; the answers are always there.
        let room = usize::from(area.height).saturating_sub(self.choices.len() + 3).max(1);
        let most = text.len().saturating_sub(room);
        self.most.set(most);
        let scroll = self.scroll.min(most);
        let mut lines: Vec<Line> = text.into_iter().skip(scroll).take(room).map(Line::from).collect();
        lines.push(match most - scroll {
            0 => Line::default(),
            more => Line::styled(format!("PgDn shows {more} more"), theme.dim),
        });
        for (i, choice) in self.choices.iter().enumerate() {
            let style = if i == self.marked { theme.selected } else { theme.text };
            lines.push(Line::from(vec![
                Span::styled(format!(" {} ", choice.key), theme.key),
                Span::styled(format!(" {} ", choice.label), style),
            ]));
        }
        let inner = super::open(frame, area, &self.title, width, lines.len() as u16, theme);
        frame.render_widget(ratatui::widgets::Paragraph::new(lines), inner);
    }
}
