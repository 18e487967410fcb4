//! Loss and accuracy as SWIFT counts them.

use qwen_tui::data::template::Example;
use qwen_tui::job::event::number;
use serde::{Deserialize, Serialize};

use super::step::{Outcome, WeightedRow, count_targets};

/// How `acc` is counted (`acc_strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccStrategy {
    /// The share of label tokens (end token included) predicted rightly.
    Token,
    /// The share of rows with all of them right.
    Sentence,
}

impl AccStrategy {
    pub fn parse(name: &str) -> Self {
        if name == "sentence" { Self::Sentence } else { Self::Token }
    }

    fn of(self, rows: &[(u32, u32)]) -> f64 {
        let share = |right: usize, all: usize| if all == 0 { 0.0 } else { right as f64 / all as f64 };
        match self {
            Self::Token => {
                share(rows.iter().map(|r| r.0 as usize).sum(), rows.iter().map(|r| r.1 as usize).sum())
            }
            Self::Sentence => share(rows.iter().filter(|r| r.0 == r.1).count(), rows.len()),
        }
    }
}

/// The rows of a step, each label token weighted by 1 / (label tokens of its micro-batch * accumulation): the sum of
/// the weighted cross entropies is the mean over micro-batches of their mean losses.
pub fn weigh_step<'a>(
    examples: &'a [Example],
    micro: &[Vec<usize>],
    accumulation: usize,
) -> Vec<WeightedRow<'a>> {
    let rows = micro.iter().flat_map(|rows| weigh(examples, rows, 1.0 / accumulation as f64));
    rows.zip(0..).map(|(row, number)| WeightedRow { number, ..row }).collect()
}

/// The rows of an evaluation: batch means weighted by batch size.
pub fn weigh_evaluation(examples: &[Example], batch_size: usize) -> Vec<WeightedRow<'_>> {
    let all: Vec<usize> = (0..examples.len()).collect();
    all.chunks(batch_size)
        .flat_map(|rows| weigh(examples, rows, rows.len() as f64 / examples.len() as f64))
        .collect()
}

fn weigh<'a>(examples: &'a [Example], rows: &[usize], share: f64) -> Vec<WeightedRow<'a>> {
    let targets: usize = rows.iter().map(|&i| count_targets(&examples[i].labels)).sum();
    let weight = if targets == 0 { 0.0 } else { share / targets as f64 };
    rows.iter()
        .map(|&i| WeightedRow { ids: &examples[i].ids, labels: &examples[i].labels, weight, number: 0 })
        .collect()
}

/// Gathers the outcomes of a step's batches back into the order of its rows.
#[derive(Debug, Default)]
pub struct Tally {
    pub loss: f64,
    correct: Vec<(u32, u32)>,
}

impl Tally {
    pub fn new(rows: usize) -> Self {
        Self { loss: 0.0, correct: vec![(0, 0); rows] }
    }

    /// Adds the outcome of the rows `batch`.
    pub fn add(&mut self, batch: &[usize], outcome: &Outcome) {
        self.loss += outcome.loss;
        for (&row, &correct) in batch.iter().zip(&outcome.correct) {
            self.correct[row] = correct;
        }
    }

    /// Training accuracy: the micro-batches' accuracies over the accumulation.
    pub fn step_accuracy(&self, strategy: AccStrategy, micro: &[Vec<usize>], accumulation: usize) -> f64 {
        let mut at = 0;
        let sum: f64 = micro
            .iter()
            .map(|rows| {
                let part = &self.correct[at..at + rows.len()];
                at += rows.len();
                strategy.of(part)
            })
            .sum();
        sum / accumulation as f64
    }

    /// Evaluation accuracy, over all rows at once.
    pub fn accuracy(&self, strategy: AccStrategy) -> f64 {
        strategy.of(&self.correct)
    }
}

/// Means since the last line of `logging.jsonl`.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    steps: u64,
    #[serde(with = "number")]
    loss: f64,
    #[serde(with = "number")]
    acc: f64,
}

impl Window {
    pub fn add(&mut self, loss: f64, acc: f64) {
        self.steps += 1;
        self.loss += loss;
        self.acc += acc;
    }

    /// Sum of the losses.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// Mean loss and accuracy, and begins anew.
    pub fn take(&mut self) -> (f64, f64) {
        let n = self.steps.max(1) as f64;
        let means = (self.loss / n, self.acc / n);
        *self = Self::default();
        means
    }
}
