//! One optimizer step. On a GPU the gradient of the next step is asked for before this one's figures are read, so that the
//! card need not wait for the processor: the step that is taken is the same.

use qwen_tui::data::template::Example;
use qwen_tui::error::Result;
use tch::{Device, Tensor};

use super::gradient::Figures;
use super::optimizer;
use super::trainer::Trainer;

/// What a step changes, as it was.
struct Before {
    theta: Tensor,
    state: Vec<Tensor>,
    steps: i64,
}

impl Trainer<'_> {
    /// Whether the next gradient is asked for early. A step whose figures turn out not to be finite must then be taken
    /// back, and what is trained and its optimizer are kept twice: adapters are small.
    fn runs_ahead(&self) -> bool {
        let theta = self.trainable.theta().0;
        #[cfg(test)]
        if tests::AHEAD.get() {
            return self.explicit.is_some();
        }
        matches!(theta.device(), Device::Cuda(_)) && self.explicit.is_some()
    }

    /// Takes the next step at the learning rate `rate`, unless its loss or gradient is not finite: then nothing changes.
    ///
    /// # Errors
    /// A row that does not fit the memory by itself.
    pub fn take_step(&mut self, examples: &[Example], rate: f64) -> Result<Figures> {
        let step = self.progress.step;
        let gradient = self.next.take().unwrap_or_else(|| self.gradient(examples, step))?;
        let (acc, accumulation) = (self.acc, self.args.gradient_accumulation_steps);
        if !self.runs_ahead() {
            // Read first, so that nothing need be kept twice.
            let (of_theta, norm) = (gradient.of_theta.shallow_clone(), gradient.norm.shallow_clone());
            let figures = gradient.figures(acc, accumulation);
            if figures.are_finite() {
                self.update(&of_theta, &norm, rate);
            }
            return Ok(figures);
        }
        let before = self.before();
        self.update(&gradient.of_theta, &gradient.norm, rate);
        if step + 1 < self.total {
            // What is wrong with the next step is told when its turn comes.
            self.next = Some(self.gradient(examples, step + 1));
        }
        let figures = gradient.figures(acc, accumulation);
        if !figures.are_finite() {
            self.next = None;
            self.take_back(&before);
        }
        Ok(figures)
    }

    fn update(&mut self, gradient: &Tensor, norm: &Tensor, rate: f64) {
        let gradient = optimizer::clip(gradient, norm, self.args.max_grad_norm);
        let (theta, decayed) = self.trainable.theta();
        self.optimizer.step(theta, &gradient, rate, decayed);
    }

    fn before(&self) -> Before {
        Before {
            theta: self.trainable.theta().0.copy(),
            state: self.optimizer.state().map(|(_, state)| state.copy()).collect(),
            steps: self.optimizer.steps,
        }
    }

    fn take_back(&mut self, before: &Before) {
        self.trainable.set_theta(&before.theta);
        for ((_, state), before) in self.optimizer.state().zip(&before.state) {
            tch::no_grad(|| state.shallow_clone().copy_(before));
        }
        self.optimizer.steps = before.steps;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use qwen_tui::job::event::Event;
    use qwen_tui::run::OPTIMIZER;
    use serde_json::json;
    use tch::Tensor;

    use super::super::fit::tests::common::bench::{Bench, Ran};
    use super::super::fit::tests::common::tensors;
    use crate::model::QwenConfig;

    thread_local! {
        /// Whether a CPU runs ahead as well.
        pub(super) static AHEAD: Cell<bool> = const { Cell::new(false) };
    }

    /// The same run twice, its steps one after the other and ahead.
    fn both(bench: &Bench, flags: &[&str]) -> [Ran; 2] {
        [false, true].map(|ahead| {
            AHEAD.set(ahead);
            let ran = bench.run(flags);
            AHEAD.set(false);
            ran
        })
    }

    /// What a run tells of its steps and evaluations, bit for bit.
    fn told(ran: &Ran) -> Vec<(&str, u64, u64, u64, u64)> {
        let of = |e: &Event| match e {
            Event::Step { step, loss, acc, grad_norm, tokens, .. } => {
                Some(("step", *step, loss.to_bits(), grad_norm.to_bits(), acc.to_bits() ^ tokens))
            }
            Event::Log { step, loss, learning_rate, .. } => {
                Some(("log", *step, loss.to_bits(), learning_rate.to_bits(), 0))
            }
            Event::Eval { step, loss, epoch, .. } => {
                Some(("eval", *step, loss.to_bits(), epoch.to_bits(), 0))
            }
            Event::StepSkipped { step, .. } => Some(("skipped", *step, 0, 0, 0)),
            Event::Checkpoint { step, .. } => Some(("checkpoint", *step, 0, 0, 0)),
            _ => None,
        };
        ran.events.iter().filter_map(of).collect()
    }

    #[track_caller]
    fn assert_same([one, other]: &[Ran; 2]) {
        let (told_by_one, told_by_other) = (told(one), told(other));
        assert_eq!(told_by_one, told_by_other);
        let saved = told_by_one.iter().filter(|(kind, ..)| *kind == "checkpoint").map(|(_, step, ..)| *step);
        let saved: Vec<u64> = saved.collect();
        assert!(saved.len() > 1, "{saved:?}");
        for step in saved {
            for file in ["default/adapter_model.safetensors", OPTIMIZER] {
                let bytes = |ran: &Ran| std::fs::read(ran.run.checkpoint(step).join(file)).unwrap();
                assert!(bytes(one) == bytes(other), "checkpoint-{step}/{file}");
            }
        }
    }

    #[rustfmt::skip]
    const LONG: [&str; 12] = [
        "--max_steps", "12", "--save_steps", "3", "--save_total_limit", "-1", "--save_only_model", "false",
        "--lora_dropout_p", "0.1", "--max_grad_norm", "0.5",
    ];

    #[test]
    fn steps_taken_ahead_are_the_same() {
        let bench = Bench::new();
        bench.copy("rows.jsonl", "val.jsonl");
        let validation = bench.path("val.jsonl").display().to_string();
        let validated =
            ["--custom_val_dataset_path", &validation, "--val_dataset_sample", "-1", "--eval_steps", "3"];
        for optim in ["adamw_torch", "sgd", "adafactor"] {
            let ran = both(&bench, &[&LONG[..], &validated, &["--optim", optim]].concat());
            assert_same(&ran);
            assert_eq!(ran[1].steps(), 12);
        }
    }

    /// One row's loss is not finite: the steps that it is in are taken back, and the ones after them computed anew.
    #[test]
    fn a_step_that_is_not_finite_is_taken_back() {
        let bench = Bench::new();
        let row = |i: usize| match i {
            5 => json!({"query": "Z", "response": "positive"}),
            _ => json!({"query": "很好用".repeat(i % 5 + 1), "response": "positive"}),
        };
        bench.write("rows.jsonl", (0..24).map(row));
        let config = QwenConfig::load(&bench.path("model")).unwrap();
        let tokenizer = config.tokenizer(&bench.path("model")).unwrap();
        let file = bench.path("model/model.safetensors");
        let weights: BTreeMap<String, Tensor> = tensors(&file);
        for id in tokenizer.encode("Z") {
            let _ = weights["transformer.wte.weight"].get(id.into()).fill_(f64::NAN);
        }
        let weights: Vec<(&String, &Tensor)> = weights.iter().collect();
        Tensor::write_safetensors(&weights, &file).unwrap();
        let ran = both(&bench, &[&LONG[..], &["--evaluation_strategy", "no"]].concat());
        assert_same(&ran);
        let skipped = told(&ran[1]).iter().filter(|(kind, ..)| *kind == "skipped").count();
        assert!((1..6).contains(&skipped), "{skipped}");
    }
}
