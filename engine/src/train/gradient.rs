//! The gradient of a step, in passes that fit the memory.

use qwen_tui::args::GradientCheckpointing;
use qwen_tui::data::template::Example;
use qwen_tui::error::{Error, Result};
use qwen_tui::job::event::Event;
use tch::Tensor;

use super::fit::{self, OutOfMemory};
use super::metrics::{AccStrategy, Tally, weigh_step};
use super::optimizer;
use super::step::{self, Pending, WeightedRow};
use super::trainer::Trainer;
use crate::device;
use crate::model::Mode;
use crate::model::dropout::mix;
use crate::shim::Fetched;

/// The rows of a pass, and what it found.
type Found = (Vec<usize>, Pending);

/// The gradient of one step, which the device may not have come to.
pub struct Gradient {
    /// The rows of its micro-batches.
    batches: Vec<Vec<usize>>,
    /// `[n]`
    pub of_theta: Tensor,
    /// Its global norm, a scalar.
    pub norm: Tensor,
    /// The norm on its way.
    told_norm: Fetched,
    passes: Vec<Found>,
}

/// What is told of a step.
pub struct Figures {
    pub batches: Vec<Vec<usize>>,
    pub loss: f64,
    pub acc: f64,
    pub norm: f64,
}

impl Figures {
    /// Whether the step is one to take.
    pub fn are_finite(&self) -> bool {
        self.loss.is_finite() && self.norm.is_finite()
    }
}

impl Gradient {
    fn new(batches: Vec<Vec<usize>>, passes: Vec<Found>, of_theta: Tensor) -> Self {
        let norm = optimizer::norm(&of_theta);
        let told_norm = Fetched::new(&norm);
        Self { batches, of_theta, norm, told_norm, passes }
    }

    /// Waits for its figures.
    pub fn figures(self, acc: AccStrategy, accumulation: usize) -> Figures {
        let mut tally = Tally::new(self.batches.iter().map(Vec::len).sum());
        for (batch, pending) in &self.passes {
            tally.add(batch, &pending.outcome());
        }
        let acc = tally.step_accuracy(acc, &self.batches, accumulation);
        let norm = self.told_norm.wait().double_value(&[]);
        Figures { batches: self.batches, loss: tally.loss, acc, norm }
    }
}

impl Trainer<'_> {
    /// The gradient of the rows of `step`, counted from 0. Where a pass does not fit the memory, the step is split
    /// otherwise and done again, and so are those that follow. The device may not have come to it.
    ///
    /// # Errors
    /// A row that does not fit by itself.
    pub fn gradient(&mut self, examples: &[Example], step: u64) -> Result<Gradient> {
        let batches = self.micro.of_step(step);
        let rows = weigh_step(examples, &batches, self.args.gradient_accumulation_steps);
        loop {
            let (batch, error) = match self.passes(&rows, step) {
                Ok(passes) => return Ok(Gradient::new(batches, passes, self.trainable.grad())),
                Err(too_much) => too_much,
            };
            let (passes, device) = (&mut self.progress.passes, self.trainable.theta().0.device());
            let message = if let Some(limits) = fit::halved(passes.training, &rows, &batch) {
                passes.training = limits;
                fit::told(&batch, limits, device, &error)
            } else if !passes.recompute && self.args.gradient_checkpointing == GradientCheckpointing::Auto {
                passes.recompute = true;
                format!(
                    "a row of {} tokens does not fit the memory of {}: from here on blocks are computed again on the way \
                     back, which gives the same gradient",
                    rows[batch[0]].ids.len(),
                    device::label(device)
                )
            } else {
                let number = batches.concat()[batch[0]] + 1;
                return Err(self.too_long(&format!("training row {number}"), rows[batch[0]].ids, &error));
            };
            (self.emit)(Event::Warning { message })?;
        }
    }

    /// Leaves the gradient of `rows` where the trained weights have theirs: the rows of each pass, and what it found.
    ///
    /// # Errors
    /// The rows of a pass that does not fit.
    fn passes(
        &mut self,
        rows: &[WeightedRow<'_>],
        step: u64,
    ) -> Result<Vec<Found>, (Vec<usize>, OutOfMemory)> {
        let passes = self.progress.passes;
        let mode = Mode {
            train: true,
            lora_dropout: self.args.lora_dropout_p,
            neftune_alpha: self.args.neftune_noise_alpha.unwrap_or(0.0),
            seed: mix(self.args.seed, step),
        };
        self.trainable.zero_grad();
        if self.explicit.is_none() {
            self.explicit = self.trainable.explicit(&self.config, &self.base);
        }
        self.trainable.refresh();
        let explicit = self.explicit.as_ref().filter(|model| model.has_explicit_gradient(&mode));
        let mut found = Vec::new();
        for batch in step::plan(rows, passes.training, None) {
            let part: Vec<WeightedRow<'_>> = batch.iter().map(|&i| rows[i]).collect();
            let pending = fit::caught(|| {
                let pending = match explicit {
                    Some(model) => step::forward_backward(model, &part, &mode, passes.recompute),
                    None => {
                        let model = self.trainable.assemble(&self.config, &self.base);
                        step::forward_backward(&model, &part, &mode, passes.recompute)
                    }
                };
                #[cfg(test)]
                fit::tests::hold(&part, passes.recompute);
                pending
            });
            match pending {
                Ok(pending) => found.push((batch, pending)),
                Err(error) => return Err((batch, error)),
            }
        }
        Ok(found)
    }

    /// The error of one row that does not fit.
    pub fn too_long(&self, row: &str, ids: &[u32], error: &OutOfMemory) -> Error {
        // The text is a help to find the row; without it there are number and length.
        let tokenizer = self.config.tokenizer(self.model_dir).ok();
        let (recompute, device) = (self.progress.passes.recompute, self.trainable.theta().0.device());
        fit::too_long(row, ids, tokenizer.as_ref(), recompute, device, error)
    }
}
