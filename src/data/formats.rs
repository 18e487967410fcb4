//! What the columns of a record mean: the shapes of rows that SWIFT reads, and `DAMO_NLP/jd`'s.

use serde_json::Value;

use super::python_literal;
use super::rows::Record;
use super::template::{LABELS, Row, sentiment_prompt};

/// The row of a record; None where it has no label or answer.
pub(super) fn to_row(mut record: Record) -> Result<Option<Row>, String> {
    // In SWIFT's order, so that a file with columns of two shapes is read as there.
    if record.contains_key("response") {
        return query_response(record).map(Some);
    }
    if record.contains_key("instruction") && record.contains_key("output") {
        return alpaca(record);
    }
    for (key, from, value) in [("conversations", "from", "value"), ("messages", "role", "content")] {
        if let Some(turns) = record.remove(key) {
            return conversation(turns, key, from, value);
        }
    }
    if record.contains_key("sentence") && record.contains_key("label") {
        return jd(record);
    }
    let found: Vec<String> = record.keys().take(12).map(|k| brief(k)).collect();
    Err(unknown_columns(&found))
}

/// Whether rows can be read from these columns.
pub(super) fn known(columns: &[String]) -> bool {
    let has = |name: &str| columns.iter().any(|c| c == name);
    has("response")
        || has("instruction") && has("output")
        || has("conversations")
        || has("messages")
        || has("sentence") && has("label")
}

pub(super) fn unknown_columns(found: &[String]) -> String {
    let found = if found.is_empty() { "none".into() } else { found.join(", ") };
    format!(
        "columns not understood: {found}. Understood are: sentence, label; response (with query, system, history); \
         instruction, output (with input); conversations; messages"
    )
}

fn query_response(mut record: Record) -> Result<Row, String> {
    let response = text(record.remove("response"), "response")?.ok_or("`response` is null")?;
    let query = text(record.remove("query"), "query")?.unwrap_or_default();
    let system = text(record.remove("system"), "system")?;
    let history = match literal(record.remove("history").unwrap_or_default(), "history")? {
        Value::Null => Vec::new(),
        Value::Array(turns) => turns.into_iter().map(turn).collect::<Result<_, _>>()?,
        _ => return Err("`history` is not a list of [query, response] pairs".into()),
    };
    Ok(Row { query, response, system, history })
}

fn turn(turn: Value) -> Result<[String; 2], String> {
    let Value::Array(pair) = turn else {
        return Err("`history` is not a list of [query, response] pairs".into());
    };
    match <[Value; 2]>::try_from(pair) {
        Ok([Value::String(query), Value::String(response)]) => Ok([query, response]),
        _ => Err("a turn of `history` is not a pair of two texts".into()),
    }
}

fn alpaca(mut record: Record) -> Result<Option<Row>, String> {
    let Some(response) = text(record.remove("output"), "output")? else { return Ok(None) };
    let mut query = text(record.remove("instruction"), "instruction")?.ok_or("`instruction` is null")?;
    if let Some(input) = text(record.remove("input"), "input")?.filter(|i| !i.is_empty()) {
        query.push('\n');
        query += &input;
    }
    Ok(Some(Row::new(query, response)))
}

fn conversation(turns: Value, column: &str, from: &str, value: &str) -> Result<Option<Row>, String> {
    let turns = match literal(turns, column)? {
        Value::Null => return Ok(None),
        Value::Array(turns) => turns,
        _ => return Err(format!("`{column}` is not a list")),
    };
    let mut said = Vec::with_capacity(turns.len());
    for turn in turns {
        let Value::Object(mut turn) = turn else {
            return Err(format!("a turn of `{column}` is not an object"));
        };
        match (turn.remove(from), turn.remove(value)) {
            (Some(Value::String(who)), Some(Value::String(what))) => said.push((who, what)),
            _ => return Err(format!("a turn of `{column}` lacks the text `{from}` or `{value}`")),
        }
    }
    let mut said = said.into_iter().peekable();
    let system = said.next_if(|(who, _)| who == "system").map(|(_, what)| what);
    let mut turns = Vec::new();
    while let Some((who, query)) = said.next() {
        let answer = said.next();
        match answer {
            Some((second, response)) if who == "user" && second == "assistant" => {
                turns.push([query, response])
            }
            _ => {
                return Err(format!(
                    "`{column}` does not alternate between user and assistant, ending with assistant"
                ));
            }
        }
    }
    let [query, response] = turns.pop().ok_or_else(|| format!("`{column}` has no turn"))?;
    Ok(Some(Row { query, response, system, history: turns }))
}

fn jd(mut record: Record) -> Result<Option<Row>, String> {
    let Some(label) = jd_label(&record.remove("label").unwrap_or_default())? else { return Ok(None) };
    let sentence = text(record.remove("sentence"), "sentence")?.ok_or("`sentence` is null")?;
    Ok(Some(Row::new(sentiment_prompt(&sentence), LABELS[label])))
}

/// 0 or 1, written as a number or as text; None for null, nothing, and what pandas writes for it.
fn jd_label(label: &Value) -> Result<Option<usize>, String> {
    let number = match label {
        Value::Null => return Ok(None),
        Value::Number(n) => n.as_f64(),
        Value::String(s) => match s.trim().to_ascii_lowercase().as_str() {
            "" | "nan" | "null" | "none" => return Ok(None),
            s => s.parse().ok(),
        },
        _ => None,
    };
    match number {
        Some(0.0) => Ok(Some(0)),
        Some(1.0) => Ok(Some(1)),
        _ => Err(format!(
            "unknown label {}; labels are 0.0 (negative), 1.0 (positive) or empty",
            brief(&label.to_string())
        )),
    }
}

fn text(value: Option<Value>, column: &str) -> Result<Option<String>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) => Ok(Some(s)),
        Some(other) => Err(format!("`{column}` is not a text: {}", brief(&other.to_string()))),
    }
}

/// A list that stands in a cell as text (JSON, or Python's way of writing it, as pandas saves it) is read from it.
fn literal(value: Value, column: &str) -> Result<Value, String> {
    match value {
        Value::String(s) if s.trim().is_empty() => Ok(Value::Null),
        Value::String(s) => python_literal::parse(&s).map_err(|e| format!("`{column}` is not a list: {e}")),
        other => Ok(other),
    }
}

/// The beginning of a text that may be huge, for a message.
pub(super) fn brief(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}
