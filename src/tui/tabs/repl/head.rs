//! Which model answers: the two lines above the page.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::Trouble;
use super::choice::Choice;
use super::page::took;
use super::talk::{Server, Talk};
use crate::tui::repl::Model;
use crate::tui::state::State;
use crate::tui::text;

/// Draws them into `area`, two rows high; `next` is what the next text would have opened, `trouble` what is wrong with it.
pub fn draw(
    frame: &mut Frame,
    area: Rect,
    talk: &Talk,
    choice: &Choice,
    next: Option<&Model>,
    trouble: Option<Trouble>,
    state: &State,
) {
    let theme = &state.theme;
    let step = |model: &Model| model.step().map_or(String::new(), |n| format!("step {n}, "));
    let (model, style, below) = match &talk.server {
        Server::On(loaded) => {
            let mut below = match talk.gone {
                true => "deleted from the disk, answers on".to_owned(),
                false => {
                    format!("{}{}, loaded in {}", step(&loaded.model), loaded.device, took(loaded.seconds))
                }
            };
            match next {
                Some(next) if *next != loaded.model => {
                    below += &format!("; the next text opens {}", next.short())
                }
                _ if !talk.gone && !choice.words(state).is_empty() => {
                    below += &format!("; {}", choice.words(state))
                }
                _ => {}
            }
            (loaded.model.name(), theme.strong, below)
        }
        Server::Loading { model, since, .. } => {
            let seconds = (state.now - since).max(0.0);
            (model.name(), theme.strong, format!("{}… loading, {seconds:.0} s", step(model)))
        }
        Server::Off => {
            let below = match (&state.engine, next, choice.words(state)) {
                (Some(Err(_)), ..) => "without an engine nothing can be loaded".to_owned(),
                (_, None, _) => "Ctrl+O chooses a model".to_owned(),
                _ if trouble == Some(Trouble::Deleted) => {
                    "deleted from the disk: Ctrl+O chooses another model".to_owned()
                }
                _ if trouble.is_some() => {
                    "could not be opened: a text tries it again, Ctrl+O chooses another".to_owned()
                }
                (_, Some(_), "") => "not loaded: the first text loads it".to_owned(),
                (_, Some(_), words) => format!("{words}; not loaded: the first text loads it"),
            };
            let name = next.map_or("no model".to_owned(), |m| m.name());
            (name, theme.text, below)
        }
    };
    let is_gone = match talk.server {
        Server::On(_) => talk.gone,
        Server::Off => trouble.is_some(),
        Server::Loading { .. } => false,
    };
    let second = if is_gone { theme.warning } else { theme.dim };
    let room = (area.width as usize).saturating_sub(1);
    let lines = vec![
        Line::from(vec![Span::raw(" "), Span::styled(text::fit_end(&model, room), style)]),
        Line::styled(text::fit(&format!(" {below}"), area.width as usize), second),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}
