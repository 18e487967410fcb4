//! The arguments of the next job: a form, an editor, files, the data, the start.

pub(super) mod edit;
mod form;
mod json;
mod list;
mod news;
mod picker;
mod preview;
mod shelf;
mod start;
mod typing;

use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::Rect;

use crate::args::{Draft, Field, Group, Status};
use crate::job::inputs::Inputs;
use crate::tui::action::{Action, Notice};
use crate::tui::component::{CommandInfo, Component, Handled};
use crate::tui::configs::{ConfigWork, Preview};
use crate::tui::fetching::FetchNews;
use crate::tui::keys;
use crate::tui::message::Message;
use crate::tui::repl::BaseModel;
use crate::tui::state::State;
use edit::Line;
use form::{Form, Row};
use json::{Edited, Editor};
use picker::{Picked, Picker};
use shelf::Shelves;
use typing::{Typing, ValueLine};

/// Seconds after which what was missing is looked for again.
const LOOK_AGAIN: f64 = 5.0;
/// Lines that a page key moves by.
const PAGE: isize = 10;

/// The tab.
#[derive(Debug, Default)]
pub struct Config {
    form: Form,
    page: Page,
    /// What is being written, until it is told that it was.
    writing: Option<Draft>,
    /// What was started last, which its run keeps; first until it has begun.
    starting: Option<Draft>,
    started: Option<Draft>,
    /// What is being put into the queue, until it is there.
    queueing: Option<Draft>,
    sought: Option<Sought>,
    /// The base model that was named last.
    named: Option<BaseModel>,
    /// What the look at the data has found so far.
    look: Option<Result<Box<Preview>, String>>,
}

/// The inputs looked for last.
#[derive(Debug)]
struct Sought {
    inputs: Inputs,
    /// Unix seconds.
    at: f64,
    answered: bool,
}

/// What is shown.
#[derive(Debug, Default)]
enum Page {
    #[default]
    Form,
    Typing(Typing),
    Editor(Box<Editor>),
    Picker(Box<Picker>),
    Shelves(Box<Shelves>),
    Data,
}

fn tell(text: impl Into<String>) -> Handled {
    Handled::with(Action::Tell(Notice::info(text)))
}

fn tell_error(text: impl Into<String>) -> Handled {
    Handled::with(Action::Tell(Notice::error(text)))
}

impl Config {
    fn on_form(&mut self, key: &KeyEvent, state: &State) -> Handled {
        let step = if keys::UP.is(key) {
            -1
        } else if keys::DOWN.is(key) {
            1
        } else if keys::PAGE_UP.is(key) {
            -PAGE
        } else if keys::PAGE_DOWN.is(key) {
            PAGE
        } else if keys::FIRST.is(key) {
            isize::MIN
        } else if keys::LAST.is(key) {
            isize::MAX
        } else {
            return self.on_mark(key).unwrap_or_else(|| self.on_whole(key, state));
        };
        self.form.step(step);
        Handled::done()
    }

    /// Keys that are about the marked line.
    fn on_mark(&mut self, key: &KeyEvent) -> Option<Handled> {
        let field = match self.form.marked_row()? {
            Row::Field(field) => field,
            Row::Group(group) => {
                let fold = self.fold_key(group).is(key);
                if fold {
                    self.form.fold(group);
                }
                return fold.then(Handled::done);
            }
        };
        let by = if keys::BEFORE.is(key) {
            -1
        } else if keys::AFTER.is(key) {
            1
        } else if keys::TO_DEFAULT.is(key) {
            self.form.reset(field);
            return Some(tell(format!("{} is as by default", field.name)));
        } else if keys::EDIT.is(key) {
            return Some(self.edit(field));
        } else {
            return None;
        };
        Some(self.choose(field, by))
    }

    /// The key that opens or closes a group.
    fn fold_key(&self, group: Group) -> &'static keys::Binding {
        if self.form.is_open(group) { &keys::CLOSE_GROUP } else { &keys::OPEN_GROUP }
    }

    fn choose(&mut self, field: &'static Field, by: isize) -> Handled {
        match self.form.choose(field, by) {
            Ok(()) => Handled::done(),
            Err(why) => tell(why),
        }
    }

    fn edit(&mut self, field: &'static Field) -> Handled {
        if field.choices().is_some() || matches!(field.status, Status::Derived(_)) {
            return self.choose(field, 1);
        }
        self.page = match field.kind.is_list() || field.name == "system" {
            true => Page::Editor(Box::new(Editor::one(field, &self.form.draft))),
            false => Page::Typing(Typing::Value(Box::new(ValueLine::new(field, &self.form.draft)))),
        };
        Handled::done()
    }

    /// Keys that are about all arguments.
    fn on_whole(&mut self, key: &KeyEvent, state: &State) -> Handled {
        if keys::START.is(key) {
            return self.start(state);
        } else if keys::TO_QUEUE.is(key) {
            return self.put_into_queue(state);
        } else if keys::DATA.is(key) {
            return self.look(state);
        } else if keys::AS_JSON.is(key) {
            self.page = Page::Editor(Box::new(Editor::whole(&self.form.draft, state)));
        } else if keys::MODELS.is(key) {
            self.page = Page::Shelves(Box::default());
            return Handled::with(Action::Config(ConfigWork::Shelves));
        } else if keys::LOAD.is(key) {
            self.page = Page::Picker(Box::new(Picker::open()));
            return Handled::with(Action::Config(ConfigWork::List));
        } else if keys::SAVE_AS.is(key) {
            self.page = Page::Picker(Box::new(Picker::write(self.form.file.as_deref())));
            return Handled::with(Action::Config(ConfigWork::List));
        } else if keys::FILTER.is(key) {
            self.page = Page::Typing(Typing::Filter(Box::new(Line::new(self.form.filter()))));
        } else if keys::TAKE_BACK.is(key) && !self.form.filter().is_empty() {
            self.form.set_filter(String::new());
        } else {
            return Handled::No;
        }
        Handled::done()
    }

    fn after_edit(&mut self, edited: Edited) -> Handled {
        match edited {
            Edited::No => return Handled::No,
            Edited::Stay => {}
            Edited::Tell(text) => return tell_error(text),
            Edited::TakenBack => self.page = Page::Form,
            Edited::Taken(draft) => {
                self.form.replace(*draft);
                self.page = Page::Form;
            }
        }
        Handled::done()
    }

    fn on_picker(&mut self, key: &KeyEvent, state: &State) -> Handled {
        let Page::Picker(picker) = &mut self.page else { return Handled::No };
        let work = match picker.handle(key, state) {
            Picked::No => return Handled::No,
            Picked::Stay => return Handled::done(),
            Picked::Nameless => return tell("type the name of a file first"),
            Picked::Closed => {
                self.page = Page::Form;
                return Handled::done();
            }
            Picked::Open(path) => return Handled::with(Action::LoadConfig(path)),
            Picked::Write(path) => {
                self.writing = Some(self.form.draft.clone());
                ConfigWork::Save { path, text: self.form.draft.to_text(), overwrite: false }
            }
        };
        Handled::with(Action::Config(work))
    }

    fn on_key(&mut self, key: &KeyEvent, state: &State) -> Handled {
        match &mut self.page {
            Page::Form => self.on_form(key, state),
            Page::Typing(_) => self.on_typing(key),
            Page::Editor(editor) => {
                let edited = editor.handle(key);
                self.after_edit(edited)
            }
            Page::Picker(_) => self.on_picker(key, state),
            Page::Shelves(_) => self.on_shelves(key),
            Page::Data if keys::CLOSE.is(key) || keys::DATA.is(key) => {
                self.page = Page::Form;
                Handled::done()
            }
            Page::Data if keys::START.is(key) => self.start(state),
            Page::Data if keys::TO_QUEUE.is(key) => self.put_into_queue(state),
            Page::Data => Handled::No,
        }
    }

    fn on_paste(&mut self, text: &str) -> Handled {
        match &mut self.page {
            Page::Form | Page::Data => return Handled::No,
            Page::Shelves(shelves) if shelves.is_typing() => shelves.paste(text),
            Page::Shelves(_) => return Handled::No,
            Page::Typing(Typing::Value(value)) => {
                value.line.paste(text);
                value.judge(&self.form.draft);
            }
            Page::Typing(Typing::Filter(line)) => {
                line.paste(text);
                self.form.set_filter(line.text().to_owned());
            }
            Page::Editor(editor) => {
                let edited = editor.paste(text);
                return self.after_edit(edited);
            }
            Page::Picker(picker) => picker.paste(text),
        }
        Handled::done()
    }

    /// What follows from another value, typed or taken.
    fn after(&mut self, handled: Handled, state: &State) -> Handled {
        let Handled::Yes(mut actions) = handled else { return Handled::No };
        actions.extend(self.seek(state.now));
        actions.extend(self.name_base());
        Handled::Yes(actions)
    }

    /// The arguments are kept in no file and no run.
    fn is_unkept(&self) -> bool {
        self.form.is_changed() && self.started.as_ref() != Some(&self.form.draft)
    }
}

impl Component for Config {
    fn commands(&self, _: &State) -> Vec<CommandInfo> {
        let main = |bindings: &[&'static keys::Binding]| -> Vec<CommandInfo> {
            bindings.iter().map(|b| CommandInfo::main(b, true)).collect()
        };
        match &self.page {
            Page::Form => {
                let marked = self.form.marked_row();
                let on_field = matches!(marked, Some(Row::Field(_)));
                let has_choices = self.form.field().is_some_and(|f| f.choices().is_some());
                let first = match marked {
                    Some(Row::Group(group)) => self.fold_key(group),
                    _ if has_choices => &keys::AFTER,
                    _ => &keys::EDIT,
                };
                let mut all = vec![CommandInfo::main(first, marked.is_some())];
                all.extend(main(&[
                    &keys::START,
                    &keys::TO_QUEUE,
                    &keys::DATA,
                    &keys::MODELS,
                    &keys::AS_JSON,
                    &keys::LOAD,
                    &keys::SAVE_AS,
                    &keys::FILTER,
                ]));
                let second = if has_choices { &keys::EDIT } else { &keys::AFTER };
                all.extend([second, &keys::BEFORE, &keys::TO_DEFAULT].map(|binding| CommandInfo {
                    binding,
                    enabled: on_field,
                    main: false,
                }));
                let others =
                    [&keys::UP, &keys::DOWN, &keys::PAGE_UP, &keys::PAGE_DOWN, &keys::FIRST, &keys::LAST];
                all.extend(others.map(CommandInfo::other));
                all
            }
            Page::Typing(_) | Page::Picker(_) => {
                let [enter, esc] = match &self.page {
                    Page::Picker(picker) => [picker.enter(), &keys::CLOSE],
                    _ => [&keys::TAKE, &keys::TAKE_BACK],
                };
                let mut all = main(&[enter, esc, &keys::ABOVE, &keys::BELOW]);
                all.extend([&keys::EMPTY, &keys::UNDO].map(CommandInfo::other));
                all
            }
            Page::Editor(_) => {
                let mut all = main(&[&keys::TAKE_TEXT, &keys::TAKE_BACK]);
                all.extend([&keys::EMPTY, &keys::UNDO].map(CommandInfo::other));
                all
            }
            Page::Data => main(&[&keys::CLOSE, &keys::START, &keys::TO_QUEUE]),
            Page::Shelves(shelves) => shelves.commands(),
        }
    }

    fn handle(&mut self, key: &KeyEvent, state: &State) -> Handled {
        let handled = self.on_key(key, state);
        self.after(handled, state)
    }

    fn paste(&mut self, text: &str, state: &State) -> Handled {
        let handled = self.on_paste(text);
        self.after(handled, state)
    }

    fn receive(&mut self, message: &Message, state: &State) -> Vec<Action> {
        let mut actions = match message {
            Message::Config(news) => self.hear(news),
            Message::Opened(_) => {
                self.started = self.starting.take().or(self.started.take());
                Vec::new()
            }
            Message::Fetch(FetchNews::Cancelled | FetchNews::Failed(_)) => {
                self.starting = None;
                // Of several things some may have come.
                return self.seek_again(state.now).into_iter().collect();
            }
            Message::Tick(now) => return self.seek_missing(*now).into_iter().collect(),
            _ => Vec::new(),
        };
        actions.extend(self.seek(state.now));
        actions.extend(self.name_base());
        actions
    }

    fn takes_text(&self) -> bool {
        match &self.page {
            Page::Typing(_) | Page::Editor(_) | Page::Picker(_) => true,
            Page::Shelves(shelves) => shelves.is_typing(),
            Page::Form | Page::Data => false,
        }
    }

    fn unsaved(&self) -> Option<&str> {
        match &self.page {
            Page::Editor(editor) if editor.is_changed() => {
                Some("The text in the Config tab's editor is not taken yet.")
            }
            Page::Typing(Typing::Value(value)) if value.is_changed(&self.form.draft) => {
                Some("The value typed in the Config tab is not taken yet.")
            }
            _ if self.is_unkept() => Some("What was changed in the Config tab is in no file yet."),
            _ => None,
        }
    }

    fn draw(&self, frame: &mut Frame, area: Rect, state: &State) {
        match &self.page {
            Page::Form => list::draw(frame, area, &self.form, None, state),
            Page::Typing(typing) => list::draw(frame, area, &self.form, Some(typing), state),
            Page::Editor(editor) => {
                let missing = editor.inputs().map(|inputs| self.form.missing(inputs));
                editor.draw(frame, area, missing, state);
            }
            Page::Picker(picker) => picker.draw(frame, area, state),
            Page::Shelves(shelves) => {
                list::draw(frame, area, &self.form, None, state);
                shelves.draw(frame, area, state);
            }
            Page::Data => preview::draw(frame, area, self.look.as_ref(), state),
        }
    }
}
