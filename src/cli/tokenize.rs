//! `qwen-tui tokenize`: a JSON string a line in, a JSON list of ids a line out.

use std::io::{BufRead, BufWriter, Write};
use std::path::PathBuf;

use qwen_tui::data::tokenizer::Tokenizer;
use qwen_tui::error::{Context, Error, Result};

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
    let mut sink = BufWriter::new(std::io::stdout().lock());
    for (number, line) in (1..).zip(std::io::stdin().lock().lines()) {
        let line = line.user(format!("standard input, line {number}"))?;
        if line.trim().is_empty() {
            continue;
        }
        let text: String = serde_json::from_str(&line).map_err(|e| {
            // What was right so far is not lost.
            let _ = sink.flush();
            Error::user(format!(
                "standard input, line {number}: a JSON string is wanted, such as \"你好\" ({e})"
            ))
        })?;
        let ids = serde_json::to_string(&tokenizer.encode(&text)).internal("writing ids as JSON")?;
        out::written(writeln!(sink, "{ids}"))?;
    }
    out::written(sink.flush())
}
