//! The log's last lines, and how a run ended that did not end well.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::tui::model::{End, Level, RunState, Worker};
use crate::tui::state::State;
use crate::tui::text;
use crate::tui::widgets::panel;

/// What is said where a full disk is waited for.
const WAITING: &str = "It tries again every few seconds, and at once on `p`; `x` ends it without saving.";

/// The last entries that fit.
pub fn lines(frame: &mut Frame, area: Rect, run: &RunState, state: &State) {
    let theme = &state.theme;
    let inner = panel(frame, area, Line::styled(" log ", theme.title), theme);
    let room = (inner.width as usize).saturating_sub(9);
    let mut rows: Vec<Line> = Vec::new();
    // From the newest back, until the panel is full.
    for line in run.log.iter().rev() {
        let style = match line.level {
            Level::Info => theme.text,
            Level::Warning => theme.warning,
            Level::Error => theme.bad,
        };
        // Of an entry that does not fit the beginning is shown, which says what it is of.
        let left = (inner.height as usize).saturating_sub(rows.len());
        let wrapped = text::cut(text::wrap(&line.text, room), left, room);
        for (i, part) in wrapped.into_iter().enumerate().rev() {
            let time = if i == 0 { state.clock.time(line.time) } else { String::new() };
            rows.push(Line::from(vec![
                Span::styled(text::pad(&time, 9), theme.dim),
                Span::styled(part, style),
            ]));
        }
        if rows.len() >= inner.height as usize {
            break;
        }
    }
    rows.reverse();
    frame.render_widget(Paragraph::new(rows), inner);
}

/// Why it failed, or that it crashed, with the worker's last words; or why nothing is known of it.
pub fn end(frame: &mut Frame, area: Rect, run: &RunState, state: &State) {
    let theme = &state.theme;
    let (title, message) = match (&run.end, &run.worker) {
        (Some(End::Failed { exit_code, message }), _) => {
            (format!(" it failed (exit status {exit_code}) "), message.clone())
        }
        (None, Worker::Alive | Worker::Unknown) if run.no_room.is_some() => (
            " waiting for room ".to_owned(),
            format!("{}\n{WAITING}", run.no_room.as_deref().unwrap_or_default()),
        ),
        (_, Worker::Gone { why }) => (format!(" the worker crashed at step {} ", run.step()), why.clone()),
        (_, Worker::Untold { why }) => (" what it did is not known ".to_owned(), why.clone()),
        _ => return,
    };
    let inner = panel(frame, area, Line::styled(title, theme.bad), theme);
    let rows = text::wrap(&message, inner.width as usize);
    // The beginning says what it is; of the rest the end matters more than the middle.
    let room = inner.height as usize;
    let rows: Vec<Line> = match rows.len() > room && room > 2 {
        true => {
            let (first, last) = (&rows[..1], &rows[rows.len() + 2 - room..]);
            first
                .iter()
                .map(String::as_str)
                .chain(["…"])
                .chain(last.iter().map(String::as_str))
                .map(|r| Line::from(r.to_owned()))
                .collect()
        }
        false => rows.into_iter().map(Line::from).collect(),
    };
    frame.render_widget(Paragraph::new(rows), inner);
}
