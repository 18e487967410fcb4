//! The command line: a function a subcommand, and no logic of its own.

mod beginning;
mod demo;
mod doctor;
mod fetch;
mod found;
mod jobs;
mod out;
mod pull;
mod pulling;
mod queue;
mod report;
mod sft;
mod tokenize;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use qwen_tui::args::{CLASSIFY, Field, INFER, INFER_FIELDS, MERGE, Uses, help_text};
use qwen_tui::bench::{BenchArguments, NewModelArguments};
use qwen_tui::error::{Error, Result, is_unseen};
use qwen_tui::job::engine::run_engine;
use qwen_tui::job::event;
use qwen_tui::tui;

#[derive(Parser)]
#[command(
    name = "qwen-tui",
    version,
    about = "Fine-tune Qwen-1 for sentiment classification from a terminal, natively on libtorch",
    max_term_width = 100,
    after_help = "Without a command, on a terminal: the cockpit, on the running job if there is one.\n\
        Its log is logs/cockpit.log in a directory that has logs or configs, else qwen-tui/cockpit.log in \
        $XDG_STATE_HOME (~/.local/state).\n\
        Exit status: 0 done, 2 for what you can mend (an argument, a file, a full disk), 130 for a demo, a \
        conversation or the following of a job that Ctrl-C ended, 1 for the rest.\n\
        Start with `qwen-tui demo`; if something is missing, `qwen-tui doctor` says what to do.",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
struct Cli {
    /// Open the cockpit on this run
    #[arg(long, value_name = "RUN_DIR")]
    run: Option<PathBuf>,
    /// Where the cockpit looks for runs
    #[arg(long, alias = "output_dir", value_name = "DIR", default_value = "output")]
    output_dir: PathBuf,
    /// File of arguments that the cockpit's form begins with, such as configs/jd-sentiment.json
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Train: LoRA or full fine-tuning, with SWIFT's arguments
    #[command(disable_help_flag = true)]
    Sft(Raw),
    /// List running, waiting and finished jobs, newest first
    Jobs(jobs::ListArguments),
    /// List the jobs that wait for a device, and change their order
    Queue(queue::Arguments),
    /// Let a running job wait after the step at hand
    Pause(jobs::RunArguments),
    /// Let a paused job go on
    Resume(jobs::RunArguments),
    /// Have a running job save a checkpoint after the step at hand
    Save(jobs::RunArguments),
    /// Have a running job finish the step at hand, save and end
    Stop(jobs::RunArguments),
    /// Open the cockpit on a job; without a terminal, follow it as lines
    Attach(jobs::AttachArguments),
    /// Answer prompts, or the validation rows, with a checkpoint
    #[command(disable_help_flag = true)]
    Infer(Raw),
    /// Label texts with a checkpoint: one JSON object a line
    #[command(disable_help_flag = true)]
    Classify(Raw),
    /// Fold a checkpoint's adapter into its base model: a whole model directory
    #[command(name = "merge-lora", alias = "merge_lora", disable_help_flag = true)]
    MergeLora(Raw),
    /// Make a model directory with random weights, for benchmarks and to train from nothing
    NewModel(NewModelArguments),
    /// Time a training step, an evaluation, a label and the loading of a model
    Bench(BenchArguments),
    /// Fetch a model or a data set from ModelScope or Hugging Face
    Pull(pull::Arguments),
    /// Turn JSON strings into lists of token ids, a line each
    Tokenize(tokenize::Arguments),
    /// Run the whole job on real Chinese reviews with a small model
    #[command(disable_help_flag = true)]
    Demo(Raw),
    /// Look for what is missing: engine, libtorch, devices, memory, terminal
    Doctor(doctor::Arguments),
    /// Prepare the demo's rows, vocabulary and pretraining corpus
    #[command(hide = true)]
    DemoData(demo::DataArguments),
}

/// Arguments under SWIFT's names, which are checked by the table of arguments and not by clap.
#[derive(Args)]
struct Raw {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    args: Vec<OsString>,
}

const INFER_HELP: &str = "\
Answer prompts, or the validation rows, with a checkpoint

Usage: qwen-tui infer --ckpt_dir DIR [--ARGUMENT VALUE]...

Without --load_dataset_config it reads prompts (`exit` ends, `clear` forgets, Ctrl-C stops an answer); with \
--load_dataset_config true it answers the validation rows of the run that the checkpoint is from. Either way the \
answers are appended to infer_result_*.jsonl in the checkpoint, unless --save_result false is given.

Examples:
  qwen-tui infer --ckpt_dir output/qwen-1_8b/v0-20250101-120000/checkpoint-125
  qwen-tui infer --ckpt_dir CHECKPOINT --load_dataset_config true --max_new_tokens 5
";

const CLASSIFY_HELP: &str = "\
Label texts with a checkpoint

Usage: qwen-tui classify --ckpt_dir DIR [TEXT]...

Prints a JSON object a line for each text: text, label, and the probability of every label.
Without TEXT it reads texts from standard input, one a line.
--model_type NAME --model_id_or_path DIR without --ckpt_dir labels with the base model.
SWIFT's other arguments of `infer` are accepted without effect.

Examples:
  qwen-tui classify --ckpt_dir CHECKPOINT 质量太差，用了两天就坏了
  qwen-tui classify --ckpt_dir CHECKPOINT < reviews.txt > labels.jsonl
";

const MERGE_HELP: &str = "\
Fold a checkpoint's adapter into its base model

Usage: qwen-tui merge-lora --ckpt_dir DIR [--output DIR] [--overwrite]

Writes a whole model directory, CHECKPOINT-merged unless --output names another: weights in safetensors (in files of at \
most 2 GB), config, tokenizer and code of the base model. It loads wherever a model directory does: --model_id_or_path \
of sft, --ckpt_dir of infer and classify, transformers.
Computed in fp32 and rounded once to the dtype of the base's own weights, or to --dtype.
What is there already is left alone; --overwrite replaces the files of an earlier merge and no others. Ctrl-C leaves nothing behind.

Examples:
  qwen-tui merge-lora --ckpt_dir output/qwen-1_8b/v0-20250101-120000/checkpoint-125
  qwen-tui merge-lora --ckpt_dir CHECKPOINT --model_id_or_path ~/models/Qwen-1_8B --output merged
";

/// Runs the program; the exit status says how it went.
pub fn main() -> ExitCode {
    let status = Cli::try_parse_from(words()).map_or_else(say, |cli| match cli.command {
        None => cockpit(tui::Options {
            run: cli.run,
            output_dir: cli.output_dir,
            config: cli.config,
            flags: Vec::new(),
        }),
        Some(command) => run(command),
    });
    let code = status.unwrap_or_else(|error| {
        out::error(&error);
        error.exit_code()
    });
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// The command line, in which `help sft` is another way to write `sft --help`.
fn words() -> Vec<OsString> {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "help") {
        words.remove(1);
        words.truncate(2);
        words.push("--help".into());
    }
    words
}

/// Help, the version, or what is wrong with the command line, as clap words it.
fn say(told: clap::Error) -> Result<i32> {
    if std::env::args_os().any(|word| word.to_string_lossy().chars().any(is_unseen)) {
        // It may quote what was typed, which a terminal is not to obey; its own colours go with that.
        out::note(told.render().to_string().trim_end());
    } else if told.use_stderr() {
        // Nobody may read it any more.
        let _ = told.print();
    } else {
        out::written(told.print().and_then(|()| std::io::stdout().flush()))?;
    }
    // Of a wrong command line: 2, as here.
    Ok(told.exit_code())
}

fn run(command: Command) -> Result<i32> {
    match command {
        Command::Sft(raw) => sft::run(raw.args).map(|()| 0),
        Command::Jobs(arguments) => jobs::list(&arguments),
        Command::Queue(arguments) => queue::run_command(arguments),
        Command::Attach(arguments) => jobs::attach(arguments),
        Command::Pause(arguments) => jobs::command(&arguments, event::Command::Pause),
        Command::Resume(arguments) => jobs::command(&arguments, event::Command::Resume),
        Command::Save(arguments) => jobs::command(&arguments, event::Command::Save),
        Command::Stop(arguments) => jobs::command(&arguments, event::Command::Stop),
        Command::Infer(raw) => pass_on("infer", INFER_HELP, &INFER, &raw.args),
        Command::Classify(raw) => pass_on("classify", CLASSIFY_HELP, &CLASSIFY, &raw.args),
        Command::MergeLora(raw) => pass_on("merge-lora", MERGE_HELP, &MERGE, &raw.args),
        // Checked here, read there.
        Command::Bench(_) => run_engine("bench", &rest()),
        Command::NewModel(_) => run_engine("new-model", &rest()),
        Command::Pull(arguments) => pull::run(&arguments),
        Command::Tokenize(arguments) => tokenize::run(&arguments).map(|()| 0),
        Command::Demo(arguments) => demo::run(arguments.args),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::DemoData(arguments) => demo::prepare_data(&arguments).map(|()| 0),
    }
}

/// The command line after the subcommand.
fn rest() -> Vec<OsString> {
    words().into_iter().skip(2).collect()
}

/// Why the cockpit cannot be shown here; none where it can.
fn no_screen() -> Option<&'static str> {
    if !std::io::stdin().is_terminal() {
        Some("standard input is no terminal")
    } else if !std::io::stdout().is_terminal() {
        Some("standard output is no terminal")
    } else if std::env::var("TERM").is_ok_and(|t| t == "dumb") {
        Some(
            "TERM is dumb, which names a terminal without a cursor; set it to your terminal's, such as xterm-256color",
        )
    } else {
        None
    }
}

/// The cockpit, where there is a terminal to show it on; else the help.
fn cockpit(options: tui::Options) -> Result<i32> {
    let Some(why) = no_screen() else { return tui::run(options) };
    for (flag, given) in [("--run", options.run.is_some()), ("--config", options.config.is_some())] {
        if given {
            return Err(Error::user(format!(
                "{flag} opens the cockpit, which needs a terminal to be shown on: {why}"
            )));
        }
    }
    out::note(&Cli::command().render_help().to_string());
    // Last, where it is seen.
    out::note(&format!("no cockpit: {why}"));
    Ok(2)
}

/// A subcommand that the engine does, on this terminal; its help speaks of the arguments that it `uses`.
fn pass_on(subcommand: &str, help: &str, uses: &Uses, args: &[OsString]) -> Result<i32> {
    if wants_help(args) {
        let fields: Vec<Field> = INFER_FIELDS.iter().copied().filter(|f| (uses.works)(f.name)).collect();
        return out::help(&format!("{help}\n{}", help_text(&fields))).map(|()| 0);
    }
    run_engine(subcommand, &found::with_paths(subcommand, args)?)
}

fn wants_help(args: &[OsString]) -> bool {
    // After `--` everything is a text to classify.
    args.iter().take_while(|a| *a != "--").any(|a| a == "--help" || a == "-h")
}
