//! Opening a file of arguments, and writing one: a list of those there are, and a typed path.

use std::path::{Path, PathBuf};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line as TextLine, Span};
use ratatui::widgets::Paragraph;

use super::edit::Line;
use crate::args::ARGS_FILE;
use crate::tui::configs::CONFIGS;
use crate::tui::state::State;
use crate::tui::{keys, text, widgets};

/// What the picker is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Open,
    Write,
}

/// The picker.
#[derive(Debug)]
pub struct Picker {
    purpose: Purpose,
    typed: Line,
    /// The name was not typed but stood there: the first character begins another.
    offered_name: bool,
    /// None until they have been looked for.
    files: Option<Vec<PathBuf>>,
    marked: usize,
}

/// What became of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Picked {
    No,
    Stay,
    /// What is typed names no file.
    Nameless,
    Closed,
    Open(PathBuf),
    Write(PathBuf),
}

impl Picker {
    pub fn open() -> Picker {
        Picker { purpose: Purpose::Open, typed: Line::new(""), offered_name: false, files: None, marked: 0 }
    }

    /// A name is asked for; `file` is where the arguments are from.
    pub fn write(file: Option<&Path>) -> Picker {
        let own = file.filter(|f| f.starts_with(CONFIGS)).and_then(Path::to_str);
        let typed = Line::new(own.unwrap_or_default());
        Picker { purpose: Purpose::Write, typed, offered_name: own.is_some(), files: None, marked: 0 }
    }

    pub fn found(&mut self, files: &[PathBuf]) {
        self.files = Some(files.to_vec());
    }

    /// The files on offer: those under `configs/`, then the runs'. What is typed narrows them.
    fn offered(&self, state: &State) -> Vec<PathBuf> {
        let runs = state.runs.iter().flatten().map(|run| run.path.join(ARGS_FILE));
        let files = self.files.iter().flatten().cloned();
        match self.purpose {
            Purpose::Write => files.collect(),
            Purpose::Open => {
                let typed = self.typed.text().trim().to_lowercase();
                let fits = |p: &PathBuf| p.to_string_lossy().to_lowercase().contains(&typed);
                files.chain(runs).filter(fits).collect()
            }
        }
    }

    /// The key that does what it is there for.
    pub fn enter(&self) -> &'static keys::Binding {
        match self.purpose {
            Purpose::Open => &keys::OPEN_FILE,
            Purpose::Write => &keys::WRITE_FILE,
        }
    }

    pub fn handle(&mut self, key: &KeyEvent, state: &State) -> Picked {
        let last = self.offered(state).len().saturating_sub(1);
        let is_text =
            matches!(key.code, KeyCode::Char(_)) && key.modifiers.difference(KeyModifiers::SHIFT).is_empty();
        if keys::CLOSE.is(key) {
            return Picked::Closed;
        } else if self.enter().is(key) {
            return self.pick(state);
        } else if keys::ABOVE.is(key) {
            self.marked = self.marked.min(last).saturating_sub(1);
        } else if keys::BELOW.is(key) {
            self.marked = (self.marked + 1).min(last);
        } else if is_text && self.offered_name {
            self.typed = Line::new("");
            self.typed.handle(key);
            self.offered_name = false;
        } else if !self.typed.handle(key) {
            return Picked::No;
        } else {
            self.offered_name = false;
            self.marked = 0;
        }
        Picked::Stay
    }

    pub fn paste(&mut self, pasted: &str) {
        if std::mem::take(&mut self.offered_name) {
            self.typed = Line::new("");
        }
        self.typed.paste(pasted);
        self.marked = 0;
    }

    fn pick(&self, state: &State) -> Picked {
        let typed = self.typed.text().trim();
        match self.purpose {
            Purpose::Open => {
                let offered = self.offered(state);
                match offered.get(self.marked.min(offered.len().saturating_sub(1))) {
                    Some(path) => Picked::Open(path.clone()),
                    // A path that is none of these.
                    None if !typed.is_empty() => Picked::Open(typed.into()),
                    None => Picked::Nameless,
                }
            }
            Purpose::Write => named(typed).map_or(Picked::Nameless, Picked::Write),
        }
    }

    pub fn draw(&self, frame: &mut Frame, area: Rect, state: &State) {
        let theme = &state.theme;
        let (title, label) = match self.purpose {
            Purpose::Open => (" Open arguments ", "name or path "),
            Purpose::Write => (" Write what differs from the defaults ", "write to "),
        };
        let inner = widgets::panel(frame, area, TextLine::styled(title, theme.title), theme);
        let [first, note, list] =
            Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(0)]).areas(inner);
        let [name, cell] =
            Layout::horizontal([Constraint::Length(label.len() as u16 + 1), Constraint::Min(0)]).areas(first);
        frame.render_widget(TextLine::styled(format!(" {label}"), theme.dim), name);
        self.typed.draw(frame, cell, theme.strong, state);

        let offered = self.offered(state);
        let typed = self.typed.text().trim();
        let words = match (self.purpose, &self.files) {
            (_, None) => "Looking".to_owned(),
            (Purpose::Open, _) if offered.is_empty() && typed.is_empty() => {
                format!("There are none under {CONFIGS}/: type a path")
            }
            (Purpose::Open, _) if offered.is_empty() => "Enter opens this path".to_owned(),
            (Purpose::Open, _) => "Enter opens the marked one; type to narrow the list, or a path".to_owned(),
            (Purpose::Write, _) => match named(typed) {
                None => format!("A name alone goes under {CONFIGS}/; .json is added where it is missing"),
                Some(path) if offered.contains(&path) => {
                    format!("{} is there: Enter asks before it is overwritten", path.display())
                }
                Some(path) => format!("Enter writes {}", path.display()),
            },
        };
        let words = text::fit(&words, usize::from(note.width).saturating_sub(2));
        frame.render_widget(TextLine::styled(format!(" {words}"), theme.dim), note);

        let height = usize::from(list.height);
        let marked = self.marked.min(offered.len().saturating_sub(1));
        let first = (marked + 1).saturating_sub(height);
        let width = usize::from(list.width).saturating_sub(2);
        let rows = offered.iter().enumerate().skip(first).take(height).map(|(i, path)| {
            let style = match (self.purpose, i == marked) {
                (Purpose::Open, true) => theme.selected,
                (Purpose::Open, false) => theme.text,
                (Purpose::Write, _) => theme.dim,
            };
            let name = text::fit_end(&path.display().to_string(), width.saturating_sub(2));
            TextLine::from(vec![Span::raw(" "), Span::styled(format!(" {name} "), style)])
        });
        frame.render_widget(Paragraph::new(rows.collect::<Vec<_>>()), list);
    }
}

/// The file that a typed name means: one under `configs/` where it is a name alone, and `.json` always.
fn named(typed: &str) -> Option<PathBuf> {
    if typed.is_empty() || typed.ends_with('/') {
        return None;
    }
    let mut path = match typed.contains('/') {
        true => PathBuf::from(typed),
        false => Path::new(CONFIGS).join(typed),
    };
    if path.extension().is_none_or(|e| !e.eq_ignore_ascii_case("json")) {
        path.as_mut_os_string().push(".json");
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_file_under_configs() {
        let path = |typed| named(typed).map(|p| p.display().to_string());
        assert_eq!(path("mine").as_deref(), Some("configs/mine.json"));
        assert_eq!(path("v1.5").as_deref(), Some("configs/v1.5.json"));
        assert_eq!(path("~/评论.json").as_deref(), Some("~/评论.json"));
        assert_eq!(path("configs/demo.json").as_deref(), Some("configs/demo.json"));
        assert_eq!(path("/tmp/x.json").as_deref(), Some("/tmp/x.json"));
        assert_eq!(path("中文.JSON").as_deref(), Some("configs/中文.JSON"));
        assert_eq!(path("/etc/hosts").as_deref(), Some("/etc/hosts.json"));
        assert_eq!((path(""), path("configs/")), (None, None));
    }
}
