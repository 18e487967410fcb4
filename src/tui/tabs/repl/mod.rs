//! Reviews in, labels out; or the model goes on with a text. The engine's REPL server answers, which is kept in
//! `effects`.

mod choice;
mod head;
mod input;
mod page;
mod picker;
mod recall;
mod talk;

use std::cell::Cell;
use std::path::{Path, PathBuf};

use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use crate::job::event::Event;
use crate::tui::action::{Action, Notice};
use crate::tui::component::{CommandInfo, Component, Handled};
use crate::tui::message::Message;
use crate::tui::repl::{Ask, Model, News, Order};
use crate::tui::state::State;
use crate::tui::{keys, text, widgets};
use choice::Choice;
use input::{Input, Typed};
use picker::{Picked, Picker};
use recall::Recall;
use talk::{Server, Talk};

/// Rows of the text that is written, at most; below them it scrolls.
const INPUT_ROWS: usize = 8;

/// The prompt and its answers.
#[derive(Debug, Default)]
pub struct Repl {
    talk: Talk,
    input: Input,
    recall: Recall,
    /// Whether the model goes on with a text instead of labelling it.
    generates: bool,
    choice: Choice,
    /// What was chosen before, in case the model cannot be had.
    chosen_before: Option<Choice>,
    /// The model that the server was told to open last, as long as it lives.
    opened: Option<Model>,
    picker: Option<Picker>,
    /// The list that a model was chosen from, until it is loaded or somebody does something else: where it cannot be had
    /// the list is there again.
    chosen_in: Option<Picker>,
    trouble: Option<Trouble>,
    /// The first row of the page that is shown; none: the end is.
    top: Option<usize>,
    /// What was drawn last: the first row shown, the rows shown, the rows there are. Scrolling goes by it.
    drawn: Cell<(usize, usize, usize)>,
}

/// Why the model that was chosen may not answer once nothing is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Its files are there no more.
    Deleted,
    /// It could not be opened.
    Refused,
}

impl Component for Repl {
    fn commands(&self, _: &State) -> Vec<CommandInfo> {
        if self.picker.is_some() {
            return [&keys::ABOVE, &keys::BELOW, &keys::CHOOSE, &keys::CLOSE]
                .map(|b| CommandInfo::main(b, true))
                .into();
        }
        let open = self.talk.first_open().is_some();
        let mode = if self.generates { &keys::CLASSIFY } else { &keys::GENERATE };
        let mut commands = vec![
            CommandInfo::main(&keys::ANSWER, true),
            CommandInfo::main(&keys::CANCEL, open),
            CommandInfo::main(mode, true),
            CommandInfo::main(&keys::MODEL, true),
        ];
        let others = [
            &keys::NEW_LINE,
            &keys::OLDER,
            &keys::NEWER,
            &keys::SCROLL_UP,
            &keys::SCROLL_DOWN,
            &keys::CLEAR,
            &keys::EMPTY,
            &keys::DELETE_WORD,
            &keys::LINE_START,
            &keys::LINE_END,
            &keys::UNDO,
        ];
        commands.extend(others.map(CommandInfo::other));
        let on = self.talk.server != Server::Off;
        commands.push(CommandInfo { binding: &keys::UNLOAD, enabled: on, main: false });
        commands
    }

    fn handle(&mut self, key: &KeyEvent, state: &State) -> Handled {
        if let Some(picker) = &mut self.picker {
            if goes_elsewhere(key) {
                return Handled::No;
            }
            return match picker.key(key, state) {
                Picked::Open => Handled::done(),
                Picked::Closed => {
                    self.picker = None;
                    Handled::done()
                }
                Picked::Chosen(choice) => {
                    self.chosen_in = self.picker.take();
                    Handled::Yes(self.choose(choice, state))
                }
            };
        }
        self.chosen_in = None;
        if keys::ANSWER.is(key) {
            return Handled::Yes(self.send(state));
        } else if keys::NEW_LINE.is(key) {
            let typed = self.input.new_line();
            return after(typed);
        } else if keys::GENERATE.is(key) {
            self.generates = !self.generates;
        } else if keys::MODEL.is(key) {
            self.picker = Some(Picker::default());
            return Handled::Yes(vec![list(state), Action::ListRuns]);
        } else if keys::CLEAR.is(key) {
            self.talk.clear();
            self.top = None;
            let on = self.talk.server != Server::Off;
            return Handled::Yes(on.then_some(Action::Repl(Order::Forget)).into_iter().collect());
        } else if keys::UNLOAD.is(key) {
            return Handled::with(match self.talk.server {
                Server::Off => Action::Tell(Notice::info("nothing is loaded")),
                _ => Action::Repl(Order::Unload),
            });
        } else if keys::CANCEL.is(key) {
            let open = self.talk.first_open();
            self.top = self.top.filter(|_| open.is_some());
            return Handled::Yes(open.map(|id| Action::Repl(Order::Cancel { id })).into_iter().collect());
        } else if keys::SCROLL_UP.is(key) {
            let (first, shown, _) = self.drawn.get();
            self.top = Some(first.saturating_sub(shown.saturating_sub(1).max(1)));
        } else if keys::SCROLL_DOWN.is(key) {
            let (first, shown, all) = self.drawn.get();
            let top = first + shown.saturating_sub(1).max(1);
            self.top = Some(top).filter(|top| top + shown < all);
        } else {
            let typed = self.input.key(key);
            let found = match typed {
                Typed::Above => self.recall.older(&self.input.text()).map(str::to_owned),
                Typed::Below => self.recall.newer().map(str::to_owned),
                _ => None,
            };
            if let Some(text) = found {
                self.input.set(&text);
            }
            return after(typed);
        }
        Handled::done()
    }

    fn paste(&mut self, text: &str, _: &State) -> Handled {
        match &mut self.picker {
            Some(picker) => {
                picker.paste(text);
                Handled::done()
            }
            None => {
                self.chosen_in = None;
                after(self.input.paste(text))
            }
        }
    }

    fn receive(&mut self, message: &Message, state: &State) -> Vec<Action> {
        match message {
            Message::Repl(news) => {
                self.talk.see(news, state.now);
                match news {
                    News::History(texts) => self.recall.earlier(texts),
                    News::Models(models) => {
                        if let Some(picker) = &mut self.picker {
                            picker.models = Some(models.clone());
                        }
                    }
                    News::Chosen(dir) => {
                        self.picker = None;
                        return self.choose(Choice::Fixed(model_at(dir.clone())), state);
                    }
                    News::Refused { model, why } => self.refused(model, why),
                    News::Loaded(_) => {
                        (self.chosen_before, self.chosen_in, self.trouble) = (None, None, None);
                    }
                    News::Gone(model) if self.choice == Choice::Fixed(model.clone()) => {
                        self.trouble = Some(Trouble::Deleted);
                    }
                    News::Ended { .. } => self.opened = None,
                    _ => {}
                }
            }
            Message::Runs { .. } if self.picker.is_some() => return vec![list(state)],
            Message::Deleted(path) => self.gone(|dir| dir.starts_with(path)),
            Message::Events { run, records } => {
                for record in records {
                    if let Event::CheckpointRemoved { step } = record.event {
                        let removed = run.join(format!("checkpoint-{step}"));
                        self.gone(|dir| dir == removed);
                    }
                }
                let saved = records.iter().any(|r| matches!(r.event, Event::Checkpoint { .. }));
                if saved && self.talk.server != Server::Off && !matches!(self.choice, Choice::Fixed(_)) {
                    return self.turn(state);
                }
            }
            _ => {}
        }
        Vec::new()
    }

    fn takes_text(&self) -> bool {
        true
    }

    fn unsaved(&self) -> Option<&str> {
        let text = self.input.text();
        // A text brought back by the arrow keys is remembered already.
        let is_lost = (!self.input.is_blank() && !self.recall.has(&text)) || self.recall.holds_draft();
        is_lost.then_some("The text in the REPL is not sent yet.")
    }

    fn counts_seconds(&self) -> bool {
        self.talk.counts()
    }

    fn draw(&self, frame: &mut Frame, area: Rect, state: &State) {
        let theme = &state.theme;
        let most = INPUT_ROWS.min(area.height as usize / 3).max(1);
        let rows = self.input.rows(area.width.saturating_sub(3)).clamp(1, most) as u16;
        let [head, page, written] =
            Layout::vertical([Constraint::Length(2), Constraint::Min(0), Constraint::Length(rows + 1)])
                .areas(area);
        let next = self.choice.model(state).filter(|m| self.opened.as_ref() != Some(m));
        head::draw(frame, head, &self.talk, &self.choice, next.as_ref(), self.trouble, state);
        let page = widgets::panel(frame, page, Line::default(), theme);
        self.draw_page(frame, page, state);
        let title = if self.generates { " go on with " } else { " label " };
        let inner = widgets::panel(frame, written, Line::styled(title, theme.title), theme);
        self.draw_right_title(frame, written, text::width(title), state);
        frame.render_widget(Line::styled(" > ", theme.key), inner);
        let place = Rect { x: inner.x + 3, width: inner.width.saturating_sub(3), ..inner };
        self.input.draw(frame, place, self.picker.is_none(), state);
        if let Some(picker) = &self.picker {
            picker.draw(frame, area, state);
        }
    }
}

impl Repl {
    /// Sends the text. Where that cannot be it stays.
    fn send(&mut self, state: &State) -> Vec<Action> {
        if self.input.is_blank() {
            return Vec::new();
        }
        if let Some(Err(missing)) = &state.engine {
            return vec![Action::Tell(Notice::error(missing.clone()))];
        }
        // What was loaded before answers on.
        if self.trouble == Some(Trouble::Deleted) && self.opened.is_none() {
            let name = self.choice.model(state).map_or(String::new(), |m| m.short());
            let words = format!("{name} is deleted from the disk: Ctrl+O chooses another model");
            return vec![Action::Tell(Notice::error(words))];
        }
        let mut actions = self.turn(state);
        if self.opened.is_none() {
            return vec![Action::Tell(Notice::error(
                "no model is chosen: Ctrl+O has a list, or takes a directory",
            ))];
        }
        let text = self.input.text();
        if self.recall.sent(&text) {
            actions.push(Action::Repl(Order::Remember(text.clone())));
        }
        let ask = match self.generates {
            // A prompt's blanks may matter; a review's do not.
            true => Ask::Generate(text),
            false => Ask::Classify(text.trim().to_owned()),
        };
        let id = self.talk.ask(ask.clone());
        actions.push(Action::Repl(Order::Ask { id, ask }));
        self.input.set("");
        self.top = None;
        actions
    }

    /// Has the chosen model opened, where it is not the one opened last.
    fn turn(&mut self, state: &State) -> Vec<Action> {
        let Some(model) = self.choice.model(state) else { return Vec::new() };
        if self.opened.as_ref() == Some(&model) {
            return Vec::new();
        }
        self.opened = Some(model.clone());
        vec![Action::Repl(Order::Open(model))]
    }

    /// Chooses a model, which is loaded at once.
    fn choose(&mut self, choice: Choice, state: &State) -> Vec<Action> {
        self.chosen_before = Some(std::mem::replace(&mut self.choice, choice));
        // Also where it was opened before: its files may be others now.
        (self.opened, self.trouble) = (None, None);
        match &state.engine {
            Some(Err(missing)) => vec![Action::Tell(Notice::error(missing.clone()))],
            _ => self.turn(state),
        }
    }

    /// Says so where the model that answers lies in a directory that is gone.
    fn gone(&mut self, is_gone: impl Fn(&Path) -> bool) {
        if let Server::On(loaded) = &self.talk.server
            && loaded.model.dir().is_some_and(&is_gone)
        {
            self.talk.gone = true;
        }
        if let Choice::Fixed(model) = &self.choice
            && model.dir().is_some_and(is_gone)
        {
            self.trouble = Some(Trouble::Deleted);
        }
    }

    /// `model` cannot be had.
    fn refused(&mut self, model: &Model, why: &str) {
        if let Some(mut picker) = self.chosen_in.take() {
            picker.refuse(why);
            self.picker = Some(picker);
        }
        if self.choice == Choice::Fixed(model.clone())
            && let Some(before) = self.chosen_before.take()
        {
            self.choice = before;
            self.opened = match &self.talk.server {
                Server::On(loaded) => Some(loaded.model.clone()),
                _ => None,
            };
        } else if self.talk.server == Server::Off {
            self.opened = None;
            self.trouble = self.trouble.or(Some(Trouble::Refused));
        }
        // Else another one answers on, and this one is not tried again at each text.
    }

    fn draw_page(&self, frame: &mut Frame, area: Rect, state: &State) {
        if self.talk.is_empty() {
            self.drawn.set((0, area.height as usize, 0));
            let what = match self.generates {
                true => "Type the beginning of a text, press Enter: the model goes on with it.",
                false => "Type or paste a review, press Enter: 好评 or 差评?",
            };
            let words = match &state.engine {
                Some(Err(missing)) => missing.clone(),
                _ => format!(
                    "{what}\n\nAlt+Enter or Ctrl+J begins a new line, Up brings the text before back."
                ),
            };
            return widgets::words(frame, area, &words, state.theme.text);
        }
        let rows = page::rows(&self.talk, area.width, state);
        let (all, shown) = (rows.len(), area.height as usize);
        let end = all.saturating_sub(shown);
        let first = self.top.unwrap_or(end).min(end);
        self.drawn.set((first, shown, all));
        let rows: Vec<Line> = rows.into_iter().skip(first).take(shown).collect();
        // The newest answer stands just above the text.
        let height = rows.len() as u16;
        let place = Rect { y: area.y + area.height - height, height, ..area };
        frame.render_widget(Paragraph::new(rows), place);
    }

    /// At the right above the text: what lies below the page that is shown, how long the text has grown, or how
    /// answers are drawn.
    fn draw_right_title(&self, frame: &mut Frame, area: Rect, left: usize, state: &State) {
        let theme = &state.theme;
        let (lines, characters) = self.input.size();
        let (first, shown, all) = self.drawn.get();
        let below = all.saturating_sub(first + shown);
        let (words, style) = match &self.talk.server {
            _ if below > 0 => (format!(" {below} more below, PageDown "), theme.warning),
            _ if lines > 1 => (format!(" {lines} lines, {characters} characters "), theme.dim),
            Server::On(loaded) if self.generates => (format!(" {} ", loaded.drawing), theme.dim),
            _ => return,
        };
        let width = text::width(&words);
        if width + left + 2 <= area.width as usize {
            let place = Rect { x: area.right() - width as u16, width: width as u16, height: 1, ..area };
            frame.render_widget(Line::styled(words, style), place);
        }
    }
}

/// Keys of everywhere, that the list of models leaves alone. Characters are its own.
fn goes_elsewhere(key: &KeyEvent) -> bool {
    let everywhere = [
        &keys::NEXT_TAB,
        &keys::PREVIOUS_TAB,
        &keys::TAB_1,
        &keys::TAB_2,
        &keys::TAB_3,
        &keys::TAB_4,
        &keys::HELP,
        &keys::QUIT,
    ];
    let plain = matches!(key.code, crossterm::event::KeyCode::Char(_)) && key.modifiers.is_empty();
    !plain && everywhere.iter().any(|b| b.is(key))
}

fn after(typed: Typed) -> Handled {
    match typed {
        Typed::No => Handled::No,
        Typed::TooLong => {
            let most = input::LONGEST;
            Handled::with(Action::Tell(Notice::error(format!("a text has at most {most} characters here"))))
        }
        Typed::Yes | Typed::Above | Typed::Below => Handled::done(),
    }
}

/// The run that is followed first.
fn list(state: &State) -> Action {
    let followed = state.run.as_ref().map(|r| r.path.clone());
    let others = state.runs.iter().flatten().map(|r| r.path.clone()).filter(|p| Some(p) != followed.as_ref());
    let runs: Vec<PathBuf> = followed.iter().cloned().chain(others).collect();
    Action::Repl(Order::List(runs))
}

fn model_at(dir: PathBuf) -> Model {
    let model = Model::At(dir.clone());
    if model.step().is_some() { Model::Checkpoint(dir) } else { model }
}
