//! Arguments in the making: what is set over the defaults, checked value by value and as a whole by the same code
//! as a file's.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

use super::field::{Field, Status};
use super::flags;
use super::kind::Kind;
use super::load::{
    Loaded, contradictions, derived_keys, no_texts, take_config, unknown_keys, without_effect,
};
use super::rules;
use super::sft::FIELDS;
use super::values::{File, Source, Values, first};

/// What errors call a text that is no file.
const TEXT: &str = "the text";
/// What errors call arguments that come from no file.
const ARGUMENTS: &str = "the arguments: ";
/// A secret has no place in a file.
const SECRET: &str = "hub_token";

/// The arguments of `sft` that are set to something else than their default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    set: BTreeMap<&'static str, Value>,
}

/// What is wrong with a draft or a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The argument to mend, where it is one.
    pub key: Option<&'static str>,
    /// The line of the text, from 1.
    pub line: Option<usize>,
    pub message: String,
}

/// A draft from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadDraft {
    pub draft: Draft,
    pub warnings: Vec<String>,
    /// What the rules refuse: every value alone is right, together they are not, or one is missing.
    pub problem: Option<Problem>,
}

impl Draft {
    /// From a file of arguments and flags over it, raw as typed. Unlike [`super::load_sft`] it takes what is not
    /// complete.
    ///
    /// # Errors
    /// `Error::User` names place, key, value and what is allowed.
    pub fn load(file: Option<&Path>, flags: &[String]) -> Result<ReadDraft> {
        let mut flags = flags::parse(flags, FIELDS)?;
        let mut values = Values::new(FIELDS);
        let (mut warnings, mut idle) = (Vec::new(), Vec::new());
        if let Some(path) = file.or(flags.config.as_deref()) {
            idle = take_config(&mut values, path, FIELDS, &mut warnings)?;
        }
        warnings.extend(flags.leave_out_unknown(FIELDS, values.flag("ignore_args_error"))?);
        no_texts(&flags.texts)?;
        let file_derived = derived_keys(&values);
        for (field, value) in &flags.values {
            values.take(field, value, Source::Flag)?;
        }
        Ok(Draft::read(values, &file_derived, warnings, idle))
    }

    /// From a text of JSON, as a file of arguments has it.
    ///
    /// # Errors
    /// What is no JSON, and a value that its argument cannot have.
    pub fn parse(text: &str) -> Result<ReadDraft, Problem> {
        let message = |e: Error| {
            let text = e.to_string();
            text.strip_prefix("the text, ").map_or(text.clone(), str::to_owned)
        };
        let file = File::parse(Path::new(TEXT), text.to_owned()).map_err(|e| {
            let line = serde_json::from_str::<IgnoredAny>(text).err().map(|e| e.line());
            Problem { key: None, line, message: message(e) }
        })?;
        let mut warnings = Vec::new();
        if !file.repeated.is_empty() {
            warnings
                .push(format!("set more than once, the last one counts: {}", first(&file.repeated, ", ")));
        }
        let mut values = Values::new(FIELDS);
        let unknown = values.take_file(file, |_| true).map_err(|e| {
            let (key, line) = values.refused();
            Problem { key, line, message: message(e) }
        })?;
        let file_derived = derived_keys(&values);
        let mut read = Draft::read(values, &file_derived, warnings, unknown_keys(unknown, FIELDS));
        if let Some(problem) = &mut read.problem {
            problem.message = message(Error::user(std::mem::take(&mut problem.message)));
        }
        Ok(read)
    }

    fn read(
        mut values: Values,
        file_derived: &[(&'static str, &'static str, Value)],
        mut warnings: Vec<String>,
        mut idle: Vec<String>,
    ) -> ReadDraft {
        let mut draft = Draft::default();
        for field in FIELDS.iter().filter(|f| !matches!(f.status, Status::Derived(_))) {
            if values.source(field.name) != Source::Default {
                draft.put(field, values.get(field.name).clone());
            }
        }
        draft.resolve_aliases();
        let problem = rules::sft(&mut values).err().map(|e| problem(&values, &e));
        if problem.is_none() {
            rules::leave_run_folder(&mut values);
            for name in ["output_dir", "logging_dir"] {
                if let Some(field) = values.field(name).filter(|f| draft.is_set(f)) {
                    draft.put(field, values.get(name).clone());
                }
            }
        }
        idle.extend(values.without_effect(|key| rules::usual(&values, key)));
        if let Ok(loaded) = draft.check() {
            idle.extend(contradictions(&loaded.args, file_derived, &[]));
        }
        warnings.extend(without_effect(&idle));
        ReadDraft { draft, warnings, problem }
    }

    /// The value of `field`: what is set, or the default.
    pub fn get(&self, field: &Field) -> Value {
        self.set.get(field.name).cloned().unwrap_or_else(|| field.default.value())
    }

    /// Whether `field` differs from its default.
    pub fn is_set(&self, field: &Field) -> bool {
        self.set.contains_key(field.name)
    }

    /// How many arguments differ from their defaults.
    pub fn count(&self) -> usize {
        self.set.len()
    }

    /// Sets `field`.
    ///
    /// # Errors
    /// Why it cannot have this value, as `sft` says it.
    pub fn set(&mut self, field: &'static Field, value: &Value) -> Result<(), String> {
        let value = checked(field, value)?;
        self.put(field, value);
        self.resolve_aliases();
        Ok(())
    }

    /// Puts `field` back to its default.
    pub fn reset(&mut self, field: &Field) {
        self.set.remove(field.name);
    }

    /// All rules of `sft`, as for a file with these values.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<Loaded, Problem> {
        let mut values = Values::new(FIELDS);
        for (name, value) in &self.set {
            values.set(name, value.clone(), Source::File);
        }
        rules::sft(&mut values).map_err(|e| problem(&values, &e))?;
        rules::leave_run_folder(&mut values);
        let warnings = values.without_effect(|key| rules::usual(&values, key)).into_iter().collect();
        let args = rules::build(values).map_err(|e: Error| Problem {
            key: None,
            line: None,
            message: e.to_string(),
        })?;
        Ok(Loaded { args, warnings })
    }

    /// What is set, in the table's order, without what is secret.
    pub fn to_json(&self) -> Map<String, Value> {
        let set = FIELDS.iter().filter(|f| f.name != SECRET);
        set.filter_map(|f| Some((f.name.to_owned(), self.set.get(f.name)?.clone()))).collect()
    }

    /// [`Draft::to_json`] as the files under `configs/` are written: a key a line.
    pub fn to_text(&self) -> String {
        let lines: Vec<String> = self
            .to_json()
            .iter()
            .map(|(key, value)| format!("  {}: {}", Value::from(key.as_str()), json(value)))
            .collect();
        match lines.is_empty() {
            true => "{\n}\n".to_owned(),
            false => format!("{{\n{}\n}}\n", lines.join(",\n")),
        }
    }

    fn put(&mut self, field: &'static Field, value: Value) {
        match same(&value, &field.default.value()) {
            true => self.set.remove(field.name),
            false => self.set.insert(field.name, value),
        };
    }

    /// A value under another name is its argument's; else a later change of that would change nothing.
    fn resolve_aliases(&mut self) {
        for (old, new) in rules::ALIASES {
            if let Some(value) = self.set.remove(old)
                && let Some(field) = FIELDS.iter().find(|f| f.name == new)
            {
                self.put(field, value);
            }
        }
    }
}

impl Field {
    /// The value that was typed for it: nothing, or `null`, where it may be null, is null.
    ///
    /// # Errors
    /// Why it cannot have this value, as `sft` says it.
    pub fn typed(&'static self, text: &str) -> Result<Value, String> {
        let trimmed = text.trim();
        let value = match trimmed {
            "" | "null" if self.nullable() => Value::Null,
            // Every blank of a text is meant.
            _ if self.kind == Kind::Text => text.into(),
            _ => self.kind.read(trimmed),
        };
        checked(self, &value)
    }

    /// What it can be set to, where that is a choice; only what is not refused.
    pub fn choices(&'static self) -> Option<Vec<Value>> {
        let mut choices: Vec<Value> = match self.kind {
            Kind::Bool => vec![true.into(), false.into()],
            Kind::BoolOrAuto => vec![true.into(), false.into(), "auto".into()],
            Kind::Choice(names) => names.iter().copied().map(Value::from).collect(),
            Kind::IntChoice(numbers) => numbers.iter().copied().map(Value::from).collect(),
            _ => return None,
        };
        if self.nullable() {
            choices.insert(0, Value::Null);
        }
        choices.retain(|value| checked(self, value).is_ok());
        Some(choices)
    }
}

fn checked(field: &'static Field, value: &Value) -> Result<Value, String> {
    if let Status::Derived(parent) = field.status {
        return Err(format!("{} follows from {parent}; set that", field.name));
    }
    let mut values = Values::new(FIELDS);
    match values.take(field, value, Source::File) {
        Ok(()) => Ok(values.get(field.name).clone()),
        Err(e) => Err(without_place(&e.to_string())),
    }
}

fn problem(values: &Values, error: &Error) -> Problem {
    let (key, line) = values.refused();
    Problem { key, line, message: without_place(&error.to_string()) }
}

fn without_place(message: &str) -> String {
    message.strip_prefix(ARGUMENTS).unwrap_or(message).to_owned()
}

/// Whether two values are the same; 2 and 2.0 are.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        _ => a == b,
    }
}

/// A value as people read and type it: text without quotes, a list's items with blanks between them, `null` as
/// nothing.
pub fn value_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let word = |v: &Value| if v.is_null() { "null".to_owned() } else { value_text(v) };
            items.iter().map(word).collect::<Vec<_>>().join(" ")
        }
        other => json(other),
    }
}

/// JSON in a line, numbers as people write them: `1e-4`, and 2 for 2.0.
fn json(value: &Value) -> String {
    match value {
        Value::Number(n) if n.is_f64() => n.as_f64().map_or_else(|| n.to_string(), number),
        Value::Array(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// The shorter of `0.0001` and `1e-4`.
fn number(x: f64) -> String {
    let (plain, scientific) = (format!("{x}"), format!("{x:e}"));
    if scientific.len() < plain.len() { scientific } else { plain }
}
