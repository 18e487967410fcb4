//! The loss and gradient of a set of rows: one right-padded causal batch, logits only where labels are, each label
//! token weighted so that the gradient is that of the row-by-row computation.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::model::packed::sent;
use crate::model::qwen::Kept;
use crate::model::{Mode, Packed, Qwen};
use crate::shim::{BelowAutograd, Fetched};

/// A row on its way through the model.
#[derive(Debug, Clone, Copy)]
pub struct WeightedRow<'a> {
    pub ids: &'a [u32],
    /// -100 where no loss is taken; same length as `ids`.
    pub labels: &'a [i64],
    /// Weight of each of its label tokens in the loss.
    pub weight: f64,
    /// Its number in the step, which its dropout is drawn by.
    pub number: u64,
}

impl WeightedRow<'_> {
    /// Label tokens that are predicted (the first token of a row never is).
    pub fn targets(&self) -> usize {
        count_targets(self.labels)
    }
}

/// Label tokens that are predicted: all but the first position.
pub fn count_targets(labels: &[i64]) -> usize {
    labels.iter().skip(1).filter(|&&l| l >= 0).count()
}

/// What a forward pass over some rows found, on its way from the device, which may not have come to it.
#[derive(Debug)]
pub struct Pending {
    /// The loss, and of each label token whether it was predicted rightly `[1 + m]`, in fp64.
    figures: Fetched,
    /// Label tokens of each row.
    counts: Vec<u32>,
}

impl Pending {
    /// `loss` is a scalar, `hits` `[m]`.
    fn new(loss: &Tensor, hits: &Tensor, counts: &[u32]) -> Self {
        let figures =
            Tensor::cat(&[loss.detach().view([1]), hits.view([-1])].map(|t| t.to_kind(Kind::Double)), 0);
        Self { figures: Fetched::new(&figures), counts: counts.to_vec() }
    }

    /// What was found, waited for.
    pub fn outcome(&self) -> Outcome {
        let figures: Vec<f64> = Vec::try_from(self.figures.wait()).unwrap_or_default();
        let mut figures = figures.into_iter();
        let loss = figures.next().unwrap_or(f64::NAN);
        let of_row =
            |&n: &u32| (figures.by_ref().take(n as usize).filter(|&hit| hit != 0.0).count() as u32, n);
        Outcome { loss, correct: self.counts.iter().map(of_row).collect() }
    }
}

/// What a forward pass over some rows found.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// Sum of weight times cross entropy over all label tokens.
    pub loss: f64,
    /// For each row, in the order given: label tokens predicted rightly, and label tokens.
    pub correct: Vec<(u32, u32)>,
}

/// How large a computation may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Tokens of one forward pass, attention's padding counted.
    pub tokens: usize,
    /// Label tokens of one forward pass: each costs a row of logits.
    pub targets: usize,
}

/// Splits rows into batches within `limits`, longest first; every row is in one of them.
///
/// `alone_beyond`: rows longer than this come alone (dynamic NTK outside training depends on the length).
pub fn plan(rows: &[WeightedRow<'_>], limits: Limits, alone_beyond: Option<usize>) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(rows[i].ids.len()), i));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let (mut longest, mut targets) = (0, 0);
    for i in order {
        let (length, labels) = (rows[i].ids.len(), rows[i].targets());
        let alone = alone_beyond.is_some_and(|n| longest > n);
        match batches.last_mut() {
            Some(batch)
                if !alone
                    && (batch.len() + 1) * longest <= limits.tokens
                    && targets + labels <= limits.targets =>
            {
                targets += labels;
                batch.push(i);
            }
            _ => {
                (longest, targets) = (length, labels);
                batches.push(vec![i]);
            }
        }
    }
    batches
}

/// Where the labels of a batch are.
struct Targets {
    /// Index of the token before each label `[m]`.
    at: Tensor,
    /// The labels `[m]`.
    labels: Tensor,
    /// Their weights `[m]`.
    weights: Tensor,
    /// Label tokens of each row.
    counts: Vec<u32>,
}

impl Targets {
    fn new(rows: &[WeightedRow<'_>], batch: &Packed) -> Self {
        let (mut at, mut labels, mut weights) = (Vec::new(), Vec::new(), Vec::<f32>::new());
        let mut counts = Vec::with_capacity(rows.len());
        let mut start = 0;
        for row in rows {
            let before = labels.len();
            for (i, &label) in row.labels.iter().enumerate().skip(1).filter(|&(_, &l)| l >= 0) {
                at.push(batch.token_at(start + i - 1));
                labels.push(label);
                weights.push(row.weight as f32);
            }
            counts.push((labels.len() - before) as u32);
            start += row.ids.len();
        }
        let device = batch.ids.device();
        Self {
            at: sent::<i64>(&at, device),
            labels: sent::<i64>(&labels, device),
            weights: sent(&weights, device),
            counts,
        }
    }

    /// Loss (a scalar with its graph) of final hidden states `[tokens, h]`, and what is told of them.
    fn loss(&self, model: &Qwen, hidden: &Tensor) -> (Tensor, Pending) {
        let logits = model.logits(&model.final_norm(&hidden.index_select(0, &self.at)));
        let hits = logits.detach().argmax(-1, false).eq_tensor(&self.labels);
        let each = logits.cross_entropy_loss::<Tensor>(&self.labels, None, tch::Reduction::None, -100, 0.0);
        let loss = (each * &self.weights).sum(Kind::Float);
        let found = Pending::new(&loss, &hits, &self.counts);
        (loss, found)
    }

    /// Its gradient, added to what the hidden states were computed from.
    fn backward(&self, model: &Qwen, hidden: &Tensor) -> Pending {
        let (loss, found) = self.loss(model, hidden);
        loss.backward();
        found
    }
}

/// One batch, no gradient; what rows begin with alike is computed once.
pub fn forward(model: &Qwen, rows: &[WeightedRow<'_>], mode: &Mode) -> Pending {
    // A guard, since memory may run out: a panic must not leave the gradients off.
    let _guard = tch::no_grad_guard();
    let ids: Vec<&[u32]> = rows.iter().map(|r| r.ids).collect();
    let device = model.device();
    let batch = if mode.train { Packed::filled(&ids, device) } else { Packed::shared(&ids, device) };
    let targets = Targets::new(rows, &batch);
    targets.loss(model, &model.encode(&batch, mode)).1
}

/// One batch, its gradient added to the leaves. With `recompute`, only the input of each block is kept and the block
/// is computed again on the way back (Chen et al. 2016): less memory, the same numbers.
pub fn forward_backward(model: &Qwen, rows: &[WeightedRow<'_>], mode: &Mode, recompute: bool) -> Pending {
    let ids: Vec<&[u32]> = rows.iter().map(|r| r.ids).collect();
    let batch = Packed::filled(&ids, model.device()).numbered(rows.iter().map(|r| r.number));
    let targets = Targets::new(rows, &batch);
    if model.has_explicit_gradient(mode) {
        return explicit(model, &batch, &targets, mode, recompute);
    }
    let backward = |last: &Tensor| targets.backward(model, last);
    if recompute {
        return recomputed(model, &batch, mode, backward);
    }
    backward(&model.hidden(&batch, mode))
}

/// The way back from `backward`, which gets the last block's output `[tokens, h]` and leaves a gradient at it, added to
/// the leaves; every block is computed again on that way. Returns what `backward` does.
pub fn recomputed<T>(model: &Qwen, batch: &Packed, mode: &Mode, backward: impl FnOnce(&Tensor) -> T) -> T {
    let rotary = model.rotary(batch, 1.0, mode);
    let mut inputs = Vec::with_capacity(model.layer_count());
    let guard = tch::no_grad_guard();
    let mut x = model.embed(batch, mode);
    for i in 0..model.layer_count() {
        let next = model.layer(i, &x, batch, &rotary, mode, None);
        inputs.push(x);
        x = next;
    }
    drop(guard);
    let last = x.set_requires_grad(true);
    let found = backward(&last);
    let mut gradient = last.grad();
    for (i, input) in inputs.into_iter().enumerate().rev() {
        let input = input.set_requires_grad(true);
        let output = model.layer(i, &input, batch, &rotary, mode, None);
        // The backward pass of `sum(output * gradient)` is that of `output` with this gradient, bit for bit.
        (output * &gradient).sum(Kind::Float).backward();
        gradient = input.grad();
    }
    let embedded = model.embed(batch, mode);
    if embedded.requires_grad() {
        (embedded * &gradient).sum(Kind::Float).backward();
    }
    found
}

/// [`forward_backward`] of a model of which adapters alone are trained: its blocks have their gradients written down.
fn explicit(model: &Qwen, batch: &Packed, targets: &Targets, mode: &Mode, recompute: bool) -> Pending {
    let _guards = (tch::no_grad_guard(), BelowAutograd::new());
    let pass = model.pass(batch, 1.0, mode);
    let first = model.first_adapted().unwrap_or(model.layer_count());
    let mut x = model.embed(batch, mode);
    // What each block from the first with an adapter on leaves for its way back, or its input alone.
    let mut kept: Vec<(Tensor, Option<Kept>)> = Vec::with_capacity(model.layer_count());
    for i in 0..model.layer_count() {
        let (next, of_block) = model.block(i, &x, &pass);
        if i >= first {
            let input = if recompute { x } else { Tensor::new() };
            kept.push((input, (!recompute).then_some(of_block)));
        }
        x = next;
    }
    let head = model.head(&x.index_select(0, &targets.at), &targets.labels, &targets.weights);
    let found = Pending::new(&head.loss, &head.hits, &targets.counts);
    let mut gradient = x.zeros_like().index_copy_(0, &targets.at, &head.gradient);
    for (i, (input, of_block)) in (first..model.layer_count()).zip(kept).rev() {
        let of_block = of_block.unwrap_or_else(|| model.block(i, &input, &pass).1);
        match model.block_back(i, &gradient, of_block, &pass) {
            Some(below) => gradient = below,
            None => break,
        }
    }
    model.collect(&pass);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_holds_every_row_once_and_keeps_the_limits() {
        let ids = vec![0u32; 100];
        let labels = vec![1i64; 100];
        let rows: Vec<_> = [5, 100, 7, 60, 61, 3]
            .iter()
            .map(|&n| WeightedRow { ids: &ids[..n], labels: &labels[..n], weight: 1.0, number: 0 })
            .collect();
        let batches = plan(&rows, Limits { tokens: 130, targets: 1000 }, None);
        let mut seen: Vec<usize> = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
        for batch in &batches {
            let longest = batch.iter().map(|&i| rows[i].ids.len()).max().unwrap();
            assert!(batch.len() == 1 || batch.len() * longest <= 130, "{batch:?}");
        }
        assert_eq!(plan(&rows, Limits { tokens: 1000, targets: 1000 }, Some(50))[0], [1]);
    }
}
