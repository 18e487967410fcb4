//! What a tab or a page over the tabs is to the application.

use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::Rect;

use super::action::Action;
use super::keys::Binding;
use super::message::Message;
use super::state::State;

/// A command that a component offers. The bottom bar and the help page are made of these and of nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandInfo {
    pub binding: &'static Binding,
    /// What cannot be done now is dim on the help page and absent from the bar.
    pub enabled: bool,
    /// Whether it belongs into the bottom bar.
    pub main: bool,
}

impl CommandInfo {
    /// A command for the bottom bar and the help page.
    pub fn main(binding: &'static Binding, enabled: bool) -> CommandInfo {
        CommandInfo { binding, enabled, main: true }
    }

    /// A command for the help page alone.
    pub fn other(binding: &'static Binding) -> CommandInfo {
        CommandInfo { binding, enabled: true, main: false }
    }
}

/// What became of a key.
#[derive(Debug)]
pub enum Handled {
    /// It was not for this component.
    No,
    /// It was; these actions follow from it.
    Yes(Vec<Action>),
}

impl Handled {
    /// It was, and nothing beyond the component follows.
    pub fn done() -> Handled {
        Handled::Yes(Vec::new())
    }

    pub fn with(action: Action) -> Handled {
        Handled::Yes(vec![action])
    }
}

/// A part of the screen with keys of its own. It changes only in `handle`, `paste` and `receive`, and has no effect
/// on the world but by the actions it returns.
pub trait Component {
    /// The commands of where it is now.
    fn commands(&self, state: &State) -> Vec<CommandInfo>;

    /// Takes a key.
    fn handle(&mut self, key: &KeyEvent, state: &State) -> Handled;

    /// Takes pasted text; line ends are `\n`.
    fn paste(&mut self, _text: &str, _state: &State) -> Handled {
        Handled::No
    }

    /// Hears every message, after `state` has taken it in; also while another tab is shown.
    fn receive(&mut self, _message: &Message, _state: &State) -> Vec<Action> {
        Vec::new()
    }

    /// Whether characters are text to it now; the bottom bar then names the keys that are none. A component is always
    /// asked before the keys that work everywhere, but for Ctrl+C.
    fn takes_text(&self) -> bool {
        false
    }

    /// What would be lost by quitting now, in a sentence. It is then asked about.
    fn unsaved(&self) -> Option<&str> {
        None
    }

    /// Whether what it shows changes with the time alone.
    fn counts_seconds(&self) -> bool {
        false
    }

    /// Draws itself into `area`. `state.theme` has the styles; a caret is set with `widgets::caret`.
    fn draw(&self, frame: &mut Frame, area: Rect, state: &State);
}
