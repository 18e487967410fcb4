//! The recipe: what `sft` does, from top to bottom.

pub mod checkpoint;
mod limits;
mod metrics;
mod micro;
pub mod optimizer;
pub mod step;

use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use qwen_tui::args::{
    GradientCheckpointing, SftArgs,
    schedule::{learning_rate, warmup_steps},
};
use qwen_tui::data;
use qwen_tui::data::template::Example;
use qwen_tui::error::{Error, Result};
use qwen_tui::job::event::{Command, Event, Stage};
use qwen_tui::run::RunDir;
use tch::{Device, Kind};

use crate::device;
use crate::model::{LoraOptions, Mode, QwenConfig, Trainable, qwen::mix, weights};
pub use limits::limits;
pub use metrics::AccStrategy;
use metrics::{Tally, Window, weigh_evaluation, weigh_step};
use micro::MicroBatches;
use optimizer::AdamW;
use step::{Limits, WeightedRow};

/// After so many steps without a finite gradient in a row the run ends.
const SKIPPED_LIMIT: u32 = 10;

/// Rows that `test_oom_error` leaves, as SWIFT does.
const LONGEST_ROWS: usize = 20_000;

/// Where events go; an error (a full disk) ends the run.
pub type Sink<'a> = dyn FnMut(Event) -> Result<()> + 'a;

/// A run in progress.
struct Trainer<'a> {
    args: &'a SftArgs,
    run: &'a RunDir,
    emit: &'a mut Sink<'a>,
    device: Device,
    config: QwenConfig,
    base: weights::Named,
    kind: Kind,
    trainable: Trainable,
    acc: AccStrategy,
    checkpoints: checkpoint::Keeper,
}

/// The directory of the base model that `args` name.
pub fn model_dir(args: &SftArgs) -> Result<&Path> {
    named_model_dir(&args.model_type, args.model_cache_dir.as_deref(), args.model_id_or_path.as_deref())
}

/// The directory that `model_cache_dir` names, or else `model_id_or_path`.
///
/// # Errors
/// A hub's id that is no directory here: nothing is downloaded yet.
pub fn named_model_dir<'a>(
    model_type: &str,
    cache_dir: Option<&'a str>,
    id_or_path: Option<&'a str>,
) -> Result<&'a Path> {
    let dir = cache_dir.or(id_or_path).ok_or_else(|| {
        Error::user(format!(
            "model_type {model_type:?} names no directory: give the model's with --model_id_or_path DIR (config.json, \
             model.safetensors, qwen.tiktoken)"
        ))
    })?;
    let path = Path::new(dir);
    if cache_dir.is_none() && !path.exists() && qwen_tui::args::models::by_id(dir).is_some() {
        return Err(Error::user(format!(
            "{dir} (model_type {model_type}) is a hub's name, and there is no directory of that name here; download \
             the model and give its directory with --model_id_or_path DIR"
        )));
    }
    Ok(path)
}

/// Trains as `args` say, into `run`, answering to `commands` between steps.
///
/// # Errors
/// Error::User for what the user can mend: model, data, arguments, disk.
pub fn train<'a>(
    args: &'a SftArgs,
    run: &'a RunDir,
    commands: &Receiver<Command>,
    emit: &'a mut Sink<'a>,
) -> Result<()> {
    let started = Instant::now();
    let device = device::choose(&args.device)?;
    if let Some(threads) = args.threads {
        tch::set_num_threads(threads as i32);
    }
    emit(Event::Started {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        libtorch: device::LIBTORCH.to_owned(),
        device: device::label(device),
        device_name: device::name(device),
        threads: tch::get_num_threads() as usize,
    })?;

    // The data: cheap, and where most mistakes are.
    let dir = model_dir(args)?;
    weights::check_model_dir(dir)?;
    let config = QwenConfig::load(dir)?;
    emit(Event::Stage { stage: Stage::ReadingData })?;
    let rows = data::load::read(&args.into())?;
    for message in &rows.warnings {
        emit(Event::Warning { message: message.clone() })?;
    }
    let tokenizer = config.tokenizer(dir)?;
    emit(Event::Stage { stage: Stage::Tokenizing })?;
    let mut encoded = data::load::encode(args, &tokenizer, &rows)?;
    if args.test_oom_error {
        // The longest rows first, in their order: what does not fit shows at the first step.
        encoded.train.sort_by_key(|e| std::cmp::Reverse(e.ids.len()));
        encoded.train.truncate(LONGEST_ROWS);
    }
    emit(Event::Dataset {
        train: encoded.train_stats.clone(),
        validation: encoded.validation_stats.clone(),
    })?;

    // The model.
    emit(Event::Stage { stage: Stage::LoadingModel })?;
    let loading = Instant::now();
    let kind = device::kind(&args.dtype, device).map_err(|e| e.context("dtype"))?;
    let base = weights::load(dir, &config, kind, device)?;
    let mut trainable = match args.sft_type.as_str() {
        "full" => Trainable::full(
            &config,
            &base,
            args.freeze_parameters,
            &args.additional_trainable_parameters,
            device,
        )?,
        _ => Trainable::lora(&config, &base, &lora_options(args, kind, device)?, args.seed, device)?,
    };
    if let Some(file) = &args.init_adapter {
        checkpoint::load_adapter_file(Path::new(file), &mut trainable)?;
    }
    let base_parameters: i64 = config.tensors().iter().map(|(_, s)| s.iter().product::<i64>()).sum();
    emit(Event::Model {
        parameters: (base_parameters + trainable.added()) as u64,
        trainable: trainable.count() as u64,
        dtype: device::dtype_name(kind).to_owned(),
        bytes: base_parameters as u64 * kind.elt_size_in_bytes() as u64 + trainable.count() as u64 * 4,
        seconds: loading.elapsed().as_secs_f64(),
    })?;

    // The plan.
    let mut micro = MicroBatches::new(
        encoded.train.len(),
        args.batch_size,
        args.gradient_accumulation_steps,
        args.seed,
        args.train_sampler_random && !args.test_oom_error,
    );
    let total =
        if args.max_steps > 0 { args.max_steps as u64 } else { micro.total_steps(args.num_train_epochs) };
    let warmup = warmup_steps(total, args.warmup_ratio);
    let rate = |step: u64| learning_rate(args.lr_scheduler_type, args.learning_rate, warmup, total, step);
    emit(Event::Plan {
        total_steps: total,
        warmup_steps: warmup,
        micro_batches: micro.per_epoch(),
        accumulation: args.gradient_accumulation_steps as u64,
        learning_rate: args.learning_rate,
        scheduler: args.lr_scheduler_type.to_string(),
    })?;
    emit(Event::Stage { stage: Stage::Training })?;

    let recompute = recompute(args, &config, kind, device, &encoded.train);
    let limits = limits(&config, kind, device, true, recompute);
    let mut optimizer =
        AdamW::new(trainable.theta().0, (args.adam_beta1, args.adam_beta2), 1e-8, args.weight_decay);
    let checkpoints = checkpoint::Keeper::new(args, total);
    let acc = AccStrategy::parse(&args.acc_strategy);
    let mut trainer = Trainer { args, run, emit, device, config, base, kind, trainable, acc, checkpoints };
    let mut window = Window::default();
    let mut skipped = 0;
    let (mut step, mut stopped) = (0, false);
    while step < total && !stopped {
        // One optimizer step.
        let began = Instant::now();
        let (batches, tally, gradient) =
            trainer.gradient(&encoded.train, &mut micro, step, limits, recompute);
        let norm = optimizer::norm(&gradient);
        let rows: usize = batches.iter().map(Vec::len).sum();
        let (loss, step_acc) =
            (tally.loss, tally.step_accuracy(acc, &batches, args.gradient_accumulation_steps));
        let finite = loss.is_finite() && norm.is_finite();
        if finite {
            skipped = 0;
            let gradient = optimizer::clip(gradient, norm, args.max_grad_norm);
            let (theta, decayed) = trainer.trainable.theta();
            optimizer.step(theta, &gradient, rate(step), decayed);
        } else {
            skipped += 1;
            (trainer.emit)(Event::StepSkipped { step: step + 1, loss, grad_norm: norm })?;
            if skipped >= SKIPPED_LIMIT {
                return Err(Error::user(format!(
                    "loss or gradient was not finite for {SKIPPED_LIMIT} steps in a row (up to step {}): lower \
                     learning_rate, or use dtype bf16 or fp32; checkpoints saved so far are good",
                    step + 1
                )));
            }
        }
        step += 1;
        window.add(loss, step_acc);
        (trainer.emit)(Event::Step {
            step,
            epoch: micro.epoch(),
            loss,
            acc: step_acc,
            learning_rate: rate(step),
            grad_norm: norm,
            rows: rows as u64,
            tokens: batches.iter().flatten().map(|&i| encoded.train[i].ids.len() as u64).sum(),
            seconds: began.elapsed().as_secs_f64(),
        })?;
        if step == 1 || step % args.logging_steps == 0 {
            let (loss, acc) = window.take();
            trainer.log(Event::Log {
                step,
                epoch: micro.epoch(),
                loss,
                acc,
                learning_rate: rate(step),
                grad_norm: norm,
            })?;
        }

        // Evaluation, checkpoint, commands.
        let asked = trainer.obey(commands, step)?;
        stopped = asked == Asked::Stop && step < total;
        let last = step == total;
        if args.evaluation_strategy == "steps"
            && !encoded.validation.is_empty()
            && (step % args.eval_steps == 0 || last)
        {
            trainer.evaluate(&encoded.validation, step, micro.epoch())?;
        }
        if (args.save_strategy == "steps" && (step % args.save_steps == 0 || last)) || asked != Asked::Nothing
        {
            trainer.save(step, micro.epoch(), &optimizer)?;
        }
    }
    trainer.finish(step, micro.epoch(), stopped, started.elapsed().as_secs_f64())
}

/// Whether blocks are computed again on the way back: as asked, or (`auto`) where a step's rows would not fit otherwise.
fn recompute(args: &SftArgs, config: &QwenConfig, kind: Kind, device: Device, rows: &[Example]) -> bool {
    match args.gradient_checkpointing {
        GradientCheckpointing::On => true,
        GradientCheckpointing::Off => false,
        GradientCheckpointing::Auto => {
            let per_step = args.batch_size * args.gradient_accumulation_steps;
            let longest = rows.iter().map(|r| r.ids.len()).max().unwrap_or(0);
            limits(config, kind, device, true, false).tokens < (longest * per_step).min(4096)
        }
    }
}

fn lora_options(args: &SftArgs, kind: Kind, device: Device) -> Result<LoraOptions> {
    Ok(LoraOptions {
        targets: args.lora_target_modules.clone(),
        rank: args.lora_rank as i64,
        alpha: args.lora_alpha,
        biases: args.lora_bias_trainable == "all",
        modules_to_save: args.lora_modules_to_save.clone(),
        kind: match args.lora_dtype.as_str() {
            "AUTO" => kind,
            dtype => device::kind(dtype, device).map_err(|e| e.context("lora_dtype"))?,
        },
    })
}

/// What the commands ask for after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Save,
    Stop,
}

impl Trainer<'_> {
    /// The gradient of the next step's rows: their micro-batches, what the forward passes found, and the gradient.
    fn gradient(
        &mut self,
        examples: &[Example],
        micro: &mut MicroBatches,
        step: u64,
        limits: Limits,
        recompute: bool,
    ) -> (Vec<Vec<usize>>, Tally, tch::Tensor) {
        let batches = micro.next_step();
        let rows = weigh_step(examples, &batches, self.args.gradient_accumulation_steps);
        let mut tally = Tally::new(rows.len());
        self.trainable.zero_grad();
        for (n, batch) in step::plan(&rows, limits, None).iter().enumerate() {
            let part: Vec<WeightedRow<'_>> = batch.iter().map(|&i| rows[i]).collect();
            let mode = Mode {
                train: true,
                lora_dropout: self.args.lora_dropout_p,
                seed: mix(mix(self.args.seed, step), n as u64),
            };
            let model = self.trainable.assemble(&self.config, &self.base);
            tally.add(batch, &step::forward_backward(&model, &part, &mode, recompute));
        }
        let gradient = self.trainable.grad();
        (batches, tally, gradient)
    }

    /// Loss and accuracy on the validation rows.
    fn evaluate(&mut self, examples: &[Example], step: u64, epoch: f64) -> Result<()> {
        (self.emit)(Event::Stage { stage: Stage::Evaluating })?;
        let began = Instant::now();
        let rows = weigh_evaluation(examples, self.args.eval_batch_size);
        let limits = limits(&self.config, self.kind, self.device, false, false);
        let model = tch::no_grad(|| self.trainable.assemble(&self.config, &self.base));
        let mut tally = Tally::new(rows.len());
        let mut done = 0;
        let mut told = Instant::now();
        for batch in step::plan(&rows, limits, Some(self.config.seq_length as usize)) {
            let part: Vec<WeightedRow<'_>> = batch.iter().map(|&i| rows[i]).collect();
            tally.add(&batch, &step::forward(&model, &part, &Mode::default()));
            done += batch.len() as u64;
            if told.elapsed().as_secs() >= 1 {
                told = Instant::now();
                (self.emit)(Event::EvalProgress { step, done, rows: rows.len() as u64 })?;
            }
        }
        let event = Event::Eval {
            step,
            epoch,
            loss: tally.loss,
            acc: tally.accuracy(self.acc),
            rows: rows.len() as u64,
            seconds: began.elapsed().as_secs_f64(),
        };
        self.checkpoints.note_evaluation(step, tally.loss);
        self.log(event)?;
        (self.emit)(Event::Stage { stage: Stage::Training })
    }

    /// An event that is also a line of `logging.jsonl`.
    fn log(&mut self, event: Event) -> Result<()> {
        self.checkpoints.log(self.run, &event, self.args.eval_batch_size)?;
        (self.emit)(event)
    }

    fn save(&mut self, step: u64, epoch: f64, optimizer: &AdamW) -> Result<()> {
        (self.emit)(Event::Stage { stage: Stage::Saving })?;
        let state = checkpoint::State {
            args: self.args,
            trainable: &self.trainable,
            optimizer,
            kind: self.kind,
            model_dir: model_dir(self.args)?,
            epoch,
        };
        for event in self.checkpoints.save(self.run, step, &state)? {
            (self.emit)(event)?;
        }
        (self.emit)(Event::Stage { stage: Stage::Training })
    }

    /// Obeys what came in during the step; a pause waits here.
    fn obey(&mut self, commands: &Receiver<Command>, step: u64) -> Result<Asked> {
        let mut asked = Asked::Nothing;
        loop {
            match commands.try_recv() {
                Ok(Command::Stop) => return Ok(Asked::Stop),
                Ok(Command::Save) => asked = Asked::Save,
                Ok(Command::Resume) => {}
                Ok(Command::Pause) => {
                    (self.emit)(Event::Paused { step })?;
                    loop {
                        match commands.recv() {
                            Ok(Command::Pause) => {}
                            Ok(Command::Save) => asked = Asked::Save,
                            Ok(Command::Stop) => return Ok(Asked::Stop),
                            Ok(Command::Resume) | Err(_) => break,
                        }
                    }
                    (self.emit)(Event::Resumed { step })?;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(asked),
            }
        }
    }

    /// Loads the best adapter, as the reference does at the end, and says how the run ended.
    fn finish(mut self, step: u64, epoch: f64, stopped: bool, seconds: f64) -> Result<()> {
        let best = self.checkpoints.best();
        if let Some((path, _)) = &best
            && !stopped
        {
            checkpoint::load(&self.run.path().join(path), &mut self.trainable)?;
        }
        self.checkpoints.log_end(self.run, step, epoch, seconds)?;
        (self.emit)(Event::Finished {
            step,
            seconds,
            stopped,
            last_checkpoint: self.checkpoints.last(),
            best_checkpoint: best.as_ref().map(|(path, _)| path.clone()),
            best_metric: best.map(|(_, loss)| loss),
        })
    }
}
