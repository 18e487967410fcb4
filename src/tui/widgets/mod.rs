//! Small views, built from figures at each frame.

mod bar;
mod plot;
mod spark;

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph};

pub use bar::bar;
pub use plot::{Curve, Mark, Plot};
pub use spark::spark;

use super::state::State;
use super::text;
use super::theme::Theme;

/// A line with a title above `area`; returns what is left beneath it.
pub fn panel(frame: &mut Frame, area: Rect, title: Line<'_>, theme: &Theme) -> Rect {
    let block = Block::new().borders(Borders::TOP).border_style(theme.dim).title(title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}

/// Sets the terminal's caret, unless something is over the tabs: it would show through.
pub fn caret(frame: &mut Frame, at: Position, state: &State) {
    if !state.covered {
        frame.set_cursor_position(at);
    }
}

/// A few words in the middle of `area`.
pub fn words(frame: &mut Frame, area: Rect, words: &str, style: Style) {
    let lines = text::wrap(words, (area.width as usize).saturating_sub(4).min(76));
    let height = (lines.len() as u16).min(area.height);
    let place = Rect { y: area.y + (area.height - height) / 2, height, ..area };
    let lines: Vec<Line> = lines.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).centered().style(style), place);
}
