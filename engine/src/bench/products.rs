//! The device's speed at large square products, and the very products of the steps timed alone.

use std::time::Instant;

use qwen_tui::error::Result;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::job::{Job, JobRow};
use super::part::{Talk, wait};
use crate::device;
use crate::model::QwenConfig;
use crate::model::weights::Named;
use crate::train::step::{WeightedRow, plan};
use crate::train::{self, limits};

/// Side of the square product on a CPU and on a GPU.
const SIDE: (i64, i64) = (2048, 8192);
/// Times that it is done; the best one counts.
const TIMES: usize = 10;
/// Times that a step's products are done; the best one counts.
const REPEATS: usize = 3;

pub fn serve(job: &Job, talk: &Talk) -> Result<()> {
    let args = job.args()?;
    let device = device::choose(&job.device)?;
    let kind = device::kind(&job.dtype, device)?;
    let config = QwenConfig::load(&job.model_dir)?;
    let examples: Vec<_> = job.steps.iter().flatten().map(JobRow::example).collect();
    let recompute = train::recompute(&args, &config, kind, device, &examples);
    let limits = limits(&config, kind, device, true, recompute);
    let _guard = tch::no_grad_guard();
    let (side, rate) = square(kind, device);
    let products = Products::new(&config, args.lora_rank as i64, kind, device);
    let steps = &job.steps[job.warmup..];
    let mut seconds = 0.0;
    for rows in steps {
        let weighted =
            rows.iter().map(|row| WeightedRow { ids: &row.ids, labels: &row.labels, weight: 1.0, number: 0 });
        let weighted: Vec<_> = weighted.collect();
        let passes: Vec<(i64, i64)> = plan(&weighted, limits, None)
            .iter()
            .map(|batch| {
                let sum = |of: fn(&WeightedRow<'_>) -> usize| batch.iter().map(|&i| of(&weighted[i])).sum();
                let (tokens, targets): (usize, usize) = (sum(|row| row.ids.len()), sum(|row| row.targets()));
                (tokens as i64, targets as i64)
            })
            .collect();
        seconds += products.best(&passes);
    }
    talk.tell(&json!({"side": side, "rate": rate, "products_seconds": seconds / steps.len() as f64}))
}

/// Operations a second of a square product, and its side.
fn square(kind: Kind, device: Device) -> (i64, f64) {
    let side = if device == Device::Cpu { SIDE.0 } else { SIDE.1 };
    let matrix = || Tensor::randn([side, side], (Kind::Float, device)).to_kind(kind);
    let (a, b) = (matrix(), matrix());
    let seconds = best(TIMES, device, || drop(a.matmul(&b)));
    (side, 2.0 * (side as f64).powi(3) / seconds)
}

/// Seconds of the fastest of `times`.
fn best(times: usize, device: Device, mut work: impl FnMut()) -> f64 {
    // The first one finds the libraries' kernels.
    work();
    wait(device);
    let one = |_| {
        let began = Instant::now();
        work();
        wait(device);
        began.elapsed().as_secs_f64()
    };
    (0..times).map(one).fold(f64::INFINITY, f64::min)
}

/// Random matrices of a model's shape. Each block has its own, as in the model: they come from memory, no cache.
struct Products {
    config: QwenConfig,
    blocks: Vec<Block>,
    lm_head: Tensor,
    kind: Kind,
    /// What adapters are computed in.
    adapters: Kind,
    device: Device,
}

/// One block's, each `[out, in]`.
struct Block {
    c_attn: Tensor,
    attn_proj: Tensor,
    w1: Tensor,
    w2: Tensor,
    mlp_proj: Tensor,
    /// LoRA.
    a: Tensor,
    b: Tensor,
}

impl Products {
    fn new(config: &QwenConfig, rank: i64, kind: Kind, device: Device) -> Self {
        let (h, f) = (config.hidden_size, config.mlp_size());
        let weight = |out: i64, into: i64| random(&[out, into], kind, device);
        // As `Trainable::lora` has it: on a GPU in the dtype of the base.
        let adapters = if device == Device::Cpu { Kind::Float } else { kind };
        let blocks = (0..config.num_hidden_layers)
            .map(|_| Block {
                c_attn: weight(3 * h, h),
                attn_proj: weight(h, h),
                w1: weight(f, h),
                w2: weight(f, h),
                mlp_proj: weight(h, f),
                a: random(&[rank, h], adapters, device),
                b: random(&[3 * h, rank], adapters, device),
            })
            .collect();
        Self { blocks, lm_head: weight(config.vocab_size, h), config: config.clone(), kind, adapters, device }
    }

    /// Seconds of the products of passes of so many tokens and label tokens each.
    fn best(&self, passes: &[(i64, i64)]) -> f64 {
        let (h, f) = (self.config.hidden_size, self.config.mlp_size());
        let inputs: Named = passes
            .iter()
            .flat_map(|&(tokens, targets)| {
                let of = |name: &str, rows: i64, width: i64, kind: Kind| {
                    (format!("{name} {rows}"), random(&[rows, width], kind, self.device))
                };
                [
                    of("h", tokens, h, self.kind),
                    of("f", tokens, f, self.kind),
                    of("3h", tokens, 3 * h, self.kind),
                    of("h wide", tokens, h, self.adapters),
                    of("3h wide", tokens, 3 * h, self.adapters),
                    of("target", targets, h, self.kind),
                    of("logit", targets, self.config.vocab_size, self.kind),
                ]
            })
            .collect();
        best(REPEATS, self.device, || passes.iter().for_each(|&pass| self.pass(&inputs, pass)))
    }

    fn pass(&self, inputs: &Named, (tokens, targets): (i64, i64)) {
        let input = |name: &str, rows: i64| &inputs[&format!("{name} {rows}")];
        let (h, f, qkv) = (input("h", tokens), input("f", tokens), input("3h", tokens));
        let (wide, wide_qkv) = (input("h wide", tokens), input("3h wide", tokens));
        let linear = |x: &Tensor, weight: &Tensor| x.linear(weight, None::<&Tensor>);
        for block in &self.blocks {
            drop(linear(h, &block.c_attn));
            drop(linear(&linear(wide, &block.a), &block.b));
            drop(linear(h, &block.attn_proj));
            drop(linear(h, &block.w1));
            drop(linear(h, &block.w2));
            drop(linear(f, &block.mlp_proj));
        }
        let (target, logit) = (input("target", targets), input("logit", targets));
        drop(linear(target, &self.lm_head));
        drop(logit.matmul(&self.lm_head));
        for (i, block) in self.blocks.iter().enumerate().rev() {
            drop(h.matmul(&block.mlp_proj));
            drop(f.matmul(&block.w1));
            drop(f.matmul(&block.w2));
            drop(h.matmul(&block.attn_proj));
            // The adapter: both gradients, and what flows on below the first block.
            let low = wide_qkv.matmul(&block.b);
            drop(wide_qkv.tr().matmul(&low));
            drop(low.tr().matmul(wide));
            if i > 0 {
                drop(low.matmul(&block.a));
                drop(qkv.matmul(&block.c_attn));
            }
        }
    }
}

fn random(size: &[i64], kind: Kind, device: Device) -> Tensor {
    Tensor::randn(size, (Kind::Float, device)).to_kind(kind)
}
