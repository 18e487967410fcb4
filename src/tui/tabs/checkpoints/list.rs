//! Drawing the tree.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::rows::{Item, Row};
use crate::job::checkpoints::{Base, CheckpointSummary, Merged};
use crate::job::human;
use crate::job::runs::{RunStatus, RunSummary};
use crate::tui::model::short_name;
use crate::tui::state::State;
use crate::tui::text;

/// The sign of the best checkpoint.
pub const BEST: char = '★';
/// Cells of a checkpoint's line with and without the time.
const WITH_TIME: usize = 77;

/// The lines of which `marked` is one; beneath them the marked one's path.
pub fn draw(frame: &mut Frame, area: Rect, rows: &[Row], marked: usize, state: &State) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]).areas(area);
    let (width, height) = (area.width as usize, body.height as usize);
    frame.render_widget(Line::styled(header(width), state.theme.dim), head);
    // The marked one stays in the middle, as far as the ends of the list allow.
    let first = marked.saturating_sub(height / 2).min(rows.len().saturating_sub(height));
    let lines: Vec<Line> = rows
        .iter()
        .enumerate()
        .skip(first)
        .take(height)
        .map(|(i, row)| {
            let line = match row.item {
                Item::Run => run(row.run, width, state),
                Item::Checkpoint(checkpoint) => self::checkpoint(checkpoint, width, state),
                Item::Merged(merged) => self::merged(merged, width, state),
                Item::Base(base) => self::base(base, width, state),
            };
            if i == marked { whole(&line, width, state.theme.selected) } else { line }
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), body);
    if let Some(row) = rows.get(marked) {
        let path = match row.item {
            Item::Run => row.run.path.display().to_string(),
            Item::Checkpoint(checkpoint) => checkpoint.path.display().to_string(),
            Item::Merged(merged) => merged.path.display().to_string(),
            Item::Base(base) => base.name.clone(),
        };
        let path = text::fit_end(&path, width.saturating_sub(2));
        frame.render_widget(Line::styled(format!(" {path}"), state.theme.dim), foot);
    }
}

/// The line in one style, over its whole width.
fn whole(line: &Line, width: usize, style: Style) -> Line<'static> {
    let all: String = line.spans.iter().map(|s| s.content.as_ref()).collect();
    Line::styled(text::pad(&all, width), style)
}

fn header(width: usize) -> String {
    let time = if width >= WITH_TIME { "             written" } else { "" };
    format!("{:32}{:>9}{:>8}{:>10}{time}", "", "eval loss", "acc", "size")
}

fn run(run: &RunSummary, width: usize, state: &State) -> Line<'static> {
    let theme = &state.theme;
    let followed = state.run.as_ref().filter(|r| r.path == run.path);
    let live = followed.filter(|r| r.is_live());
    // What is followed is known better than by the list.
    let status = followed.and_then(super::status).unwrap_or(run.status);
    let (word, style) = match status {
        _ if live.is_some_and(|r| r.paused) => ("paused", theme.warning),
        RunStatus::Running => (status.word(), theme.good),
        RunStatus::Finished => (status.word(), theme.text),
        RunStatus::Stopped => (status.word(), theme.warning),
        RunStatus::Idle => (status.word(), theme.dim),
        RunStatus::Broken => (status.word(), theme.warning),
        RunStatus::Failed | RunStatus::Crashed | RunStatus::Unreadable => (status.word(), theme.bad),
    };
    let known = followed.filter(|r| super::status(r).is_some() && r.newest > 0.0);
    let step = known.map_or(run.step, |r| r.step());
    let total = known.and_then(|r| r.plan.as_ref()).map(|p| p.total_steps).or(run.total_steps);
    let steps = match (step, total) {
        (0, None) => String::new(),
        (step, None) => step.to_string(),
        (step, Some(total)) => format!("{step}/{total}"),
    };
    let time = if run.newest > 0.0 { state.clock.date(run.newest) } else { String::new() };
    let room = width.saturating_sub(46);
    let name = text::fit_end(&short_name(&run.path), room);
    Line::from(vec![
        Span::styled(
            format!(" {} {}  ", if followed.is_some() { '●' } else { '▸' }, text::pad(&name, room)),
            if followed.is_some() { theme.strong } else { theme.text },
        ),
        Span::styled(text::pad(word, 10), style),
        Span::raw(format!("{steps:>13}  {time}")),
    ])
}

fn checkpoint(checkpoint: &CheckpointSummary, width: usize, state: &State) -> Line<'static> {
    let theme = &state.theme;
    let merging = state.merging(&checkpoint.path).map(|m| format!("merge {}%", m.percent.min(99)));
    let (word, style) = match checkpoint {
        _ if merging.is_some() => (merging.as_deref().unwrap_or_default(), theme.warning),
        c if !c.whole => ("damaged", theme.bad),
        c if c.best && c.last => ("best last", theme.good),
        c if c.best => ("best", theme.good),
        c if c.last => ("last", theme.text),
        c if c.left => ("left", theme.dim),
        _ => ("", theme.text),
    };
    let sign = if checkpoint.best { BEST } else { ' ' };
    let figure = |x: Option<f64>, write: fn(f64) -> String| x.map_or("-".to_owned(), write);
    let loss = figure(checkpoint.eval_loss, text::figure);
    let acc = figure(checkpoint.eval_acc, |x| format!("{x:.4}"));
    let bad = checkpoint.eval_loss.is_some_and(|l| !l.is_finite());
    let time = written(checkpoint.written, width, state);
    Line::from(vec![
        Span::styled(format!("   {sign} "), theme.eval),
        Span::raw(text::pad(&format!("checkpoint-{}", checkpoint.step), 17)),
        Span::styled(text::pad(word, 10), style),
        Span::styled(format!("{loss:>9}"), if bad { theme.bad } else { theme.text }),
        Span::raw(format!("{acc:>8}{:>10}", human::bytes(checkpoint.bytes))),
        Span::styled(time, theme.dim),
    ])
}

/// The column of the time, where there is room for it.
fn written(time: f64, width: usize, state: &State) -> String {
    match width >= WITH_TIME && time > 0.0 {
        true => format!("  {}", state.clock.date(time)),
        false => String::new(),
    }
}

fn merged(merged: &Merged, width: usize, state: &State) -> Line<'static> {
    let name = merged.path.file_name().unwrap_or_default().to_string_lossy();
    Line::from(vec![
        Span::raw(format!("     {} {:>17}", text::pad(&name, 27), "a whole model")),
        Span::raw(format!("{:>10}", human::bytes(merged.bytes))),
        Span::styled(written(merged.written, width, state), state.theme.dim),
    ])
}

fn base(base: &Base, width: usize, state: &State) -> Line<'static> {
    let missing = if base.path.is_none() { "  (not here)" } else { "" };
    let name = text::fit_end(&base.name, width.saturating_sub(24 + missing.len()));
    Line::from(vec![
        Span::styled("     base model  ", state.theme.dim),
        Span::raw(name),
        Span::styled(missing, state.theme.warning),
    ])
}
