//! The runs under the output directory.

use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::job::runs::RunStatus;
use crate::tui::action::{Action, Tab};
use crate::tui::component::{CommandInfo, Component, Handled};
use crate::tui::keys;
use crate::tui::model::short_name;
use crate::tui::state::State;
use crate::tui::{text, widgets};

/// The list of runs.
#[derive(Debug, Default)]
pub struct Checkpoints {
    /// The run that is marked.
    marked: usize,
}

impl Component for Checkpoints {
    fn commands(&self, state: &State) -> Vec<CommandInfo> {
        let any = state.runs.as_ref().is_some_and(|r| !r.is_empty());
        [&keys::OPEN_RUN, &keys::UP, &keys::DOWN, &keys::REFRESH].map(|b| CommandInfo::main(b, any)).into()
    }

    fn handle(&mut self, key: &KeyEvent, state: &State) -> Handled {
        let runs = state.runs.as_deref().unwrap_or_default();
        let last = runs.len().saturating_sub(1);
        if keys::UP.is(key) {
            self.marked = self.marked.min(last).saturating_sub(1);
        } else if keys::DOWN.is(key) {
            self.marked = (self.marked + 1).min(last);
        } else if keys::REFRESH.is(key) {
            return Handled::with(Action::ListRuns);
        } else if keys::OPEN_RUN.is(key) {
            let open = runs.get(self.marked.min(last)).map(|r| Action::OpenRun(r.path.clone()));
            return Handled::Yes(open.into_iter().chain([Action::Show(Tab::Train)]).collect());
        } else {
            return Handled::No;
        }
        Handled::done()
    }

    fn draw(&self, frame: &mut Frame, area: Rect, state: &State) {
        let theme = &state.theme;
        let title = format!(" Runs under {} ", state.output_dir.display());
        let inner = widgets::panel(frame, area, Line::styled(title, theme.title), theme);
        let runs = match &state.runs {
            None => return widgets::words(frame, inner, "Looking for runs", theme.dim),
            Some(runs) if runs.is_empty() => {
                return widgets::words(frame, inner, "There are no runs yet.", theme.dim);
            }
            Some(runs) => runs,
        };
        let marked = self.marked.min(runs.len() - 1);
        // The marked one stays on the screen.
        let first = (marked + 1).saturating_sub(inner.height as usize);
        let lines = runs.iter().enumerate().skip(first).take(inner.height as usize).map(|(i, run)| {
            let (word, style) = match run.status {
                RunStatus::Running => ("running", theme.good),
                RunStatus::Finished => ("finished", theme.text),
                RunStatus::Stopped => ("stopped", theme.warning),
                RunStatus::Failed => ("failed", theme.bad),
                RunStatus::Crashed => ("crashed", theme.bad),
                RunStatus::Idle => ("no log", theme.dim),
            };
            let total = run.total_steps.map_or(String::new(), |n| format!("/{n}"));
            let time = if run.newest > 0.0 { state.clock.date(run.newest) } else { String::new() };
            let name = text::pad(&short_name(&run.path), (area.width as usize).saturating_sub(44));
            let style = if i == marked { theme.selected } else { style };
            Line::from(vec![
                Span::styled(format!(" {name} "), if i == marked { theme.selected } else { theme.text }),
                Span::styled(text::pad(word, 10), style),
                Span::raw(format!("{:>13}  {time}", format!("{}{total}", run.step))),
            ])
        });
        frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), inner);
    }
}
