//! The page of keys: what can be pressed where one is.

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
}

impl Help {
    pub fn new(sections: Vec<(String, Vec<CommandInfo>)>) -> Help {
        Help { sections, scroll: 0 }
    }

    fn lines(&self, state: &State, width: usize) -> Vec<Line<'static>> {
        let theme = &state.theme;
        let mut lines = Vec::new();
        let keys = self.sections.iter().flat_map(|(_, c)| c).map(|c| text::width(c.binding.keys));
        let column = keys.max().unwrap_or(0).max(12) + 2;
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
                let later = if command.enabled { "" } else { " (not now)" };
                let help_text =
                    text::fit(&format!("{}{later}", command.binding.help), width.saturating_sub(column));
                lines.push(Line::from(vec![
                    Span::styled(text::pad(command.binding.keys, column), key),
                    Span::styled(help_text, help),
                ]));
            }
        }
        lines
    }
}

impl Component for Help {
    fn commands(&self, _: &State) -> Vec<CommandInfo> {
        [&keys::UP, &keys::DOWN, &keys::CLOSE].map(|b| CommandInfo::main(b, true)).into()
    }

    /// Arrows scroll; every other key closes the page.
    fn handle(&mut self, key: &KeyEvent, _: &State) -> Handled {
        if keys::UP.is(key) {
            self.scroll = self.scroll.saturating_sub(1);
            Handled::No
        } else if keys::DOWN.is(key) {
            let lines: usize = self.sections.iter().map(|(_, c)| c.len() + 2).sum();
            self.scroll = (self.scroll + 1).min(u16::try_from(lines.saturating_sub(3)).unwrap_or(u16::MAX));
            Handled::No
        } else {
            Handled::done()
        }
    }

    fn draw(&self, frame: &mut Frame, area: Rect, state: &State) {
        let width = 60.min(area.width.saturating_sub(4));
        let lines = self.lines(state, width as usize);
        // Where all of it fits there is nothing to scroll; two rows are the frame's.
        let most = (lines.len() as u16).saturating_sub(area.height.saturating_sub(2));
        let title = match most.saturating_sub(self.scroll) {
            0 => "Keys".to_owned(),
            more => format!("Keys: Down shows {more} more"),
        };
        let inner = super::open(frame, area, &title, width, lines.len() as u16, &state.theme);
        frame.render_widget(Paragraph::new(lines).scroll((self.scroll.min(most), 0)), inner);
    }
}
