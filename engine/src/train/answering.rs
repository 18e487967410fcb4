//! `predict_with_generate`: the validation rows are answered, and the answers compared with the labels.

use qwen_tui::args::SftArgs;
use qwen_tui::data::template::Example;
use qwen_tui::data::{Template, Tokenizer};
use qwen_tui::error::Result;
use qwen_tui::job::human::counted;
use qwen_tui::run::NlgScores;
use rand_mt::Mt;

use super::nlg::Comparison;
use crate::model::Qwen;
use crate::model::generate::{Generation, Writer};

/// Writes answers in evaluations.
pub struct Answering {
    tokenizer: Tokenizer,
    stops: Vec<u32>,
    how: Generation,
    comparison: Comparison,
}

/// What came of it.
pub struct Found {
    pub scores: Option<NlgScores>,
    pub warning: Option<String>,
}

/// As SWIFT's trainer cuts a row: the prompt is all before the first label. Prompt and labels.
fn cut(row: &Example) -> (&[u32], &[u32]) {
    row.ids.split_at(row.labels.iter().position(|&label| label >= 0).unwrap_or(row.ids.len()))
}

/// What there is to warn of before the first step: rows without a prompt, which no model can answer.
pub fn unasked(rows: &[Example], max_length: Option<usize>) -> Option<String> {
    let empty = || rows.iter().enumerate().filter(|(_, row)| cut(row).0.is_empty());
    let (first, row) = empty().next()?;
    let why = match max_length {
        Some(max) if row.ids.len() == max => {
            format!("max_length {max} has cut it away, or its query is empty")
        }
        _ => "its query is empty".to_owned(),
    };
    Some(format!(
        "{} without a prompt to answer (the first: validation row {}; {why}): an empty answer is compared with the label",
        counted(empty().count() as u64, "validation row"),
        first + 1
    ))
}

impl Answering {
    pub fn new(args: &SftArgs, tokenizer: Tokenizer) -> Result<Self> {
        let template = Template::new(&args.template_type, args.system.as_deref())?;
        let stops = template.stop_ids(&tokenizer);
        Ok(Self { tokenizer, stops, how: args.into(), comparison: Comparison::new() })
    }

    /// Answers each row, drawing by `seed`, and compares. `pause` hears before each token how many rows are answered,
    /// and whether it is before a row's first; false gives all of it up. A row without a prompt ([`unasked`]) has an
    /// empty answer.
    ///
    /// # Errors
    /// Scores of the model that are not finite; what `pause` returns.
    pub fn score(
        &self,
        model: &Qwen,
        rows: &[Example],
        seed: u64,
        pause: &mut dyn FnMut(u64, bool) -> Result<bool>,
    ) -> Result<Option<Found>> {
        let writer = Writer { model, tokenizer: &self.tokenizer, stops: self.stops.clone() };
        let mut random = Mt::new(seed as u32);
        let mut pairs = Vec::with_capacity(rows.len());
        for (n, row) in rows.iter().enumerate() {
            let (prompt, label) = cut(row);
            if prompt.is_empty() {
                pairs.push((String::new(), writer.text(label)));
                continue;
            }
            let (mut first, mut given_up) = (true, false);
            let answer = writer.answer(prompt, &self.how, &mut random, &mut |_| Ok(()), &mut || {
                given_up = !pause(n as u64, std::mem::take(&mut first))?;
                Ok(given_up)
            })?;
            if given_up {
                return Ok(None);
            }
            pairs.push((answer, writer.text(label)));
        }
        let scores = self.comparison.mean(&pairs);
        let warning = scores.is_none().then(|| {
            "no answer could be compared with its label: they are empty or hold nothing but full stops"
                .to_owned()
        });
        Ok(Some(Found { scores, warning }))
    }
}
