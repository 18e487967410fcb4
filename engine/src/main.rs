//! The engine's own small command line; people type `qwen-tui`.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use qwen_tui::args::{load_infer, load_infer_texts};
use qwen_tui::error::{Context, Error, Result};
use qwen_tui_engine::infer::{Session, prompt, rows};
use qwen_tui_engine::model::create::{Shape, create};
use qwen_tui_engine::model::{QwenConfig, weights};
use qwen_tui_engine::{device, repl, worker};

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
    Worker { run_dir: PathBuf },
    /// Answer validation rows or a prompt (SWIFT's arguments of `infer`).
    Infer(Raw),
    /// Label texts: `--ckpt_dir DIR TEXT...`, or texts from standard input.
    Classify(Raw),
    /// Answer JSON lines of standard input with a model that stays loaded (arguments of `infer`; docs/repl.md).
    Repl(Raw),
    /// Tell version, libtorch, devices and threads as one JSON object.
    Info {
        /// Accepted for symmetry: it is always JSON.
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
    NewModel {
        #[arg(long)]
        out: PathBuf,
        /// A qwen.tiktoken.
        #[arg(long)]
        tokenizer: PathBuf,
        #[arg(long, default_value_t = 192)]
        hidden: i64,
        #[arg(long, default_value_t = 4)]
        layers: i64,
        #[arg(long, default_value_t = 3)]
        heads: i64,
        /// Width of each MLP matrix.
        #[arg(long, default_value_t = 512)]
        mlp: i64,
        /// Rows of the embedding; 0: what the tokenizer needs.
        #[arg(long, default_value_t = 0)]
        vocab: i64,
        #[arg(long, default_value_t = 8192)]
        seq_length: i64,
        #[arg(long, default_value_t = 0.0)]
        emb_dropout: f64,
        #[arg(long, default_value = "fp32")]
        dtype: String,
        #[arg(long, default_value_t = 42)]
        seed: u64,
    },
}

/// Arguments under SWIFT's names, which are checked by the table of arguments and not by clap.
#[derive(clap::Args)]
struct Raw {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

fn main() -> ExitCode {
    if std::env::var_os("CUDA_DEVICE_ORDER").is_none() {
        // NVML counts cards in this order; CUDA's own default is the fastest first.
        // SAFETY: nothing else runs yet.
        unsafe { std::env::set_var("CUDA_DEVICE_ORDER", "PCI_BUS_ID") };
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_target(false).init();
    // libtorch's errors arrive as panics: their first lines are for people, the backtrace is not.
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload_as_str().unwrap_or("unknown panic");
        tracing::error!("{}", worker::brief(text));
    }));
    let outcome = std::panic::catch_unwind(|| run(Cli::parse().command))
        .unwrap_or_else(|_| Err(Error::internal("the computation failed; libtorch's words stand above")));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::User(m)) if m == CLOSED => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(e.exit_code() as u8)
        }
    }
}

/// What an answer to a closed pipe (`| head`) ends in.
const CLOSED: &str = "standard output was closed";

/// Texts labelled at once when they come from standard input.
const CHUNK: usize = 256;

fn infer(args: &[String]) -> Result<()> {
    let loaded = load_infer(args)?;
    warn(&loaded.warnings);
    let session = Session::open(&loaded.args)?;
    let mut out = std::io::stdout().lock();
    let done = if loaded.args.eval_human {
        prompt::converse(&session, &loaded.args, &mut std::io::stdin().lock(), &mut out)
    } else {
        rows::answer_rows(&session, &loaded.args, &mut out)
    };
    done.map_err(closed)
}

fn classify(args: &[String]) -> Result<()> {
    let (loaded, texts) = load_infer_texts(args)?;
    warn(&loaded.warnings);
    let session = Session::open(&loaded.args)?;
    let mut out = std::io::stdout().lock();
    let mut tell = |texts: &[String]| -> Result<()> {
        for verdict in session.classify(texts)? {
            let line = serde_json::to_string(&verdict).internal("writing JSON")?;
            writeln!(out, "{line}").and_then(|()| out.flush()).user("standard output").map_err(closed)?;
        }
        Ok(())
    };
    if !texts.is_empty() {
        return tell(&texts);
    }
    let input = std::io::stdin();
    // A person at the keyboard wants each answer at once.
    let chunk = if input.is_terminal() { 1 } else { CHUNK };
    let mut waiting = Vec::new();
    let mut found = false;
    for (n, line) in input.lock().split(b'\n').enumerate() {
        let line = line.user("standard input")?;
        let text = String::from_utf8(line).map_err(|_| {
            Error::user(format!(
                "standard input, line {}: not UTF-8; convert it (iconv -f GBK -t UTF-8)",
                n + 1
            ))
        })?;
        let text = text.trim_end_matches('\r');
        if text.trim().is_empty() {
            continue;
        }
        found = true;
        waiting.push(text.to_owned());
        if waiting.len() >= chunk {
            tell(&std::mem::take(&mut waiting))?;
        }
    }
    if !found {
        return Err(Error::user(
            "no text to classify: give texts after the arguments, or on standard input, one a line",
        ));
    }
    tell(&waiting)
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

/// A reader that has seen enough is no error.
fn closed(e: Error) -> Error {
    if e.to_string().contains("Broken pipe") { Error::user(CLOSED) } else { e }
}

fn info() -> Result<()> {
    let mut devices = vec![serde_json::json!({"name": device::name(tch::Device::Cpu), "kind": "cpu"})];
    let cuda = device::load_cuda();
    if cuda.is_ok() {
        for n in 0..tch::Cuda::device_count() as usize {
            let total = device::gpu(n).and_then(|g| g.memory_total);
            devices.push(serde_json::json!({
                "name": device::name(tch::Device::Cuda(n)), "kind": format!("cuda:{n}"), "memory_total": total,
            }));
        }
    }
    println!(
        "{}",
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"), "libtorch": device::LIBTORCH, "devices": devices,
            "threads": tch::get_num_threads(), "cuda": cuda.err(),
        })
    );
    Ok(())
}

/// Copies `model` to `out` with its weights as `dtype`.
fn convert(model: &std::path::Path, out: &std::path::Path, dtype: &str) -> Result<()> {
    weights::check_model_dir(model)?;
    let kind = device::kind(dtype, tch::Device::Cpu).map_err(|e| e.context("--dtype"))?;
    QwenConfig::load(model)?;
    let tensors = weights::load_except(model, kind, |_| false)?;
    std::fs::create_dir_all(out).user(out.display())?;
    for file in ["config.json", "generation_config.json", "qwen.tiktoken"] {
        if model.join(file).is_file() {
            std::fs::copy(model.join(file), out.join(file)).user(out.join(file).display())?;
        }
    }
    weights::save(&out.join("model.safetensors"), &tensors)
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Worker { run_dir } => worker::run(&run_dir),
        Task::Infer(raw) => infer(&raw.args),
        Task::Classify(raw) => classify(&raw.args),
        Task::Repl(raw) => {
            repl::serve(&raw.args, std::io::stdin(), &mut std::io::stdout().lock()).map_err(closed)
        }
        Task::Info { .. } => info(),
        Task::Convert { model, out, dtype } => convert(&model, &out, &dtype),
        Task::NewModel {
            out,
            tokenizer,
            hidden,
            layers,
            heads,
            mlp,
            vocab,
            seq_length,
            emb_dropout,
            dtype,
            seed,
        } => {
            let kind = device::kind(&dtype, tch::Device::Cpu).map_err(|e| e.context("--dtype"))?;
            let shape = Shape { hidden, layers, heads, mlp, vocab, seq_length, emb_dropout };
            create(&out, &tokenizer, &shape, kind, seed)
        }
    }
}
