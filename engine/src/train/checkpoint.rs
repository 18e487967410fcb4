//! Checkpoints of a run: what stands in them, which is the best, which are kept.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

use qwen_tui::args::SftArgs;
use qwen_tui::error::Result;
use qwen_tui::job::event::{Event, number};
use qwen_tui::run::{
    self, AdapterConfig, Bias, LogLine, Logging, RunDir, TrainerState, file_key, write_configuration,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tch::Kind;

use super::metrics::Window;
use super::optimizer::Optimizer;
use super::resume::{self, Progress};
use crate::model::{Trainable, beside, weights};

/// What goes into a checkpoint.
pub struct State<'a> {
    pub args: &'a SftArgs,
    pub trainable: &'a Trainable,
    pub optimizer: &'a Optimizer,
    /// Dtype of the base weights.
    pub kind: Kind,
    pub model_dir: &'a Path,
    /// Token id of the end of text.
    pub eos: u32,
    pub epoch: f64,
    /// Where the training stands; the keeper adds its book.
    pub progress: Progress,
    /// Whether the run's own arguments ask for it at this step, and not the clock or a person: no other can be the
    /// best, so that a run that was stopped or saved on demand ends with the same best as one that was not.
    pub planned: bool,
}

/// An evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    pub step: u64,
    #[serde(with = "number")]
    pub loss: f64,
    /// rouge-l of the answers, where they were written: then it decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rouge_l: Option<f64>,
}

impl Mark {
    /// The figure that decides which checkpoint is the best.
    pub fn metric(&self) -> f64 {
        self.rouge_l.unwrap_or(self.loss)
    }

    fn is_better_than(&self, best: &Mark) -> bool {
        match (self.rouge_l, best.rouge_l) {
            (Some(ours), Some(best)) => ours > best,
            _ => self.loss < best.loss,
        }
    }
}

/// What the keeper must know to go on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Book {
    /// The newest evaluation.
    evaluated: Option<Mark>,
    /// The best checkpoint.
    best: Option<Mark>,
    /// Sum of the logged losses, each times its steps, and the step of the last line.
    #[serde(with = "number")]
    loss: f64,
    logged: u64,
}

impl Book {
    pub fn best(&self) -> Option<Mark> {
        self.best
    }
}

/// Keeps the book of a run's checkpoints and of its log.
#[derive(Debug)]
pub struct Keeper {
    state: TrainerState,
    limit: Option<usize>,
    book: Book,
    last: Option<u64>,
    logging: Option<Logging>,
    /// Lines of the log that are still to be written.
    unwritten: VecDeque<LogLine>,
    /// Rows of one optimizer step.
    rows_per_step: u64,
}

/// The directory's name.
pub fn name(step: u64) -> String {
    format!("checkpoint-{step}")
}

impl Keeper {
    pub fn new(args: &SftArgs, total_steps: u64) -> Self {
        let state = TrainerState {
            eval_steps: args.eval_steps,
            save_steps: args.save_steps,
            logging_steps: args.logging_steps,
            max_steps: total_steps,
            num_train_epochs: args.num_train_epochs,
            train_batch_size: Some(args.batch_size as u64),
            ..TrainerState::default()
        };
        Self {
            state,
            limit: usize::try_from(args.save_total_limit).ok(),
            book: Book::default(),
            last: None,
            logging: None,
            unwritten: VecDeque::new(),
            rows_per_step: (args.batch_size * args.gradient_accumulation_steps) as u64,
        }
    }

    /// Goes on from the checkpoint in `dir`, whose book is given. Returns what there is to warn of.
    pub fn go_on(&mut self, run: &RunDir, dir: &Path, step: u64, book: Book) -> Result<Option<String>> {
        self.state.log_history = TrainerState::read(dir)?.log_history;
        self.book = book;
        self.last = Some(step);
        let lost = self.book.best.filter(|best| !run.checkpoint(best.step).is_dir());
        Ok(lost.map(|best| {
            self.book.best = None;
            format!("{}, the best so far, is gone: the best of the rest will be", name(best.step))
        }))
    }

    /// Remembers an evaluation for the checkpoint that follows it.
    pub fn note_evaluation(&mut self, step: u64, loss: f64, rouge_l: Option<f64>) {
        self.book.evaluated = Some(Mark { step, loss, rouge_l });
    }

    /// Whether the evaluation of `step` has been made.
    pub fn has_evaluated(&self, step: u64) -> bool {
        self.book.evaluated.is_some_and(|mark| mark.step == step)
    }

    /// Path (relative to the run) and deciding figure of the best checkpoint.
    pub fn best(&self) -> Option<(String, f64)> {
        self.book.best.map(|best| (name(best.step), best.metric()))
    }

    /// What the log has told so far.
    pub fn history(&self) -> &[Map<String, Value>] {
        &self.state.log_history
    }

    /// Path of the last checkpoint, relative to the run.
    pub fn last(&self) -> Option<String> {
        self.last.map(name)
    }

    /// Takes an event into the history that `trainer_state.json` carries; [`write_log`](Self::write_log) puts it into
    /// `logging.jsonl`.
    pub fn log(&mut self, event: &Event, eval_batch_size: usize) {
        let line = match *event {
            Event::Log { step, epoch, loss, acc, learning_rate, grad_norm } => {
                self.book.loss += loss * (step - self.book.logged) as f64;
                self.book.logged = step;
                LogLine::Train { step, epoch, loss, acc, learning_rate, grad_norm }
            }
            Event::Eval { step, epoch, loss, acc, scores, rows, seconds } => {
                let batches = rows.div_ceil(eval_batch_size as u64);
                LogLine::Eval { step, epoch, loss, acc, scores, runtime: seconds, rows, batches }
            }
            _ => return,
        };
        self.note(line);
    }

    /// The line that ends the log; `unlogged` has the steps since the line before.
    pub fn log_end(&mut self, step: u64, epoch: f64, seconds: f64, unlogged: &Window) {
        let loss = if step > 0 { (self.book.loss + unlogged.loss()) / step as f64 } else { 0.0 };
        let rows = step * self.rows_per_step;
        self.note(LogLine::End { step, epoch, loss, runtime: seconds, rows, steps: step });
    }

    fn note(&mut self, line: LogLine) {
        self.state.log(&line);
        self.unwritten.push_back(line);
    }

    /// Writes to `logging.jsonl` what is not written yet.
    ///
    /// # Errors
    /// The disk's; what is not written then can be tried again.
    pub fn write_log(&mut self, run: &RunDir) -> Result<()> {
        while let Some(line) = self.unwritten.front() {
            let logging = match &mut self.logging {
                Some(logging) => logging,
                none => none.insert(Logging::open(&run.logging_file())?),
            };
            logging.append(line)?;
            self.unwritten.pop_front();
        }
        Ok(())
    }

    /// Writes `checkpoint-STEP` whole or not at all, then removes those that `save_total_limit` has no room for.
    ///
    /// # Errors
    /// The disk's. It can be tried again.
    pub fn save(&mut self, run: &RunDir, step: u64, mut state: State<'_>) -> Result<Vec<Event>> {
        let began = Instant::now();
        let previous = self.book.best;
        let better =
            |mark: &Mark| mark.loss.is_finite() && previous.is_none_or(|best| mark.is_better_than(&best));
        let evaluated = self.book.evaluated.filter(|mark| mark.step == step && state.planned);
        // The lines that the checkpoint counts on are on disk before it is.
        if let Some(logging) = &self.logging {
            logging.sync()?;
        }
        let best = evaluated.is_some_and(|mark| better(&mark));
        if best {
            self.book.best = evaluated;
        }
        self.state.global_step = step;
        self.state.epoch = Some(state.epoch);
        self.state.best_metric = self.book.best.map(|best| best.metric());
        self.state.best_model_checkpoint =
            self.book.best.map(|best| run.checkpoint(best.step).display().to_string());
        state.progress.book = self.book.clone();
        let state = &state;
        let written = run::write_checkpoint(run, step, |dir| fill(dir, state, &self.state));
        let (_, bytes) = match written {
            Ok(written) => written,
            Err(e) => {
                self.book.best = previous;
                return Err(e);
            }
        };
        self.last = Some(step);
        let mut events = vec![Event::Checkpoint {
            step,
            path: name(step),
            bytes,
            seconds: began.elapsed().as_secs_f64(),
            best,
        }];
        events.extend(self.rotate(run, state.progress.skipped)?);
        Ok(events)
    }

    /// Removes the checkpoints that `save_total_limit` has no room for, after `skipped` steps in a row that were not finite.
    ///
    /// # Errors
    /// The disk's. It can be tried again.
    pub fn rotate(&self, run: &RunDir, skipped: u32) -> Result<Vec<Event>> {
        let keep: Vec<u64> = self.book.best.iter().map(|best| best.step).collect();
        // Of weights that no finite step has come of so far nobody knows whether they are any good.
        let limit = self.limit.filter(|_| skipped == 0);
        let removed = run::rotate(run, limit, &keep)?;
        Ok(removed.into_iter().map(|step| Event::CheckpointRemoved { step }).collect())
    }
}

/// Fills a checkpoint's folder.
fn fill(dir: &Path, state: &State<'_>, trainer: &TrainerState) -> Result<()> {
    let args = state.args;
    let json = args.to_json();
    run::write_json(&dir.join("sft_args.json"), &json)?;
    write_configuration(dir, Some(state.model_dir), &json)?;
    trainer.write(dir)?;
    if args.sft_type == "full" {
        // Frozen weights too: a checkpoint of full training is a whole model.
        beside::copy(state.model_dir, dir)?;
        let mut tensors = state.trainable.export(state.kind);
        let frozen = weights::load_except(state.model_dir, state.kind, |name| tensors.contains_key(name))?;
        tensors.extend(frozen);
        weights::save(&dir.join("model.safetensors"), &tensors)?;
    } else {
        beside::copy_tokenizer(state.model_dir, dir)?;
        let (layout, config) = adapter_config(args);
        let path = config.write(dir, layout)?;
        let tensors = state
            .trainable
            .export(state.kind)
            .into_iter()
            .map(|(name, tensor)| (file_key(&name, layout, &args.lora_target_modules), tensor))
            .collect();
        weights::save(&path, &tensors)?;
    }
    // In the place of the model's own: how SWIFT generates.
    let generation = run::generation_config(args, state.eos, state.model_dir);
    run::write_json(&dir.join(run::GENERATION_CONFIG), &generation)?;
    if !args.save_only_model {
        weights::save(&dir.join(run::OPTIMIZER), &resume::tensors(state))?;
        run::write_json(&dir.join(run::PROGRESS), &state.progress)?;
    }
    Ok(())
}

/// Which biases of the base are trained beside an adapter.
pub fn bias(args: &SftArgs) -> Bias {
    if args.lora_bias_trainable == "all" { Bias::All } else { Bias::None }
}

fn adapter_config(args: &SftArgs) -> (run::Layout, AdapterConfig) {
    let layout = if args.tuner_backend == "peft" { run::Layout::Peft } else { run::Layout::Swift };
    let config = AdapterConfig {
        r: args.lora_rank as u64,
        lora_alpha: args.lora_alpha,
        lora_dropout: args.lora_dropout_p,
        target_modules: args.lora_target_modules.clone(),
        bias: bias(args),
        modules_to_save: args.lora_modules_to_save.clone(),
        lora_dtype: Some(args.lora_dtype.clone()),
        base_model_name_or_path: args.model_id_or_path.clone(),
    };
    (layout, config)
}
