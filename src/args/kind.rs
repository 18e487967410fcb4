//! The types of arguments: what a value may be, read from JSON or from a flag.

use std::fmt;

use serde_json::Value;

/// Type, range and choices of an argument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Bool,
    /// `true`, `false` or `"auto"`.
    BoolOrAuto,
    /// A whole number, both ends included.
    Int {
        min: i64,
        max: i64,
    },
    /// -1 for "no limit", or a whole number of at least 1.
    Limit {
        max: i64,
    },
    /// A finite number.
    Number(Range),
    Choice(&'static [&'static str]),
    IntChoice(&'static [i64]),
    Text,
    /// A file, a directory or a name on a hub: text that is not empty.
    Path,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    Device,
    List,
    Paths,
    /// A list whose items may be null.
    Names,
    /// Anything: the value is never read.
    Any,
}

/// An interval; an infinite end is no end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    pub min: f64,
    pub max: f64,
    /// Whether `min` itself is allowed.
    pub min_included: bool,
    pub max_included: bool,
}

pub const fn int(min: i64, max: i64) -> Kind {
    Kind::Int { min, max }
}

/// A number of at least `min`.
pub const fn from(min: f64) -> Kind {
    Kind::Number(Range { min, max: f64::INFINITY, min_included: true, max_included: false })
}

/// A number greater than `min`, of at most `max`.
pub const fn above(min: f64, max: f64) -> Kind {
    Kind::Number(Range { min, max, min_included: false, max_included: true })
}

/// A number between the two, both included.
pub const fn within(min: f64, max: f64) -> Kind {
    Kind::Number(Range { min, max, min_included: true, max_included: true })
}

/// A number of at least `min`, less than `max`.
pub const fn below(min: f64, max: f64) -> Kind {
    Kind::Number(Range { min, max, min_included: true, max_included: false })
}

impl Range {
    pub fn contains(&self, x: f64) -> bool {
        let low = if self.min_included { x >= self.min } else { x > self.min };
        let high = if self.max_included { x <= self.max } else { x < self.max };
        low && high
    }
}

impl Kind {
    /// Whether a flag takes several values.
    pub fn is_list(self) -> bool {
        matches!(self, Kind::List | Kind::Paths | Kind::Names)
    }

    /// A word for the value in a line of help.
    pub fn placeholder(self) -> &'static str {
        match self {
            Kind::Bool | Kind::BoolOrAuto => "BOOL",
            Kind::Int { .. } | Kind::Limit { .. } | Kind::IntChoice(_) => "N",
            Kind::Number(_) => "X",
            Kind::Choice(_) => "NAME",
            Kind::Text => "TEXT",
            Kind::Path => "PATH",
            Kind::Device => "DEVICE",
            Kind::List | Kind::Names => "NAME...",
            Kind::Paths => "PATH...",
            Kind::Any => "VALUE",
        }
    }

    /// The JSON value in its normal form (`2.0` for a whole number is 2, a lone text for a list is a list of
    /// one); `None` when it is of another type or out of range.
    pub fn check(self, value: &Value) -> Option<Value> {
        match self {
            Kind::Bool => value.as_bool().map(Value::from),
            Kind::BoolOrAuto if value == "auto" => Some(value.clone()),
            Kind::BoolOrAuto => value.as_bool().map(Value::from),
            Kind::Int { min, max } => whole(value).filter(|i| (min..=max).contains(i)).map(Value::from),
            Kind::Limit { max } => {
                whole(value).filter(|i| *i == -1 || (1..=max).contains(i)).map(Value::from)
            }
            Kind::IntChoice(choices) => whole(value).filter(|i| choices.contains(i)).map(Value::from),
            Kind::Number(range) => {
                value.as_f64().filter(|x| x.is_finite() && range.contains(*x)).map(Value::from)
            }
            Kind::Choice(choices) => value.as_str().filter(|s| choices.contains(s)).map(Value::from),
            Kind::Text => value.as_str().map(Value::from),
            Kind::Path => value.as_str().filter(|s| !s.is_empty()).map(Value::from),
            Kind::Device => value.as_str().filter(|s| is_device(s)).map(Value::from),
            Kind::List | Kind::Paths | Kind::Names => {
                let items = match value {
                    Value::String(_) => std::slice::from_ref(value),
                    _ => value.as_array()?.as_slice(),
                };
                let fits = |v: &Value| match v {
                    Value::String(s) => !s.is_empty(),
                    Value::Null => self == Kind::Names,
                    _ => false,
                };
                items.iter().all(fits).then(|| items.to_vec().into())
            }
            Kind::Any => Some(value.clone()),
        }
    }

    /// The largest number that can be given, for a whole number beyond it where [`Display`](fmt::Display) names none.
    pub fn most(self, value: &Value) -> Option<i64> {
        let (Kind::Int { max: i64::MAX, .. } | Kind::Limit { max: i64::MAX }) = self else { return None };
        let is_beyond = match value {
            Value::Number(n) => n.as_f64().is_some_and(|x| x >= i64::MAX as f64),
            // What no number of ours holds stays text.
            Value::String(text) => {
                let digits = text.strip_prefix('+').unwrap_or(text);
                !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
            }
            _ => false,
        };
        is_beyond.then_some(i64::MAX)
    }

    /// A flag's text as JSON, for [`Kind::check`]; text that is no number stays text and fails there.
    pub fn read(self, text: &str) -> Value {
        let number = match self {
            Kind::Bool | Kind::BoolOrAuto => boolean(text).map(Value::from),
            Kind::Int { .. } | Kind::Limit { .. } | Kind::IntChoice(_) => {
                text.parse::<i64>().ok().map(Value::from)
            }
            Kind::Number(_) => text.parse::<f64>().ok().filter(|x| x.is_finite()).map(Value::from),
            _ => None,
        };
        number.unwrap_or_else(|| text.into())
    }
}

/// The words for true and false that SWIFT's command line knows.
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "t" | "y" | "1" => Some(true),
        "false" | "no" | "f" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// A whole number, be it written as 2 or as 2.0.
fn whole(value: &Value) -> Option<i64> {
    // Up to 2^53 every whole f64 is exact.
    let from_float = |x: f64| (x.fract() == 0.0 && x.abs() <= 9_007_199_254_740_992.0).then_some(x as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(from_float))
}

fn is_device(text: &str) -> bool {
    let index = |n: &str| (1..=3).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit());
    matches!(text, "auto" | "cpu" | "cuda") || text.strip_prefix("cuda:").is_some_and(index)
}

impl fmt::Display for Kind {
    /// What is allowed, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Kind::Bool => write!(f, "true or false"),
            Kind::BoolOrAuto => write!(f, "true, false or auto"),
            Kind::Int { min, max: i64::MAX } => write!(f, "a whole number, {min} or more"),
            Kind::Int { min, max } => write!(f, "a whole number from {min} to {max}"),
            Kind::Limit { max: i64::MAX } => write!(f, "a whole number, 1 or more, or -1 for no limit"),
            Kind::Limit { max } => write!(f, "a whole number from 1 to {max}, or -1 for no limit"),
            Kind::Number(Range { min, max, min_included, max_included }) => {
                let low = if min_included { "from" } else { "above" };
                write!(f, "a number {low} {min}")?;
                match (max.is_finite(), max_included) {
                    (false, _) => Ok(()),
                    (true, true) => write!(f, " to {max}"),
                    (true, false) => write!(f, " to less than {max}"),
                }
            }
            Kind::Choice([only]) => write!(f, "{only}"),
            Kind::Choice(choices) => write!(f, "one of {}", choices.join(", ")),
            Kind::IntChoice(choices) => {
                let texts: Vec<_> = choices.iter().map(i64::to_string).collect();
                write!(f, "one of {}", texts.join(", "))
            }
            Kind::Text => write!(f, "text"),
            Kind::Path => write!(f, "a path or a name"),
            Kind::Device => write!(f, "auto, cpu, cuda or cuda:N"),
            Kind::List | Kind::Names => write!(f, "a list of names"),
            Kind::Paths => write!(f, "a list of paths"),
            Kind::Any => write!(f, "anything"),
        }
    }
}
