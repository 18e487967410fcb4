//! The arguments of the next job.

use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::Rect;

use crate::tui::component::{CommandInfo, Component, Handled};
use crate::tui::state::State;
use crate::tui::widgets;

/// The form of arguments.
#[derive(Debug, Default)]
pub struct Config {}

impl Component for Config {
    fn commands(&self, _: &State) -> Vec<CommandInfo> {
        Vec::new()
    }

    fn handle(&mut self, _: &KeyEvent, _: &State) -> Handled {
        Handled::No
    }

    fn draw(&self, frame: &mut Frame, area: Rect, state: &State) {
        let engine = match &state.engine {
            Some(Err(missing)) => missing.as_str(),
            _ => "",
        };
        let text = format!("Start a job with `qwen-tui sft`; this page will follow it.\n\n{engine}");
        widgets::words(frame, area, &text, state.theme.text);
    }
}
