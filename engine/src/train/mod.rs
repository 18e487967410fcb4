//! The recipe: what `sft` does, from top to bottom.

mod ahead;
mod answering;
mod base;
pub mod checkpoint;
mod commands;
mod evaluation;
pub mod fit;
mod gradient;
mod limits;
mod metrics;
mod micro;
mod minutes;
mod nlg;
pub mod optimizer;
mod reports;
pub(crate) mod resume;
mod room;
pub mod step;
mod trainer;

use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use qwen_tui::args::{
    GradientCheckpointing, SftArgs,
    schedule::{learning_rate, warmup_steps},
};
use qwen_tui::data;
use qwen_tui::data::template::Example;
use qwen_tui::error::{Error, Result};
use qwen_tui::hub::sources::reading;
use qwen_tui::job::branch::kept;
use qwen_tui::job::event::{Command, Event, Stage};
use qwen_tui::job::human::counted;
use qwen_tui::job::initial_adapter::InitialAdapter;
use qwen_tui::job::inputs::{check_model_dir, model_dir};
use qwen_tui::run::training_args::Facts;
use qwen_tui::run::{self, Logging, RunDir};
use tch::{Device, Kind};

use crate::device;
use crate::model::{LoraOptions, QwenConfig, Trainable, adapter, weights};
use answering::{Answering, unasked};
use base::BaseModel;
use commands::{Asked, Commands, Inbox};
use gradient::Figures;
pub use limits::limits;
pub use metrics::AccStrategy;
pub(crate) use micro::MicroBatches;
use minutes::Minutes;
use optimizer::Optimizer;
use reports::Reports;
use resume::{Fingerprint, Machine, Passes, Progress};
use trainer::Trainer;

/// After so many steps without a finite gradient in a row the run ends. SWIFT has no argument for it: it goes on
/// without end. A gradient that overflows fp16 now and then does not come ten times in a row.
pub const SKIPPED_LIMIT: u32 = 10;

/// Rows that `test_oom_error` leaves, as SWIFT does.
const LONGEST_ROWS: usize = 20_000;

/// Where events go; an error ends the run.
pub type Sink<'a> = dyn FnMut(Event) -> Result<()> + 'a;

/// Trains as `args` say, into `run`, answering to the commands `received` between steps; goes on from the checkpoint `from`, one of
/// the run's own, or starts from the beginning.
///
/// # Errors
/// Error::User for what the user can mend: model, data, arguments, disk.
pub fn train(
    args: &SftArgs,
    run: &RunDir,
    from: Option<&Path>,
    received: &Receiver<Command>,
    emit: &mut Sink<'_>,
) -> Result<()> {
    let inbox = Inbox::new(received);
    let ended = recipe(args, run, from, &inbox, &mut |event| room::emit_patiently(event, &inbox, emit));
    // Told to stop while it waited for room.
    ended.map_err(|e| match e {
        Error::NoRoom(message) => Error::NoRoom(message + &kept(run.path())),
        e => e,
    })
}

fn recipe<'a>(
    args: &'a SftArgs,
    run: &'a RunDir,
    from: Option<&Path>,
    inbox: &'a Inbox<'a>,
    emit: &'a mut Sink<'a>,
) -> Result<()> {
    let started = Instant::now();
    let device = device::choose(&args.device)?;
    if let Some(threads) = args.threads {
        tch::set_num_threads(threads as i32);
    }
    let before = from.map(Progress::read).transpose()?;
    let done = before.as_ref().map_or(0, |progress| progress.step);
    emit(Event::Started {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        libtorch: device::libtorch(),
        device: device::label(device),
        device_name: device::name(device),
        threads: tch::get_num_threads() as usize,
        step: done,
    })?;

    // Asked to stop before the first step, the run ends with nothing to save.
    let mut commands = Commands::new(inbox);
    let mut stopped = |emit: &mut Sink<'a>| -> Result<bool> {
        if !commands.stop(emit, done)? {
            return Ok(false);
        }
        let best = before.as_ref().and_then(|progress| progress.book.best());
        emit(Event::Finished {
            step: done,
            seconds: started.elapsed().as_secs_f64(),
            stopped: true,
            last_checkpoint: before.as_ref().map(|_| checkpoint::name(done)),
            best_checkpoint: best.map(|best| checkpoint::name(best.step)),
            best_metric: best.map(|best| best.metric()),
        })?;
        Ok(true)
    };

    // The data: cheap, and where most mistakes are.
    // Names stay in what is written down.
    let reading = reading(run.path(), args)?;
    let dir = model_dir(&reading)?;
    check_model_dir(dir)?;
    let config = QwenConfig::load(dir)?;
    let initial = InitialAdapter::of(args).filter(|_| from.is_none());
    let initial = match initial {
        Some(adapter) => Some((adapter.checked_file()?, adapter)),
        None => None,
    };
    emit(Event::Stage { stage: Stage::ReadingData })?;
    let rows = data::load::read(&(&reading).into())?;
    for message in &rows.warnings {
        emit(Event::Warning { message: message.clone() })?;
    }
    let tokenizer = config.tokenizer(dir)?;
    if stopped(emit)? {
        return Ok(());
    }
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
    let unasked = args.predict_with_generate.then(|| unasked(&encoded.validation, args.max_length_limit()));
    for message in warnings(args, &config, &encoded.train).into_iter().chain(unasked.flatten()) {
        emit(Event::Warning { message })?;
    }
    let data = Fingerprint::of(&encoded.train, &encoded.validation);
    if let Some(progress) = &before {
        progress.check_data(&data)?;
    }

    Reports::look(args, run)?;

    // The model.
    if stopped(emit)? {
        return Ok(());
    }
    emit(Event::Stage { stage: Stage::LoadingModel })?;
    let loading = Instant::now();
    let kind = device::kind(&args.dtype, device).map_err(|e| e.context("dtype"))?;
    let base = weights::load(dir, &config, kind, device)?;
    let base_model = BaseModel::of(dir, &config)?;
    if let Some(began) = before.as_ref().and_then(|progress| progress.base.as_ref()) {
        base_model.check(began, dir)?;
    }
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
    if let Some((file, adapter)) = initial {
        adapter::load_file(&file, &mut trainable).map_err(|e| match e.context("init_adapter") {
            Error::User(message) => Error::User(message + &adapter.said()),
            e => e,
        })?;
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
    let micro = MicroBatches::of(args, encoded.train.len());
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
    if total <= warmup && (0..total).all(|step| rate(step) == 0.0) {
        let message = "no step has a learning rate above 0, so nothing will be learnt: all of them are warm-up; give \
                       warmup_ratio 0, or more rows or epochs";
        emit(Event::Warning { message: message.to_owned() })?;
    }
    if stopped(emit)? {
        return Ok(());
    }

    // What the run went on with, or a fresh start.
    let recompute = recompute(args, &config, kind, device, &encoded.train);
    let mut passes = Passes {
        training: limits(&config, kind, device, true, recompute),
        evaluation: limits(&config, kind, device, false, false),
        recompute,
    };
    let mut optimizer = Optimizer::new(args.into(), trainable.shapes(), device);
    let mut checkpoints = checkpoint::Keeper::new(args, total);
    let mut progress = Progress::start(passes, data, Some(base_model), device);
    if let (Some(dir), Some(before)) = (from, before) {
        run::verify_checkpoint(dir)?;
        resume::restore(dir, &mut trainable, &mut optimizer)?;
        let lost = checkpoints.go_on(run, dir, before.step, before.book.clone())?;
        let less;
        (passes, less) = before.passes(passes);
        for message in [before.other_machine(&Machine::here(device)), less, lost].into_iter().flatten() {
            emit(Event::Warning { message })?;
        }
        progress = Progress { passes, base: progress.base, ..before };
    }
    // Lines of steps that are done again.
    Logging::cut(&run.logging_file(), progress.step)?;
    let facts = Facts {
        run,
        model_dir: dir,
        eos: tokenizer.eos(),
        validation: !encoded.validation.is_empty(),
        dtype: device::dtype_name(kind),
        recompute: passes.recompute,
    };
    let reports = Reports::open(args, &facts, progress.step, checkpoints.history())?;
    emit(Event::Stage { stage: Stage::Training })?;

    let acc = AccStrategy::parse(&args.acc_strategy);
    let answering = args.predict_with_generate.then(|| Answering::new(args, tokenizer)).transpose()?;
    let mut trainer = Trainer {
        args,
        model_dir: dir,
        run,
        emit,
        commands,
        started,
        config,
        base,
        kind,
        trainable,
        explicit: None,
        next: None,
        optimizer,
        micro,
        acc,
        checkpoints,
        minutes: Minutes::new(args.save_minutes, Instant::now()),
        reports,
        eos: facts.eos,
        seconds_before: progress.seconds,
        progress,
        total,
        validation: encoded.validation,
        answering,
    };
    // A stop leaves the evaluation of its step out.
    let mut stopped = trainer.owes_evaluation() && trainer.close_step()?;
    while trainer.progress.step < total && !stopped {
        // One optimizer step.
        let began = Instant::now();
        let step = trainer.progress.step;
        let figures = trainer.take_step(&encoded.train, rate(step))?;
        let rows = figures.batches.iter().flatten();
        let (rows, tokens) = (rows.clone().count(), rows.map(|&i| encoded.train[i].ids.len() as u64).sum());
        let Figures { loss, acc, norm, .. } = figures;
        if figures.are_finite() {
            trainer.progress.skipped = 0;
        } else {
            trainer.progress.skipped += 1;
            trainer.progress.step = step + 1;
            (trainer.emit)(Event::StepSkipped { step: step + 1, loss, grad_norm: norm })?;
            if trainer.progress.skipped >= SKIPPED_LIMIT {
                return Err(trainer.diverged());
            }
        }
        let step = step + 1;
        trainer.progress.step = step;
        trainer.progress.window.add(loss, acc);
        (trainer.emit)(Event::Step {
            step,
            epoch: trainer.micro.epoch(step),
            loss,
            acc,
            learning_rate: rate(step),
            grad_norm: norm,
            rows: rows as u64,
            tokens,
            seconds: began.elapsed().as_secs_f64(),
        })?;
        if step == 1 || step.is_multiple_of(args.logging_steps) {
            let (loss, acc) = trainer.progress.window.take();
            let (epoch, learning_rate) = (trainer.micro.epoch(step), rate(step));
            trainer.log(Event::Log { step, epoch, loss, acc, learning_rate, grad_norm: norm })?;
        }
        stopped = trainer.close_step()?;
    }
    trainer.finish(stopped)
}

/// What is allowed and seldom meant.
fn warnings(args: &SftArgs, config: &QwenConfig, rows: &[Example]) -> Vec<String> {
    let mut warnings = Vec::new();
    let context = config.seq_length as usize;
    let long = rows.iter().filter(|row| row.ids.len() > context).count();
    if long > 0 {
        let (rows, are) = (counted(long as u64, "training row"), if long == 1 { "is" } else { "are" });
        warnings.push(format!(
            "{rows} {are} longer than the model's context of {context} tokens (seq_length in config.json): \
             it has not seen such positions; max_length {context} leaves them out"
        ));
    }
    let (batches, accumulation) =
        (rows.len().div_ceil(args.batch_size) as u64, args.gradient_accumulation_steps as u64);
    if batches < accumulation {
        warnings.push(format!(
            "{} make {} of batch_size {}, and a step takes {accumulation} (gradient_accumulation_steps); as in the \
             reference its loss and gradient are divided by {accumulation} all the same, so that both come out small",
            counted(rows.len() as u64, "training row"),
            counted(batches, "micro-batch"),
            args.batch_size,
        ));
    }
    if args.save_strategy == "no" {
        warnings.push("save_strategy no: the trained weights are lost at the end".to_owned());
    }
    warnings
}

/// Whether blocks are computed again on the way back: as asked, or (`auto`) where a step's rows would not fit otherwise.
pub(crate) fn recompute(
    args: &SftArgs,
    config: &QwenConfig,
    kind: Kind,
    device: Device,
    rows: &[Example],
) -> bool {
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

/// The LoRA that the arguments ask for.
pub(crate) fn lora_options(args: &SftArgs, kind: Kind, device: Device) -> Result<LoraOptions> {
    Ok(LoraOptions {
        targets: args.lora_target_modules.clone(),
        rank: args.lora_rank as i64,
        alpha: args.lora_alpha,
        bias: checkpoint::bias(args),
        modules_to_save: args.lora_modules_to_save.clone(),
        kind: match args.lora_dtype.as_str() {
            "AUTO" => kind,
            dtype => device::kind(dtype, device).map_err(|e| e.context("lora_dtype"))?,
        },
    })
}
