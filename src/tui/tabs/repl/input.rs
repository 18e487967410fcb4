//! The text being written: several lines, wide characters, the terminal's own cursor at the caret.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use tui_textarea::{CursorMove, TextArea, WrapMode};

use crate::tui::state::State;
use crate::tui::{keys, text, widgets};

/// Characters of the longest text; far more than any model's context.
pub const LONGEST: usize = 20_000;

/// What became of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// It is none of the text's.
    No,
    Yes,
    /// The caret was in the first line and should go up, or in the last and should go down.
    Above,
    Below,
    /// The text would be too long.
    TooLong,
}

/// The text and its caret.
#[derive(Debug)]
pub struct Input {
    area: TextArea<'static>,
}

impl Default for Input {
    fn default() -> Input {
        Input { area: editor(Vec::new()) }
    }
}

fn editor(lines: Vec<String>) -> TextArea<'static> {
    let mut area = TextArea::new(lines);
    area.set_wrap_mode(WrapMode::Glyph);
    area.set_cursor_line_style(Style::new());
    // The terminal's cursor is the caret: input methods open beside it.
    area.set_cursor_style(Style::new());
    area
}

impl Input {
    pub fn text(&self) -> String {
        self.area.lines().join("\n")
    }

    /// Whether there is nothing to send.
    pub fn is_blank(&self) -> bool {
        self.area.lines().iter().all(|l| l.trim().is_empty())
    }

    /// Puts `text` in the place of all there is, the caret at its end.
    pub fn set(&mut self, text: &str) {
        self.area = editor(text.split('\n').map(str::to_owned).collect());
        self.area.move_cursor(CursorMove::Bottom);
        self.area.move_cursor(CursorMove::End);
    }

    /// Lines and characters, once a text is long enough to lose sight of.
    pub fn size(&self) -> (usize, usize) {
        (self.area.lines().len(), self.characters())
    }

    fn characters(&self) -> usize {
        self.area.lines().iter().map(|l| l.chars().count()).sum::<usize>() + self.area.lines().len() - 1
    }

    /// Puts pasted text at the caret; what would move a terminal's cursor is taken out of it.
    pub fn paste(&mut self, pasted: &str) -> Typed {
        let lines: Vec<String> = pasted.split('\n').map(text::clean).collect();
        let text = lines.join("\n");
        if self.characters() + text.chars().count() > LONGEST {
            return Typed::TooLong;
        }
        self.area.insert_str(text);
        Typed::Yes
    }

    pub fn new_line(&mut self) -> Typed {
        if self.characters() >= LONGEST {
            return Typed::TooLong;
        }
        self.area.insert_newline();
        Typed::Yes
    }

    /// Takes a key that writes or moves.
    pub fn key(&mut self, key: &KeyEvent) -> Typed {
        let by_word = key.modifiers.contains(KeyModifiers::CONTROL);
        let area = &mut self.area;
        if keys::EMPTY.is(key) {
            *area = editor(Vec::new());
        } else if keys::DELETE_WORD.is(key) {
            area.delete_word();
        } else if keys::LINE_START.is(key) {
            area.move_cursor(CursorMove::Head);
        } else if keys::LINE_END.is(key) {
            area.move_cursor(CursorMove::End);
        } else if keys::UNDO.is(key) {
            area.undo();
        } else {
            match key.code {
                KeyCode::Char(c) if key.modifiers.difference(KeyModifiers::SHIFT).is_empty() => {
                    if self.characters() >= LONGEST {
                        return Typed::TooLong;
                    }
                    self.area.insert_str(text::clean(c.encode_utf8(&mut [0; 4])));
                }
                KeyCode::Backspace if by_word => drop(area.delete_word()),
                KeyCode::Delete if by_word => drop(area.delete_next_word()),
                KeyCode::Backspace => drop(area.delete_char()),
                KeyCode::Delete => drop(area.delete_next_char()),
                KeyCode::Left if by_word => area.move_cursor(CursorMove::WordBack),
                KeyCode::Right if by_word => area.move_cursor(CursorMove::WordForward),
                KeyCode::Left => area.move_cursor(CursorMove::Back),
                KeyCode::Right => area.move_cursor(CursorMove::Forward),
                KeyCode::Up => return self.step(CursorMove::Up, Typed::Above),
                KeyCode::Down => return self.step(CursorMove::Down, Typed::Below),
                _ => return Typed::No,
            }
        }
        Typed::Yes
    }

    /// Moves a line on the screen, or tells that there is none.
    fn step(&mut self, by: CursorMove, beyond: Typed) -> Typed {
        let before = self.area.screen_cursor().row;
        self.area.move_cursor(by);
        if self.area.screen_cursor().row == before { beyond } else { Typed::Yes }
    }

    /// Rows that all of it takes at `width`.
    pub fn rows(&self, width: u16) -> usize {
        let width = (width as usize).max(2);
        // One cell more: the caret behind the last character needs a place, too.
        self.area.lines().iter().map(|l| text::width(l) / width + 1).sum()
    }

    pub fn draw(&self, frame: &mut Frame, area: Rect, caret: bool, state: &State) {
        if area.is_empty() {
            return;
        }
        frame.render_widget(&self.area, area);
        let (at, scrolled) = (self.area.screen_cursor(), self.area.scroll_offset());
        let column = (at.col as u16).saturating_sub(scrolled.1).min(area.width - 1);
        let row = (at.row as u16).saturating_sub(scrolled.0).min(area.height - 1);
        if caret {
            widgets::caret(frame, Position { x: area.x + column, y: area.y + row }, state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(input: &mut Input, code: KeyCode) -> Typed {
        input.key(&KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn lines_are_kept_and_nothing_else_that_is_pasted_moves_the_cursor() {
        let mut input = Input::default();
        assert!(input.is_blank());
        input.paste("包装不错\n但是\x1b[31m质量\x07太差\t了");
        assert_eq!(input.text(), "包装不错\n但是质量 太差 了");
        assert_eq!(input.size(), (2, 14));
        press(&mut input, KeyCode::Char('!'));
        press(&mut input, KeyCode::Backspace);
        assert_eq!(input.new_line(), Typed::Yes);
        assert_eq!(input.text(), "包装不错\n但是质量 太差 了\n");
        assert_eq!(input.paste(&"长".repeat(LONGEST)), Typed::TooLong);
        assert_eq!(input.size().0, 3, "and nothing of it is there");
    }

    #[test]
    fn arrows_move_within_the_text_first() {
        let mut input = Input::default();
        assert_eq!(press(&mut input, KeyCode::Up), Typed::Above);
        input.set("一\n二\n三");
        assert_eq!(press(&mut input, KeyCode::Down), Typed::Below);
        assert_eq!(press(&mut input, KeyCode::Up), Typed::Yes);
        assert_eq!(press(&mut input, KeyCode::Up), Typed::Yes);
        assert_eq!(press(&mut input, KeyCode::Up), Typed::Above);
        assert_eq!(press(&mut input, KeyCode::Down), Typed::Yes);
        assert_eq!(press(&mut input, KeyCode::F(5)), Typed::No);
        let alt = KeyEvent::new(KeyCode::Char('1'), KeyModifiers::ALT);
        assert_eq!(input.key(&alt), Typed::No);
    }
}
