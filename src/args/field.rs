//! What an argument is: one row of the table that drives checks, `--help`, files and forms.

use std::fmt;
use std::path::Path;

use serde_json::Value;

use super::kind::Kind;
use super::paths::typed;

/// One argument.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// SWIFT's name, such as `lora_rank`.
    pub name: &'static str,
    pub group: Group,
    /// Type, range and choices.
    pub kind: Kind,
    pub default: Literal,
    /// One line in plain words.
    pub help: &'static str,
    pub status: Status,
}

/// What this program makes of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Works,
    /// Accepted, so that SWIFT's files load; says why it changes nothing.
    NoEffect(&'static str),
    /// Only the default is accepted; says why.
    Refused(&'static str),
    /// Written for SWIFT's readers, never read: it follows from the argument named.
    Derived(&'static str),
}

/// Where an argument belongs in help pages and forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Model,
    Data,
    Lora,
    Training,
    Saving,
    Generation,
    Inference,
    Machine,
    /// SWIFT's, of use only there.
    Elsewhere,
}

impl Group {
    pub const ALL: [Group; 9] = [
        Group::Model,
        Group::Data,
        Group::Lora,
        Group::Training,
        Group::Saving,
        Group::Generation,
        Group::Inference,
        Group::Machine,
        Group::Elsewhere,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Group::Model => "Model",
            Group::Data => "Data",
            Group::Lora => "LoRA",
            Group::Training => "Training",
            Group::Saving => "Evaluating, logging and saving",
            Group::Generation => "Generation",
            Group::Inference => "Inference",
            Group::Machine => "Machine",
            Group::Elsewhere => "Known from SWIFT, for completeness",
        }
    }
}

/// A default value that a static table can hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Literal {
    /// Not set: a rule derives the value, or there is none.
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(&'static str),
    List(&'static [&'static str]),
    /// A list of that many nulls, as SWIFT has it for `model_name`.
    Nulls(usize),
}

impl Literal {
    pub fn value(self) -> Value {
        match self {
            Literal::Null => Value::Null,
            Literal::Bool(b) => b.into(),
            Literal::Int(i) => i.into(),
            Literal::Float(x) => x.into(),
            Literal::Str(s) => s.into(),
            Literal::List(items) => items.iter().copied().map(Value::from).collect(),
            Literal::Nulls(n) => vec![Value::Null; n].into(),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Null => write!(f, "null"),
            Literal::Bool(b) => write!(f, "{b}"),
            Literal::Int(i) => write!(f, "{i}"),
            Literal::Float(x) => write!(f, "{x}"),
            Literal::Str(s) => write!(f, "{s}"),
            Literal::List([]) => write!(f, "none"),
            Literal::List(items) => write!(f, "{}", items.join(" ")),
            Literal::Nulls(_) => write!(f, "none"),
        }
    }
}

impl Field {
    /// Whether `null` may stand for the value.
    pub fn nullable(&self) -> bool {
        self.default == Literal::Null || matches!(self.kind, Kind::Limit { .. })
    }

    /// What is allowed, in words.
    pub fn allowed(&self) -> String {
        let null = if self.nullable() && !matches!(self.kind, Kind::Any) { ", or null" } else { "" };
        format!("{}{null}", self.kind)
    }

    /// The value in its normal form, `None` when it is not allowed.
    pub fn check(&self, value: &Value) -> Option<Value> {
        if value.is_null() && self.nullable() {
            return Some(if matches!(self.kind, Kind::Limit { .. }) && self.default != Literal::Null {
                (-1).into()
            } else {
                Value::Null
            });
        }
        let text = value.as_str().map(|s| self.current_name(s));
        let mut checked = self.kind.check(&text.map_or_else(|| value.clone(), Value::from))?;
        if self.names_files() {
            let places: &mut [Value] = match &mut checked {
                Value::Array(items) => items,
                place => std::slice::from_mut(place),
            };
            for place in places {
                if let Some(path) =
                    place.as_str().and_then(|s| typed(Path::new(s)).to_str().map(str::to_owned))
                {
                    *place = path.into();
                }
            }
        }
        Some(checked)
    }

    /// Whether its value is a path, or may be one: data sets go by name or file.
    pub fn names_files(&self) -> bool {
        matches!(self.kind, Kind::Path | Kind::Paths) || self.name == "dataset"
    }

    /// Names of choices that SWIFT renamed.
    fn current_name<'a>(&self, choice: &'a str) -> &'a str {
        match (self.name, choice) {
            ("template_type", "chatml") => "qwen",
            ("truncation_strategy", "ignore") => "delete",
            _ => choice,
        }
    }
}

/// The page of `--help`: every argument that does something, by group.
pub fn help_text(fields: &[Field]) -> String {
    let mut out = String::new();
    for group in Group::ALL {
        let rows: Vec<_> = fields.iter().filter(|f| f.group == group && f.status == Status::Works).collect();
        if rows.is_empty() {
            continue;
        }
        out.push_str(&format!("{}:\n", group.title()));
        for field in rows {
            out.push_str(&format!("  --{} <{}>\n", field.name, field.kind.placeholder()));
            let default = match field.default {
                Literal::Null => String::new(),
                literal => format!("; default: {literal}"),
            };
            out.push_str(&format!("          {} ({}{default})\n", field.help, field.kind));
        }
        out.push('\n');
    }
    let mut list = |title: &str, wanted: fn(&Status) -> bool| {
        let names: Vec<_> = fields.iter().filter(|f| wanted(&f.status)).map(|f| f.name).collect();
        if !names.is_empty() {
            out.push_str(&format!("{title}: {}\n", names.join(", ")));
        }
    };
    list("Accepted without effect", |s| matches!(s, Status::NoEffect(_)));
    list("Refused unless left at their defaults", |s| matches!(s, Status::Refused(_)));
    out
}
