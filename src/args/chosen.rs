//! What a run's arguments say that would not have been so anyway.

use std::path::Path;

use serde_json::{Map, Value};

use super::field::{Field, Literal, Status};
use super::kind::Kind;
use super::rules;
use super::sft::FIELDS;
use super::values::{File, Values, check_plain};
use crate::error::Result;

/// Where a run lies is known to who reads its arguments.
const PLACES: [&str; 3] = ["output_dir", "add_output_dir_suffix", "logging_dir"];
/// Defaults that a rule replaces, as it does what is null.
const BY_RULE: [&str; 5] = ["template_type", "lora_target_modules", "temperature", "top_k", "top_p"];

/// The arguments in `dir/sft_args.json` that differ from their defaults and from what the rules make of the others, as
/// name and readable value, in the table's order; `model_type` always.
///
/// # Errors
/// `Error::User` where the file is missing or is no object. A value that is not allowed is told as it stands.
pub fn chosen(dir: &Path) -> Result<Vec<(&'static str, String)>> {
    Ok(chosen_of(&File::of_dir(dir)?.object))
}

/// A file of arguments as it stands.
///
/// # Errors
/// `Error::User` where it is missing, cannot be read or is no object.
pub fn read_object(path: &Path) -> Result<Map<String, Value>> {
    check_plain(path)?;
    Ok(File::read(path)?.object)
}

/// [`chosen`] of arguments that have been read.
pub fn chosen_of(object: &Map<String, Value>) -> Vec<(&'static str, String)> {
    let unset = unset(object);
    let told = FIELDS.iter().filter(|f| matches!(f.status, Status::Works | Status::Refused(_))).filter_map(
        |field| {
            let value = object.get(field.name)?;
            let value = field.check(value).unwrap_or_else(|| value.clone());
            let follows = follows_from_others(field) && same(&value, unset.get(field.name));
            let differs = !same(&value, &field.default.value()) && !follows;
            let shown = field.name == "model_type" || (differs && !PLACES.contains(&field.name));
            shown.then(|| (field.name, readable(field, &value)))
        },
    );
    told.collect()
}

/// Whether a rule sets it where nobody did.
fn follows_from_others(field: &Field) -> bool {
    field.default == Literal::Null || BY_RULE.contains(&field.name)
}

/// What the rules make of the arguments that are not set, the others being as in `object`.
fn unset(object: &Map<String, Value>) -> Values {
    let mut values = Values::new(FIELDS);
    for field in FIELDS {
        let set = field.name == "model_type" || !follows_from_others(field);
        if let Some(value) = object.get(field.name).and_then(|v| field.check(v)).filter(|_| set) {
            values.put(field.name, value);
        }
    }
    // Where they contradict each other, what follows from them is not known, and told.
    let _ = rules::sft(&mut values);
    values
}

/// A number is the same with and without a decimal point.
fn same(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().is_some_and(|x| b.as_f64() == Some(x))
}

fn readable(field: &Field, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(|v| readable(field, v)).collect::<Vec<_>>().join(", "),
        Value::Number(n) if matches!(field.kind, Kind::Limit { .. }) && n.as_i64() == Some(-1) => {
            "no limit".to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::ARGS_FILE;
    use super::*;

    fn told(json: &str) -> Vec<(&'static str, String)> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(ARGS_FILE), json).unwrap();
        chosen(dir.path()).unwrap()
    }

    #[test]
    fn only_what_somebody_chose_is_told() {
        let words = "--model_type qwen-demo --model_id_or_path /models/底座 --custom_train_dataset_path a.csv b.csv \
            --learning_rate 0.003 --max_length -1 --lora_rank 8 --do_sample false --output_dir /runs";
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let args = super::super::load_sft(None, &words).unwrap().args;
        let all = told(&Value::Object(args.to_json()).to_string());
        let wanted = [
            ("model_type", "qwen-demo"),
            ("model_id_or_path", "/models/底座"),
            ("max_length", "no limit"),
            ("custom_train_dataset_path", "a.csv, b.csv"),
            ("learning_rate", "0.003"),
            ("do_sample", "false"),
        ];
        assert_eq!(all, wanted.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn a_file_of_swift_and_broken_values_are_told_as_they_are() {
        let swift = include_str!("../../tests/data/sft_args_swift.json");
        let all = told(swift);
        assert_eq!(all[0], ("model_type", "qwen-1_8b".to_owned()));
        assert!(all.len() < 16, "{all:?}");
        let all = told(r#"{"lora_rank": "many", "save_steps": 3, "unknown": 1}"#);
        assert_eq!(all, [("lora_rank", "many".to_owned()), ("save_steps", "3".to_owned())]);
        let dir = tempfile::tempdir().unwrap();
        for broken in ["", "[]", "{", "\u{0}"] {
            std::fs::write(dir.path().join(ARGS_FILE), broken).unwrap();
            assert_eq!(chosen(dir.path()).unwrap_err().exit_code(), 2);
        }
    }
}
