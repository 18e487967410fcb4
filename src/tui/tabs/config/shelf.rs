//! Choosing model and data, over the form: what is on this machine, and what a name would fetch.

use std::collections::HashMap;

use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::{Config, Page, tell, tell_error};
use crate::hub::shelf::{Item, Shelf};
use crate::hub::{Repo, Sort};
use crate::job::human;
use crate::tui::action::Action;
use crate::tui::component::Handled;
use crate::tui::configs::ConfigWork;
use crate::tui::state::State;
use crate::tui::theme::Theme;
use crate::tui::{keys, popups, text};

/// Cells that it takes at most.
const WIDTH: u16 = 120;
/// Cells of size, dtype and place.
const TAIL: usize = 28;
/// From this width on a line has the family.
const WITH_FAMILY: usize = 90;
const FAMILY: usize = 20;
/// Lines for what is said of the marked one.
const ABOUT: u16 = 4;

/// The page.
#[derive(Debug, Default)]
pub struct Shelves {
    /// None until they have been looked for.
    items: Option<Vec<Item>>,
    marked: usize,
    /// What was asked for of the absent ones, by name: none until it is answered.
    sizes: HashMap<String, Option<Result<String, String>>>,
}

/// What became of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Chosen {
    No,
    Stay,
    Closed,
    /// Looks again.
    Again,
    Take(Box<Item>),
    /// Asks a hub how large it is.
    Size(String, Vec<Repo>),
    Told(String),
}

impl Shelves {
    pub fn found(&mut self, items: &[Item]) {
        self.items = Some(items.to_vec());
        self.marked = self.marked.min(items.len().saturating_sub(1));
    }

    pub fn sized(&mut self, name: &str, told: &Result<String, String>) {
        self.sizes.insert(name.to_owned(), Some(told.clone()));
    }

    fn item(&self) -> Option<&Item> {
        self.items.as_ref()?.get(self.marked)
    }

    pub fn handle(&mut self, key: &KeyEvent) -> Chosen {
        let last = self.items.as_ref().map_or(0, |items| items.len().saturating_sub(1));
        if keys::CLOSE.is(key) || keys::MODELS.is(key) {
            return Chosen::Closed;
        } else if keys::REFRESH.is(key) {
            return Chosen::Again;
        } else if keys::UP.is(key) {
            self.marked = self.marked.saturating_sub(1);
        } else if keys::DOWN.is(key) {
            self.marked = (self.marked + 1).min(last);
        } else if keys::FIRST.is(key) {
            self.marked = 0;
        } else if keys::LAST.is(key) {
            self.marked = last;
        } else if keys::CHOOSE.is(key) {
            return match self.item() {
                Some(Item { place: Shelf::Broken(dir, why), name, .. }) => Chosen::Told(format!(
                    "{} is not whole: {why}; `qwen-tui pull {name}` fetches it",
                    dir.display()
                )),
                Some(item) => Chosen::Take(Box::new(item.clone())),
                None => Chosen::Stay,
            };
        } else if keys::SIZE.is(key) {
            return match self.item() {
                Some(Item { place: Shelf::Absent(repos), name, .. }) => {
                    let (name, repos) = (name.clone(), repos.clone());
                    match self.sizes.insert(name.clone(), None) {
                        // It is being asked for.
                        Some(None) => Chosen::Stay,
                        _ => Chosen::Size(name, repos),
                    }
                }
                Some(Item { place: Shelf::Broken(..), name, .. }) => Chosen::Told(format!(
                    "the size beside {name} is that of what is here, which is not whole; `qwen-tui pull {name}` fetches it"
                )),
                Some(item) => Chosen::Told(format!("{} is here: its size stands beside it", item.name)),
                None => Chosen::Stay,
            };
        } else {
            return Chosen::No;
        }
        Chosen::Stay
    }

    pub fn draw(&self, frame: &mut Frame, area: Rect, state: &State) {
        let theme = &state.theme;
        let width = WIDTH.min(area.width.saturating_sub(4));
        let inner = popups::open(frame, area, "Models and data", width, area.height.saturating_sub(2), theme);
        let width = usize::from(inner.width);
        let Some(items) = &self.items else {
            return frame.render_widget(Line::styled("Looking", theme.dim), inner);
        };
        let [list, _, about] =
            Layout::vertical([Constraint::Min(1), Constraint::Length(1), Constraint::Length(ABOUT)])
                .areas(inner);
        let height = usize::from(list.height);
        let first = self.marked.saturating_sub(height / 2).min(items.len().saturating_sub(height));
        let shown = items.iter().enumerate().skip(first).take(height).map(|(i, item)| {
            let line = self.line(item, width, theme);
            match i == self.marked {
                false => line,
                true => {
                    let all: String = line.spans.iter().map(|s| s.content.as_ref()).collect();
                    Line::styled(text::pad(&all, width), theme.selected)
                }
            }
        });
        frame.render_widget(Paragraph::new(shown.collect::<Vec<_>>()), list);
        let words = self.item().map_or_else(Vec::new, |item| self.about(item, theme));
        let (lines, styles): (Vec<String>, Vec<Style>) = words
            .into_iter()
            .flat_map(|(words, style)| {
                text::wrap(&text::clean(&words.replace('\n', " ")), width)
                    .into_iter()
                    .map(move |line| (line, style))
            })
            .unzip();
        let lines = text::cut(lines, usize::from(about.height), width);
        let lines = lines.into_iter().zip(styles).map(|(line, style)| Line::styled(line, style));
        frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), about);
    }

    fn line(&self, item: &Item, width: usize, theme: &Theme) -> Line<'static> {
        let (place, style) = match &item.place {
            Shelf::Cache(hub, _) => (hub.to_string(), theme.text),
            Shelf::Directory(_) => ("directory".to_owned(), theme.text),
            Shelf::Broken(..) => ("not whole".to_owned(), theme.warning),
            Shelf::Absent(_) => ("not here".to_owned(), theme.dim),
        };
        let size = match (&item.place, item.bytes, self.sizes.get(&item.name)) {
            (Shelf::Absent(_), _, Some(None)) => "asking".to_owned(),
            (Shelf::Absent(_), _, Some(Some(Ok(_)))) => "asked".to_owned(),
            (_, Some(bytes), _) => human::bytes(bytes),
            _ => String::new(),
        };
        let family = match width >= WITH_FAMILY {
            true => text::pad(&text::fit(&item.family, FAMILY - 1), FAMILY),
            false => String::new(),
        };
        let room = width.saturating_sub(TAIL + text::width(&family) + 2);
        let name = text::pad(&text::fit_end(&text::clean(&item.name), room), room);
        let dtype = item.dtype.as_deref().unwrap_or(if item.sort == Sort::Dataset { "rows" } else { "" });
        Line::from(vec![
            Span::styled(format!(" {name} "), style),
            Span::styled(family, theme.dim),
            Span::styled(format!("{size:>8}  {dtype:<5}"), style),
            Span::styled(text::pad(&place, TAIL - 15), theme.dim),
        ])
    }

    /// What is to be said of the marked one.
    fn about(&self, item: &Item, theme: &Theme) -> Vec<(String, Style)> {
        let mut words = Vec::new();
        match &item.place {
            Shelf::Cache(hub, dir) => {
                words.push((format!("in {hub}'s cache: {}", dir.display()), theme.text));
            }
            Shelf::Directory(dir) => words.push((dir.display().to_string(), theme.text)),
            Shelf::Broken(dir, why) => words.push((format!("{}: {why}", dir.display()), theme.warning)),
            Shelf::Absent(repos) => {
                let ids: Vec<String> =
                    repos.iter().map(|repo| format!("{} on {}", repo.id, repo.hub)).collect();
                let asked = self.sizes.get(&item.name);
                words.push(match asked {
                    Some(Some(Ok(told))) => (told.clone(), theme.good),
                    Some(Some(Err(why))) => (why.clone(), theme.bad),
                    Some(None) => ("asking how large it is".to_owned(), theme.dim),
                    None => ("i asks how large it is; starting a job fetches it".to_owned(), theme.text),
                });
                words.push((ids.join(", "), theme.dim));
            }
        }
        if !item.family.is_empty() {
            words.push((item.family.clone(), theme.dim));
        }
        words
    }
}

impl Config {
    /// Keys of this page.
    pub(super) fn on_shelves(&mut self, key: &KeyEvent) -> Handled {
        let Page::Shelves(shelves) = &mut self.page else { return Handled::No };
        match shelves.handle(key) {
            Chosen::No => Handled::No,
            Chosen::Stay => Handled::done(),
            Chosen::Again => Handled::with(Action::Config(ConfigWork::Shelves)),
            Chosen::Size(name, repos) => Handled::with(Action::Config(ConfigWork::Size { name, repos })),
            Chosen::Told(what) => tell(what),
            Chosen::Closed => {
                self.page = Page::Form;
                Handled::done()
            }
            Chosen::Take(item) => {
                self.page = Page::Form;
                match self.form.take(&item) {
                    Ok(key) if item.sort == Sort::Dataset && self.form.has_rows_of_its_own() => {
                        tell(format!(
                            "{key} is {}; the rows of custom_train_dataset_path are trained on as well",
                            item.name
                        ))
                    }
                    Ok(key) => tell(format!("{key} is {}", item.name)),
                    Err(why) => tell_error(why),
                }
            }
        }
    }
}
