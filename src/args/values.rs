//! Values on their way from files and flags to the structs: each with where it came from.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{Context, Error, Result, brief, shown};
use crate::plain;

use super::field::{Field, Literal, Status};
use super::load::ARGS_FILE;

/// Who set a value; a later one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A default or a rule.
    Default,
    File,
    Flag,
}

/// A file of arguments: a JSON object.
pub struct File {
    path: PathBuf,
    text: String,
    pub object: Map<String, Value>,
    /// Keys that stand in it more than once; the last one counts.
    pub repeated: Vec<String>,
}

/// The keys of an object that come again.
struct Repeated(Vec<String>);

impl<'de> Deserialize<'de> for Repeated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Repeated;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Repeated, A::Error> {
                let (mut seen, mut again) = (BTreeSet::new(), BTreeSet::new());
                while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
                    if let Some(key) = seen.replace(key) {
                        again.insert(key);
                    }
                }
                Ok(Repeated(again.into_iter().collect()))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// No file of arguments comes near this; a value of a byte or two takes up to a hundred in memory.
const FILE_LIMIT: u64 = 1 << 20;

/// What to give as a file of arguments.
const WANTED: &str = "give a JSON file of arguments, such as one under configs/ or a run's sft_args.json";

/// Refuses what is there and is no file, such as a named pipe: opened, it would be waited for without an end.
///
/// # Errors
/// `Error::User` names it.
pub fn check_plain(path: &Path) -> Result<()> {
    match path.metadata() {
        Ok(there) if !there.is_file() => {
            Err(Error::user(format!("{} is no regular file; {WANTED}", shown(path))))
        }
        // What is not there, or hidden, the reading tells.
        _ => Ok(()),
    }
}

impl File {
    /// The arguments that the run or checkpoint in `dir` keeps.
    ///
    /// # Errors
    /// `Error::User` where there are none, or they cannot be read.
    pub fn of_dir(dir: &Path) -> Result<File> {
        let path = dir.join(ARGS_FILE);
        if path.symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            return Err(Error::user(format!(
                "there is no {ARGS_FILE} in {}, so its arguments are not known: put it back; each checkpoint has a copy",
                dir.display()
            )));
        }
        check_plain(&path)?;
        File::read(&path)
    }

    pub fn read(path: &Path) -> Result<File> {
        let name = shown(path);
        if path.is_dir() {
            return Err(Error::user(format!("{name} is a directory; {WANTED}")));
        }
        let opened = plain::open(path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::user(format!("{name}: no such file; {WANTED}")),
            _ => Error::user(format!("arguments file {name}: {e}")),
        })?;
        let mut bytes = Vec::new();
        opened.take(FILE_LIMIT + 1).read_to_end(&mut bytes).user(format!("arguments file {name}"))?;
        if bytes.len() as u64 > FILE_LIMIT {
            return Err(Error::user(format!(
                "arguments file {name}: longer than {} MiB; a JSON object of arguments is expected",
                FILE_LIMIT >> 20
            )));
        }
        let text = String::from_utf8(bytes).map_err(|e| {
            let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|b| **b == b'\n').count();
            Error::user(format!("{name}, line {line}: not UTF-8; save the file as UTF-8"))
        })?;
        File::parse(path, text)
    }

    /// A file's `text`; errors name it `path`.
    pub fn parse(path: &Path, text: String) -> Result<File> {
        let name = shown(path);
        let json = text.trim_start_matches('\u{feff}');
        if json.trim().is_empty() {
            return Err(Error::user(format!(
                "{name} is empty; a JSON object {{\"name\": value, ...}} is expected"
            )));
        }
        let value: Value = serde_json::from_str(json).map_err(|e| {
            let what = e.to_string();
            let what = what.split(" at line ").next().unwrap_or(&what);
            Error::user(format!("{name}, line {}, column {}: not valid JSON: {what}", e.line(), e.column()))
        })?;
        match value {
            Value::Object(object) => {
                let repeated = serde_json::from_str(json).map_or(Vec::new(), |Repeated(keys)| keys);
                Ok(File { path: path.to_owned(), text, object, repeated })
            }
            other => Err(Error::user(format!(
                "{name}: a JSON object {{\"name\": value, ...}} is expected, found {}",
                shorten(&other)
            ))),
        }
    }

    /// The file and the line that sets `key` (the last one, which wins).
    fn place(&self, key: &str) -> String {
        match self.line(key) {
            Some(line) => format!("{}, line {line}", shown(&self.path)),
            None => shown(&self.path),
        }
    }

    fn line(&self, key: &str) -> Option<usize> {
        let quoted = format!("\"{key}\"");
        let is_key = |at: &usize| self.text[at + quoted.len()..].trim_start().starts_with(':');
        let at = self.text.match_indices(&quoted).map(|(at, _)| at).filter(is_key).last()?;
        Some(1 + self.text[..at].matches('\n').count())
    }
}

/// The values of one table.
pub struct Values {
    fields: &'static [Field],
    set: BTreeMap<&'static str, (Value, Source)>,
    file: Option<File>,
    /// The argument that was refused last.
    refused: Cell<Option<&'static str>>,
}

static NULL: Value = Value::Null;

impl Values {
    /// All at their defaults.
    pub fn new(fields: &'static [Field]) -> Values {
        let set = fields.iter().map(|f| (f.name, (f.default.value(), Source::Default))).collect();
        Values { fields, set, file: None, refused: Cell::new(None) }
    }

    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// Takes the values of a file that `wanted` names; returns the keys that the table does not know.
    ///
    /// # Errors
    /// Of the first value that is refused, with the names of the others.
    pub fn take_file(&mut self, file: File, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let object = file.object.clone();
        self.file = Some(file);
        let mut unknown = Vec::new();
        let mut first: Option<(Error, &'static str)> = None;
        let mut others = Vec::new();
        for (key, value) in object.iter().filter(|(key, _)| wanted(key)) {
            match self.field(key) {
                Some(field) => match (self.take(field, value, Source::File), &first) {
                    (Ok(()), _) => {}
                    (Err(error), None) => first = Some((error, field.name)),
                    (Err(_), Some(_)) => others.push(field.name),
                },
                None if value.is_null() => {}
                None => unknown.push(key.clone()),
            }
        }
        let Some((error, name)) = first else { return Ok(unknown) };
        self.refused.set(Some(name));
        match others.is_empty() {
            true => Err(error),
            false => Err(Error::user(format!("{error}; also wrong: {}", others.join(", ")))),
        }
    }

    /// Takes a value from outside, checked.
    pub fn take(&mut self, field: &'static Field, value: &Value, source: Source) -> Result<()> {
        // Until it is known to be right.
        let before = self.refused.replace(Some(field.name));
        let place = self.place_of(field.name, source);
        let Some(checked) = field.check(value) else {
            let allowed = match source {
                // The command line has no null.
                Source::Flag => field.kind.to_string(),
                _ => field.allowed(),
            };
            let allowed = match field.kind.most(value) {
                Some(most) => format!("{allowed}, and at most {most}"),
                None => allowed,
            };
            return Err(refusal(&place, field.name, value, &allowed));
        };
        if source == Source::Flag
            && let Status::Derived(parent) = field.status
        {
            return Err(Error::user(format!("{place}: --{} follows from --{parent}; set that", field.name)));
        }
        if let Status::Refused(why) = field.status
            && !checked.is_null()
            && checked != field.default.value()
        {
            let allowed = match field.default {
                Literal::Null => "null".to_owned(),
                default => format!("{default}"),
            };
            return Err(refusal(&place, field.name, value, &format!("{allowed}: {why}")));
        }
        self.set.insert(field.name, (checked, source));
        self.refused.set(before);
        Ok(())
    }

    /// The argument that was refused last, and its line in the file.
    pub fn refused(&self) -> (Option<&'static str>, Option<usize>) {
        let key = self.refused.get();
        (key, key.zip(self.file.as_ref()).and_then(|(key, file)| file.line(key)))
    }

    /// Sets a value that has been checked.
    pub fn set(&mut self, name: &'static str, value: Value, source: Source) {
        self.set.insert(name, (value, source));
    }

    pub fn get(&self, name: &str) -> &Value {
        self.set.get(name).map_or(&NULL, |(value, _)| value)
    }

    pub fn source(&self, name: &str) -> Source {
        self.set.get(name).map_or(Source::Default, |(_, source)| *source)
    }

    pub fn is_null(&self, name: &str) -> bool {
        self.get(name).is_null()
    }

    /// Text of `name`; empty when it is null or no text.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).as_str().unwrap_or_default()
    }

    pub fn number(&self, name: &str) -> f64 {
        self.get(name).as_f64().unwrap_or_default()
    }

    pub fn flag(&self, name: &str) -> bool {
        self.get(name).as_bool().unwrap_or_default()
    }

    pub fn list(&self, name: &str) -> &[Value] {
        self.get(name).as_array().map_or(&[], Vec::as_slice)
    }

    /// What a rule makes of `name`; who set it stays as it was.
    pub fn put(&mut self, name: &'static str, value: impl Into<Value>) {
        let source = self.source(name);
        self.set.insert(name, (value.into(), source));
    }

    /// [`Values::put`] where nothing is set yet.
    pub fn put_if_null(&mut self, name: &'static str, value: impl Into<Value>) {
        if self.is_null(name) {
            self.put(name, value);
        }
    }

    /// `old` is another name of `new`, and wins where both are set, unless a stronger source set `new`.
    pub fn rename(&mut self, old: &'static str, new: &'static str) {
        let (value, source) = (self.get(old).clone(), self.source(old));
        if !value.is_null() && source >= self.source(new) {
            self.set.insert(new, (value, source));
        }
    }

    fn place_of(&self, name: &str, source: Source) -> String {
        match (source, &self.file) {
            (Source::Default, _) | (Source::File, None) => "the arguments".to_owned(),
            (Source::Flag, _) => "the command line".to_owned(),
            (Source::File, Some(file)) => file.place(name),
        }
    }

    /// The error for a value that another one makes impossible.
    pub fn refuse(&self, name: &str, allowed: &str) -> Error {
        self.refused.set(self.field(name).map(|f| f.name));
        let value = self.get(name);
        let open = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if open && self.source(name) == Source::Default {
            return Error::user(format!("{name} is missing: give {allowed}"));
        }
        refusal(&self.place_of(name, self.source(name)), name, value, allowed)
    }

    /// Every argument set to something that changes nothing, each with why.
    pub fn without_effect(&self, usual: impl Fn(&str) -> Option<Value>) -> Vec<String> {
        let idle = |field: &&Field| match field.status {
            Status::NoEffect(_) => {
                let value = self.get(field.name);
                self.source(field.name) != Source::Default
                    && !value.is_null()
                    && *value != field.default.value()
                    && usual(field.name).is_none_or(|usual| usual != *value)
            }
            _ => false,
        };
        self.fields
            .iter()
            .filter(idle)
            .map(|field| match field.status {
                Status::NoEffect(why) => format!("{} ({why})", field.name),
                _ => field.name.to_owned(),
            })
            .collect()
    }

    /// The values alone, in the table's order.
    pub fn into_object(mut self) -> Map<String, Value> {
        let row = |f: &Field| Some((f.name.to_owned(), self.set.remove(f.name)?.0));
        self.fields.iter().filter_map(row).collect()
    }
}

/// The one form of every refused value: where, key, value, what is allowed.
fn refusal(place: &str, name: &str, value: &Value, allowed: &str) -> Error {
    Error::user(format!("{place}: {name} is {}; allowed is {allowed}", shorten(value)))
}

/// Names of a list that are shown; a file can hold any number.
const NAMED: usize = 40;

/// The first of `names`, and how many more there are.
pub(super) fn first(names: &[String], between: &str) -> String {
    let shown: Vec<String> = names.iter().take(NAMED).map(brief).collect();
    match names.len().saturating_sub(NAMED) {
        0 => shown.join(between),
        more => format!("{}{between}... ({more} more)", shown.join(between)),
    }
}

/// JSON of a value for a message: never pages of it.
fn shorten(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
