//! The newest figures, a line each, the most wanted first: a small screen cuts the rest off.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::job::human;
use crate::tui::model::{Phase, Resources, RunState, Step};
use crate::tui::state::State;
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::widgets::{panel, spark};

/// Cells of the names, and of a value that has a sparkline beside it.
const NAME: usize = 11;
const VALUE: usize = 10;
/// Steps that the sparklines show.
const RECENT: usize = 120;

/// Draws the column of figures.
pub fn draw(frame: &mut Frame, area: Rect, run: &RunState, state: &State) {
    let theme = &state.theme;
    let title = match run.steps.recent(RECENT).len() {
        0 | 1 => " last step ".to_owned(),
        n => format!(" last {n} steps "),
    };
    let title = Line::styled(title, theme.title);
    let inner = panel(frame, area, title, theme);
    let lines = lines(run, inner.width as usize, theme);
    frame.render_widget(Paragraph::new(lines), inner);
}

fn lines(run: &RunState, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let last = run.steps.last();
    let curve = |name: &'static str, value: Option<f64>, figure: fn(&Step) -> f64| {
        let values: Vec<f64> = run.steps.recent(RECENT).iter().map(figure).collect();
        let style = if value.is_some_and(|v| !v.is_finite()) { theme.bad } else { theme.strong };
        let line = spark(&values, width.saturating_sub(NAME + VALUE));
        Line::from(vec![
            Span::styled(text::pad(name, NAME), theme.dim),
            Span::styled(text::pad(&value.map_or(String::new(), text::figure), VALUE), style),
            Span::styled(line, theme.smoothed),
        ])
    };
    let plain = |name: &'static str, value: String, style: Style| {
        Line::from(vec![
            Span::styled(text::pad(name, NAME), theme.dim),
            Span::styled(text::fit(&value, width.saturating_sub(NAME)), style),
        ])
    };
    let mut lines = Vec::new();
    if let Some(warning) = non_finite(run) {
        lines.push(plain("not finite", warning, theme.bad));
    }
    lines.push(curve("loss", last.map(|s| s.loss), |s| s.loss));
    // Of evaluations and checkpoints.
    let none = match run.phase() {
        Phase::Finished | Phase::Stopped | Phase::Failed | Phase::Crashed | Phase::Untold => "none",
        _ => "none yet",
    };
    let best = run.best_eval().filter(|b| run.evals.last().is_some_and(|e| b.step != e.step));
    let best = best.map_or(String::new(), |b| format!(" (best {} at {})", text::figure(b.metric()), b.step));
    match run.evals.last().map(|e| (e, e.rouge_l)) {
        None => lines.push(plain("eval", none.to_owned(), theme.eval)),
        Some((e, written)) => {
            // The best is by answers where they are written.
            let by_loss = if written.is_some() { "" } else { &best };
            let loss = format!("{} acc {:.3}{by_loss}", text::figure(e.loss), e.acc);
            lines.push(plain("eval", loss, theme.eval));
            lines.extend(written.map(|r| plain("rouge-l", format!("{}{best}", text::figure(r)), theme.eval)));
        }
    }
    lines.push(curve("accuracy", last.map(|s| s.acc), |s| s.acc));
    lines.push(curve("grad norm", last.map(|s| s.grad_norm), |s| s.grad_norm));
    let tokens = run.steps.tokens_per_second().map(|t| human::count(t.round() as u64));
    lines.push(plain("tokens/s", tokens.unwrap_or_default(), theme.text));
    match &run.resources {
        Some(resources) => lines.extend(machine(resources).map(|(name, v)| plain(name, v, theme.text))),
        None => lines.push(plain("process", String::new(), theme.text)),
    }
    let speed = run.steps.seconds_per_step().map(human::speed);
    lines.push(plain("speed", speed.unwrap_or_default(), theme.text));
    if let Some(smoothed) = run.steps.smoothed_last() {
        lines.push(plain("smoothed", format!("{} (loss)", text::figure(smoothed)), theme.text));
    }
    let saved = run.checkpoints.iter().map(|c| format!("{}{}", c.step, if c.best { " (best)" } else { "" }));
    let saved: Vec<String> = saved.collect();
    let saved = if saved.is_empty() { none.to_owned() } else { saved.join(", ") };
    lines.push(plain("saved", saved, theme.text));
    if let Some((train, validation)) = &run.data {
        let rows = format!("{} train, {} eval", train.rows, validation.rows);
        lines.push(plain("rows", rows, theme.text));
    }
    lines
}

/// The card's figures where there is one, else the process's: what they are is in their names.
fn machine(resources: &Resources) -> [(&'static str, String); 2] {
    if let Some(gpu) = &resources.gpu {
        let memory = match (gpu.memory_used, gpu.memory_total) {
            (Some(used), Some(total)) => format!("{} of {}", human::bytes(used), human::bytes(total)),
            (Some(used), None) => human::bytes(used),
            _ => "not told by the card".to_owned(),
        };
        let busy = gpu.utilization.map(|u| format!("{u} % busy"));
        let warm = gpu.temperature.map(|t| format!("{t} °C"));
        let busy = [busy, warm].into_iter().flatten().collect::<Vec<_>>().join(", ");
        [
            ("GPU memory", memory),
            ("GPU", if busy.is_empty() { "not told by the card".to_owned() } else { busy }),
        ]
    } else {
        let memory = format!("{}, {} free", human::bytes(resources.rss), human::bytes(resources.available));
        [("process", memory), ("cores", format!("{:.1} busy", resources.cores))]
    }
}

/// How many steps had a loss or gradient that is not finite, where some had.
fn non_finite(run: &RunState) -> Option<String> {
    let n = run.steps.non_finite();
    let steps = if n == 1 { "step" } else { "steps" };
    let skipped = match run.skipped_steps {
        0 => String::new(),
        k => format!(", {k} skipped"),
    };
    (n > 0 || run.skipped_steps > 0).then(|| format!("{n} {steps}{skipped}"))
}
