//! Reviews in, labels out.

use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::Rect;

use crate::tui::component::{CommandInfo, Component, Handled};
use crate::tui::state::State;
use crate::tui::widgets;

/// The prompt and its answers.
#[derive(Debug, Default)]
pub struct Repl {}

impl Component for Repl {
    fn commands(&self, _: &State) -> Vec<CommandInfo> {
        Vec::new()
    }

    fn handle(&mut self, _: &KeyEvent, _: &State) -> Handled {
        Handled::No
    }

    fn draw(&self, frame: &mut Frame, area: Rect, state: &State) {
        let text = "Label texts with `qwen-tui classify --ckpt_dir CHECKPOINT TEXT`.";
        widgets::words(frame, area, text, state.theme.text);
    }
}
