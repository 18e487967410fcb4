//! What a benchmark found; `--json` prints it as it is. Seconds, bytes, operations.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::floor::Operations;

/// Names of our two candidates.
pub const OURS: &str = "ours";
pub const LITERAL: &str = "row by row";

/// Where it ran.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// `cpu` or `cuda:N`.
    pub device: String,
    pub device_name: String,
    pub processor: String,
    /// Processors that this program may use.
    pub cores: usize,
    pub threads: usize,
    pub libtorch: String,
    /// How many programs wanted a processor before it began, by the kernel's average of a minute.
    pub load_average: Option<f64>,
}

/// What was computed.
#[derive(Debug, Serialize)]
pub struct Task {
    pub shape: String,
    pub layers: i64,
    pub hidden: i64,
    pub heads: i64,
    pub mlp: i64,
    pub vocab: i64,
    pub parameters: i64,
    pub dtype: String,
    pub rows: String,
    pub rows_a_step: usize,
    /// Tokens of a timed step, on average.
    pub tokens_a_step: f64,
    pub rounds: usize,
    pub steps_a_round: usize,
}

/// Answer of a candidate to `steps N`.
#[derive(Debug, Deserialize)]
pub struct Block {
    pub steps: usize,
    pub seconds: f64,
    #[serde(default)]
    pub losses: Vec<f64>,
    #[serde(default)]
    pub grad_norms: Vec<f64>,
}

/// Answer of a candidate to `evaluate`.
#[derive(Debug, Deserialize)]
pub struct Evaluation {
    pub rows: u64,
    pub seconds: f64,
}

/// Answer of a candidate to `classify`: each text's.
#[derive(Debug, Deserialize)]
pub struct Latencies {
    pub seconds: Vec<f64>,
}

/// The figures of one candidate.
#[derive(Debug, Serialize)]
pub struct Figures {
    pub name: &'static str,
    /// The median over the rounds.
    pub step_seconds: f64,
    /// Of each round.
    pub round_step_seconds: Vec<f64>,
    pub steps_per_second: f64,
    pub rows_per_second: f64,
    pub tokens_per_second: f64,
    /// Most memory since it was ready: the card's, else the process's.
    pub peak_memory: Option<u64>,
    pub eval_rows_per_second: f64,
    pub classify_p50: f64,
    pub classify_p99: f64,
    /// Of the first step.
    pub first_loss: Option<f64>,
    pub first_grad_norm: Option<f64>,
    /// What it told about itself and its memory.
    pub facts: Value,
}

/// How far ours and row by row are apart at the first step, relative.
#[derive(Debug, Serialize)]
pub struct Apart {
    pub loss: f64,
    pub grad_norm: f64,
}

/// Loading the weights.
#[derive(Debug, Serialize, Deserialize)]
pub struct Loading {
    /// Of each load, the first one first.
    pub seconds: Vec<f64>,
    pub bytes: u64,
    /// Most memory of the process, mapped files included.
    pub peak: Option<u64>,
    /// The process's own memory before and after.
    pub own_before: Option<u64>,
    pub own_after: Option<u64>,
}

impl Loading {
    /// Of the fastest load.
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.seconds.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// Answer of the floor.
#[derive(Debug, Deserialize)]
pub struct Speed {
    pub side: i64,
    pub rate: f64,
    pub products_seconds: f64,
}

/// What a step cannot be faster than.
#[derive(Debug, Serialize)]
pub struct Floor {
    /// Of a timed step, on average.
    pub operations: Operations,
    pub total_operations: f64,
    /// Side of the square product that the rate is of.
    pub side: i64,
    /// Operations a second.
    pub rate: f64,
    /// The operations at that rate.
    pub seconds: f64,
    /// The step's own matrix products, timed alone.
    pub products_seconds: f64,
    /// Our step over either.
    pub ours_over_seconds: f64,
    pub ours_over_products: f64,
}

/// A cell of the table of cost as work grows.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cell {
    /// Tokens of each row.
    pub tokens: usize,
    /// Rows of a step.
    pub rows: usize,
    /// Of each timed step.
    pub seconds: Vec<f64>,
    /// Most memory so far (CPU: of this cell).
    pub peak: Option<u64>,
}

impl Cell {
    pub fn median(&self) -> f64 {
        median(&self.seconds)
    }
}

/// All of it.
#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub task: Task,
    pub candidates: Vec<Figures>,
    pub apart: Option<Apart>,
    /// Each other candidate's step over ours, by name.
    pub times_faster: Vec<(&'static str, f64)>,
    pub load: Option<Loading>,
    pub load_bytes_per_second: Option<f64>,
    pub floor: Option<Floor>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grow: Vec<Cell>,
}

impl Report {
    /// Sets the candidates beside each other and beside the floor.
    pub fn compare(&mut self, floor: Option<Floor>) {
        let of = |name: &str| self.candidates.iter().find(|c| c.name == name);
        let Some(ours) = of(OURS) else { return };
        let relative = |a: Option<f64>, b: Option<f64>| Some((a? - b?).abs() / b?.abs());
        self.apart = of(LITERAL).and_then(|literal| {
            Some(Apart {
                loss: relative(ours.first_loss, literal.first_loss)?,
                grad_norm: relative(ours.first_grad_norm, literal.first_grad_norm)?,
            })
        });
        let others = self.candidates.iter().filter(|c| c.name != OURS);
        self.times_faster = others.map(|c| (c.name, c.step_seconds / ours.step_seconds)).collect();
        self.floor = floor.map(|floor| Floor {
            ours_over_seconds: ours.step_seconds / floor.seconds,
            ours_over_products: ours.step_seconds / floor.products_seconds,
            ..floor
        });
    }
}

/// The middle one; of an even number the mean of the two in the middle.
pub fn median(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.get(middle) {
        None => f64::NAN,
        Some(&upper) if sorted.len() % 2 == 1 => upper,
        Some(&upper) => (sorted[middle - 1] + upper) / 2.0,
    }
}

/// The least value that `share` of them do not exceed (nearest rank).
pub fn at(of: &[f64], share: f64) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middles_and_shares() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
        let hundred: Vec<f64> = (0..100).rev().map(f64::from).collect();
        assert_eq!((at(&hundred, 0.99), at(&hundred, 0.0), at(&[7.0], 0.99)), (98.0, 0.0, 7.0));
    }
}
