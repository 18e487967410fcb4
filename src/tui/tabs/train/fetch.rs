//! What is fetched for a job that is to start: all of it, and a line for each file.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::hub::{FileState, Stage};
use crate::job::human;
use crate::tui::fetching::{Fetching, FileLine};
use crate::tui::state::State;
use crate::tui::theme::Theme;
use crate::tui::{text, widgets};

/// Cells of a file's bytes and rate.
const TAIL: usize = 36;
/// Cells of a file's bar, where the line is as wide as [`ROOMY`].
const BAR: usize = 8;
const ROOMY: usize = 76;
/// Cells of the longest line: the eye has to find the way from a name to its figures.
const WIDEST: usize = 116;
/// Waits that are told: as many files come at once.
const WAITS: usize = 4;
/// Lines besides the files: title, progress, what it does, two blank ones, what comes of it.
const OTHERS: u16 = 7;

/// Lines that it takes with a line for each file at work.
pub fn height(fetching: &Fetching) -> u16 {
    let busy = fetching.files.iter().filter(|file| is_busy(file)).count();
    OTHERS + busy.min(100) as u16
}

pub fn draw(frame: &mut Frame, area: Rect, fetching: &Fetching, state: &State) {
    let theme = &state.theme;
    let room = usize::from(area.width).saturating_sub(2);
    let title = format!(" Fetching {} ", text::fit(&fetching.name, room.saturating_sub(12)));
    let inner = widgets::panel(frame, area, Line::styled(title, theme.title), theme);
    let width = usize::from(inner.width).saturating_sub(2).min(WIDEST);
    let mut lines = vec![whole(fetching, width, theme)];
    let (words, style) = what(fetching, theme);
    lines.extend(wrapped(&words, width, style));
    let mut end = Vec::new();
    // What is waited for now matters more than what happened last.
    let last = fetching.note.iter().filter(|_| fetching.waits.is_empty());
    for words in fetching.waits.iter().take(WAITS).chain(last) {
        end.extend(wrapped(words, width, theme.text));
    }
    if !fetching.is_ending {
        let words = "The training starts when all is here. Esc cancels: what has come stays, and the next start goes on \
                     from there.";
        end.extend(wrapped(words, width, theme.dim));
    }
    let height = usize::from(inner.height);
    let left = |used: usize| height.saturating_sub(used);
    // Files matter more than blank lines, and more than what is always the same.
    let busy = fetching.files.iter().filter(|file| is_busy(file)).count();
    let is_tight = left(lines.len() + busy + end.len() + 2) == 0;
    if is_tight {
        end.truncate(left(lines.len() + busy));
    } else {
        lines.push(Line::default());
        end.insert(0, Line::default());
    }
    lines.extend(files(fetching, left(lines.len() + end.len()), width, theme));
    lines.extend(end);
    lines.truncate(height);
    let place = Rect { x: inner.x + 1, width: inner.width.saturating_sub(1), ..inner };
    frame.render_widget(Paragraph::new(lines), place);
}

/// Bytes, a bar, rate and time left.
fn whole(fetching: &Fetching, width: usize, theme: &Theme) -> Line<'static> {
    let figures = fetching.figures();
    if figures.is_empty() {
        let (_, rest) = widgets::bar(0.0, width);
        return Line::styled(rest, theme.dim);
    }
    let mut right = match fetching.total {
        // Of what is not known.
        0 => String::new(),
        _ => format!("  {} %", fetching.percent()),
    };
    if fetching.rate >= 1.0 {
        right += &format!("  {}/s", human::bytes(fetching.rate as u64));
    }
    if let Some(left) = fetching.left {
        right += &format!(", {} left", human::duration(left.as_secs_f64()));
    }
    let left = format!("{figures}  ");
    let cells = width.saturating_sub(text::width(&left) + text::width(&right));
    let (done, rest) = widgets::bar(fetching.share(), cells);
    Line::from(vec![
        Span::styled(left, theme.strong),
        Span::styled(done, Style { add_modifier: Default::default(), ..theme.good }),
        Span::styled(rest, theme.dim),
        Span::styled(right, theme.text),
    ])
}

/// What it does at the moment.
fn what(fetching: &Fetching, theme: &Theme) -> (String, Style) {
    if fetching.is_ending {
        return ("cancelling".to_owned(), theme.warning);
    }
    let words = match fetching.stage {
        Stage::Listing => format!("asking what there is: {}", fetching.hubs.join(", then ")),
        Stage::Waiting => "another process fetches the same: waiting for it".to_owned(),
        Stage::Checking => "comparing what is there with the hub's checksums".to_owned(),
        Stage::Fetching => {
            format!("{} of {} are here", fetching.finished, human::counted(fetching.count as u64, "file"))
        }
        Stage::Placing => "putting the files into their place".to_owned(),
    };
    (words, theme.text)
}

/// A line for each file, in `height` lines: the last one counts those that have none.
fn files(fetching: &Fetching, height: usize, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let shown = if fetching.count > height { height.saturating_sub(1) } else { height };
    let mut lines: Vec<Line> =
        fetching.files.iter().take(shown).map(|file| file_line(file, width, theme)).collect();
    let hidden = fetching.count.saturating_sub(lines.len());
    if hidden > 0 && height > 0 {
        lines.push(Line::styled(format!("… {hidden} more"), theme.dim));
    }
    lines
}

fn is_busy(file: &FileLine) -> bool {
    matches!(file.state, FileState::Fetching | FileState::Checking)
}

fn file_line(file: &FileLine, width: usize, theme: &Theme) -> Line<'static> {
    let size = human::bytes(file.size);
    let bytes = match (file.state, file.size) {
        (FileState::Done, 0) => human::bytes(file.done),
        (FileState::Done, _) => size,
        // How large it is is not known.
        (FileState::Open, 0) if file.done == 0 => String::new(),
        (_, 0) => human::bytes(file.done),
        (FileState::Open, _) if file.done == 0 => size,
        _ => format!("{} of {size}", human::bytes(file.done)),
    };
    let (word, style) = match file.state {
        FileState::Open => ("waits".to_owned(), theme.dim),
        FileState::Fetching if file.rate >= 1.0 => {
            (format!("{}/s", human::bytes(file.rate as u64)), theme.text)
        }
        FileState::Fetching => (String::new(), theme.text),
        FileState::Checking => ("checking".to_owned(), theme.text),
        FileState::Done => ("here".to_owned(), theme.dim),
    };
    let cells = if width >= ROOMY { BAR } else { 0 };
    let name = width.saturating_sub(TAIL + cells + usize::from(cells > 0));
    let share = match (file.state, file.size) {
        (FileState::Done, _) => 1.0,
        (_, 0) => 0.0,
        (_, size) => file.done as f64 / size as f64,
    };
    let (done, rest) = widgets::bar(share, cells);
    let bar_style = if file.state == FileState::Done { theme.dim } else { theme.good };
    Line::from(vec![
        // The end of a name tells shards apart.
        Span::styled(text::pad(&text::fit_end(&file.path, name), name), style),
        Span::raw(if cells > 0 { " " } else { "" }),
        Span::styled(done, Style { add_modifier: Default::default(), ..bar_style }),
        Span::styled(rest, theme.dim),
        Span::styled(format!(" {bytes:>20}  {word:>12} "), style),
    ])
}

fn wrapped(words: &str, width: usize, style: Style) -> Vec<Line<'static>> {
    let lines = text::wrap(&text::clean(words), width);
    lines.into_iter().map(|line| Line::styled(line, style)).collect()
}
