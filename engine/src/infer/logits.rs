//! For comparing with other programs: the logits of token ids, and the token ids of rows.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::path::Path;

use qwen_tui::args::load_infer;
use qwen_tui::data::{OnBroken, Template, Tokenizer, Truncation, read_file};
use qwen_tui::error::{Context, Error, Result};
use serde_json::json;
use tch::Tensor;

use super::Session;
use super::stdio::{Out, utf8, warn};
use crate::model::{Mode, Packed, Qwen, weights};

/// `logits`: rows of token ids from standard input, a JSON list a line; their logits in the safetensors file `out`, a
/// tensor `[tokens, vocab]` fp32 a row, named by the row's number from 0. `args` are those of `infer`.
///
/// # Errors
/// What [`Session::open`] returns; an `out` that is there; a line that is no list of the model's ids; a disk that refuses.
pub fn logits(args: &[OsString], out: &Path) -> Result<()> {
    if out.symlink_metadata().is_ok() {
        return Err(Error::user(format!(
            "--out {}: is there already and is not overwritten: remove it first, or name a new file",
            out.display()
        )));
    }
    let loaded = load_infer(&utf8(args)?)?;
    warn(&loaded.warnings);
    let session = Session::open(&loaded.args)?;
    let mut tensors = BTreeMap::new();
    for (n, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.user("standard input")?;
        let ids = read_ids(&line, session.model.config().vocab_size)
            .map_err(|why| Error::user(format!("standard input, line {}: {why}", n + 1)))?;
        tensors.insert(n.to_string(), of_row(&session.model, &ids));
    }
    if tensors.is_empty() {
        return Err(Error::user(
            "standard input: no row; give a JSON list of token ids a line, such as [9707, 11]",
        ));
    }
    weights::save(out, &tensors)
}

/// Logits `[tokens, vocab]` in fp32 after each of `ids`.
fn of_row(model: &Qwen, ids: &[u32]) -> Tensor {
    tch::no_grad(|| {
        let batch = Packed::new(&[ids], 0, model.device());
        model.logits(&model.final_norm(&model.encode(&batch, &Mode::default())))
    })
}

fn read_ids(line: &str, vocab: i64) -> Result<Vec<u32>, String> {
    let ids: Vec<u32> =
        serde_json::from_str(line).map_err(|e| format!("expected a JSON list of token ids ({e})"))?;
    match ids.iter().find(|id| i64::from(**id) >= vocab) {
        Some(id) => Err(format!("{id} is no token of this model, which has {vocab}")),
        None if ids.is_empty() => Err("the list is empty".to_owned()),
        None => Ok(ids),
    }
}

/// `encode`: what a template makes of the rows in `file`, a JSON object a line with `ids` and `labels` (-100: no loss).
///
/// # Errors
/// Those of the reader of rows, of the tokenizer and of the template.
pub fn encode(model: &Path, template: &str, system: Option<&str>, file: &Path) -> Result<()> {
    let template = Template::new(template, system)?;
    let tokenizer = Tokenizer::load(model)?;
    let read = read_file(file, OnBroken::Error)?;
    template.check_read(&read.rows, read.unplain.as_deref())?;
    let mut out = Out::new(std::io::stdout().lock());
    let done = read.rows.iter().try_for_each(|row| {
        let Some(example) = template.encode(&tokenizer, row, None, Truncation::Delete) else { return Ok(()) };
        writeln!(out, "{}", json!({"ids": example.ids, "labels": example.labels})).user("standard output")
    });
    out.unless_closed(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_the_model() {
        assert_eq!(read_ids("[0, 9]", 10), Ok(vec![0, 9]));
        for (line, why) in [
            ("[10]", "10 is no token"),
            ("[]", "empty"),
            ("[-1]", "JSON list"),
            ("x", "JSON list"),
            ("", "JSON list"),
        ] {
            assert!(read_ids(line, 10).unwrap_err().contains(why), "{line}");
        }
    }
}
