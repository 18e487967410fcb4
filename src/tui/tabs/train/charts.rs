//! The curves.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::tui::model::{RunState, Step};
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::widgets::{Curve, Mark, Plot, panel};

/// The sign of an evaluation.
const EVAL: char = '◆';
/// The sign of where the run is now.
const NOW: char = '●';
/// Points that the schedule is drawn with.
const SCHEDULE_POINTS: u64 = 400;

/// The loss: of each step, smoothed, and of the evaluations.
pub fn loss(frame: &mut Frame, area: Rect, run: &RunState, theme: &Theme) {
    let title = Line::from(vec![
        Span::styled(" loss ", theme.title),
        Span::styled(" ⠂ step ", theme.train),
        Span::styled(" ⠒ smoothed ", theme.smoothed),
        Span::styled(format!(" {EVAL} eval "), theme.eval),
    ]);
    let curves = vec![
        Curve { points: run.steps.points(|s| s.loss), mark: Mark::Dots, style: theme.train },
        Curve { points: run.steps.smoothed_points(), mark: Mark::Line, style: theme.smoothed },
        evals(run, |e| e.loss, theme),
    ];
    draw(frame, area, title, curves, run, theme, text::figure);
}

/// The accuracy of each step's rows and of the evaluations.
pub fn accuracy(frame: &mut Frame, area: Rect, run: &RunState, theme: &Theme) {
    let title = Line::from(vec![
        Span::styled(" accuracy ", theme.title),
        Span::styled(format!(" {EVAL} eval "), theme.eval),
    ]);
    let curves = vec![steps(run, |s| s.acc, Mark::Dots, theme), evals(run, |e| e.acc, theme)];
    draw(frame, area, title, curves, run, theme, |x| format!("{x:.2}"));
}

/// The gradient's norm before clipping.
pub fn gradient(frame: &mut Frame, area: Rect, run: &RunState, theme: &Theme) {
    let title = Line::styled(" gradient norm ", theme.title);
    draw(frame, area, title, vec![steps(run, |s| s.grad_norm, Mark::Line, theme)], run, theme, text::figure);
}

/// The learning rate from the first step to the last, what is done in front of what is to come.
pub fn schedule(frame: &mut Frame, area: Rect, run: &RunState, theme: &Theme) {
    let now = run.steps.last().map(|s| s.learning_rate);
    let name = run.plan.as_ref().map_or(String::new(), |p| format!("{} ", p.scheduler));
    let title = Line::from(vec![
        Span::styled(" learning rate ", theme.title),
        Span::styled(
            now.map_or(name, |r| format!("{} ", if r == 0.0 { "0".to_owned() } else { format!("{r:.2e}") })),
            theme.strong,
        ),
    ]);
    let mut curves = Vec::new();
    if let Some(plan) = &run.plan {
        let stride = (plan.total_steps / SCHEDULE_POINTS).max(1) as usize;
        let planned = (0..=plan.total_steps).step_by(stride).filter_map(|s| Some((s as f64, plan.rate(s)?)));
        curves.push(Curve { points: planned.collect(), mark: Mark::Line, style: theme.dim });
    }
    curves.push(steps(run, |s| s.learning_rate, Mark::Line, theme));
    let here = run.steps.last().map(|s| (s.step as f64, s.learning_rate));
    curves.push(Curve { points: here.into_iter().collect(), mark: Mark::Sign(NOW), style: theme.eval });
    draw(frame, area, title, curves, run, theme, rate);
}

/// A learning rate on the axis.
fn rate(x: f64) -> String {
    if x == 0.0 { "0".to_owned() } else { format!("{x:.0e}") }
}

fn steps(run: &RunState, figure: fn(&Step) -> f64, mark: Mark, theme: &Theme) -> Curve {
    Curve { points: run.steps.points(figure), mark, style: theme.smoothed }
}

fn evals(run: &RunState, figure: fn(&crate::tui::model::Eval) -> f64, theme: &Theme) -> Curve {
    let points = run.evals.iter().map(|e| (e.step as f64, figure(e))).collect();
    Curve { points, mark: Mark::Sign(EVAL), style: theme.eval }
}

fn draw(
    frame: &mut Frame,
    area: Rect,
    title: Line<'_>,
    curves: Vec<Curve>,
    run: &RunState,
    theme: &Theme,
    figure: fn(f64) -> String,
) {
    let inner = panel(frame, area, title, theme);
    // The whole plan is on the axis, so that a curve shows how far the run is.
    let total = run.plan.as_ref().map_or(run.step(), |p| p.total_steps).max(1);
    let plot = Plot { curves, x: (0.0, total as f64), y: (f64::NAN, f64::NAN), figure, axis: theme.dim };
    frame.render_widget(plot, inner);
}
