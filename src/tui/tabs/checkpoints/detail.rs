//! What is shown beside the tree: the marked run's curve and its arguments.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::list::BEST;
use super::rows::{Item, Row};
use crate::job::checkpoints::RunDetails;
use crate::tui::chrome;
use crate::tui::state::State;
use crate::tui::text;
use crate::tui::widgets::{Curve, Mark, Plot, panel, words};

/// The sign of an evaluation.
const EVAL: char = '◆';
/// The sign of a checkpoint that is not the best.
const HERE: char = '●';

/// The loss and the evaluations; where a checkpoint is marked, its step.
pub fn curve(frame: &mut Frame, area: Rect, row: &Row, state: &State) {
    let theme = &state.theme;
    let checkpoint = match row.item {
        Item::Checkpoint(checkpoint) => Some(checkpoint),
        _ => None,
    };
    let sign = if checkpoint.is_some_and(|c| c.best) { BEST } else { HERE };
    let mut title = vec![
        Span::styled(" loss ", theme.title),
        Span::styled(" ⠒ train ", theme.smoothed),
        Span::styled(format!(" {EVAL} eval "), theme.eval),
    ];
    if let Some(checkpoint) = checkpoint {
        title.push(Span::styled(format!(" {sign} checkpoint-{} ", checkpoint.step), theme.good));
    }
    let inner = panel(frame, area, Line::from(title), theme);
    if let Some(problem) = &row.run.problem {
        return words(frame, inner, problem, theme.bad);
    }
    let Some(details) = row.details else { return words(frame, inner, "Reading the run", theme.dim) };
    let curves = &details.curves;
    if curves.loss.is_empty() && curves.evals.is_empty() {
        return words(frame, inner, &nothing_logged(row, state), theme.dim);
    }
    let loss: Vec<_> = curves.loss.iter().map(|(step, loss)| (*step as f64, *loss)).collect();
    let evals: Vec<_> = curves.evals.iter().map(|e| (e.step as f64, e.loss)).collect();
    let mut drawn = Vec::new();
    if let Some(checkpoint) = checkpoint {
        let step = checkpoint.step as f64;
        // A line from top to bottom, and the sign where the evaluation is, or else where the loss was by then.
        let values = || loss.iter().chain(&evals).map(|p| p.1).filter(|y| y.is_finite());
        let (low, high) =
            (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        drawn.push(Curve { points: vec![(step, low), (step, high)], mark: Mark::Line, style: theme.dim });
        let by_then = || loss.iter().rev().find(|p| p.0 <= step && p.1.is_finite()).map(|p| p.1);
        let at = checkpoint.eval_loss.filter(|y| y.is_finite()).or_else(by_then);
        let points = at.into_iter().map(|y| (step, y)).collect();
        drawn.push(Curve { points: loss.clone(), mark: Mark::Line, style: theme.smoothed });
        drawn.push(Curve { points: evals.clone(), mark: Mark::Sign(EVAL), style: theme.eval });
        drawn.push(Curve { points, mark: Mark::Sign(sign), style: theme.good });
    } else {
        drawn.push(Curve { points: loss.clone(), mark: Mark::Line, style: theme.smoothed });
        drawn.push(Curve { points: evals.clone(), mark: Mark::Sign(EVAL), style: theme.eval });
    }
    let reached = loss.iter().chain(&evals).map(|p| p.0).fold(1.0, f64::max);
    let end = curves.total_steps.map_or(reached, |n| (n as f64).max(reached));
    let y = (f64::NAN, f64::NAN);
    frame.render_widget(
        Plot { curves: drawn, x: (0.0, end), y, figure: text::figure, axis: theme.dim },
        inner,
    );
}

/// What is said where there is no curve: what a run that is trained does meanwhile.
fn nothing_logged(row: &Row, state: &State) -> String {
    let followed = state.run.as_ref().filter(|r| r.path == row.run.path);
    match followed.filter(|r| r.is_live()) {
        Some(run) => {
            let step = match (run.step(), &run.plan) {
                (step, Some(plan)) if step > 0 => format!(", step {step} of {}", plan.total_steps),
                _ => String::new(),
            };
            let word = chrome::phase(run.phase(), state).0;
            format!("Nothing has been logged yet.\nNow: {word}{step}.")
        }
        None if super::is_running(row, state) => {
            "Nothing has been logged yet.\nIt is being trained:\nEnter shows what it does.".to_owned()
        }
        None => "Nothing has been logged.".to_owned(),
    }
}

/// The arguments that differ from the defaults, one a line; long ones in several where there is room for all.
pub fn arguments(frame: &mut Frame, area: Rect, row: &Row, state: &State) {
    let theme = &state.theme;
    let title = Span::styled(" arguments ", theme.title);
    let inner = panel(
        frame,
        area,
        Line::from(vec![title, Span::styled(" other than the defaults ", theme.dim)]),
        theme,
    );
    if row.run.problem.is_some() {
        return;
    }
    let args = match row.details.map(|d: &RunDetails| &d.args) {
        None => return words(frame, inner, "Reading the run", theme.dim),
        Some(Err(why)) => return words(frame, inner, why, theme.warning),
        Some(Ok(args)) => args,
    };
    let names = args.iter().map(|(name, _)| name.len()).max().unwrap_or(0).min(inner.width as usize / 2);
    let room = (inner.width as usize).saturating_sub(names + 3);
    let lines = |values: &dyn Fn(&str) -> Vec<String>| -> Vec<Line<'static>> {
        let of_one = |(name, value): &(&str, String)| {
            let values = values(value).into_iter().enumerate();
            let name = text::pad(name, names);
            values
                .map(move |(i, value)| {
                    let name = if i == 0 { name.clone() } else { " ".repeat(names) };
                    Line::from(vec![Span::styled(format!(" {name}  "), theme.dim), Span::raw(value)])
                })
                .collect::<Vec<_>>()
        };
        args.iter().flat_map(of_one).collect()
    };
    let mut all = lines(&|value| text::wrap(value, room));
    let height = inner.height as usize;
    if all.len() > height {
        // The end of a path says more.
        let fit = |value: &str| if value.starts_with('/') { text::fit_end } else { text::fit }(value, room);
        all = lines(&|value| vec![fit(value)]);
    }
    if all.len() > height {
        let more = all.len() + 1 - height.max(1);
        all.truncate(height.saturating_sub(1));
        all.push(Line::styled(format!(" … {more} more"), theme.dim));
    }
    frame.render_widget(Paragraph::new(all), inner);
}
