//! The reference run's settings taken literally: one row at a time, logits at every position, every block computed
//! again on the way back, one micro-batch after another. Made of the same blocks as our own step.

use std::time::Instant;

use qwen_tui::args::SftArgs;
use qwen_tui::args::schedule::{learning_rate, warmup_steps};
use qwen_tui::error::Result;
use serde_json::json;
use tch::{Device, Kind, Reduction, Tensor};

use super::job::{Job, JobRow};
use super::memory;
use super::part::{Ask, Talk, wait};
use crate::model::dropout::mix;
use crate::model::{KvCache, Mode, Packed, Qwen, QwenConfig, Trainable, weights};
use crate::train::optimizer::{self, Optimizer};
use crate::train::step;
use crate::{device, train};

/// New tokens of an answer: a label and the end.
const ANSWER: usize = 2;

/// A training, row by row.
struct Literal<'a> {
    job: &'a Job,
    args: SftArgs,
    config: QwenConfig,
    base: weights::Named,
    trainable: Trainable,
    optimizer: Optimizer,
    device: Device,
    step: u64,
}

/// Answers commands.
pub fn serve(job: &Job, talk: &Talk) -> Result<()> {
    let mut literal = Literal::new(job)?;
    talk.ready(json!({"threads": tch::get_num_threads()}))?;
    memory::forget_peak();
    loop {
        match talk.next()? {
            Ask::Steps(n) => {
                wait(literal.device);
                let began = Instant::now();
                let found: Vec<(f64, f64)> = (0..n).map(|_| literal.step()).collect();
                wait(literal.device);
                let seconds = began.elapsed().as_secs_f64();
                let (losses, norms): (Vec<f64>, Vec<f64>) = found.into_iter().unzip();
                talk.tell(&json!({"steps": n, "seconds": seconds, "losses": losses, "grad_norms": norms}))?;
            }
            Ask::Evaluate => {
                let began = Instant::now();
                let loss = literal.evaluate();
                let seconds = began.elapsed().as_secs_f64();
                talk.tell(&json!({"rows": job.validation.len(), "seconds": seconds, "loss": loss}))?;
            }
            Ask::Classify => talk.tell(&json!({"seconds": literal.classify()}))?,
            Ask::Memory => talk.tell(&json!({"rss": memory::peak()}))?,
            Ask::End => return Ok(()),
        }
    }
}

impl<'a> Literal<'a> {
    fn new(job: &'a Job) -> Result<Self> {
        let args = job.args()?;
        let device = device::choose(&args.device)?;
        let config = QwenConfig::load(&job.model_dir)?;
        let kind = device::kind(&args.dtype, device)?;
        let base = weights::load(&job.model_dir, &config, kind, device)?;
        let options = train::lora_options(&args, kind, device)?;
        let trainable = Trainable::lora(&config, &base, &options, args.seed, device)?;
        let optimizer = Optimizer::new((&args).into(), trainable.shapes(), device);
        Ok(Self { job, args, config, base, trainable, optimizer, device, step: 0 })
    }

    fn model(&self) -> Qwen {
        self.trainable.assemble(&self.config, &self.base)
    }

    /// One optimizer step: its loss and the gradient's norm.
    fn step(&mut self) -> (f64, f64) {
        let job = self.job;
        let rows = &job.steps[self.step as usize];
        let mode = Mode {
            train: true,
            lora_dropout: self.args.lora_dropout_p,
            neftune_alpha: 0.0,
            seed: mix(self.args.seed, self.step),
        };
        self.trainable.zero_grad();
        let mut loss = Tensor::zeros([], (Kind::Float, self.device));
        for (number, row) in rows.iter().enumerate() {
            loss += row_gradient(&self.model(), row, number as u64, &mode, rows.len() as f64);
        }
        let gradient = self.trainable.grad();
        let norm = optimizer::norm(&gradient);
        let gradient = optimizer::clip(&gradient, &norm, self.args.max_grad_norm);
        let total = self.args.max_steps as u64;
        let warmup = warmup_steps(total, self.args.warmup_ratio);
        let rate =
            learning_rate(self.args.lr_scheduler_type, self.args.learning_rate, warmup, total, self.step);
        let (theta, decayed) = self.trainable.theta();
        self.optimizer.step(theta, &gradient, rate, decayed);
        self.step += 1;
        (loss.double_value(&[]), norm.double_value(&[]))
    }

    /// Mean loss of the validation rows.
    fn evaluate(&self) -> f64 {
        let _guard = tch::no_grad_guard();
        let model = self.model();
        let mut sum = Tensor::zeros([], (Kind::Float, self.device));
        let mut right = Tensor::zeros([], (Kind::Int64, self.device));
        for row in &self.job.validation {
            let batch = Packed::new(&[&row.ids], 0, self.device);
            let hidden = model.hidden(&batch, &Mode::default());
            let (logits, labels) = shifted(&model, &hidden, row);
            sum += mean_loss(&logits, &labels);
            right += logits.argmax(-1, false).eq_tensor(&labels).sum(Kind::Int64);
        }
        let _ = right.int64_value(&[]);
        sum.double_value(&[]) / self.job.validation.len() as f64
    }

    /// Seconds of each prompt that is answered greedily over a cache.
    fn classify(&self) -> Vec<f64> {
        let _guard = tch::no_grad_guard();
        let model = self.model();
        let answer = |prompt: &Vec<u32>| {
            let began = Instant::now();
            let (mut cache, mut next) = (KvCache::new(), prompt.clone());
            for _ in 0..ANSWER {
                let logits = model.step(&next, &mut cache);
                next = vec![logits.argmax(-1, false).int64_value(&[0]) as u32];
            }
            began.elapsed().as_secs_f64()
        };
        let all = self.job.warm_prompts.iter().chain(&self.job.prompts);
        all.map(answer).skip(self.job.warm_prompts.len()).collect()
    }
}

/// Logits `[tokens - 1, vocab]` of final hidden states `[tokens, h]`, and the labels `[tokens - 1]` that they predict.
fn shifted(model: &Qwen, hidden: &Tensor, row: &JobRow) -> (Tensor, Tensor) {
    let logits = model.logits(&model.final_norm(hidden));
    let labels = Tensor::from_slice(&row.labels[1..]).to_device(hidden.device());
    (logits.narrow(0, 0, row.ids.len() as i64 - 1), labels)
}

/// The mean cross entropy over the positions that have a label.
fn mean_loss(logits: &Tensor, labels: &Tensor) -> Tensor {
    logits.cross_entropy_loss::<Tensor>(labels, None, Reduction::Mean, -100, 0.0)
}

/// The loss of one row over `parts`, its gradient added to the leaves.
fn row_gradient(model: &Qwen, row: &JobRow, number: u64, mode: &Mode, parts: f64) -> Tensor {
    let batch = Packed::new(&[&row.ids], 0, model.device()).numbered([number]);
    step::recomputed(model, &batch, mode, |last| {
        let (logits, labels) = shifted(model, last, row);
        let loss = mean_loss(&logits, &labels) / parts;
        loss.backward();
        loss.detach()
    })
}
