//! Which run this is, and how far it is.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::job::human;
use crate::job::standing::told_to_stop;
use crate::tui::chrome;
use crate::tui::model::{Hung, Phase, RunState};
use crate::tui::state::State;
use crate::tui::text;
use crate::tui::widgets;

/// From this width on the line of progress has room for the time so far.
const ROOMY: u16 = 100;

/// Name, phase and machine.
pub fn head(frame: &mut Frame, area: Rect, run: &RunState, state: &State) {
    let theme = &state.theme;
    let (word, style) = chrome::phase(run.phase(), state);
    let word = match run.evaluating {
        Some((done, rows)) if run.phase() == Phase::Paused => {
            format!("{word} at {done} of {rows} rows of the evaluation")
        }
        Some((done, rows)) if !matches!(run.phase(), Phase::Crashed | Phase::NoRoom) => {
            format!("evaluating, {done} of {rows} rows")
        }
        _ => word.to_owned(),
    };
    let word = if run.stopping && run.is_live() { told_to_stop(&word) } else { word };
    let pid = run.machine.as_ref().map_or(String::new(), |m| format!(" (pid {})", m.pid));
    let (word, style) = match run.hung(state.now) {
        Some(Hung::Silent { seconds }) => {
            (format!("no word from the worker for {}{pid}", human::duration(seconds)), theme.bad)
        }
        Some(Hung::Stuck { seconds }) => {
            (format!("{word} does not go on for {}{pid}", human::duration(seconds)), theme.bad)
        }
        None => (word, style),
    };
    let model = run.model.as_ref().map_or(String::new(), |m| {
        format!(
            "{} parameters, {} trained, {}",
            human::count(m.parameters),
            human::count(m.trainable),
            m.dtype
        )
    });
    let machine = run.machine.as_ref().map_or(String::new(), |m| match m.device.as_str() {
        "cpu" if m.threads == 1 => format!("{}, 1 thread", m.device_name),
        "cpu" => format!("{}, {} threads", m.device_name, m.threads),
        device => format!("{device}, {}", m.device_name),
    });
    let room = area.width as usize;
    // What it does is never cut.
    let name = text::fit_end(&run.name(), (room / 2).min(room.saturating_sub(text::width(&word) + 3)));
    let mut spans =
        vec![Span::raw(" "), Span::styled(name, theme.strong), Span::raw("  "), Span::styled(word, style)];
    for part in [machine, model] {
        let used: usize = spans.iter().map(Span::width).sum();
        if !part.is_empty() && used + text::width(&part) + 2 <= room {
            spans.push(Span::styled(format!("  {}", text::clean(&part)), theme.dim));
        }
    }
    frame.render_widget(Line::from(spans), area);
}

/// Steps, epochs, a bar, and the time: what is left, or what it took.
pub fn gauge(frame: &mut Frame, area: Rect, run: &RunState, state: &State) {
    let theme = &state.theme;
    let left = match &run.plan {
        Some(plan) => {
            let epoch = run.steps.last().map_or(0.0, |s| s.epoch);
            // Whole epochs are written as such; a run cut short by max_steps has a part of one.
            let epochs = format!("{:.2}", plan.epochs());
            let epochs = epochs.strip_suffix(".00").unwrap_or(&epochs);
            format!(" step {}/{}  epoch {epoch:.2}/{epochs} ", run.step(), plan.total_steps)
        }
        None if run.phase() == Phase::Untold => " nothing is known of its steps ".to_owned(),
        None => " no plan yet ".to_owned(),
    };
    let took = run.elapsed(state.now);
    let right = match (run.phase(), run.seconds_left()) {
        (Phase::Busy(_), Some(seconds)) if area.width < ROOMY => {
            format!(" {} %  {} left ", run.percent(), human::duration(seconds))
        }
        (Phase::Busy(_), Some(seconds)) => format!(
            " {} %  {} left, {} so far ",
            run.percent(),
            human::duration(seconds),
            human::duration(took)
        ),
        (Phase::Untold, _) => String::new(),
        _ => format!(" {} %  after {} ", run.percent(), human::duration(took)),
    };
    let room = (area.width as usize).saturating_sub(text::width(&left) + text::width(&right));
    let (done, rest) = widgets::bar(run.progress(), room);
    let style = match run.phase() {
        Phase::Failed | Phase::Crashed | Phase::NoRoom => theme.bad,
        Phase::Paused | Phase::Stopped => theme.warning,
        _ => theme.good,
    };
    let line = Line::from(vec![
        Span::styled(left, theme.strong),
        Span::styled(done, Style { add_modifier: Default::default(), ..style }),
        Span::styled(rest, theme.dim),
        Span::styled(right, theme.text),
    ]);
    frame.render_widget(line, area);
}
