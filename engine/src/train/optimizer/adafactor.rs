//! Adafactor (Shazeer and Stern 2018) as transformers' Trainer sets it (4.36, `optimization.py`): no first moment,
//! neither relative steps nor a scale by the weights' size.

use tch::{Kind, Tensor};

use super::{Step, norm, numel};

/// Added to each squared gradient.
const EPS: f64 = 1e-30;
/// The mean square of an update is cut to this.
const CLIP_THRESHOLD: f64 = 1.0;
/// The second moment's decay at step t is 1 - t^DECAY_RATE.
const DECAY_RATE: f64 = -0.8;

/// Names and lengths of its vectors: what matrices keep a row, a column, and what the other weights keep an element.
pub fn sizes(shapes: &[Vec<i64>]) -> [(&'static str, i64); 3] {
    let (mut rows, mut columns, mut others) = (0, 0, 0);
    for shape in shapes {
        match shape.as_slice() {
            [height, width] => (rows, columns) = (rows + height, columns + width),
            other => others += numel(other),
        }
    }
    [("exp_avg_sq_row", rows), ("exp_avg_sq_col", columns), ("exp_avg_sq", others)]
}

/// One step, weight by weight; the vectors are those of [`sizes`].
pub fn step(step: &Step<'_>, vectors: [&Tensor; 3], shapes: &[Vec<i64>], weight_decay: f64) {
    let [rows, columns, others] = vectors;
    let mut at = [0; 3];
    let mut next = |which: usize, vector: &Tensor, n: i64| {
        at[which] += n;
        vector.narrow(0, at[which] - n, n)
    };
    let lr = step.learning_rate;
    let beta2 = 1.0 - (step.number as f64).powf(DECAY_RATE);
    let follow = |moment: &mut Tensor, now: Tensor| {
        let _ = moment.g_mul_scalar_(beta2).g_add_(&(now * (1.0 - beta2)));
    };
    let mut done = 0;
    for shape in shapes {
        let n = numel(shape);
        let gradient = step.gradient.narrow(0, done, n).view(shape.as_slice());
        let squares = gradient.square() + EPS;
        let mut update = match shape.as_slice() {
            [height, width] => {
                let (mut row, mut column) = (next(0, rows, *height), next(1, columns, *width));
                follow(&mut row, squares.mean_dim(-1, false, Kind::Float));
                follow(&mut column, squares.mean_dim(-2, false, Kind::Float));
                let row = (&row / row.mean(Kind::Float)).rsqrt().unsqueeze(-1);
                row * column.rsqrt().unsqueeze(-2) * gradient
            }
            _ => {
                let mut moment = next(2, others, n).view(shape.as_slice());
                follow(&mut moment, squares);
                moment.rsqrt() * gradient
            }
        };
        let rms = norm(&update.flatten(0, -1)) / (n as f64).sqrt();
        let _ = update.g_div_(&(rms / CLIP_THRESHOLD).clamp_min(1.0)).g_mul_scalar_(lr);
        let mut theta = step.theta.narrow(0, done, n).view(shape.as_slice());
        if done < step.decayed {
            let _ = theta.g_mul_scalar_(1.0 - weight_decay * lr);
        }
        let _ = theta.g_sub_(&update);
        done += n;
    }
}
