//! The engine's own small command line; people type `qwen-tui`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use qwen_tui::bench::{BenchArguments, NewModelArguments};
use qwen_tui::error::{Error, Result};
use qwen_tui::stderr::note;
use qwen_tui_engine::infer::{logits, stdio};
use qwen_tui_engine::model::convert::convert;
use qwen_tui_engine::model::create::create;
use qwen_tui_engine::{bench, info, words, worker};
use tracing_subscriber::EnvFilter;

/// The half of qwen-tui that owns libtorch. It is started by `qwen-tui`; nothing here is meant to be typed.
#[derive(Parser)]
#[command(name = "qwen-tui-engine", version)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Train the run in a run directory, as its sft_args.json says.
    Worker {
        run_dir: PathBuf,
        /// Go on from its checkpoint of this step.
        #[arg(long)]
        resume_at: Option<u64>,
    },
    /// Answer validation rows or a prompt (SWIFT's arguments of `infer`).
    Infer(Raw),
    /// Label texts: `--ckpt_dir DIR TEXT...`, or texts from standard input.
    Classify(Raw),
    /// Fold a checkpoint's adapter into its base model (`--ckpt_dir DIR`).
    MergeLora(Raw),
    /// Answer JSON lines of standard input with a model that stays loaded (arguments of `infer`; docs/repl.md).
    Repl(Raw),
    /// Write the logits of token ids into a safetensors file (arguments of `infer`; docs/python.md).
    Logits {
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        raw: Raw,
    },
    /// Show the token ids and labels that a template makes of a file's rows (docs/python.md).
    Encode {
        #[arg(long)]
        model: PathBuf,
        #[arg(long, alias = "template_type")]
        template: String,
        #[arg(long)]
        system: Option<String>,
        rows: PathBuf,
    },
    /// Tell version, libtorch, devices and threads.
    Info {
        /// As one JSON object, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Copy a model directory with its weights in another dtype.
    Convert {
        #[arg(long)]
        model: PathBuf,
        #[arg(long)]
        out: PathBuf,
        #[arg(long, default_value = "bf16")]
        dtype: String,
    },
    /// Make a model directory with random weights in the layout of Qwen-1.
    NewModel(NewModelArguments),
    /// Time training, evaluation, labels and loading (docs/performance.md).
    Bench(BenchArguments),
    /// One of the processes that `bench` times.
    BenchPart {
        role: bench::Role,
        /// File that `bench` wrote.
        job: PathBuf,
    },
}

/// Arguments under SWIFT's names, which are checked by the table of arguments and not by clap.
#[derive(clap::Args)]
struct Raw {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

fn main() -> ExitCode {
    if std::env::var_os("CUDA_DEVICE_ORDER").is_none() {
        // NVML counts cards in this order; CUDA's own default is the fastest first.
        // SAFETY: nothing else runs yet.
        unsafe { std::env::set_var("CUDA_DEVICE_ORDER", "PCI_BUS_ID") };
    }
    // Lines are written by a thread of their own, so that a slow log never holds the training up; the guard writes
    // what is left.
    let (log, guard) =
        tracing_appender::non_blocking::NonBlockingBuilder::default().lossy(false).finish(std::io::stderr());
    let levels = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(levels)
        .with_writer(log)
        .with_ansi(false)
        .with_target(false)
        // The disk of the log may be full, and after the last word nobody listens.
        .log_internal_errors(false)
        .init();
    // libtorch's errors arrive as panics: their first lines are for people, the backtrace is not.
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload_as_str().unwrap_or("unknown panic");
        tracing::error!("{}", words::brief(text));
    }));
    let task = Cli::parse().command;
    let is_worker = matches!(task, Task::Worker { .. });
    let outcome = std::panic::catch_unwind(|| run(task))
        .unwrap_or_else(|_| Err(Error::internal("the computation failed; libtorch's words stand above")));
    drop(guard);
    let status = match outcome {
        Ok(()) => 0,
        Err(e) => {
            // Its log may be what cannot be written.
            note(&format!("error: {e}"));
            e.exit_code()
        }
    };
    if is_worker {
        // Its computation may still be at work where it was told to end at once, and would fail loudly while libtorch is
        // taken down under it.
        // SAFETY: nothing is left to be written, and nothing of Rust's runs on.
        unsafe { libc::_exit(status) }
    }
    ExitCode::from(status as u8)
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Worker { run_dir, resume_at } => worker::run(&run_dir, resume_at),
        Task::Infer(raw) => stdio::infer(&raw.args),
        Task::Classify(raw) => stdio::classify(&raw.args),
        Task::MergeLora(raw) => stdio::merge_lora(&raw.args),
        Task::Repl(raw) => stdio::repl(&raw.args),
        Task::Logits { out, raw } => logits::logits(&raw.args, &out),
        Task::Encode { model, template, system, rows } => {
            logits::encode(&model, &template, system.as_deref(), &rows)
        }
        Task::Info { json } => info::tell(json),
        Task::Convert { model, out, dtype } => convert(&model, &out, &dtype),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::BenchPart { role, job } => bench::serve(role, &job),
        Task::NewModel(a) => create(&a.out, a.tokenizer.as_deref(), &a.sizes(), a.dtype(), a.seed),
    }
}
