//! Choosing model and data, over the form: what is on this machine, and what a name would fetch.

mod draw;

use std::cell::Cell;
use std::collections::HashMap;

use crossterm::event::KeyEvent;

use super::edit::Line;
use super::{Config, Page, tell, tell_error};
use crate::hub::shelf::{Item, Offer, Shelf, at_revision, name_in, typed};
use crate::hub::url::repo_of;
use crate::hub::{Hub, Repo, Sort};
use crate::tui::action::Action;
use crate::tui::component::{CommandInfo, Handled};
use crate::tui::configs::ConfigWork;
use crate::tui::keys;

/// Lines that a page key scrolls what is said by.
const PAGE: usize = 4;

/// The page.
#[derive(Debug, Default)]
pub struct Shelves {
    /// None until they have been looked for.
    items: Option<Vec<Item>>,
    /// What is typed: words that narrow the list, or a name.
    words: Line,
    is_typing: bool,
    /// What they name where they are the address of a page at a revision.
    at_revision: Option<Item>,
    marked: usize,
    /// What was asked of the hubs: none until it is answered.
    asked: HashMap<Vec<Repo>, Option<Result<Offer, String>>>,
    /// Lines of what is said that are scrolled away, and those that can be of what was drawn last.
    scroll: usize,
    most: Cell<usize>,
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
    /// Asks the hubs what would be fetched.
    Ask(Vec<Repo>),
    Told(String),
}

impl Shelves {
    pub fn found(&mut self, items: &[Item]) {
        self.items = Some(items.to_vec());
        self.at_revision = at_revision(self.words.text());
        self.mark(self.marked);
    }

    pub fn answered(&mut self, repos: &[Repo], told: &Result<Offer, String>) {
        self.asked.insert(repos.to_vec(), Some(told.clone()));
    }

    pub fn is_typing(&self) -> bool {
        self.is_typing
    }

    /// The hub that was asked about an item and has it.
    fn has(&self, item: &Item) -> Option<Hub> {
        self.asked.get(item.repos())?.as_ref()?.as_ref().ok().map(|offer| offer.hub)
    }

    /// Whether a hub has been asked and has not answered.
    fn waits(&self) -> bool {
        self.asked.values().any(Option::is_none)
    }

    /// Those listed that are called just so, those that are here first; what is typed as a name of none of them; then those
    /// that have all the words.
    fn rows(&self) -> Vec<Item> {
        let Some(items) = &self.items else { return Vec::new() };
        let typed_text = self.words.text();
        let text = name_in(typed_text);
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        let fits = |item: &&Item| {
            let model_type = item.model_type.as_deref().unwrap_or_default();
            let said = format!("{} {} {model_type}", item.name, item.family).to_lowercase();
            words.iter().all(|word| said.contains(word.as_str()))
        };
        let (mut named, others): (Vec<Item>, Vec<Item>) =
            items.iter().filter(fits).cloned().partition(|item| item.is_called(&text));
        named.sort_by_key(|item| !item.is_here());
        if let Some(item) = &self.at_revision {
            return [item.clone()].into_iter().chain(named).chain(others).collect();
        }
        if let Some(page) = repo_of(typed_text.trim()) {
            named = named.into_iter().map(|item| item.on_page(&page)).collect();
            // What it is of, before what has the same name.
            named.sort_by_key(|item| item.sort != page.sort);
        }
        named.into_iter().chain(typed(typed_text, items)).chain(others).collect()
    }

    fn item(&self) -> Option<Item> {
        self.rows().into_iter().nth(self.marked)
    }

    fn mark(&mut self, at: usize) {
        self.marked = at.min(self.rows().len().saturating_sub(1));
        self.scroll = 0;
    }

    /// Asks what would be fetched of the marked one, unless that is being asked.
    fn ask(&mut self, item: &Item) -> Chosen {
        match self.asked.insert(item.repos().to_vec(), None) {
            Some(None) => Chosen::Stay,
            _ => Chosen::Ask(item.repos().to_vec()),
        }
    }

    pub fn paste(&mut self, text: &str) {
        self.words.paste(text);
        self.typed();
    }

    /// Other words stand there.
    fn typed(&mut self) {
        self.at_revision = at_revision(self.words.text());
        self.mark(0);
    }

    pub fn commands(&self) -> Vec<CommandInfo> {
        let scrolls = self.most.get() > 0;
        let more = [&keys::MORE_BELOW, &keys::MORE_ABOVE].map(|binding| CommandInfo {
            binding,
            enabled: scrolls,
            main: scrolls,
        });
        if self.is_typing {
            let main = [&keys::ASK_NAME, &keys::TAKE_BACK].map(|b| CommandInfo::main(b, true));
            let others = [&keys::ABOVE, &keys::BELOW, &keys::EMPTY, &keys::UNDO].map(CommandInfo::other);
            return main.into_iter().chain(more).chain(others).collect();
        }
        let can_ask = self.item().is_some_and(|item| !item.repos().is_empty());
        let mut all = vec![
            CommandInfo::main(&keys::CHOOSE, true),
            CommandInfo::main(&keys::NAME, true),
            CommandInfo::main(&keys::ASK, can_ask),
            CommandInfo::main(&keys::REFRESH, true),
            CommandInfo::main(&keys::CLOSE, true),
        ];
        all.extend(more);
        all.extend([&keys::UP, &keys::DOWN, &keys::FIRST, &keys::LAST].map(CommandInfo::other));
        all
    }

    pub fn handle(&mut self, key: &KeyEvent) -> Chosen {
        if keys::MORE_BELOW.is(key) {
            self.scroll = (self.scroll + PAGE).min(self.most.get());
        } else if keys::MORE_ABOVE.is(key) {
            self.scroll = self.scroll.min(self.most.get()).saturating_sub(PAGE);
        } else if self.is_typing {
            return self.type_in(key);
        } else if keys::CLOSE.is(key) && !self.words.text().is_empty() {
            self.words = Line::default();
            self.typed();
        } else if keys::CLOSE.is(key) || keys::MODELS.is(key) {
            return Chosen::Closed;
        } else if keys::NAME.is(key) {
            self.is_typing = true;
        } else if keys::REFRESH.is(key) {
            return Chosen::Again;
        } else if keys::UP.is(key) {
            self.mark(self.marked.saturating_sub(1));
        } else if keys::DOWN.is(key) {
            self.mark(self.marked + 1);
        } else if keys::FIRST.is(key) {
            self.mark(0);
        } else if keys::LAST.is(key) {
            self.mark(usize::MAX);
        } else if keys::CHOOSE.is(key) {
            return self.item().map_or(Chosen::Stay, |item| match item.can_be_named() {
                true => Chosen::Take(Box::new(item)),
                false => Chosen::Told(format!(
                    "`{}` fetches it; r looks again, and it can be chosen then",
                    item.pull(self.has(&item))
                )),
            });
        } else if keys::ASK.is(key) {
            return match self.item() {
                Some(item) if item.repos().is_empty() => {
                    Chosen::Told(format!("{} is here: its size stands beside it", item.name))
                }
                Some(item) => self.ask(&item),
                None => Chosen::Stay,
            };
        } else {
            return Chosen::No;
        }
        Chosen::Stay
    }

    fn type_in(&mut self, key: &KeyEvent) -> Chosen {
        if keys::TAKE_BACK.is(key) {
            (self.words, self.is_typing) = (Line::default(), false);
            self.typed();
        } else if keys::ASK_NAME.is(key) {
            self.is_typing = false;
            // What was typed just so is what is asked about; of what is listed `i` asks.
            let typed = |item: &Item| item.name.eq_ignore_ascii_case(&name_in(self.words.text()));
            if let Some(item) = self.item().filter(typed)
                && !item.repos().is_empty()
            {
                return self.ask(&item);
            }
        } else if keys::ABOVE.is(key) {
            self.mark(self.marked.saturating_sub(1));
        } else if keys::BELOW.is(key) {
            self.mark(self.marked + 1);
        } else if self.words.handle(key) {
            self.typed();
        } else {
            return Chosen::No;
        }
        Chosen::Stay
    }
}

impl Config {
    /// Back to the form; what was asked of the hubs is waited for no more.
    pub(super) fn leave_shelves(&mut self) -> Option<Action> {
        let left = std::mem::take(&mut self.page);
        let waits = matches!(&left, Page::Shelves(shelves) if shelves.waits());
        waits.then_some(Action::Config(ConfigWork::StopAsking))
    }

    /// Keys of this page.
    pub(super) fn on_shelves(&mut self, key: &KeyEvent) -> Handled {
        let Page::Shelves(shelves) = &mut self.page else { return Handled::No };
        match shelves.handle(key) {
            Chosen::No => Handled::No,
            Chosen::Stay => Handled::done(),
            Chosen::Again => Handled::with(Action::Config(ConfigWork::Shelves)),
            Chosen::Ask(repos) => Handled::with(Action::Config(ConfigWork::Ask(repos))),
            Chosen::Told(what) => tell(what),
            Chosen::Closed => Handled::Yes(self.leave_shelves().into_iter().collect()),
            Chosen::Take(item) => {
                let left = self.leave_shelves();
                let handled = match self.form.take(&item) {
                    Ok(told) => tell(told),
                    Err(why) => tell_error(why),
                };
                match handled {
                    Handled::Yes(actions) => Handled::Yes(actions.into_iter().chain(left).collect()),
                    Handled::No => Handled::No,
                }
            }
        }
    }
}

/// What the place of an item is called in the list.
fn place(item: &Item) -> String {
    match &item.place {
        Shelf::Cache(hub, _) => hub.to_string(),
        Shelf::Directory(_) => "directory".to_owned(),
        Shelf::Broken(..) => "not whole".to_owned(),
        Shelf::Absent(_) => "not here".to_owned(),
    }
}

/// What an item is, where its weights do not say more.
fn sort(item: &Item) -> &'static str {
    match (item.sort, item.model_type.is_none() && !item.is_here()) {
        (Sort::Dataset, _) => "rows",
        (Sort::Model, true) => "model",
        (Sort::Model, false) => "",
    }
}
