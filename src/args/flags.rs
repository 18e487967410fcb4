//! The command line's flags: `--name value...`, `--name=value`, `-` as good as `_` in names.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result, brief};

use super::field::{Field, Status};
use super::kind::{Kind, boolean};
use super::values::first;

/// A command line, read but not checked.
#[derive(Debug)]
pub struct Flags {
    pub values: Vec<(&'static Field, Value)>,
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// What belongs to no flag.
    pub texts: Vec<String>,
    /// Flags that the table does not know, each with its values, as typed.
    unknown: Vec<Vec<String>>,
}

impl Flags {
    /// Refuses flags that the table does not know. Where `ignore_args_error` is set, here or else in the file's values
    /// (`or`), they and all texts are left out, which a warning tells.
    ///
    /// # Errors
    /// The first of them.
    pub fn leave_out_unknown(&mut self, fields: &[Field], or: bool) -> Result<Option<String>> {
        let asked = self.values.iter().rev().find(|(field, _)| field.name == IGNORE);
        if !asked.map_or(or, |(_, value)| *value == Value::Bool(true)) {
            return match self.unknown.first().and_then(|words| words.first()) {
                Some(flag) => Err(unknown(flag, fields)),
                None => Ok(None),
            };
        }
        let words = self.unknown.drain(..).flatten().chain(self.texts.drain(..));
        let words: Vec<String> = words.collect();
        Ok((!words.is_empty()).then(|| format!("left out, as {IGNORE} is true: {}", first(&words, " "))))
    }
}

/// SWIFT's argument for what it does not know.
const IGNORE: &str = "ignore_args_error";

/// Reads the flags of a table; [`Flags::leave_out_unknown`] says what becomes of others. A flag for a list takes all that follows up to the next flag, others one
/// value; a lone `--` ends the flags.
pub fn parse(line: &[String], fields: &'static [Field]) -> Result<Flags> {
    let mut flags = Flags { values: Vec::new(), config: None, texts: Vec::new(), unknown: Vec::new() };
    let mut rest = line;
    while let Some((token, after)) = rest.split_first() {
        rest = after;
        if token == "--" {
            flags.texts.extend_from_slice(rest);
            break;
        }
        if !is_flag(token) {
            flags.texts.push(token.clone());
            continue;
        }
        let (typed, inline) = match token[2..].split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (&token[2..], None),
        };
        let name = typed.replace('-', "_");
        if name == "config" {
            let file = inline.or_else(|| take(&mut rest)).ok_or_else(|| missing("config", "a file"))?;
            if flags.config.replace(super::typed(Path::new(&file))).is_some() {
                return Err(Error::user("the command line: --config is given twice; one file is read"));
            }
            continue;
        }
        let Some(field) = fields.iter().find(|f| f.name == name) else {
            let values = std::iter::from_fn(|| take(&mut rest));
            flags.unknown.push(std::iter::once(token.clone()).chain(values).collect());
            continue;
        };
        let value = if field.kind.is_list() {
            // `--name=` is the empty list, as is `--name` alone.
            let items: Vec<String> = match inline {
                Some(item) => Some(item).into_iter().filter(|item| !item.is_empty()).collect(),
                None => std::iter::from_fn(|| take(&mut rest)).collect(),
            };
            items.into()
        } else if field.kind == Kind::Bool && inline.is_none() {
            // SWIFT takes a flag without a value for true.
            let word = |t: &&String| boolean(t).is_some() || *t == "null";
            match rest.first().filter(word) {
                Some(text) => {
                    rest = &rest[1..];
                    read(field, text)
                }
                None if rest.first().is_none_or(|t| is_flag(t)) => true.into(),
                // No word for true or false: named in the error.
                None => take(&mut rest).map_or(Value::Null, Value::from),
            }
        } else {
            let text = inline.or_else(|| take(&mut rest));
            read(field, &text.ok_or_else(|| missing(field.name, &field.kind.to_string()))?)
        };
        flags.values.push((field, value));
    }
    Ok(flags)
}

fn read(field: &Field, text: &str) -> Value {
    if text == "null" && field.nullable() { Value::Null } else { field.kind.read(text) }
}

/// A flag begins with two dashes and a letter; `-1` is a value.
fn is_flag(token: &str) -> bool {
    token == "--" || token.strip_prefix("--").is_some_and(|t| t.starts_with(|c: char| c.is_alphabetic()))
}

fn take(rest: &mut &[String]) -> Option<String> {
    let (first, after) = rest.split_first().filter(|(first, _)| !is_flag(first))?;
    *rest = after;
    Some(first.clone())
}

fn missing(name: &str, allowed: &str) -> Error {
    Error::user(format!(
        "the command line: --{name} has no value; allowed is {allowed} \
         (--{name}=VALUE for one that begins with --)"
    ))
}

/// The name that was meant by `typed`, where one is near.
pub(super) fn nearest(typed: &str, fields: &[Field]) -> Option<&'static str> {
    let name = typed.replace('-', "_").to_lowercase();
    let known = fields.iter().filter(|f| !matches!(f.status, Status::Derived(_))).map(|f| f.name);
    let length = name.chars().count();
    // Every third letter wrong, and it is another word.
    let allowed = 1 + length / 3;
    // The names are of letters of a byte; each letter more or less is an edit.
    let near = known.filter(|known| known.len().abs_diff(length) <= allowed);
    let (edits, known) = near.map(|known| (distance(&name, known), known)).min()?;
    (edits <= allowed).then_some(known)
}

fn unknown(flag: &str, fields: &[Field]) -> Error {
    let typed = flag.trim_start_matches("--").split('=').next().unwrap_or_default();
    let hint = nearest(typed, fields).map(|known| format!("did you mean --{known}? ")).unwrap_or_default();
    Error::user(format!(
        "the command line: unknown flag --{}; {hint}--help lists them all",
        brief(&typed).replace('\n', "\\n")
    ))
}

/// Edits (a letter put in, left out or changed) from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let changed = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_near_none_and_costs_nothing() {
        let fields = super::super::FIELDS;
        assert_eq!(nearest("Lora-rnak", fields), Some("lora_rank"));
        // Compared with each field letter by letter these would take minutes.
        for n in 1..1000 {
            assert_eq!(nearest(&"a".repeat(100 * n), fields), None);
        }
    }

    #[test]
    fn edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("lora_rnak", "lora_rank"), 2);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
