//! Rows from JSON: one object a line (`.jsonl`), or a list of objects (`.json`).

use serde::de::IgnoredAny;
use serde_json::Value;

use super::rows::{Place, Record, Sink, check_length, utf8};
use crate::error::Result;

pub(super) fn read_lines(bytes: &[u8], sink: &mut Sink) -> Result<()> {
    for (index, line) in bytes.split(|&b| b == b'\n').enumerate() {
        if !line.trim_ascii().is_empty() {
            sink.take(Place::line(index as u64 + 1), object(line))?;
        }
    }
    Ok(())
}

pub(super) fn read_list(bytes: &[u8], sink: &mut Sink) -> Result<()> {
    let trimmed = bytes.trim_ascii();
    if trimmed.is_empty() {
        return Ok(());
    }
    if trimmed[0] != b'[' {
        return sink
            .fail("not a list of objects ([{...}, {...}]); with one object a line the file is named .jsonl");
    }
    // Once the whole is known to be JSON, elements can be told apart by brackets and commas alone.
    if let Err(e) = serde_json::from_slice::<IgnoredAny>(bytes) {
        return sink.fail(format!("broken JSON: {e}"));
    }
    // An element waits for the next one, which may stand on the same line.
    let mut waiting: Option<(Place, &[u8])> = None;
    let mut number = 0;
    each_element(bytes, |line, element| {
        number += 1;
        let mut place = Place { line, row: None };
        if let Some((before, text)) = waiting.take() {
            let mut before: Place = before;
            if before.line == line {
                // Where several rows stand on one line, its number tells too little.
                place.row = Some(number);
                before.row = Some(number - 1);
            }
            sink.take(before, object(text))?;
        }
        waiting = Some((place, element));
        Ok(())
    })?;
    waiting.map_or(Ok(()), |(place, text)| sink.take(place, object(text)))
}

fn object(text: &[u8]) -> Result<Record, String> {
    check_length(text.len())?;
    let text = utf8(text)?.trim();
    match serde_json::from_str(text) {
        Ok(Value::Object(record)) => Ok(record),
        Ok(_) => Err("not a JSON object ({\"column\": value, ...})".into()),
        Err(e) => {
            let reason = e.to_string();
            // The line that serde_json adds counts from the row's own beginning.
            Err(format!(
                "broken JSON at character {}: {}",
                e.column(),
                reason.split(" at line").next().unwrap_or_default()
            ))
        }
    }
}

/// Calls `take` for the elements of a list that is known to be well-formed JSON, with the line each begins on.
fn each_element<'a>(bytes: &'a [u8], mut take: impl FnMut(u64, &'a [u8]) -> Result<()>) -> Result<()> {
    let (mut line, mut depth, mut in_string, mut escaped) = (1, 0usize, false, false);
    let mut start: Option<(u64, usize)> = None;
    for (at, &b) in bytes.iter().enumerate() {
        line += u64::from(b == b'\n');
        if in_string {
            in_string = escaped || b != b'"';
            escaped = b == b'\\' && !escaped;
            continue;
        }
        let ends = depth == 1 && matches!(b, b',' | b']');
        if ends && let Some((line, from)) = start.take() {
            take(line, &bytes[from..at])?;
        }
        if depth == 1 && !ends && start.is_none() && !b.is_ascii_whitespace() {
            start = Some((line, at));
        }
        match b {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}
