//! The lines around the tabs: their names above, the main keys or a notice below.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::action::{Notice, Tab};
use super::component::CommandInfo;
use super::keys;
use super::model::Phase;
use super::popups::clear;
use super::state::State;
use super::text;

/// The smallest terminal that the cockpit is drawn on.
pub const SMALLEST: (u16, u16) = (60, 16);

/// Lines that a long notice may take from the tab; of a longer one the rest covers it.
const NOTICE: u16 = 4;

/// Top line, tab, and the bottom line or the lines of `notice`; `None` on a terminal that is too small, which is then told
/// so.
pub fn areas(frame: &mut Frame, notice: Option<&Notice>, state: &State) -> Option<[Rect; 3]> {
    let area = frame.area();
    if area.width >= SMALLEST.0 && area.height >= SMALLEST.1 {
        let lines = notice.map_or(1, |notice| notice_lines(notice, area.width).len() as u16);
        let bottom = Constraint::Length(lines.clamp(1, NOTICE));
        return Some(Layout::vertical([Constraint::Length(1), Constraint::Min(0), bottom]).areas(area));
    }
    let lines: Vec<Line> = text::wrap(
        &format!(
            "This terminal has {}x{} cells; the cockpit needs {}x{}.\nMake it larger, or press q to quit.",
            area.width, area.height, SMALLEST.0, SMALLEST.1
        ),
        area.width as usize,
    )
    .into_iter()
    .map(Line::from)
    .collect();
    let height = (lines.len() as u16).min(area.height);
    let place = Rect { y: area.y + (area.height - height) / 2, height, ..area };
    frame.render_widget(Paragraph::new(lines).centered().style(state.theme.text), place);
    None
}

/// The tabs' names, and how the run stands that is followed.
pub fn top(frame: &mut Frame, area: Rect, shown: Tab, state: &State) {
    let theme = &state.theme;
    let mut spans = vec![Span::styled(" qwen-tui ", theme.title)];
    for (i, tab) in Tab::ALL.into_iter().enumerate() {
        let style = if tab == shown { theme.selected } else { theme.text };
        spans.push(Span::raw(" "));
        spans.push(Span::styled(format!(" {} {} ", i + 1, tab.title()), style));
    }
    let line = Line::from(spans);
    let room = (area.width as usize).saturating_sub(line.width() + 2);
    frame.render_widget(line, area);
    let missing = matches!(state.engine, Some(Err(_))) && !state.is_live();
    let (text, style) = match (&state.fetch, state.shown()) {
        (Some(fetching), _) => (format!("fetching {} ", fetching.far()), theme.good),
        (None, None) if state.starting => ("starting ".to_owned(), theme.text),
        _ if missing => ("no engine ".to_owned(), theme.bad),
        (None, None) => return,
        (None, Some(run)) => {
            let hung = run.hung(state.now).is_some();
            let (word, style) = if hung { ("hangs", theme.bad) } else { phase(run.phase(), state) };
            let percent = match run.phase() {
                _ if hung => String::new(),
                Phase::Busy(_) | Phase::Paused | Phase::NoRoom if run.plan.is_some() => {
                    format!(" {} %", run.percent())
                }
                _ => String::new(),
            };
            (format!("{word}{percent} "), style)
        }
    };
    let width = text::width(&text);
    if width <= room {
        // In a place of its own: a line's style goes over all of its area.
        let place = Rect { x: area.right() - width as u16, width: width as u16, ..area };
        frame.render_widget(Line::styled(text, style), place);
    }
}

/// A run's phase in a word or two, with its style.
pub fn phase(phase: Phase, state: &State) -> (&'static str, ratatui::style::Style) {
    use crate::job::event::Stage::{LoadingModel, ReadingData, Tokenizing};
    let theme = &state.theme;
    match phase {
        Phase::Opening => ("opening", theme.dim),
        Phase::Starting => ("starting the engine", theme.text),
        Phase::Busy(stage @ (ReadingData | Tokenizing | LoadingModel)) => (stage.word(), theme.text),
        Phase::Busy(stage) => (stage.word(), theme.good),
        Phase::Paused => ("paused", theme.warning),
        Phase::NoRoom => ("waiting for room", theme.bad),
        Phase::Finished => ("finished", theme.good),
        Phase::Stopped => ("stopped", theme.warning),
        Phase::Failed => ("failed", theme.bad),
        Phase::Crashed => ("crashed", theme.bad),
        Phase::Untold => ("no usable log", theme.warning),
    }
}

/// As many lines as it takes: what is wrong often stands at the end.
fn notice_lines(notice: &Notice, width: u16) -> Vec<String> {
    text::wrap(&notice.text.replace('\n', " "), (width as usize).saturating_sub(2))
}

/// The notice, or else the main commands, as many as fit; those of the place come first. Where characters are text
/// (`typing`) each is named by its other key.
pub fn bottom(
    frame: &mut Frame,
    area: Rect,
    notice: Option<&Notice>,
    commands: &[CommandInfo],
    typing: bool,
    state: &State,
) {
    let theme = &state.theme;
    if let Some(notice) = notice {
        let style = if notice.is_error { theme.bad } else { theme.strong };
        let lines = notice_lines(notice, area.width);
        let height = (lines.len() as u16).clamp(1, area.bottom().saturating_sub(1).max(1));
        let place = Rect { y: area.bottom().saturating_sub(height), height, ..area };
        clear(frame.buffer_mut(), place);
        let lines: Vec<Line> = lines.into_iter().map(|l| Line::styled(format!(" {l}"), style)).collect();
        frame.render_widget(Paragraph::new(lines), place);
        return;
    }
    let mut spans = Vec::new();
    // The bar has room for one key of each.
    let key = |command: &CommandInfo| {
        let mut names = command.binding.keys.split(", ");
        // A character would be text.
        names.find(|name| !typing || name.chars().count() > 1).unwrap_or_default()
    };
    let needed = |command: &CommandInfo| text::width(key(command)) + text::width(command.binding.short) + 4;
    let shown = || commands.iter().filter(|c| c.main && c.enabled);
    // The way to all the others is there always.
    let help = shown().find(|c| *c.binding == keys::HELP);
    let mut room = (area.width as usize).saturating_sub(help.map_or(0, needed));
    let mut full = false;
    for command in shown() {
        if help != Some(command) {
            if full || needed(command) > room {
                full = true;
                continue;
            }
            room -= needed(command);
        }
        spans.push(Span::raw(" "));
        spans.push(Span::styled(key(command), theme.key));
        spans.push(Span::styled(format!(" {}  ", command.binding.short), theme.dim));
    }
    frame.render_widget(Line::from(spans), area);
}
