//! The prompt of `infer` without a data set, with SWIFT's commands.

use std::io::{BufRead, Write};

use qwen_tui::args::InferArgs;
use qwen_tui::data::Row;
use qwen_tui::error::{Context, Result};
use rand_mt::Mt;
use serde_json::json;

use super::Session;
use super::generate::Generation;
use super::rows::{append, result_file};

const HINT: &str = "`exit` or `quit` ends, `clear` forgets the conversation, `multi-line` takes several lines up to one \
                    that is `#`, `single-line` goes back.";

/// Reads queries from `input` until `exit` or its end, and writes the answers to `out`.
///
/// A template that knows no conversation (`default-generation`) answers each query by itself.
pub fn converse(
    session: &Session,
    args: &InferArgs,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<()> {
    let how = Generation::from(args);
    let mut random = Mt::new(args.seed as u32);
    let mut file = result_file(args)?;
    let mut history: Vec<[String; 2]> = Vec::new();
    let mut several = false;
    eprintln!("{HINT}");
    loop {
        write!(out, "<<< ").and_then(|()| out.flush()).user("standard output")?;
        let Some(query) = read_query(input, several)? else {
            writeln!(out).user("standard output")?;
            return Ok(());
        };
        match query.trim().to_lowercase().as_str() {
            "" => continue,
            "exit" | "quit" => return Ok(()),
            "clear" => {
                history.clear();
                continue;
            }
            "multi-line" if !several => {
                several = true;
                continue;
            }
            "single-line" if several => {
                several = false;
                continue;
            }
            _ => {}
        }
        let mut row = Row { query, response: String::new(), system: None, history: history.clone() };
        if session.template.check(std::slice::from_ref(&row)).is_err() {
            row.history.clear();
        }
        let prompt = session.template.encode_prompt(&session.tokenizer, &row);
        let mut told = 0;
        let response = session.generate(&prompt, &how, &mut random, &mut |text| {
            if args.stream {
                write!(out, "{}", &text[told..]).and_then(|()| out.flush()).user("standard output")?;
                told = text.len();
            }
            Ok(())
        })?;
        let rest = if args.stream { "" } else { response.as_str() };
        writeln!(out, "{rest}\n{}", "-".repeat(50)).user("standard output")?;
        append(&mut file, &json!({"query": row.query, "response": response, "history": row.history}))?;
        history.push([row.query, response]);
    }
}

/// One query; none at the end of the input.
fn read_query(input: &mut dyn BufRead, several: bool) -> Result<Option<String>> {
    let mut query = String::new();
    loop {
        let mut bytes = Vec::new();
        if input.read_until(b'\n', &mut bytes).user("standard input")? == 0 {
            return Ok((!query.is_empty()).then_some(query));
        }
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim_end_matches(['\n', '\r']);
        if !several {
            return Ok(Some(line.to_owned()));
        }
        // A command stands alone in its line.
        if query.is_empty()
            && matches!(line.trim().to_lowercase().as_str(), "exit" | "quit" | "clear" | "single-line")
        {
            return Ok(Some(line.to_owned()));
        }
        if let Some(rest) = line.strip_suffix('#') {
            query.push_str(rest);
            return Ok(Some(query));
        }
        query.push_str(line);
        query.push('\n');
    }
}
