//! `qwen-tui tokenize`: a JSON string a line in, a JSON list of ids a line out.

use std::io::{BufWriter, IsTerminal};
use std::path::{Path, PathBuf};

use qwen_tui::data::tokenize_stdio;
use qwen_tui::data::tokenizer::Tokenizer;
use qwen_tui::error::Result;
use qwen_tui::plain;

use super::out;

#[derive(clap::Args)]
#[command(after_help = "Example:\n  echo '\"今天天气真好\"' | qwen-tui tokenize --model ~/models/Qwen-1_8B")]
pub struct Arguments {
    /// A Qwen-1 model directory: the one with qwen.tiktoken
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let tokenizer = Tokenizer::load(&arguments.model)?;
    if let Some(rows) = embedding_rows(&arguments.model) {
        tokenizer.check_rows(&arguments.model, rows)?;
    }
    if std::io::stdin().is_terminal() {
        out::note("A JSON string a line, such as \"不错\"; Ctrl-D ends.");
    }
    tokenize_stdio(&tokenizer, std::io::stdin().lock(), BufWriter::new(std::io::stdout().lock()))
}

/// `vocab_size` of the model's `config.json`, which a folder of a tokenizer alone lacks.
fn embedding_rows(model: &Path) -> Option<usize> {
    let config = plain::read(&model.join("config.json"), plain::SETTINGS).ok()?;
    let config: serde_json::Value = serde_json::from_slice(&config).ok()?;
    config.get("vocab_size")?.as_u64()?.try_into().ok()
}
