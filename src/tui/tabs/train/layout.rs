//! Where things go, by the room there is.

use ratatui::layout::{Constraint, Layout, Rect};

use crate::tui::model::{Phase, RunState};

/// From these on the curves of accuracy and gradient norm have room of their own.
const WIDE: u16 = 120;
const TALL: u16 = 28;
/// Cells of the column of figures.
const FIGURES: u16 = 34;

/// Places of the tab's parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Areas {
    pub head: Rect,
    pub gauge: Rect,
    pub loss: Rect,
    pub figures: Rect,
    pub schedule: Rect,
    /// Accuracy and gradient norm.
    pub more: Option<[Rect; 2]>,
    /// How a run ended that did not end well.
    pub end: Option<Rect>,
    pub log: Option<Rect>,
}

/// Lays `area` out for `run`.
pub fn areas(area: Rect, run: &RunState) -> Areas {
    let [head, gauge, body] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let bad = matches!(run.phase(), Phase::Failed | Phase::Crashed | Phase::NoRoom | Phase::Untold);
    let tall = body.height >= TALL;
    let (first, second, third) = match tall {
        true => {
            let third = (body.height / 4).clamp(7, 12);
            let first = (body.height - third) * 11 / 20;
            (first, body.height - third - first, third)
        }
        false => {
            let first = (body.height * 11 / 20).max(7);
            (first, body.height.saturating_sub(first), 0)
        }
    };
    let lengths = [first, second, third].map(Constraint::Length);
    let [upper, middle, lower] = Layout::vertical(lengths).areas(body);
    let [loss, figures] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(FIGURES.max(area.width / 4))])
            .spacing(1)
            .areas(upper);
    let (schedule, more, log) = if tall {
        let [schedule, acc, grad] = Layout::horizontal([Constraint::Fill(1); 3]).spacing(1).areas(middle);
        (schedule, Some([acc, grad]), lower)
    } else if area.width >= WIDE {
        let [schedule, acc, grad, log] = Layout::horizontal([
            Constraint::Fill(1),
            Constraint::Fill(1),
            Constraint::Fill(1),
            Constraint::Fill(2),
        ])
        .spacing(1)
        .areas(middle);
        (schedule, Some([acc, grad]), log)
    } else {
        let [schedule, log] =
            Layout::horizontal([Constraint::Fill(2), Constraint::Fill(3)]).spacing(1).areas(middle);
        (schedule, None, log)
    };
    let (end, log) = match (bad, log.width >= WIDE) {
        (false, _) => (None, Some(log)),
        (true, false) => (Some(log), None),
        (true, true) => {
            let [end, log] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(1).areas(log);
            (Some(end), Some(log))
        }
    };
    Areas { head, gauge, loss, figures, schedule, more, end, log }
}
