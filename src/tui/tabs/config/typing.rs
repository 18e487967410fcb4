//! What is typed into the form: a value in its place, or words to find arguments by.

use crossterm::event::KeyEvent;
use serde_json::Value;

use super::edit::Line;
use super::form::Form;
use super::{Config, Page, tell_error};
use crate::args::{Draft, Field, value_text};
use crate::job::inputs::Inputs;
use crate::tui::component::Handled;
use crate::tui::keys;

/// What is typed into the form.
#[derive(Debug)]
pub enum Typing {
    Value(Box<ValueLine>),
    Filter(Box<Line>),
}

/// A value being typed.
#[derive(Debug)]
pub struct ValueLine {
    field: &'static Field,
    pub line: Line,
    /// The value, with what the rules then say; or why it is none.
    pub verdict: Result<(Value, Option<String>), String>,
    /// What a training with it would read, where the rules allow it.
    inputs: Option<Box<Inputs>>,
}

impl ValueLine {
    pub fn new(field: &'static Field, draft: &Draft) -> ValueLine {
        let line = Line::new(&value_text(&draft.get(field)));
        let mut value = ValueLine { field, line, verdict: Ok((Value::Null, None)), inputs: None };
        value.judge(draft);
        value
    }

    /// Looks at what is typed as `sft` looks at a flag.
    pub fn judge(&mut self, draft: &Draft) {
        self.inputs = None;
        self.verdict = self.field.typed(self.line.text()).and_then(|value| {
            let mut draft = draft.clone();
            draft.set(self.field, &value)?;
            let checked = draft.check();
            self.inputs = checked.as_ref().ok().map(|loaded| Box::new(Inputs::from(&loaded.args)));
            Ok((value, checked.err().map(|p| p.message)))
        });
    }

    pub fn inputs(&self) -> Option<&Inputs> {
        self.inputs.as_deref()
    }

    /// Whether it is another value than the draft's.
    pub fn is_changed(&self, draft: &Draft) -> bool {
        self.line.text() != value_text(&draft.get(self.field))
    }

    /// What is wrong with it, with what is known of the disk.
    pub fn said<'a>(&'a self, form: &'a Form) -> Option<&'a str> {
        match &self.verdict {
            Ok((_, None)) => {
                let missing = form.missing(self.inputs.as_deref()?)?;
                missing.iter().find(|m| m.key == self.field.name).map(|m| m.message.as_str())
            }
            Ok((_, Some(rule))) => Some(rule),
            Err(error) => Some(error),
        }
    }
}

impl Config {
    pub(super) fn on_typing(&mut self, key: &KeyEvent) -> Handled {
        let Page::Typing(typing) = &mut self.page else { return Handled::No };
        if keys::TAKE_BACK.is(key) {
            if matches!(typing, Typing::Filter(_)) {
                self.form.set_filter(String::new());
            }
            self.page = Page::Form;
            return Handled::done();
        }
        let is_move = keys::ABOVE.is(key) || keys::BELOW.is(key);
        match typing {
            Typing::Filter(_) if keys::TAKE.is(key) => self.page = Page::Form,
            Typing::Filter(_) if is_move => self.form.step(if keys::ABOVE.is(key) { -1 } else { 1 }),
            Typing::Filter(line) => {
                if !line.handle(key) {
                    return Handled::No;
                }
                self.form.set_filter(line.text().to_owned());
            }
            Typing::Value(value) if keys::TAKE.is(key) || is_move => match &value.verdict {
                Ok((typed, _)) => {
                    let (field, typed) = (value.field, typed.clone());
                    self.page = Page::Form;
                    if let Err(why) = self.form.set(field, &typed) {
                        return tell_error(why);
                    }
                    if is_move {
                        self.form.step(if keys::ABOVE.is(key) { -1 } else { 1 });
                    }
                }
                Err(why) => return tell_error(why.clone()),
            },
            Typing::Value(value) => {
                if !value.line.handle(key) {
                    return Handled::No;
                }
                value.judge(&self.form.draft);
            }
        }
        Handled::done()
    }
}
