//! Our side: `train::train` itself, which `sft` runs, held between steps by the events it emits.

use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use qwen_tui::data::Template;
use qwen_tui::error::{Error, Result};
use qwen_tui::job::event::{Event, Stage};
use qwen_tui::run::RunDir;
use serde_json::json;
use tch::Device;

use super::job::{Job, WARM_TEXTS};
use super::memory;
use super::part::{Ask, Talk, wait};
use crate::infer::Session;
use crate::model::{QwenConfig, Trainable, weights};
use crate::{device, train};

/// Holds a training between steps until more are asked for.
struct Gate<'a> {
    talk: &'a Talk,
    device: Device,
    /// Steps of the training: the last one is not timed.
    total: u64,
    /// Steps of the answer at hand, and how many of them are to come.
    asked: usize,
    left: usize,
    began: Instant,
    losses: Vec<f64>,
    norms: Vec<f64>,
    facts: serde_json::Map<String, serde_json::Value>,
    /// Rows and seconds of the last evaluation.
    evaluation: Option<(u64, f64)>,
    /// Something else than steps was asked for.
    other: Option<Ask>,
}

impl Gate<'_> {
    fn hear(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Model { parameters, trainable, seconds, .. } => {
                self.facts.insert("parameters".into(), (*parameters).into());
                self.facts.insert("trained".into(), (*trainable).into());
                self.facts.insert("load_seconds".into(), (*seconds).into());
            }
            Event::Stage { stage: Stage::Training } if self.asked == 0 => {
                self.facts.insert("threads".into(), tch::get_num_threads().into());
                self.talk.ready(std::mem::take(&mut self.facts).into())?;
                memory::forget_peak();
                self.open(0)?;
            }
            // After an evaluation, which belongs to no step.
            Event::Stage { stage: Stage::Training } => self.began = Instant::now(),
            Event::Step { step, loss, grad_norm, .. } if self.other.is_none() => {
                self.losses.push(*loss);
                self.norms.push(*grad_norm);
                self.left = self.left.saturating_sub(1);
                if self.left == 0 {
                    wait(self.device);
                    let seconds = self.began.elapsed().as_secs_f64();
                    let (losses, norms) = (std::mem::take(&mut self.losses), std::mem::take(&mut self.norms));
                    self.talk.tell(&json!({
                        "steps": self.asked, "seconds": seconds, "losses": losses, "grad_norms": norms,
                    }))?;
                    self.open(*step)?;
                }
            }
            Event::Eval { rows, seconds, .. } => self.evaluation = Some((*rows, *seconds)),
            Event::Warning { message } => tracing::debug!("{message}"),
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, step: u64) -> Result<()> {
        match self.talk.next()? {
            Ask::Steps(n) => {
                (self.asked, self.left) = (n, n);
                wait(self.device);
                self.began = Instant::now();
                Ok(())
            }
            other => {
                self.other = Some(other);
                // The last step, with its evaluation, comes by itself.
                match step + 1 == self.total {
                    true => Ok(()),
                    false => Err(Error::internal("no more steps are asked for")),
                }
            }
        }
    }
}

/// Trains, and then labels.
pub fn serve(job: &Job, talk: &Talk) -> Result<()> {
    let args = job.args()?;
    let device = device::choose(&args.device)?;
    let run = RunDir::create(Path::new(&args.output_dir), &args.model_type, true)?;
    let mut gate = Gate {
        talk,
        device,
        total: args.max_steps as u64,
        asked: 0,
        left: 0,
        began: Instant::now(),
        losses: Vec::new(),
        norms: Vec::new(),
        facts: serde_json::Map::new(),
        evaluation: None,
        other: None,
    };
    let (_keep, commands) = mpsc::channel();
    let trained = train::train(&args, &run, None, &commands, &mut |event| gate.hear(&event));
    let mut next = match (trained, gate.other) {
        (_, Some(other)) => other,
        (Err(e), None) => return Err(e),
        (Ok(()), None) => talk.next()?,
    };
    let peak = memory::peak();
    loop {
        match next {
            Ask::Evaluate => {
                let (rows, seconds) = gate.evaluation.unwrap_or_default();
                talk.tell(&json!({"rows": rows, "seconds": seconds}))?;
            }
            Ask::Classify => talk.tell(&json!({"seconds": classify(job, device)?}))?,
            Ask::Memory => talk.tell(&json!({"rss": peak}))?,
            Ask::Steps(_) => return Err(Error::internal("the training is over")),
            Ask::End => return Ok(()),
        }
        next = talk.next()?;
    }
}

/// Seconds of each text that is labelled by itself.
fn classify(job: &Job, device: Device) -> Result<Vec<f64>> {
    let args = job.args()?;
    let config = QwenConfig::load(&job.model_dir)?;
    let kind = device::kind(&args.dtype, device)?;
    let base = weights::load(&job.model_dir, &config, kind, device)?;
    let adapter = Trainable::lora(&config, &base, &train::lora_options(&args, kind, device)?, 0, device)?;
    let session = Session {
        model: tch::no_grad(|| adapter.assemble(&config, &base)),
        tokenizer: config.tokenizer(&job.model_dir)?,
        template: Template::new(&args.template_type, None)?,
        device,
    };
    let mut seconds = Vec::new();
    for text in job.texts.iter().take(WARM_TEXTS).chain(&job.texts) {
        let began = Instant::now();
        session.classify(std::slice::from_ref(text))?;
        seconds.push(began.elapsed().as_secs_f64());
    }
    Ok(seconds.split_off(WARM_TEXTS.min(job.texts.len())))
}
