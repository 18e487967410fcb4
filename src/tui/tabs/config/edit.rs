//! Typing: a line of text, and what lines and editors have in common.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use tui_textarea::{CursorMove, Input, TextArea};

use crate::tui::state::State;
use crate::tui::{keys, text, widgets};

/// The longest line that can be typed or pasted, in bytes.
const LONGEST: usize = 8 << 10;

/// A line of text with a caret.
#[derive(Debug, Clone)]
pub struct Line {
    area: TextArea<'static>,
}

impl Default for Line {
    fn default() -> Line {
        Line::new("")
    }
}

impl Line {
    /// The caret stands at the end.
    pub fn new(text: &str) -> Line {
        let mut area = plain(vec![one_line(text)]);
        area.move_cursor(CursorMove::End);
        Line { area }
    }

    pub fn text(&self) -> &str {
        self.area.lines().first().map_or("", String::as_str)
    }

    /// Takes a key; returns whether it was one for a line.
    pub fn handle(&mut self, key: &KeyEvent) -> bool {
        let ctrl_m = key.code == KeyCode::Char('m') && key.modifiers == KeyModifiers::CONTROL;
        // To the text area Ctrl+J is no new line: it would empty the line.
        let new_line = ctrl_m || keys::NEW_LINE.is(key) || key.code == KeyCode::Enter;
        if is_elsewhere(key) || new_line || key.code == KeyCode::Esc {
            return false;
        }
        if matches!(key.code, KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown) {
            return false;
        }
        if keys::EMPTY.is(key) {
            empty(&mut self.area);
            return true;
        }
        if keys::UNDO.is(key) {
            self.area.undo();
            return true;
        }
        let grows =
            matches!(key.code, KeyCode::Char(_)) && key.modifiers.difference(KeyModifiers::SHIFT).is_empty();
        if !(grows && self.text().len() >= LONGEST) {
            self.area.input(Input::from(*key));
        }
        // The lines of what was deleted elsewhere may come back by Ctrl+Y.
        if self.area.lines().len() > 1 {
            *self = Line::new(&self.area.lines().join(" "));
        }
        true
    }

    pub fn paste(&mut self, pasted: &str) {
        let mut pasted = one_line(pasted.trim_end_matches('\n'));
        let room = LONGEST.saturating_sub(self.text().len());
        while pasted.len() > room {
            pasted.pop();
        }
        self.area.insert_str(&pasted);
    }

    /// Draws it into the first line of `area`, with the terminal's own caret: that is where input methods write.
    pub fn draw(&self, frame: &mut Frame, area: Rect, style: Style, state: &State) {
        let area = Rect { height: area.height.min(1), ..area };
        frame.buffer_mut().set_style(area, style);
        draw(frame, area, &self.area, state);
    }
}

/// A text area without decorations of its own.
pub fn plain(lines: Vec<String>) -> TextArea<'static> {
    let mut area = TextArea::new(lines);
    area.set_cursor_line_style(Style::new());
    // The terminal's own caret is there instead.
    area.set_cursor_style(Style::new());
    area.set_tab_length(2);
    area
}

/// Empties a text area, so that an undo brings the text back.
pub fn empty(area: &mut TextArea<'static>) {
    area.select_all();
    area.cut();
}

/// Draws a text area, with the terminal's caret in it.
pub fn draw(frame: &mut Frame, area: Rect, text: &TextArea<'static>, state: &State) {
    if area.is_empty() {
        return;
    }
    frame.render_widget(text, area);
    let (top, left) = text.scroll_offset();
    let caret = text.screen_cursor();
    let across = (usize::from(text.line_number_width()) + caret.col).saturating_sub(left.into());
    let down = caret.row.saturating_sub(top.into());
    let clamp = |n: usize, cells: u16| (n.min(usize::from(cells) - 1)) as u16;
    let caret = Position { x: area.x + clamp(across, area.width), y: area.y + clamp(down, area.height) };
    widgets::caret(frame, caret, state);
}

/// Whether a key is one of those that work everywhere, also where text is typed.
pub fn is_elsewhere(key: &KeyEvent) -> bool {
    let is_text = matches!(key.code, KeyCode::Char(_)) && !key.modifiers.contains(KeyModifiers::ALT);
    let everywhere =
        [keys::NEXT_TAB, keys::PREVIOUS_TAB, keys::TAB_1, keys::TAB_2, keys::TAB_3, keys::TAB_4, keys::HELP];
    matches!(key.code, KeyCode::F(_)) || (!is_text && everywhere.iter().any(|b| b.is(key)))
}

/// `text` in a line, without what would move the cursor.
fn one_line(text: &str) -> String {
    text::clean(text)
}
