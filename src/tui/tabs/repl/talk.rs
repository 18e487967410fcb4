//! What was asked and answered: the fold of questions and of news about them.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use crate::tui::repl::{Ask, Loaded, Model, News};

/// Questions and notes that are kept.
const KEPT: usize = 500;

/// The end of a note that another model answers.
const FROM_HERE: &str = " answers from here on";

/// Everything on the page above the text, oldest first, and how the server stands.
#[derive(Debug, Default)]
pub struct Talk {
    items: VecDeque<Item>,
    pub server: Server,
    /// The files of what answers are gone.
    pub gone: bool,
    next_id: u64,
}

/// How the server stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Server {
    #[default]
    Off,
    /// `before` answers on where the new one cannot be had.
    Loading {
        model: Model,
        since: f64,
        before: Option<Box<Loaded>>,
    },
    On(Loaded),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    Turn(Turn),
    Note { text: String, is_error: bool },
}

/// A question and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    id: u64,
    pub ask: Ask,
    /// What has answered, without its run.
    pub model: String,
    pub answer: Answer,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Others are before it, or the model is being loaded.
    Waiting,
    /// Since when it is worked at, in Unix seconds, and the text so far.
    Busy {
        since: f64,
        text: String,
    },
    /// A label, with the probability of each.
    Label {
        label: String,
        probabilities: Vec<(String, f64)>,
        seconds: f64,
    },
    Text {
        text: String,
        cancelled: bool,
        seconds: f64,
    },
    Failed(String),
}

impl Answer {
    fn is_open(&self) -> bool {
        matches!(self, Answer::Waiting | Answer::Busy { .. })
    }
}

impl Talk {
    pub fn items(&self) -> impl DoubleEndedIterator<Item = &Item> {
        self.items.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Puts a question at the end; returns its id.
    pub fn ask(&mut self, ask: Ask) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        self.push(Item::Turn(Turn { id, ask, model: String::new(), answer: Answer::Waiting }));
        id
    }

    pub fn note(&mut self, text: impl Into<String>, is_error: bool) {
        self.push(Item::Note { text: text.into(), is_error });
    }

    fn push(&mut self, item: Item) {
        self.items.push_back(item);
        while self.items.len() > KEPT && !self.items.front().is_some_and(is_open) {
            self.items.pop_front();
        }
    }

    /// The first question that is not answered yet: the one to cancel.
    pub fn first_open(&self) -> Option<u64> {
        self.items.iter().find_map(|item| match item {
            Item::Turn(turn) if turn.answer.is_open() => Some(turn.id),
            _ => None,
        })
    }

    /// Forgets all but what is not answered yet.
    pub fn clear(&mut self) {
        self.items.retain(is_open);
    }

    /// Whether a clock is shown.
    pub fn counts(&self) -> bool {
        matches!(self.server, Server::Loading { .. }) || self.first_open().is_some()
    }

    /// Takes news in. What belongs to no open question is late and changes nothing.
    pub fn see(&mut self, news: &News, now: f64) {
        match news {
            News::Loading(model) => {
                let before = match std::mem::take(&mut self.server) {
                    Server::On(loaded) => Some(Box::new(loaded)),
                    Server::Loading { before, .. } => before,
                    Server::Off => None,
                };
                self.server = Server::Loading { model: model.clone(), since: now, before };
            }
            News::Loaded(loaded) => {
                loaded.warnings.iter().for_each(|w| self.note(format!("warning: {w}"), false));
                // Where a talk goes on with another model it should be seen.
                let other = self.items.iter().rev().find_map(|item| match item {
                    Item::Turn(turn) if !turn.answer.is_open() => Some(turn.model != loaded.model.short()),
                    _ => None,
                });
                if other == Some(true) {
                    // One that was never asked anything needs no line of its own.
                    if matches!(self.items.back(), Some(Item::Note { text, .. }) if text.ends_with(FROM_HERE))
                    {
                        self.items.pop_back();
                    }
                    self.note(format!("{}{FROM_HERE}", loaded.model.name()), false);
                }
                self.gone = false;
                self.server = Server::On(loaded.clone());
            }
            News::Refused { model, why } => {
                let before = match std::mem::take(&mut self.server) {
                    Server::Loading { before, .. } => before.map(|b| *b),
                    Server::On(loaded) => Some(loaded),
                    Server::Off => None,
                };
                let answers =
                    before.as_ref().map_or(String::new(), |b| format!("\n{} answers on", b.model.name()));
                self.note(format!("{} cannot be opened: {why}{answers}", model.name()), true);
                self.server = before.map_or(Server::Off, Server::On);
            }
            News::Ended { why } => {
                if let Some(why) = why {
                    let anew = if self.gone { "" } else { "\nThe next text starts it anew." };
                    self.note(format!("{why}{anew}"), true);
                }
                self.server = Server::Off;
            }
            News::Gone(model) => {
                self.gone |= matches!(&self.server, Server::On(loaded) if loaded.model == *model)
            }
            News::Begun { id } => self.begin(*id, now),
            News::Piece { id, text } => {
                if let Some(Turn { answer: Answer::Busy { text: all, .. }, .. }) = self.open(*id) {
                    all.push_str(text);
                }
            }
            News::Label { id, label, probabilities, seconds } => {
                let probabilities = shares(probabilities);
                self.close(*id, Answer::Label { label: label.clone(), probabilities, seconds: *seconds });
            }
            News::Done { id, text, cancelled, seconds } => {
                let (text, cancelled, seconds) = (text.clone(), *cancelled, *seconds);
                self.close(*id, Answer::Text { text, cancelled, seconds });
            }
            News::Failed { id, why } => self.close(*id, Answer::Failed(why.clone())),
            News::History(_) | News::Models(_) | News::Chosen(_) => {}
        }
    }

    fn begin(&mut self, id: u64, now: f64) {
        let model = match &self.server {
            Server::On(loaded) => loaded.model.short(),
            _ => String::new(),
        };
        if let Some(turn) = self.open(id) {
            turn.model = model;
            turn.answer = Answer::Busy { since: now, text: String::new() };
        }
    }

    fn close(&mut self, id: u64, answer: Answer) {
        if let Some(turn) = self.open(id) {
            turn.answer = answer;
        }
    }

    /// The open question of this id.
    fn open(&mut self, id: u64) -> Option<&mut Turn> {
        self.items.iter_mut().find_map(|item| match item {
            Item::Turn(turn) if turn.id == id && turn.answer.is_open() => Some(turn),
            _ => None,
        })
    }
}

fn is_open(item: &Item) -> bool {
    matches!(item, Item::Turn(turn) if turn.answer.is_open())
}

/// The labels' probabilities, the likeliest first.
fn shares(probabilities: &Map<String, Value>) -> Vec<(String, f64)> {
    let share = |(label, p): (&String, &Value)| (label.clone(), p.as_f64().unwrap_or(f64::NAN));
    let mut shares: Vec<_> = probabilities.iter().map(share).collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares
}

#[cfg(test)]
#[path = "talk_tests.rs"]
mod tests;
