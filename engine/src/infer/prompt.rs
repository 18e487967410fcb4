//! The prompt of `infer` without a data set, with SWIFT's commands.

use std::io::{BufRead, IsTerminal, Write};

use qwen_tui::args::InferArgs;
use qwen_tui::data::Row;
use qwen_tui::error::{Context, Error, Result};
use qwen_tui::stderr::{note, warning};
use rand_mt::Mt;
use serde_json::json;

use super::Session;
use super::answers::Answers;
use super::generate::Generation;
use super::interrupt::Interrupt;
use super::lines::Lines;
use super::room::{Fit, Room};

const HINT: &str = "`exit` or `quit` ends, Ctrl-C stops an answer, `clear` forgets the conversation, `multi-line` takes several lines up to one \
                    that ends in `#`, `single-line` goes back.";

/// Reads queries from `input` until `exit` or its end, and writes the answers to `out`.
///
/// A template that knows no conversation (`default-generation`) answers each query by itself.
pub fn converse(
    session: &Session,
    args: &InferArgs,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<()> {
    let mut answers = Answers::new(args);
    let done = talk(session, args, &mut Lines::new(input), out, &mut answers);
    answers.tell();
    done
}

fn talk(
    session: &Session,
    args: &InferArgs,
    input: &mut Lines<'_>,
    out: &mut dyn Write,
    answers: &mut Answers,
) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    let how = Generation::from(args);
    let room = Room::new(args, session.model.config());
    let mut random = Mt::new(args.seed as u32);
    let mut stretched = false;
    let mut history: Vec<[String; 2]> = Vec::new();
    let mut several = false;
    let typed = std::io::stdin().is_terminal();
    note(HINT);
    loop {
        let sign = if several { "<<<[M] " } else { "<<< " };
        write!(out, "{sign}").and_then(|()| out.flush()).user("standard output")?;
        let query = match read_query(input, several)? {
            Some(Ok(query)) => query,
            // A slip of the keys: a terminal that takes back a byte of a character leaves the others.
            Some(Err(e)) if typed => {
                warning(e);
                continue;
            }
            Some(Err(e)) => return Err(e),
            None => {
                writeln!(out).user("standard output")?;
                return Ok(());
            }
        };
        match query.trim().to_lowercase().as_str() {
            "" => continue,
            "exit" | "quit" => {
                // Without a terminal nobody has typed the line's end.
                writeln!(out).user("standard output")?;
                return Ok(());
            }
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
        let prompt = match room.fit(session.template.encode_prompt(&session.tokenizer, &row)) {
            Ok(Fit::Whole(prompt)) => prompt,
            Ok(Fit::Stretched(prompt, message)) => {
                if !std::mem::replace(&mut stretched, true) {
                    warning(message);
                }
                prompt
            }
            // A conversation outlives a query that is too long.
            Ok(Fit::LeftOut(message)) | Err(Error::User(message)) => {
                let clear = if row.history.is_empty() { "" } else { ", or `clear` the conversation" };
                warning(format!("{message}{clear}"));
                continue;
            }
            Err(e) => return Err(e),
        };
        let mut told = 0;
        interrupt.begin();
        let mut tell = |text: &str| {
            if args.stream {
                write!(out, "{}", &text[told..]).and_then(|()| out.flush()).user("standard output")?;
                told = text.len();
            }
            Ok(())
        };
        let response =
            session.generate_until(&prompt, &how, &mut random, &mut tell, &mut || interrupt.stopped())?;
        let rest = if args.stream { "" } else { response.as_str() };
        writeln!(out, "{rest}\n{}", "-".repeat(50)).user("standard output")?;
        answers.append(&json!({"query": row.query, "response": response, "history": row.history}));
        interrupt.done(answers.written());
        history.push([row.query, response]);
    }
}

/// One query, or why it is none; nothing at the end of the input.
fn read_query(input: &mut Lines<'_>, several: bool) -> Result<Option<Result<String>>> {
    let mut query = String::new();
    loop {
        let line = match input.try_line()? {
            Some(Ok(line)) => line,
            Some(Err(e)) => return Ok(Some(Err(e))),
            None => return Ok((!query.is_empty()).then_some(Ok(query))),
        };
        // A command stands alone in its line.
        let command =
            matches!(line.trim().to_lowercase().as_str(), "exit" | "quit" | "clear" | "single-line");
        if !several || (query.is_empty() && command) {
            return Ok(Some(Ok(line)));
        }
        if let Some(rest) = line.strip_suffix('#') {
            query.push_str(rest);
            return Ok(Some(Ok(query)));
        }
        query.push_str(&line);
        query.push('\n');
    }
}
