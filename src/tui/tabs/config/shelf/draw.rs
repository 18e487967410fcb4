//! The page on the screen: the list, and all that is to be said of the marked one.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::{Shelves, place, sort};
use crate::hub::client::hidden;
use crate::hub::page::nothing_at;
use crate::hub::shelf::{Item, Offer, Shelf};
use crate::hub::{Repo, Sort};
use crate::job::human;
use crate::tui::state::State;
use crate::tui::theme::Theme;
use crate::tui::{popups, text};

/// Cells that it takes at most.
const WIDTH: u16 = 120;
/// Cells of size, dtype and place.
const TAIL: usize = 29;
/// From this width on a line has the family.
const WITH_FAMILY: usize = 90;
const FAMILY: usize = 20;
/// Lines for what is said of the marked one, where that needs no more.
const ABOUT: u16 = 5;

impl Shelves {
    pub fn draw(&self, frame: &mut Frame, area: Rect, state: &State) {
        let theme = &state.theme;
        let width = WIDTH.min(area.width.saturating_sub(4));
        let inner = popups::open(frame, area, "Models and data", width, area.height.saturating_sub(2), theme);
        let width = usize::from(inner.width);
        if self.items.is_none() {
            return frame.render_widget(Line::styled("Looking", theme.dim), inner);
        }
        let rows = self.rows();
        let said: Vec<(String, Style)> = rows
            .get(self.marked)
            .map_or_else(|| nothing(self.words.text(), theme), |item| self.about(item, theme))
            .into_iter()
            .flat_map(|(words, style)| text::wrap(&words, width).into_iter().map(move |line| (line, style)))
            .collect();
        let typing = self.is_typing || !self.words.text().is_empty();
        let about = (said.len() as u16).clamp(ABOUT, (inner.height / 2).max(ABOUT));
        let [name, list, _, about] = Layout::vertical([
            Constraint::Length(u16::from(typing)),
            Constraint::Min(1),
            Constraint::Length(1),
            Constraint::Length(about),
        ])
        .areas(inner);
        if typing {
            self.draw_name(frame, name, state);
        }
        let height = usize::from(list.height);
        let first = self.marked.saturating_sub(height / 2).min(rows.len().saturating_sub(height));
        let shown = rows.iter().enumerate().skip(first).take(height).map(|(i, item)| {
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
        self.draw_about(frame, about, said, theme);
    }

    fn draw_name(&self, frame: &mut Frame, area: Rect, state: &State) {
        let label = "name ";
        let [name, cell] =
            Layout::horizontal([Constraint::Length(label.len() as u16), Constraint::Min(0)]).areas(area);
        frame.render_widget(Line::styled(label, state.theme.dim), name);
        match self.is_typing {
            true => self.words.draw(frame, cell, state.theme.strong, state),
            false => frame.render_widget(Line::styled(hidden(self.words.text()), state.theme.strong), cell),
        }
    }

    /// All of it, if need be by scrolling: the end of a reason is what is to be done.
    fn draw_about(&self, frame: &mut Frame, area: Rect, said: Vec<(String, Style)>, theme: &Theme) {
        let height = usize::from(area.height);
        // The last line says that there is more.
        let room = if said.len() > height { height.saturating_sub(1).max(1) } else { height };
        let most = said.len().saturating_sub(room);
        self.most.set(most);
        let scroll = self.scroll.min(most);
        let shown = said.into_iter().skip(scroll).take(room);
        let mut lines: Vec<Line> = shown.map(|(line, style)| Line::styled(line, style)).collect();
        match most - scroll {
            0 => {}
            more => lines.push(Line::styled(format!("PgDn shows {more} more"), theme.dim)),
        }
        frame.render_widget(Paragraph::new(lines), area);
    }

    fn line(&self, item: &Item, width: usize, theme: &Theme) -> Line<'static> {
        let style = match &item.place {
            Shelf::Cache(..) | Shelf::Directory(_) => theme.text,
            Shelf::Broken(..) => theme.warning,
            Shelf::Absent(_) => theme.dim,
        };
        let size = match (self.asked.get(item.repos()), item.bytes) {
            (Some(None), _) => "asking".to_owned(),
            (Some(Some(Ok(offer))), _) => bytes(offer.bytes()),
            (_, Some(bytes)) => human::bytes(bytes),
            _ => String::new(),
        };
        let family = match width >= WITH_FAMILY {
            true => text::pad(&text::fit(&item.family, FAMILY - 1), FAMILY),
            false => String::new(),
        };
        let room = width.saturating_sub(TAIL + text::width(&family) + 2);
        // What another row is called as well.
        let revision = item.page.as_ref().and_then(|page| page.revision.as_ref());
        let revision = revision.map_or_else(String::new, |revision| format!(" at {revision}"));
        let name = text::clean(&format!("{}{revision}", item.name));
        let name = text::pad(&text::fit_end(&name, room), room);
        let dtype = item.dtype.as_deref().unwrap_or(sort(item));
        Line::from(vec![
            Span::styled(format!(" {name} "), style),
            Span::styled(family, theme.dim),
            Span::styled(format!("{size:>8}  {dtype:<6}"), style),
            Span::styled(text::pad(&place(item), TAIL - 16), theme.dim),
        ])
    }

    /// What is to be said of the marked one.
    fn about(&self, item: &Item, theme: &Theme) -> Vec<(String, Style)> {
        let mut words = match item.family.is_empty() {
            true => vec![(item.name.clone(), theme.strong)],
            false => vec![(format!("{}, {}", item.name, item.family), theme.strong)],
        };
        match &item.place {
            Shelf::Cache(hub, dir) => {
                words.push((format!("in {hub}'s cache: {}", dir.display()), theme.text));
            }
            Shelf::Directory(dir) => words.push((dir.display().to_string(), theme.text)),
            // Most reasons begin with the path that is missing.
            Shelf::Broken(dir, why, _) if why.contains(&*dir.to_string_lossy()) => {
                words.push((why.clone(), theme.warning));
            }
            Shelf::Broken(dir, why, _) => words.push((format!("{}: {why}", dir.display()), theme.warning)),
            Shelf::Absent(_) => {}
        }
        if !item.repos().is_empty() {
            words.extend(self.fetched(item, theme));
        }
        if let Some(rows) = &item.rows {
            let names = |files: &[std::path::PathBuf]| {
                let names = files.iter().filter_map(|file| file.file_name());
                names.map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>().join(", ")
            };
            words.push((format!("training rows: {}", names(&rows.train)), theme.text));
            if !rows.validation.is_empty() {
                words.push((format!("validation rows: {}", names(&rows.validation)), theme.text));
            }
        }
        words
    }

    /// What would be fetched, and from where.
    fn fetched(&self, item: &Item, theme: &Theme) -> Vec<(String, Style)> {
        let how = match item.can_be_named() {
            true => "starting a job fetches it".to_owned(),
            false => format!("`{}` fetches it", item.pull(self.has(item))),
        };
        let ids = |repos: &[Repo]| {
            let ids = repos.iter().map(|repo| match &repo.revision {
                Some(revision) => format!("{} at {revision} on {}", repo.id, repo.hub),
                None => format!("{} on {}", repo.id, repo.hub),
            });
            ids.collect::<Vec<_>>().join(", ")
        };
        match self.asked.get(item.repos()) {
            None => vec![
                (format!("i asks what would be fetched; {how}"), theme.text),
                (ids(item.repos()), theme.dim),
            ],
            Some(None) => vec![(format!("asking the hubs: {}", ids(item.repos())), theme.dim)],
            Some(Some(Ok(offer))) => offered(offer, item.sort, &how, theme),
            Some(Some(Err(why))) => vec![(why.clone(), theme.bad), (ids(item.repos()), theme.dim)],
        }
    }
}

/// Bytes that a hub need not tell.
fn bytes(known: Option<u64>) -> String {
    known.map_or_else(|| "?".to_owned(), human::bytes)
}

/// The whole and each file.
fn offered(offer: &Offer, sort: Sort, how: &str, theme: &Theme) -> Vec<(String, Style)> {
    let what = if sort == Sort::Model { "a model" } else { "a data set" };
    if let Some(problem) = offer.problem {
        return vec![(format!("{} has {what} of this name: {problem}", offer.hub), theme.bad)];
    }
    let files = human::counted(offer.files.len() as u64, "file");
    let many = match offer.bytes() {
        Some(all) if offer.is_told_whole() => format!("{} in {files}", human::bytes(all)),
        Some(known) => format!("more than {} in {files}", human::bytes(known)),
        None => format!("{files} of unknown size"),
    };
    let whole = format!("{what}, {many} from {}: {how}", offer.hub);
    let files = offer.files.iter().map(|(path, size)| {
        let size = bytes(*size);
        (format!("{size:>8}  {path}"), theme.text)
    });
    [(whole, theme.good)].into_iter().chain(files).collect()
}

fn nothing(typed: &str, theme: &Theme) -> Vec<(String, Style)> {
    let words = nothing_at(typed).unwrap_or_else(|| {
        "Nothing here is called that, and it is no OWNER/NAME that a hub could be asked for.".to_owned()
    });
    vec![(words, theme.dim)]
}
