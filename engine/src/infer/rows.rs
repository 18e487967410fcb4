//! `infer` on validation rows, as SWIFT's `infer_main` does it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use qwen_tui::args::InferArgs;
use qwen_tui::data::{Row, load};
use qwen_tui::error::{Context, Error, Result};
use rand_mt::Mt;
use serde_json::json;

use super::Session;
use super::generate::Generation;

/// From this many rows on only the result file has the answers.
const VERBOSE_LIMIT: usize = 100;

/// The file that answers are appended to, in the checkpoint: `infer_result_YYYYMMDD-HHMMSS.jsonl`.
pub fn result_file(args: &InferArgs) -> Result<Option<(PathBuf, File)>> {
    let Some(dir) = args.ckpt_dir.as_deref().filter(|_| args.save_result) else { return Ok(None) };
    let name = format!("infer_result_{}.jsonl", qwen_tui::run::dir::timestamp());
    let path = Path::new(dir).join(name);
    let file = OpenOptions::new().create(true).append(true).open(&path).user(path.display())?;
    Ok(Some((path, file)))
}

/// Appends one object to the result file.
pub fn append(file: &mut Option<(PathBuf, File)>, object: &serde_json::Value) -> Result<()> {
    let Some((path, file)) = file else { return Ok(()) };
    writeln!(file, "{object}").user(path.display())
}

/// Answers the first `val_dataset_sample` validation rows; prints query, response and `[LABELS]label`.
pub fn answer_rows(session: &Session, args: &InferArgs, out: &mut dyn Write) -> Result<()> {
    let chosen = load::read(&args.into())?;
    for warning in &chosen.warnings {
        eprintln!("warning: {warning}");
    }
    if chosen.validation.is_empty() {
        return Err(Error::user(
            "there are no validation rows: name their files with --custom_val_dataset_path FILE",
        ));
    }
    session.template.check(&chosen.validation)?;
    let mut file = result_file(args)?;
    let how = Generation::from(args);
    let mut random = Mt::new(args.seed as u32);
    let verbose = chosen.validation.len() < VERBOSE_LIMIT;
    let count = chosen.validation.len();
    let mut right = 0;
    for (n, row) in chosen.validation.iter().enumerate() {
        let Row { query, response: label, .. } = row;
        let prompt = session.template.encode_prompt(&session.tokenizer, row);
        if verbose {
            write!(out, "query: {query}\nresponse: ").user("standard output")?;
        }
        let mut told = 0;
        let response = session.generate(&prompt, &how, &mut random, &mut |text| {
            if verbose && args.stream {
                write!(out, "{}", &text[told..]).and_then(|()| out.flush()).user("standard output")?;
                told = text.len();
            }
            Ok(())
        })?;
        if verbose {
            let rest = if args.stream { "" } else { response.as_str() };
            writeln!(out, "{rest}\n[LABELS]{label}\n{}", "-".repeat(50)).user("standard output")?;
        } else if (n + 1) % 50 == 0 || n + 1 == count {
            eprintln!("{} of {count} rows", n + 1);
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
        append(&mut file, &object)?;
    }
    eprintln!("{right} of {count} answers equal their label");
    if let Some((path, _)) = file {
        eprintln!("answers: {}", path.display());
    }
    Ok(())
}
