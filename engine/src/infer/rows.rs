//! `infer` on validation rows, as SWIFT's `infer_main` does it.

use std::io::Write;

use qwen_tui::args::{ARGS_FILE, InferArgs};
use qwen_tui::data::{Row, load};
use qwen_tui::error::{Context, Error, Result};
use qwen_tui::stderr;
use rand_mt::Mt;
use serde_json::json;

use super::Session;
use super::answers::Answers;
use super::generate::Generation;
use super::room::{Fit, Room};

/// From this many rows on only the result file has the answers, unless `verbose` says otherwise.
const VERBOSE_LIMIT: usize = 100;

/// Answers the first `val_dataset_sample` validation rows; prints query, response and `[LABELS]label`.
pub fn answer_rows(session: &Session, args: &InferArgs, out: &mut dyn Write) -> Result<()> {
    let mut sources = load::Sources::from(args);
    if !sources.validation.is_empty() {
        // Nothing is split off the training rows.
        sources.train = [&[], &[]];
    }
    let chosen = load::read(&sources).map_err(|e| match (e, args.load_dataset_config, &args.ckpt_dir) {
        (Error::User(message), true, Some(dir)) => Error::user(format!(
            "{message}; {dir}/{ARGS_FILE} names it (load_dataset_config): give other validation rows with \
             custom_val_dataset_path"
        )),
        (e, ..) => e,
    })?;
    for warning in &chosen.warnings {
        stderr::warning(warning);
    }
    if chosen.validation.is_empty() {
        return Err(Error::user("there are no validation rows: name their files in custom_val_dataset_path"));
    }
    session.template.check_read(&chosen.validation, chosen.unplain.as_deref())?;
    let rows = fitting(session, args, &chosen.validation)?;
    let mut answers = Answers::new(args);
    let how = Generation::from(args);
    let mut random = Mt::new(args.seed as u32);
    let verbose = args.verbose.unwrap_or(rows.len() < VERBOSE_LIMIT);
    let count = rows.len();
    let mut right = 0;
    for (n, (row, prompt)) in rows.iter().enumerate() {
        let Row { query, response: label, .. } = row;
        if verbose {
            write!(out, "query: {query}\nresponse: ").user("standard output")?;
        }
        let mut told = 0;
        let mut tell = |text: &str| {
            if verbose && args.stream {
                write!(out, "{}", &text[told..]).and_then(|()| out.flush()).user("standard output")?;
                told = text.len();
            }
            Ok(())
        };
        let response = match prompt.is_empty() {
            true => String::new(),
            false => session.generate(prompt, &how, &mut random, &mut tell)?,
        };
        if verbose {
            let rest = if args.stream { "" } else { response.as_str() };
            writeln!(out, "{rest}\n[LABELS]{label}\n{}", "-".repeat(50)).user("standard output")?;
        } else if (n + 1) % 50 == 0 || n + 1 == count {
            stderr::note(&format!("{} of {count} rows", n + 1));
        }
        right += usize::from(response.trim() == label.trim());
        let mut object = json!({"response": response, "query": query});
        if !row.history.is_empty() {
            object["history"] = json!(row.history);
        }
        if let Some(system) = &row.system {
            object["system"] = json!(system);
        }
        object["label"] = json!(label);
        answers.append(&object);
    }
    stderr::note(&format!("{right} of {count} answers equal their label"));
    answers.tell();
    Ok(())
}

/// The rows to answer with their prompts, before the first is answered: those longer than `max_length` are left out
/// (and said) or keep their end. Of an empty prompt, which no model can answer, it is said that its answer is empty.
fn fitting<'a>(session: &Session, args: &InferArgs, rows: &'a [Row]) -> Result<Vec<(&'a Row, Vec<u32>)>> {
    let room = Room::new(args, session.model.config());
    let mut kept = Vec::with_capacity(rows.len());
    let (mut stretched, mut unasked) = (false, Vec::new());
    for (n, row) in rows.iter().enumerate() {
        let place = format!("validation row {}", n + 1);
        match room
            .fit(session.template.encode_prompt(&session.tokenizer, row))
            .map_err(|e| e.context(&place))?
        {
            Fit::Whole(prompt) => {
                if prompt.is_empty() {
                    unasked.push(n + 1);
                }
                kept.push((row, prompt));
            }
            Fit::Stretched(prompt, message) => {
                if !std::mem::replace(&mut stretched, true) {
                    stderr::warning(format!("{place}: {message}"));
                }
                kept.push((row, prompt));
            }
            Fit::LeftOut(message) => stderr::warning(format!("{place}: {message}")),
        }
    }
    if let Some(first) = unasked.first() {
        let why = "there is nothing to answer";
        match unasked.len() {
            1 => stderr::warning(format!(
                "validation row {first} has an empty prompt: {why}, its answer is empty"
            )),
            n => stderr::warning(format!(
                "{n} validation rows have an empty prompt (the first: row {first}): {why}, their answers are empty"
            )),
        }
    }
    if kept.is_empty() {
        return Err(Error::user("every validation row is longer than max_length: raise it"));
    }
    Ok(kept)
}
