//! `predict_with_generate`: the validation rows are answered, and the answers compared with the labels.

use qwen_tui::args::SftArgs;
use qwen_tui::data::template::Example;
use qwen_tui::data::{Template, Tokenizer};
use qwen_tui::error::Result;
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

impl Answering {
    pub fn new(args: &SftArgs, tokenizer: Tokenizer) -> Result<Self> {
        let template = Template::new(&args.template_type, args.system.as_deref())?;
        let stops = template.stop_ids(&tokenizer);
        Ok(Self { tokenizer, stops, how: args.into(), comparison: Comparison::new() })
    }

    /// Answers each row, drawing by `seed`, and compares. `pause` hears before each token how many rows are answered,
    /// and whether it is before a row's first; false gives all of it up.
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
            // As SWIFT's trainer cuts it: all before the first label is the prompt.
            let cut = row.labels.iter().position(|&label| label >= 0).unwrap_or(row.ids.len());
            let (prompt, label) = row.ids.split_at(cut);
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
