//! The gradient of a step, in passes that fit the memory.

use qwen_tui::args::GradientCheckpointing;
use qwen_tui::data::template::Example;
use qwen_tui::error::{Error, Result};
use qwen_tui::job::event::Event;

use super::fit::{self, OutOfMemory};
use super::metrics::{Tally, weigh_step};
use super::step::{self, WeightedRow};
use super::trainer::Trainer;
use crate::device;
use crate::model::Mode;
use crate::model::dropout::mix;

impl Trainer<'_> {
    /// The gradient of the next step's rows: their micro-batches, what the forward passes found, and the gradient. Where
    /// a pass does not fit the memory, the step is split otherwise and done again, and so are those that follow.
    ///
    /// # Errors
    /// A row that does not fit by itself.
    pub fn gradient(&mut self, examples: &[Example]) -> Result<(Vec<Vec<usize>>, Tally, tch::Tensor)> {
        let batches = self.micro.next_step();
        let rows = weigh_step(examples, &batches, self.args.gradient_accumulation_steps);
        loop {
            let (batch, error) = match self.passes(&rows) {
                Ok((tally, gradient)) => return Ok((batches, tally, gradient)),
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

    /// What the forward passes over `rows` found, and their gradient.
    ///
    /// # Errors
    /// The rows of a pass that does not fit.
    fn passes(
        &mut self,
        rows: &[WeightedRow<'_>],
    ) -> Result<(Tally, tch::Tensor), (Vec<usize>, OutOfMemory)> {
        let passes = self.progress.passes;
        let mode = Mode {
            train: true,
            lora_dropout: self.args.lora_dropout_p,
            neftune_alpha: self.args.neftune_noise_alpha.unwrap_or(0.0),
            seed: mix(self.args.seed, self.progress.step),
        };
        let mut tally = Tally::new(rows.len());
        self.trainable.zero_grad();
        if self.explicit.is_none() {
            self.explicit = self.trainable.explicit(&self.config, &self.base);
        }
        self.trainable.refresh();
        let explicit = self.explicit.as_ref().filter(|model| model.has_explicit_gradient(&mode));
        for batch in step::plan(rows, passes.training, None) {
            let part: Vec<WeightedRow<'_>> = batch.iter().map(|&i| rows[i]).collect();
            let outcome = fit::caught(|| {
                let outcome = match explicit {
                    Some(model) => step::forward_backward(model, &part, &mode, passes.recompute),
                    None => {
                        let model = self.trainable.assemble(&self.config, &self.base);
                        step::forward_backward(&model, &part, &mode, passes.recompute)
                    }
                };
                #[cfg(test)]
                fit::tests::hold(&part, passes.recompute);
                outcome
            });
            match outcome {
                Ok(outcome) => tally.add(&batch, &outcome),
                Err(error) => return Err((batch, error)),
            }
        }
        Ok((tally, self.trainable.grad()))
    }

    /// The error of one row that does not fit.
    pub fn too_long(&self, row: &str, ids: &[u32], error: &OutOfMemory) -> Error {
        // The text is a help to find the row; without it there are number and length.
        let tokenizer = self.config.tokenizer(self.model_dir).ok();
        let (recompute, device) = (self.progress.passes.recompute, self.trainable.theta().0.device());
        fit::too_long(row, ids, tokenizer.as_ref(), recompute, device, error)
    }
}
