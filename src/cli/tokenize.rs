//! `qwen-tui tokenize`: a JSON string a line in, a JSON list of ids a line out.

use std::io::BufWriter;
use std::path::PathBuf;

use qwen_tui::data::tokenize_stdio;
use qwen_tui::data::tokenizer::Tokenizer;
use qwen_tui::error::Result;

#[derive(clap::Args)]
#[command(after_help = "Example:\n  echo '\"今天天气真好\"' | qwen-tui tokenize --model ~/models/Qwen-1_8B")]
pub struct Arguments {
    /// A Qwen-1 model directory: the one with qwen.tiktoken
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let tokenizer = Tokenizer::load(&arguments.model)?;
    tokenize_stdio(&tokenizer, std::io::stdin().lock(), BufWriter::new(std::io::stdout().lock()))
}
