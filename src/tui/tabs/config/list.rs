//! The form on the screen: the list of arguments, and what is to be said of the marked one.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::form::{Form, Row};
use super::typing::Typing;
use crate::args::{Field, Group, Status, value_text};
use crate::job::inputs::Missing;
use crate::tui::state::State;
use crate::tui::theme::Theme;
use crate::tui::{text, widgets};

/// From this width on what is said of an argument stands beside the list.
const WIDE: u16 = 120;
/// Lines of what stands in the way of a start that there is always room for.
const USUAL: u16 = 2;
/// Cells of the names, the longest of which has 32.
const NAMES: usize = 33;
/// What stands for a value that is not set.
pub const NOT_SET: &str = "not set";

/// Said until it is known whether they are there.
const LOOKING: &str = "Looking for the model and the data";

/// Draws the form; `typing` is what is typed now, into the marked value or the filter.
pub fn draw(frame: &mut Frame, area: Rect, form: &Form, typing: Option<&Typing>, state: &State) {
    let [upper, lower] = match area.width >= WIDE {
        true => Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).spacing(1).areas(area),
        false => {
            // What is wrong, and where model and data are, is not cut; what is said of an argument leaves the list in
            // peace as the mark moves on.
            let said = Said::of(form, typing, text_width(area), state);
            let more = said.end.len().max(said.error) as u16;
            let height = (area.height * 2 / 5).clamp(5, 10) + more.saturating_sub(USUAL);
            let height = height.min((area.height * 3 / 5).max(5));
            Layout::vertical([Constraint::Min(0), Constraint::Length(height)]).areas(area)
        }
    };
    list(frame, upper, form, typing, state);
    about(frame, lower, form, typing, state);
}

/// Cells of a line of what is said in `area`.
fn text_width(area: Rect) -> usize {
    usize::from(area.width).saturating_sub(2)
}

fn list(frame: &mut Frame, area: Rect, form: &Form, typing: Option<&Typing>, state: &State) {
    let theme = &state.theme;
    let mut spans = vec![Span::styled(format!(" {} ", name(form, area.width)), theme.title)];
    if form.is_changed() {
        spans.push(Span::styled("changed ", theme.warning));
    }
    let inner = widgets::panel(frame, area, Line::from(spans), theme);
    let inner = match (typing, form.filter()) {
        (Some(Typing::Filter(line)), _) => {
            let [first, rest] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(inner);
            let [label, cell] = Layout::horizontal([Constraint::Length(3), Constraint::Min(0)]).areas(first);
            frame.render_widget(Line::styled(" / ", theme.key), label);
            line.draw(frame, cell, theme.strong, state);
            rest
        }
        (_, "") => inner,
        (_, filter) => {
            let [first, rest] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(inner);
            let words = text::fit(filter, usize::from(inner.width).saturating_sub(20));
            let line = Line::from(vec![
                Span::styled(" / ", theme.key),
                Span::styled(words, theme.strong),
                Span::styled("  Esc shows all", theme.dim),
            ]);
            frame.render_widget(line, first);
            rest
        }
    };
    let rows = form.rows();
    if rows.is_empty() {
        return widgets::words(frame, inner, "No argument has these words.", theme.dim);
    }
    let height = usize::from(inner.height);
    let at = rows.iter().position(|r| *r == form.marked);
    let first = at.unwrap_or(0).saturating_sub(height / 2).min(rows.len().saturating_sub(height));
    let wrong = form.wrong();
    for (i, row) in rows.iter().enumerate().skip(first).take(height) {
        let place = Rect { y: inner.y + (i - first) as u16, height: 1, ..inner };
        let marked = at == Some(i);
        match row {
            Row::Group(group) => frame.render_widget(group_line(form, *group, marked, theme), place),
            Row::Field(field) => {
                let is_wrong = wrong == Some(field.name);
                field_line(frame, place, form, field, [marked, is_wrong], state);
                if let (true, Some(Typing::Value(value))) = (marked, typing) {
                    let cell = value_cell(place);
                    frame.buffer_mut().set_style(cell, Style::reset());
                    frame.render_widget(ratatui::widgets::Clear, cell);
                    let style = if value.verdict.is_err() { theme.bad } else { theme.strong };
                    let style = style.add_modifier(ratatui::style::Modifier::UNDERLINED);
                    value.line.draw(frame, cell, style, state);
                }
            }
        }
    }
}

/// The file of the arguments, or that there is none.
fn name(form: &Form, width: u16) -> String {
    let room = usize::from(width).saturating_sub(14);
    match &form.file {
        Some(file) => text::fit_end(&file.display().to_string(), room),
        None => "The defaults".to_owned(),
    }
}

/// Where the value of an argument stands in its line.
fn value_cell(line: Rect) -> Rect {
    let left = (NAMES as u16 + 4).min(line.width);
    Rect { x: line.x + left, width: line.width - left, ..line }
}

fn group_line(form: &Form, group: Group, marked: bool, theme: &Theme) -> Line<'static> {
    let sign = if form.is_open(group) { "▾" } else { "▸" };
    let style = if marked { theme.selected } else { theme.title };
    let mut spans =
        vec![Span::styled(format!(" {sign} "), theme.dim), Span::styled(group.title().to_owned(), style)];
    match form.set_in(group) {
        0 => {}
        n => spans.push(Span::styled(format!("  {n} set"), theme.dim)),
    }
    Line::from(spans)
}

/// A value in the list.
pub fn shown(form: &Form, field: &Field, state: &State) -> (String, bool) {
    if field.name == "output_dir" && !form.draft.is_set(field) {
        return (state.output_dir.display().to_string(), true);
    }
    let value = form.draft.get(field);
    match form.derived(field) {
        Some(derived) => (format!("{derived} (by the rules)"), true),
        None if value.is_null() => (NOT_SET.to_owned(), true),
        None if field.name == "hub_token" => ("•••".to_owned(), false),
        None => match value_text(&value) {
            empty if empty.is_empty() && value.is_array() => ("none".to_owned(), true),
            empty if empty.is_empty() => ("\"\"".to_owned(), false),
            text => (text, false),
        },
    }
}

fn field_line(
    frame: &mut Frame,
    place: Rect,
    form: &Form,
    field: &'static Field,
    [marked, is_wrong]: [bool; 2],
    state: &State,
) {
    let theme = &state.theme;
    let is_set = form.draft.is_set(field);
    let (sign, sign_style) = match (is_wrong, is_set) {
        (true, _) => ("✗", theme.bad),
        (false, true) => ("*", theme.warning),
        (false, false) => (" ", theme.dim),
    };
    let (value, derived) = shown(form, field, state);
    let works = field.status == Status::Works;
    let style = match (is_wrong, is_set, derived || !works) {
        (true, ..) => theme.bad,
        (false, true, _) => theme.strong,
        (false, false, true) => theme.dim,
        (false, false, false) => theme.text,
    };
    let name_style = match (marked, works) {
        (true, _) => theme.selected,
        (false, true) => theme.text,
        (false, false) => theme.dim,
    };
    let room = usize::from(value_cell(place).width);
    // The end of a path says more than its beginning.
    // The end of a path says more.
    let value = if field.names_files() { text::fit_end(&value, room) } else { text::fit(&value, room) };
    let line = Line::from(vec![
        Span::styled(format!(" {sign} "), sign_style),
        Span::styled(text::pad(field.name, NAMES), name_style),
        Span::raw(" "),
        Span::styled(value, style),
    ]);
    frame.render_widget(line, place);
}

/// Lines with a style.
type Styled = Vec<(String, Style)>;

/// What is said beside the list, in lines.
struct Said {
    /// Of the marked argument.
    words: Styled,
    /// Lines of them about what is wrong with what is typed.
    error: usize,
    /// Whether all is ready.
    end: Styled,
}

impl Said {
    fn of(form: &Form, typing: Option<&Typing>, width: usize, state: &State) -> Said {
        let theme = &state.theme;
        let lines = |words: Styled| -> Styled {
            let wrap = |(words, style): (String, Style)| {
                text::wrap(&words, width).into_iter().map(move |line| (line, style))
            };
            words.into_iter().flat_map(wrap).collect()
        };
        let (mut words, mut error) = (Vec::new(), Vec::new());
        match form.marked_row() {
            None => {}
            Some(Row::Field(field)) => {
                words.extend(lines(vec![(field.help.to_owned(), theme.text)]));
                if let Some(Typing::Value(value)) = typing
                    && let Some(why) = value.said(form)
                {
                    error = lines(vec![(format!("✗ {why}"), theme.bad)]);
                    words.extend(error.iter().cloned());
                }
                words.extend(lines(facts(form, field, state)));
            }
            Some(Row::Group(group)) => {
                let help = match form.is_open(group) {
                    true => "Enter closes the group.",
                    false => "Enter opens the group.",
                };
                words.extend(lines(vec![(help.to_owned(), theme.dim)]));
            }
        }
        // What is said of the form is not true of another value that is typed.
        let typed = match typing {
            Some(Typing::Value(value)) => {
                value.inputs().filter(|inputs| form.inputs.as_ref() != Some(inputs))
            }
            _ => None,
        };
        let end = match typed {
            // While something wrong is typed, that is what matters.
            _ if !error.is_empty() => Vec::new(),
            Some(inputs) => vec![looked_for(form.missing(inputs), "what is typed", theme)],
            None => ready(form, state),
        };
        Said { words, error: error.len(), end: lines(end) }
    }
}

/// What the marked argument means and may be, what is wrong, and whether all is ready.
fn about(frame: &mut Frame, area: Rect, form: &Form, typing: Option<&Typing>, state: &State) {
    let theme = &state.theme;
    let row = form.marked_row();
    let title = match row {
        Some(Row::Field(field)) => format!(" {} ", field.name),
        Some(Row::Group(group)) => format!(" {} ", group.title()),
        None => String::new(),
    };
    let inner = widgets::panel(frame, area, Line::styled(title, theme.title), theme);
    let width = text_width(inner);
    let Said { words, end, .. } = Said::of(form, typing, width, state);
    // As many as there is room for, with a mark where some are cut off.
    let shown = |lines: Vec<(String, Style)>, area: Rect| {
        let (lines, styles): (Vec<String>, Vec<Style>) = lines.into_iter().unzip();
        let lines = text::cut(lines, usize::from(area.height), width);
        let line = |(words, style)| Line::styled(format!(" {words}"), style);
        Paragraph::new(lines.into_iter().zip(styles).map(line).collect::<Vec<_>>())
    };
    let end_height = (end.len() as u16).min(inner.height.saturating_sub(2));
    // Beneath a blank line where there is room, else at the end.
    let upper_height = (words.len() as u16 + 1).min(inner.height - end_height);
    let [upper, lower] =
        Layout::vertical([Constraint::Length(upper_height), Constraint::Length(end_height)]).areas(inner);
    frame.render_widget(shown(words, upper), upper);
    frame.render_widget(shown(end, lower), lower);
}

/// Value, default, what is allowed, what becomes of it.
fn facts(form: &Form, field: &'static Field, state: &State) -> Vec<(String, Style)> {
    let theme = &state.theme;
    let default = match field.default.value() {
        value if value.is_null() => NOT_SET.to_owned(),
        _ => field.default.to_string(),
    };
    let mut facts = vec![(format!("allowed: {}", field.allowed()), theme.dim)];
    let (now, _) = shown(form, field, state);
    facts.push((format!("default: {default}"), theme.dim));
    if form.draft.is_set(field) || form.derived(field).is_some() {
        facts.push((format!("now: {now}"), theme.text));
    }
    match field.status {
        Status::Works => {}
        Status::NoEffect(why) => facts.push((format!("It changes nothing here: {why}."), theme.warning)),
        Status::Refused(why) => facts.push((format!("Only the default is accepted: {why}."), theme.warning)),
        Status::Derived(parent) => facts.push((format!("It follows from {parent}."), theme.warning)),
    }
    facts
}

/// What was found of inputs that are typed and not taken yet.
pub fn looked_for(missing: Option<&[Missing]>, what: &str, theme: &Theme) -> (String, Style) {
    match missing {
        None => (LOOKING.to_owned(), theme.dim),
        Some([]) => (format!("✓ model and data are there with {what}"), theme.good),
        Some([first, ..]) => (format!("✗ {}", first.message), theme.bad),
    }
}

/// What stands in the way of a start, or that nothing does.
fn ready(form: &Form, state: &State) -> Vec<(String, Style)> {
    let theme = &state.theme;
    let mut words = Vec::new();
    let mut warnings = form.warnings.clone();
    if let Some(Err(missing)) = &state.engine {
        words.push((format!("✗ {missing}"), theme.bad));
    }
    match &form.checked {
        Err(problem) => words.push((format!("✗ {}", problem.message), theme.bad)),
        Ok(loaded) => {
            warnings.extend(loaded.warnings.iter().filter(|w| !form.warnings.contains(w)).cloned());
            match form.inputs_found() {
                Some(Err(missing)) => words.push((format!("✗ {}", missing.message), theme.bad)),
                _ if matches!(state.engine, Some(Err(_))) => {}
                Some(Ok(())) => {
                    words.push(("✓ s starts the training".to_owned(), theme.good));
                    let lines = form.names().map(|names| names.lines.as_slice()).unwrap_or_default();
                    words.extend(lines.iter().map(|line| (line.clone(), theme.dim)));
                }
                None => words.push((LOOKING.to_owned(), theme.dim)),
            }
        }
    }
    words.extend(warnings.into_iter().map(|w| (w, theme.warning)));
    words
}
