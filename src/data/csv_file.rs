//! Rows from CSV: a header, then records; a quoted cell may hold commas, quotes and line breaks.

use csv::{ByteRecord, ReaderBuilder};
use serde_json::Value;

use super::formats;
use super::rows::{Place, Record, Sink, check_length, utf8};
use crate::error::Result;

/// CSV has no null, so an empty cell in one of these columns stands for it.
const OPTIONAL: [&str; 4] = ["system", "history", "input", "query"];

pub(super) fn read(bytes: &[u8], sink: &mut Sink) -> Result<()> {
    // The library's own header handling would turn a wrong number of cells into an error of the whole file.
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let mut record = ByteRecord::new();
    let mut header: Option<Vec<String>> = None;
    loop {
        let start = reader.position().byte() as usize;
        let line = reader.position().line();
        match reader.read_byte_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(e) => return sink.fail(format!("line {line}: {e}")),
        }
        let raw = &bytes[start.min(bytes.len())..(reader.position().byte() as usize).min(bytes.len())];
        // Empty lines before a record are passed over by the library.
        let skipped = raw.iter().take_while(|b| b"\r\n".contains(b)).filter(|&&b| b == b'\n').count();
        let line = line + skipped as u64;

        let Some(columns) = &header else {
            let columns: Result<Vec<String>, String> =
                record.iter().map(|c| utf8(c).map(|c| c.trim().to_string())).collect();
            match columns {
                Err(reason) => return sink.fail(format!("line {line}: the header: {reason}")),
                Ok(columns) if !formats::known(&columns) => {
                    let found: Vec<String> = columns.iter().take(12).map(|c| formats::brief(c)).collect();
                    return sink.fail(format!("line {line}: {}", formats::unknown_columns(&found)));
                }
                Ok(columns) => header = Some(columns),
            }
            continue;
        };
        let last = reader.position().byte() as usize >= bytes.len();
        let row = if last && unclosed(raw) {
            Err("a quote opened in this row is not closed before the file ends".into())
        } else {
            cells(columns, &record)
        };
        sink.take(Place::line(line), row)?;
    }
}

/// Whether the last record runs over several lines because a quote in it never closes.
fn unclosed(raw: &[u8]) -> bool {
    raw.trim_ascii().contains(&b'\n') && raw.iter().filter(|&&b| b == b'"').count() % 2 == 1
}

fn cells(columns: &[String], record: &ByteRecord) -> Result<Record, String> {
    check_length(record.as_slice().len())?;
    if record.len() != columns.len() {
        return Err(format!(
            "{} cells where the header has {} (a comma or quote too many?)",
            record.len(),
            columns.len()
        ));
    }
    let mut row = Record::new();
    for (column, cell) in columns.iter().zip(record) {
        let cell = utf8(cell).map_err(|e| format!("`{column}`: {e}"))?;
        if !(cell.is_empty() && OPTIONAL.contains(&column.as_str())) {
            row.insert(column.clone(), Value::String(cell.into()));
        }
    }
    Ok(row)
}
