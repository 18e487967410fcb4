//! The page of keys: what can be pressed where one is.

use std::cell::Cell;

use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::tui::component::{CommandInfo, Component, Handled};
use crate::tui::keys;
use crate::tui::state::State;
use crate::tui::text;

/// The commands of a place and of everywhere, as they were when the page was opened.
pub struct Help {
    sections: Vec<(String, Vec<CommandInfo>)>,
    /// Lines scrolled away.
    scroll: u16,
    /// Lines that can be scrolled away, of those drawn last.
    most: Cell<u16>,
}

impl Help {
    pub fn new(sections: Vec<(String, Vec<CommandInfo>)>) -> Help {
        Help { sections, scroll: 0, most: Cell::default() }
    }

    /// Cells of the column of keys.
    fn column(&self) -> usize {
        let keys = self.sections.iter().flat_map(|(_, c)| c).map(|c| text::width(c.binding.keys));
        keys.max().unwrap_or(0).max(12) + 2
    }

    /// Cells that the longest line takes.
    fn width(&self) -> usize {
        let said = self.sections.iter().flat_map(|(_, c)| c).map(|c| text::width(&said(c)));
        self.column() + said.max().unwrap_or(0)
    }

    fn lines(&self, state: &State, width: usize) -> Vec<Line<'static>> {
        let theme = &state.theme;
        let mut lines = Vec::new();
        let column = self.column();
        for (title, commands) in self.sections.iter().filter(|(_, c)| !c.is_empty()) {
            if !lines.is_empty() {
                lines.push(Line::default());
            }
            lines.push(Line::styled(title.clone(), theme.title));
            for command in commands {
                let (key, help) = match command.enabled {
                    true => (theme.key, theme.text),
                    false => (theme.dim, theme.dim),
                };
                let rows = text::wrap(&said(command), width.saturating_sub(column));
                for (i, row) in rows.into_iter().enumerate() {
                    let keys = if i == 0 { command.binding.keys } else { "" };
                    lines.push(Line::from(vec![
                        Span::styled(text::pad(keys, column), key),
                        Span::styled(row, help),
                    ]));
                }
            }
        }
        lines
    }
}

/// What a command does, and that it cannot be done now.
fn said(command: &CommandInfo) -> String {
    let later = if command.enabled { "" } else { " (not now)" };
    format!("{}{later}", command.binding.help)
}

impl Component for Help {
    fn commands(&self, _: &State) -> Vec<CommandInfo> {
        [&keys::UP, &keys::DOWN, &keys::CLOSE].map(|b| CommandInfo::main(b, true)).into()
    }

    /// Arrows scroll; every other key closes the page.
    fn handle(&mut self, key: &KeyEvent, _: &State) -> Handled {
        if keys::UP.is(key) {
            self.scroll = self.scroll.min(self.most.get()).saturating_sub(1);
            Handled::No
        } else if keys::DOWN.is(key) {
            self.scroll = (self.scroll + 1).min(self.most.get());
            Handled::No
        } else {
            Handled::done()
        }
    }

    fn draw(&self, frame: &mut Frame, area: Rect, state: &State) {
        let width = (self.width() as u16).min(area.width.saturating_sub(4));
        let lines = self.lines(state, width as usize);
        // Where all of it fits there is nothing to scroll; two rows are the frame's.
        let most = (lines.len() as u16).saturating_sub(area.height.saturating_sub(2));
        self.most.set(most);
        let title = match most.saturating_sub(self.scroll) {
            0 => "Keys".to_owned(),
            more => format!("Keys: Down shows {more} more"),
        };
        let inner = super::open(frame, area, &title, width, lines.len() as u16, &state.theme);
        frame.render_widget(Paragraph::new(lines).scroll((self.scroll.min(most), 0)), inner);
    }
}
