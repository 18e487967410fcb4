//! What is put over the tabs: questions, the queue and the page of keys. A popup gets every key until it is closed.

mod help;
mod question;
mod queue;

use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, BorderType, Clear, Padding, Widget};

pub use help::Help;
pub use question::{Choice, Question};
pub use queue::{Pressed, QueuePage};

use super::component::{CommandInfo, Component, Handled};
use super::state::State;
use super::theme::Theme;

/// Lines that a page key scrolls a text by.
const PAGE: usize = 8;

/// What is over the tabs.
pub enum Popup {
    Help(Help),
    Question(Question),
    Queue(QueuePage),
}

impl Popup {
    /// Takes a key. What a page or a question answers with `Yes` closes it.
    pub fn press(&mut self, key: &KeyEvent, state: &State) -> Pressed {
        let handled = match self {
            Popup::Help(help) => help.handle(key, state),
            Popup::Question(question) => question.handle(key, state),
            Popup::Queue(queue) => return queue.press(key, state),
        };
        match handled {
            Handled::Yes(actions) => Pressed { actions, closes: true },
            Handled::No => Pressed { actions: Vec::new(), closes: false },
        }
    }

    pub fn commands(&self, state: &State) -> Vec<CommandInfo> {
        match self {
            Popup::Help(help) => help.commands(state),
            Popup::Question(question) => question.commands(state),
            Popup::Queue(queue) => queue.commands(state),
        }
    }

    pub fn draw(&self, frame: &mut Frame, area: Rect, state: &State) {
        match self {
            Popup::Help(help) => help.draw(frame, area, state),
            Popup::Question(question) => question.draw(frame, area, state),
            Popup::Queue(queue) => queue.draw(frame, area, state),
        }
    }
}

/// A frame of at most `width` x `height` cells, content only, in the middle of `area`; returns where the content goes.
pub fn open(frame: &mut Frame, area: Rect, title: &str, width: u16, height: u16, theme: &Theme) -> Rect {
    let (width, height) =
        (width.saturating_add(4).min(area.width), height.saturating_add(2).min(area.height));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    clear(frame.buffer_mut(), place);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.title)
        .padding(Padding::horizontal(1))
        .title(Line::styled(format!(" {title} "), theme.title));
    let inner = block.inner(place);
    frame.render_widget(block, place);
    inner
}

/// Empties `area`. A wide character that reaches into it from the left goes too: its other half would stay on the
/// screen beside the popup.
pub fn clear(buf: &mut Buffer, area: Rect) {
    let area = area.intersection(buf.area);
    if area.x > buf.area.x {
        for y in area.top()..area.bottom() {
            let left = &mut buf[(area.x - 1, y)];
            if super::text::width(left.symbol()) > 1 {
                left.set_symbol(" ");
            }
        }
    }
    Clear.render(area, buf);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_half_of_a_wide_character_stays() {
        for x in [3, 4] {
            let mut buf = Buffer::with_lines(["包装不错但是"; 3]);
            let place = Rect { x, y: 1, width: 5, height: 1 };
            clear(&mut buf, place);
            for x in place.left()..place.right() {
                assert_eq!(buf[(x, 1)].symbol(), " ");
            }
            assert_eq!(super::super::text::width(buf[(x - 1, 1)].symbol()), 1, "beside the popup at {x}");
            assert_eq!(buf[(0, 1)].symbol(), "包");
            assert_eq!(buf[(4, 0)].symbol(), "不", "rows beside it are left alone");
        }
    }
}
