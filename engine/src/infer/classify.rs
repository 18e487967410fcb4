//! Labels by scoring the label words after the task's prompt.

use qwen_tui::data::{LABELS, Row, sentiment_prompt};
use qwen_tui::error::{Error, Result};
use serde::Serialize;
use serde_json::{Map, Value};
use tch::{Device, Kind, Tensor};

use super::Session;
use crate::model::generate::not_finite;
use crate::model::packed::sent;
use crate::model::{Mode, Packed};
use crate::train::limits;
use crate::train::step::{Limits, WeightedRow, plan};

/// Tokens kept free for the label.
const LABEL_ROOM: usize = 8;

/// What the model makes of a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    pub text: String,
    /// The likelier label.
    pub label: String,
    /// Probability of each label, among the labels.
    pub probabilities: Map<String, Value>,
}

/// One row to score: the prompt and one label's tokens.
struct Candidate {
    ids: Vec<u32>,
    labels: Vec<i64>,
}

/// A text to label, in the task's prompt.
pub struct Text {
    text: String,
    prompt: Vec<u32>,
}

impl Session {
    /// `text` in the task's prompt.
    ///
    /// # Errors
    /// One beyond the model's context.
    pub fn prepare(&self, text: &str) -> Result<Text> {
        let prompt = self.template.encode_prompt(&self.tokenizer, &Row::new(sentiment_prompt(text), ""));
        let limit = self.model.config().seq_length as usize;
        if prompt.len() + LABEL_ROOM > limit {
            return Err(Error::user(format!(
                "the text has {} tokens with the task's prompt; the model's context is {limit}: shorten it",
                prompt.len()
            )));
        }
        Ok(Text { text: text.to_owned(), prompt })
    }

    /// [`prepare`](Self::prepare) of each; an error tells which one of several, from 1.
    pub fn prepare_all(&self, texts: &[String]) -> Result<Vec<Text>> {
        let text = |(n, text): (usize, &String)| {
            self.prepare(text).map_err(|e| match texts.len() {
                1 => e,
                _ => e.context(format!("text {}", n + 1)),
            })
        };
        texts.iter().enumerate().map(text).collect()
    }

    /// Labels for `texts`.
    ///
    /// # Errors
    /// A text beyond the model's context.
    pub fn classify(&self, texts: &[String]) -> Result<Vec<Verdict>> {
        self.label(&self.prepare_all(texts)?)
    }

    /// Labels, many at once: P(label) is the product of its tokens' probabilities after the prompt, over the sum of
    /// both labels'. Where every label is one token, one pass over the prompt scores all of them.
    ///
    /// # Errors
    /// A score that is not finite.
    pub fn label(&self, texts: &[Text]) -> Result<Vec<Verdict>> {
        let words: Vec<Vec<u32>> = LABELS.iter().map(|l| self.tokenizer.encode(l)).collect();
        let single = words.iter().all(|w| w.len() == 1);
        let mut candidates = Vec::new();
        for Text { prompt, .. } in texts {
            for word in if single { &words[..1] } else { &words[..] } {
                let mut ids = prompt.clone();
                let mut labels = vec![-100i64; prompt.len()];
                ids.extend(word);
                labels.extend(word.iter().map(|&t| i64::from(t)));
                candidates.push(Candidate { ids, labels });
            }
        }
        let scores = if single {
            self.score(&candidates, 1, Some(&words))
        } else {
            self.score(&candidates, words.len(), None)
        };
        if scores.iter().any(|score| !score.is_finite()) {
            return Err(not_finite());
        }
        Ok(texts
            .iter()
            .zip(scores.chunks(LABELS.len()))
            .map(|(t, scores)| verdict(&t.text, scores))
            .collect())
    }

    /// Log-probabilities: of each candidate's label tokens, or where `words` are given of each word's one token. So many
    /// candidates `of_text` follow each other; they come together, since their prompt is computed once.
    fn score(&self, candidates: &[Candidate], of_text: usize, words: Option<&[Vec<u32>]>) -> Vec<f64> {
        let rows: Vec<WeightedRow<'_>> = candidates
            .iter()
            .map(|c| WeightedRow { ids: &c.ids, labels: &c.labels, weight: 1.0, number: 0 })
            .collect();
        let Limits { tokens, targets } =
            limits(self.model.config(), self.model.kind(), self.device, false, false);
        let limits = Limits { tokens: tokens / of_text, targets: targets / of_text };
        // The longest candidate of each text stands for all of them.
        let longest: Vec<WeightedRow<'_>> = rows
            .chunks(of_text)
            .filter_map(|text| text.iter().max_by_key(|r| r.ids.len()).copied())
            .collect();
        let per_row = words.map_or(1, <[_]>::len);
        let mut scores = vec![0.0; rows.len() * per_row];
        for texts in plan(&longest, limits, None) {
            let batch: Vec<usize> = texts.iter().flat_map(|i| i * of_text..(i + 1) * of_text).collect();
            let part: Vec<WeightedRow<'_>> = batch.iter().map(|&i| rows[i]).collect();
            let found = tch::no_grad(|| match words {
                Some(words) => self.score_words(&part, words),
                None => self.score_labels(&part),
            });
            for (n, &row) in batch.iter().enumerate() {
                scores[row * per_row..(row + 1) * per_row]
                    .copy_from_slice(&found[n * per_row..(n + 1) * per_row]);
            }
        }
        scores
    }

    /// For each row, the log-probability of each word's one token after the prompt.
    fn score_words(&self, rows: &[WeightedRow<'_>], words: &[Vec<u32>]) -> Vec<f64> {
        let ids: Vec<&[u32]> = rows.iter().map(|r| &r.ids[..r.ids.len() - 1]).collect();
        let batch = Packed::shared(&ids, self.device);
        let mut end = 0;
        let last: Vec<i64> = ids
            .iter()
            .map(|r| {
                end += r.len();
                batch.token_at(end - 1)
            })
            .collect();
        let hidden = self.model.encode(&batch, &Mode::default()).index_select(0, &self.long(&last));
        let logp = self.model.logits(&self.model.final_norm(&hidden)).log_softmax(-1, Kind::Float);
        let tokens: Vec<i64> = words.iter().map(|w| i64::from(w[0])).collect();
        floats(&logp.index_select(1, &self.long(&tokens)))
    }

    /// For each row, the sum of the log-probabilities of its label tokens.
    fn score_labels(&self, rows: &[WeightedRow<'_>]) -> Vec<f64> {
        let ids: Vec<&[u32]> = rows.iter().map(|r| r.ids).collect();
        let batch = Packed::shared(&ids, self.device);
        let (mut at, mut labels, mut owner) = (Vec::new(), Vec::new(), Vec::new());
        let mut start = 0;
        for (n, row) in rows.iter().enumerate() {
            for (i, &label) in row.labels.iter().enumerate().filter(|&(_, &l)| l >= 0) {
                at.push(batch.token_at(start + i - 1));
                labels.push(label);
                owner.push(n);
            }
            start += row.ids.len();
        }
        let hidden = self.model.encode(&batch, &Mode::default()).index_select(0, &self.long(&at));
        let logp = self.model.logits(&self.model.final_norm(&hidden)).log_softmax(-1, Kind::Float);
        let each = floats(&logp.gather(1, &self.long(&labels).unsqueeze(1), false));
        let mut sums = vec![0.0; rows.len()];
        for (owner, logp) in owner.into_iter().zip(each) {
            sums[owner] += logp;
        }
        sums
    }

    fn long(&self, values: &[i64]) -> Tensor {
        sent(values, self.device)
    }
}

fn floats(t: &Tensor) -> Vec<f64> {
    Vec::try_from(t.flatten(0, -1).to_device(Device::Cpu).to_kind(Kind::Double)).unwrap_or_default()
}

fn verdict(text: &str, scores: &[f64]) -> Verdict {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let best = (0..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best });
    Verdict {
        text: text.to_owned(),
        label: LABELS[best].to_owned(),
        probabilities: LABELS
            .iter()
            .zip(&weights)
            .map(|(l, w)| ((*l).to_owned(), (w / sum).into()))
            .collect(),
    }
}
