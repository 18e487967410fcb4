//! The page of the data: what it holds, how the labels stand, how long the rows are, and the first of them.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::tui::configs::{Part, Preview, Unit};
use crate::tui::state::State;
use crate::tui::theme::Theme;
use crate::tui::{text, widgets};

/// From this width on the rows stand beside the figures.
const WIDE: u16 = 120;
/// Warnings that are shown; more are counted.
const WARNINGS: usize = 3;
/// Labels that are shown.
const LABELS: usize = 6;
/// What all shown prompts begin or end with is left out where it has so many characters.
const COMMON: usize = 12;

/// Draws what the look at the data found; none: it is not over.
pub fn draw(frame: &mut Frame, area: Rect, look: Option<&Result<Box<Preview>, String>>, state: &State) {
    let theme = &state.theme;
    let preview = match look {
        None => return widgets::words(frame, area, "Reading the data", theme.dim),
        Some(Err(error)) => {
            let inner =
                widgets::panel(frame, area, Line::styled(" The data cannot be used ", theme.bad), theme);
            return widgets::words(frame, inner, error, theme.text);
        }
        Some(Ok(preview)) => preview,
    };
    let title = format!(
        " The data: {} rows to train on, {} for validation ",
        preview.train.rows, preview.validation.rows
    );
    let inner = widgets::panel(frame, area, Line::styled(title, theme.title), theme);
    let said = said(preview, usize::from(inner.width).saturating_sub(2), theme);
    let height = (said.len() as u16).min(inner.height / 3);
    let [top, body] = Layout::vertical([Constraint::Length(height), Constraint::Min(0)]).areas(inner);
    frame.render_widget(Paragraph::new(said), top);
    if area.width >= WIDE {
        let [left, right] =
            Layout::horizontal([Constraint::Fill(2), Constraint::Fill(3)]).spacing(1).areas(body);
        let height = (label_lines(preview) + 1).min(left.height / 2);
        let [upper, lower] = Layout::vertical([Constraint::Length(height), Constraint::Min(0)]).areas(left);
        labels(frame, upper, preview, theme);
        lengths(frame, lower, preview, theme);
        rows(frame, right, preview, theme);
    } else {
        let [upper, lower] = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(body);
        let [left, right] =
            Layout::horizontal([Constraint::Fill(2), Constraint::Fill(3)]).spacing(1).areas(upper);
        labels(frame, left, preview, theme);
        lengths(frame, right, preview, theme);
        rows(frame, lower, preview, theme);
    }
}

/// What would end the training, how many rows are lost, what the loader warns of.
fn said(preview: &Preview, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let mut said: Vec<(String, Style)> = Vec::new();
    if let Some(problem) = &preview.problem {
        said.push((format!("✗ {problem}"), theme.bad));
    }
    match (&preview.unit, preview.limit) {
        (Unit::Tokens, Some(limit)) => {
            let what = if preview.cut { "cut to their ends" } else { "left out" };
            let longer = [&preview.train, &preview.validation].map(|p| p.longer(limit));
            let style = if longer == [0, 0] { theme.text } else { theme.warning };
            let words = match longer {
                [0, 0] => format!("No row is longer than max_length {limit}."),
                [train, 0] => format!("Longer than max_length {limit}, {what}: {train} training rows."),
                [train, validation] => format!(
                    "Longer than max_length {limit}, {what}: {train} training rows, {validation} for validation."
                ),
            };
            said.push((words, style));
        }
        (Unit::Tokens, None) => {
            said.push(("No row is too long: max_length sets no limit.".to_owned(), theme.text))
        }
        (Unit::Characters(why), _) => said.push((
            format!("Lengths are in characters, so what max_length drops cannot be told: {why}."),
            theme.warning,
        )),
    }
    let more = preview.warnings.len().saturating_sub(WARNINGS);
    said.extend(preview.warnings.iter().take(WARNINGS).map(|w| (w.clone(), theme.warning)));
    if more > 0 {
        said.push((format!("{more} more warnings"), theme.warning));
    }
    let lines = said.into_iter().flat_map(|(words, style)| {
        text::wrap(&words, width).into_iter().map(move |l| Line::styled(format!(" {l}"), style))
    });
    lines.collect()
}

fn label_lines(preview: &Preview) -> u16 {
    preview.train.labels.len().clamp(1, LABELS + 1) as u16 + 1
}

fn labels(frame: &mut Frame, area: Rect, preview: &Preview, theme: &Theme) {
    let inner = widgets::panel(frame, area, Line::styled(" labels ", theme.title), theme);
    let Part { rows, labels, .. } = &preview.train;
    if labels.is_empty() {
        let words = if *rows == 0 { "none" } else { "nearly every answer is another" };
        return frame.render_widget(Line::styled(format!(" {words}"), theme.dim), inner);
    }
    let most = labels.iter().map(|(_, n)| *n).max().unwrap_or(1).max(1);
    let room = usize::from(inner.width);
    let name_cells =
        labels.iter().map(|(l, _)| text::width(&text::clean(l))).max().unwrap_or(0).clamp(1, room / 3);
    let bar_cells = room.saturating_sub(name_cells + 16);
    let mut lines: Vec<Line> = Vec::new();
    for (label, n) in labels.iter().take(LABELS) {
        let share = 100.0 * *n as f64 / (*rows).max(1) as f64;
        lines.push(Line::from(vec![
            Span::styled(format!(" {}", text::pad(label, name_cells)), theme.text),
            Span::styled(format!("{n:>7} {share:>3.0} % "), theme.strong),
            Span::styled(bar(*n as f64 / most as f64, bar_cells), theme.smoothed),
        ]));
    }
    if labels.len() > LABELS {
        lines.push(Line::styled(format!(" and {} more", labels.len() - LABELS), theme.dim));
    }
    frame.render_widget(Paragraph::new(lines), inner);
}

fn bar(share: f64, cells: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * 8.0 * cells as f64).round() as usize;
    let parts = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    // What is there is seen, however little.
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    format!("{}{}", "█".repeat(eighths / 8), parts[eighths % 8])
}

/// The edges of at most `most` classes of equal width that hold `longest`: whole numbers, of 1, 2 or 5 times a
/// power of ten.
fn class_width(longest: u32, most: usize) -> u32 {
    let mut width = 1;
    for factor in [2, 5, 2].into_iter().cycle() {
        if u64::from(longest) < u64::from(width) * most.max(1) as u64 {
            break;
        }
        // 1, 2, 5 (as 2 x 5 / 2), 10, 20, ...
        width = match factor {
            5 => width / 2 * 5,
            _ => width * 2,
        };
    }
    width
}

fn lengths(frame: &mut Frame, area: Rect, preview: &Preview, theme: &Theme) {
    let unit = match preview.unit {
        Unit::Tokens => "tokens",
        Unit::Characters(_) => "characters",
    };
    let lengths = &preview.train.lengths;
    let (Some(shortest), Some(longest)) = (lengths.first(), lengths.last()) else {
        widgets::panel(frame, area, Line::styled(" lengths ", theme.title), theme);
        return;
    };
    let median = lengths[lengths.len() / 2];
    let title = format!(" {unit} a row: {shortest} to {longest}, median {median} ");
    let inner = widgets::panel(frame, area, Line::styled(title, theme.title), theme);
    let limit = preview.limit.filter(|_| preview.unit == Unit::Tokens);
    // A line is the limit's.
    let most = usize::from(inner.height).saturating_sub(usize::from(limit.is_some()));
    if most == 0 {
        return;
    }
    let width = class_width(*longest, most);
    let below = |edge: u64| lengths.partition_point(|l| u64::from(*l) < edge);
    let classes: Vec<(u64, usize)> = (u64::from(*shortest / width)..=u64::from(*longest / width))
        .map(|i| (i * u64::from(width), below((i + 1) * u64::from(width)) - below(i * u64::from(width))))
        .collect();
    let highest = classes.iter().map(|(_, n)| *n).max().unwrap_or(1).max(1);
    let label = |from: u64| match width {
        1 => from.to_string(),
        _ => format!("{from}-{}", from + u64::from(width) - 1),
    };
    let name_cells = classes.last().map_or(0, |(from, _)| label(*from).len());
    let bar_cells = usize::from(inner.width).saturating_sub(name_cells + 10);
    let mut lines = Vec::new();
    let mut marked = false;
    for (from, n) in classes {
        if let Some(limit) = limit.filter(|l| !marked && u64::from(*l) < from) {
            lines.push(mark(limit, "", inner.width, theme));
            marked = true;
        }
        let style = if limit.is_some_and(|l| from > u64::from(l)) { theme.warning } else { theme.smoothed };
        lines.push(Line::from(vec![
            Span::styled(format!(" {:>name_cells$}{n:>7} ", label(from)), theme.text),
            Span::styled(bar(n as f64 / highest as f64, bar_cells), style),
        ]));
    }
    if let Some(limit) = limit.filter(|_| !marked) {
        let note = if limit > *longest { ", beyond the longest" } else { "" };
        lines.push(mark(limit, note, inner.width, theme));
    }
    frame.render_widget(Paragraph::new(lines), inner);
}

fn mark(limit: u32, note: &str, width: u16, theme: &Theme) -> Line<'static> {
    let text = format!(" ─ max_length {limit}{note} ");
    let rest = usize::from(width).saturating_sub(text::width(&text));
    Line::styled(format!("{text}{}", "─".repeat(rest)), theme.eval)
}

/// The first rows: the first in full, of the others what is not the same in all.
fn rows(frame: &mut Frame, area: Rect, preview: &Preview, theme: &Theme) {
    let title = match preview.train.labels.len() {
        0 | 1 => " the first rows ",
        _ => " the first rows of each label ",
    };
    let inner = widgets::panel(frame, area, Line::styled(title, theme.title), theme);
    let room = usize::from(inner.width);
    let labels = preview.first.iter().map(|[_, response]| text::width(&text::clean(response)));
    let label_cells = labels.max().unwrap_or(0).clamp(1, 12.min(room / 4));
    let width = room.saturating_sub(label_cells + 3);
    let (start, end) = common(&preview.first);
    let mut lines: Vec<Line> = Vec::new();
    for (i, [query, response]) in preview.first.iter().enumerate() {
        if lines.len() >= usize::from(inner.height) {
            break;
        }
        let (shown, most) = match i {
            0 => (query.replace('\n', " ⏎ "), 4),
            _ => (without_common(query, start, end).replace('\n', " ⏎ "), 2),
        };
        let mut parts = text::wrap(&text::clean(&shown), width);
        if parts.len() > most {
            parts.truncate(most);
            if let Some(last) = parts.last_mut() {
                *last = text::fit(&format!("{last}……"), width.max(1));
            }
        }
        if parts.is_empty() {
            parts.push(String::new());
        }
        for (j, part) in parts.into_iter().enumerate() {
            let label = if j == 0 { response.as_str() } else { "" };
            lines.push(Line::from(vec![
                Span::styled(format!(" {}", text::pad(label, label_cells)), theme.strong),
                Span::raw("  "),
                Span::styled(part, theme.text),
            ]));
        }
    }
    frame.render_widget(Paragraph::new(lines), inner);
}

/// Characters that all prompts begin and end with; 0 where they are few.
fn common(rows: &[[String; 2]]) -> (usize, usize) {
    let Some([first, _]) = rows.first().filter(|_| rows.len() > 1) else { return (0, 0) };
    let same = |mut a: Box<dyn Iterator<Item = char> + '_>, mut b: Box<dyn Iterator<Item = char> + '_>| {
        std::iter::from_fn(|| a.next().filter(|c| b.next() == Some(*c))).count()
    };
    let (mut start, mut end) = (usize::MAX, usize::MAX);
    for [query, _] in rows {
        start = start.min(same(Box::new(first.chars()), Box::new(query.chars())));
        end = end.min(same(Box::new(first.chars().rev()), Box::new(query.chars().rev())));
    }
    let shortest = rows.iter().map(|[q, _]| q.chars().count()).min().unwrap_or(0);
    let worth = |n: usize| if n >= COMMON && n < shortest { n } else { 0 };
    let (start, end) = (worth(start), worth(end));
    if start + end < shortest { (start, end) } else { (0, 0) }
}

fn without_common(query: &str, start: usize, end: usize) -> String {
    let n = query.chars().count();
    let middle: String = query.chars().skip(start).take(n.saturating_sub(start + end)).collect();
    let dots = |n: usize| if n > 0 { "…" } else { "" };
    format!("{}{}{}", dots(start), middle.trim(), dots(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_round_and_hold_everything() {
        assert_eq!(
            [class_width(9, 10), class_width(10, 10), class_width(45, 10), class_width(288, 10)],
            [1, 2, 5, 50]
        );
        for longest in [0, 1, 7, 99, 100, 12_345, u32::MAX / 4] {
            for most in 1..40 {
                let width = class_width(longest, most);
                assert!((longest / width) < most as u32, "{longest} in {most}: {width}");
            }
        }
    }

    #[test]
    fn what_all_prompts_share_is_left_out() {
        let row = |s: &str| [crate::data::sentiment_prompt(s), "positive".to_owned()];
        let rows = [row("包装不错"), row("质量太差")];
        let (start, end) = common(&rows);
        assert_eq!(without_common(&rows[1][0], start, end), "…质量太差…");
        assert_eq!(common(&rows[..1]), (0, 0));
        assert_eq!(common(&[row("好"), row("好")]), (0, 0), "equal rows keep all");
        assert_eq!(common(&[]), (0, 0));
    }

    #[test]
    fn a_bar_is_never_longer_than_its_room() {
        assert_eq!((bar(1.0, 4).as_str(), bar(0.0, 4).as_str(), bar(1e-9, 4).as_str()), ("████", "", "▏"));
    }
}
