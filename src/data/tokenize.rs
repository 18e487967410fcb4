//! `qwen-tui tokenize`: a JSON string a line in, a JSON list of ids a line out.

use std::io::{BufRead, ErrorKind, Write};

use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};

/// The mark that some editors put before a text in UTF-8.
pub const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Tokenizes each line of `input` that is not blank. A reader that goes away (`| head`) is the end, not an error.
///
/// # Errors
/// `Error::User` with the number of the first line that is not a JSON string.
pub fn tokenize_stdio(tokenizer: &Tokenizer, mut input: impl BufRead, mut output: impl Write) -> Result<()> {
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        let read = input.read_until(b'\n', &mut line);
        if read.map_err(|e| Error::user(format!("standard input, line {number}: {e}")))? == 0 {
            break;
        }
        let line = match number {
            1 => line.strip_prefix(BOM).unwrap_or(&line),
            _ => &line,
        };
        if line.trim_ascii().is_empty() {
            continue;
        }
        let text: String = serde_json::from_slice(line).map_err(|e| {
            let reason = e.to_string();
            // serde_json counts lines within this one line.
            let reason = reason.split(" at line").next().unwrap_or_default();
            Error::user(format!(
                "standard input, line {number}: a JSON string is wanted, such as \"不错\" ({reason})"
            ))
        })?;
        let ids = tokenizer.encode(&text);
        let mut list = String::with_capacity(7 * ids.len() + 3);
        for (i, id) in ids.iter().enumerate() {
            list += if i == 0 { "[" } else { "," };
            list += &id.to_string();
        }
        list += if ids.is_empty() { "[]\n" } else { "]\n" };
        // Flushed at once: who writes a line and waits for its answer gets it.
        if let Err(e) = output.write_all(list.as_bytes()).and_then(|()| output.flush()) {
            return closed(e);
        }
    }
    Ok(())
}

fn closed(e: std::io::Error) -> Result<()> {
    match e.kind() {
        ErrorKind::BrokenPipe => Ok(()),
        _ => Err(Error::user(format!("cannot write the ids: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::shared;

    #[test]
    fn a_list_a_line_until_a_bad_one() {
        let Some(dir) = shared("qwen1-tokenizer") else { return };
        let t = Tokenizer::load(&dir).unwrap();
        let run = |input: &[u8]| {
            let mut out = Vec::new();
            let result = tokenize_stdio(&t, input, &mut out);
            (String::from_utf8(out).unwrap(), result.map_err(|e| (e.exit_code(), e.to_string())))
        };
        let ok = "[9707,1879]\n[]\n[271]\n".to_string();
        assert_eq!(run(b"\"Hello world\"\n\n\"\"\r\n  \"\\n\\n\""), (ok, Ok(())));
        assert_eq!(run(b"\xEF\xBB\xBF\"a\"\n").0, "[64]\n");
        for bad in [&b"hello"[..], b"[1]", b"\"a\" \"b\"", b"\"\\ud800\"", b"\"\xff\""] {
            let (out, result) = run(&[b"\"a\"\n", bad, b"\n"].concat());
            let (code, message) = result.unwrap_err();
            assert_eq!((out.as_str(), code), ("[64]\n", 2));
            assert!(message.contains("line 2"), "{message}");
            assert!(!message.contains("at line 1"), "{message}");
        }
    }
}
