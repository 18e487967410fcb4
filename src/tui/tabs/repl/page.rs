//! Questions and answers as rows of text.

use ratatui::text::{Line, Span};

use super::talk::{Answer, Item, Talk, Turn};
use crate::job::human;
use crate::tui::repl::Ask;
use crate::tui::state::State;
use crate::tui::theme::Theme;
use crate::tui::{text, widgets};

/// Of a long question only its beginning is shown.
const QUESTION_ROWS: usize = 8;
const QUESTION_CHARS: usize = 2000;
/// Cells of the longest bar.
const BAR: usize = 40;

/// All of it at this width, oldest first.
pub fn rows(talk: &Talk, width: u16, state: &State) -> Vec<Line<'static>> {
    let width = width as usize;
    let mut rows = Vec::new();
    for item in talk.items() {
        if !rows.is_empty() {
            rows.push(Line::default());
        }
        match item {
            Item::Turn(turn) => turn_rows(turn, width, state, &mut rows),
            Item::Note { text, is_error } => {
                let style = if *is_error { state.theme.bad } else { state.theme.dim };
                let lines = text::wrap(text, width.saturating_sub(2));
                rows.extend(lines.into_iter().map(|l| Line::styled(format!(" {l}"), style)));
            }
        }
    }
    rows
}

fn turn_rows(turn: &Turn, width: usize, state: &State, rows: &mut Vec<Line<'static>>) {
    let theme = &state.theme;
    let (Ask::Classify(asked) | Ask::Generate(asked)) = &turn.ask;
    rows.extend(question(asked, width, theme));
    let dim = |words: String| Line::styled(text::fit(&format!("   {words}"), width), theme.dim);
    match &turn.answer {
        Answer::Waiting => rows.push(dim("… waits".to_owned())),
        Answer::Busy { since, text } => {
            rows.extend(prose(text, width, theme));
            rows.push(dim(format!("… {:.0} s", (state.now - since).max(0.0))));
        }
        Answer::Label { label, probabilities, seconds } => {
            let (style, chinese) = verdict(label, theme);
            rows.push(Line::from(vec![
                Span::styled(format!("   {}", text::clean(label)), style),
                Span::styled(chinese, style),
                Span::styled(format!("  {}, {}", took(*seconds), turn.model), theme.dim),
            ]));
            let name = probabilities.iter().map(|(l, _)| text::width(l)).max().unwrap_or(0).min(width / 3);
            let cells = width.saturating_sub(name + 14).min(BAR);
            for (label, p) in probabilities {
                let (done, rest) = widgets::bar(*p, cells);
                rows.push(Line::from(vec![
                    Span::styled(format!("   {} ", text::pad(label, name)), theme.text),
                    Span::styled(done, verdict(label, theme).0),
                    Span::styled(rest, theme.dim),
                    Span::styled(format!(" {:>5.1} %", 100.0 * p), theme.text),
                ]));
            }
        }
        Answer::Text { text, cancelled, seconds } => {
            rows.extend(prose(text, width, theme));
            let end = match (cancelled, text.trim().is_empty()) {
                (true, _) => "cancelled, ",
                (false, true) => "nothing, ",
                (false, false) => "",
            };
            rows.push(dim(format!("{end}{}, {}", took(*seconds), turn.model)));
        }
        Answer::Failed(why) => {
            let style = if why == "cancelled" { theme.dim } else { theme.bad };
            let lines = text::wrap(why, width.saturating_sub(4));
            rows.extend(lines.into_iter().map(|l| Line::styled(format!("   {l}"), style)));
        }
    }
}

/// How long something took.
pub fn took(seconds: f64) -> String {
    if (0.0..0.9995).contains(&seconds) {
        format!("{:.0} ms", 1000.0 * seconds)
    } else {
        human::duration(seconds)
    }
}

fn question(asked: &str, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let shown: String = asked.chars().take(QUESTION_CHARS).collect();
    let mut lines = text::wrap(&shown, width.saturating_sub(4));
    if lines.len() > QUESTION_ROWS || shown.len() < asked.len() {
        lines.truncate(QUESTION_ROWS - 1);
        lines.push(format!("… {} characters in all", asked.chars().count()));
    }
    let row = |(i, line)| {
        let mark = if i == 0 { " > " } else { "   " };
        Line::from(vec![Span::styled(mark, theme.key), Span::styled(line, theme.strong)])
    };
    lines.into_iter().enumerate().map(row).collect()
}

fn prose(text: &str, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let lines = text::wrap(text, width.saturating_sub(4));
    lines.into_iter().map(|l| Line::styled(format!("   {l}"), theme.text)).collect()
}

/// A label's colour, and its word in Chinese where it is one of the task's.
fn verdict(label: &str, theme: &Theme) -> (ratatui::style::Style, &'static str) {
    match label {
        "positive" => (theme.good, " 好评"),
        "negative" => (theme.bad, " 差评"),
        _ => (theme.strong, ""),
    }
}
