//! The arithmetic of a step, counted from the model's shape: what no way of computing it can do without.

use super::job::{JobRow, Sizes};

/// Floating-point operations of a step, a multiplication and an addition counted as two.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Operations {
    /// The blocks' matrices, on the way forward.
    pub forward: f64,
    /// The same on the way back, for the activations alone: frozen weights have no gradient. Nothing flows below the
    /// first adapter's input.
    pub backward: f64,
    /// The adapters, both ways.
    pub lora: f64,
    /// Queries by keys and probabilities by values, both ways, without what causality leaves out.
    pub attention: f64,
    /// Logits where labels are, both ways.
    pub logits: f64,
}

impl Operations {
    /// Those of LoRA of this `rank` on every `c_attn`, over `rows`.
    pub fn of(model: &Sizes, rank: usize, rows: &[JobRow]) -> Self {
        let (h, f, v, layers) =
            (model.hidden as f64, model.mlp as f64, model.vocab as f64, model.layers as f64);
        let rank = rank as f64;
        let tokens: f64 = rows.iter().map(|row| row.ids.len() as f64).sum();
        let targets: f64 = rows.iter().map(|row| targets(row) as f64).sum();
        let pairs: f64 = rows.iter().map(|row| (row.ids.len() * (row.ids.len() + 1) / 2) as f64).sum();
        let (c_attn, block) = (3.0 * h * h, 4.0 * h * h + 3.0 * h * f);
        // Forward A and B; back B's and A's gradients and the two activations', of which the first block lacks one.
        let lora = 2.0 * tokens * rank * (3.0 * (h + 3.0 * h) * layers - h);
        Self {
            forward: 2.0 * tokens * block * layers,
            backward: 2.0 * tokens * (block * layers - c_attn),
            lora,
            // Two products forward and four back, each of 2 h operations a pair.
            attention: 6.0 * 2.0 * h * pairs * layers,
            logits: 2.0 * 2.0 * targets * h * v,
        }
    }

    /// Each over `steps`.
    pub fn over(&self, steps: f64) -> Self {
        Self {
            forward: self.forward / steps,
            backward: self.backward / steps,
            lora: self.lora / steps,
            attention: self.attention / steps,
            logits: self.logits / steps,
        }
    }

    pub fn total(&self) -> f64 {
        self.forward + self.backward + self.lora + self.attention + self.logits
    }
}

/// Label tokens that are predicted.
fn targets(row: &JobRow) -> usize {
    crate::train::step::count_targets(&row.labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small numbers, by hand.
    #[test]
    fn operations_are_those_on_paper() {
        let model = Sizes { layers: 2, hidden: 10, heads: 1, mlp: 20, vocab: 100, seq_length: 64, eps: 1e-6 };
        let row = JobRow { ids: vec![0; 3], labels: vec![-100, 5, 5] };
        let found = Operations::of(&model, 2, &[row]);
        // A block has 10 x 30 + 10 x 10 + 3 x 10 x 20 = 1000 weights; forward 2 x 3 tokens x 1000 x 2 blocks.
        assert_eq!(found.forward, 12_000.0);
        assert_eq!(found.backward, 12_000.0 - 2.0 * 3.0 * 300.0);
        // A: 20 weights, B: 60; forward, and twice back, but the first block's A once: 2 x 3 x (480 - 20).
        assert_eq!(found.lora, 2.0 * 3.0 * (3.0 * 80.0 * 2.0 - 20.0));
        // 6 pairs; 6 products of 2 x 10 a pair in 2 blocks.
        assert_eq!(found.attention, 1440.0);
        assert_eq!(found.logits, 2.0 * 2.0 * 2.0 * 10.0 * 100.0);
    }
}
