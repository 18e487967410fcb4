//! The cost of our step as rows become longer and more: `train::train` on rows of one length, a training a cell.

use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use qwen_tui::args::load_sft;
use qwen_tui::bench::{Lengths, Synthetic};
use qwen_tui::error::Result;
use qwen_tui::job::event::{Event, Stage};
use qwen_tui::run::RunDir;
use serde_json::json;

use super::job::{Job, flags};
use super::memory;
use super::part::{Ask, Talk, wait};
use super::report::Cell;
use crate::model::QwenConfig;
use crate::{device, train};

/// Tokens of a row.
const LENGTHS: [usize; 3] = [64, 256, 1024];
/// Rows of a step.
const ROWS: [usize; 4] = [1, 4, 16, 64];
/// Timed steps, between two that are not: the first is slower, and after the last no gradient is asked for early. Of a
/// step that took long, one.
const STEPS: usize = 3;
const LONG: f64 = 10.0;

/// Answers each command with the next cell, and at the end with null.
pub fn serve(job: &Job, talk: &Talk) -> Result<()> {
    talk.ready(json!({}))?;
    for (tokens, rows) in LENGTHS.iter().flat_map(|&tokens| ROWS.map(|rows| (tokens, rows))) {
        if talk.next()? == Ask::End {
            return Ok(());
        }
        talk.tell(&cell(job, tokens, rows)?)?;
    }
    match talk.next()? {
        Ask::End => Ok(()),
        _ => talk.tell(&None::<Cell>),
    }
}

/// One cell, by a training of its own.
fn cell(job: &Job, tokens: usize, rows: usize) -> Result<Cell> {
    let file = job.work.join(format!("rows-{tokens}-{rows}.jsonl"));
    let tokenizer = QwenConfig::load(&job.model_dir)?.tokenizer(&job.model_dir)?;
    let lengths = Lengths { from: tokens, to: tokens };
    Synthetic::new(&tokenizer, job.seed)?.write(&file, rows * (STEPS + 2), lengths)?;
    let args = load_sft(None, &changed(job, &file.display().to_string(), rows))?.args;
    let device = device::choose(&args.device)?;
    let run = RunDir::create(Path::new(&args.output_dir), &args.model_type, true)?;
    memory::forget_peak();
    let (mut began, mut seconds) = (Instant::now(), Vec::new());
    let (sender, commands) = mpsc::channel();
    train::train(&args, &run, None, &commands, &mut |event| {
        match event {
            Event::Stage { stage: Stage::Training } => began = Instant::now(),
            Event::Step { .. } => {
                wait(device);
                seconds.push(began.elapsed().as_secs_f64());
                if seconds.len() > 1 && seconds.iter().sum::<f64>() > 2.0 * LONG {
                    // The one that listens is the training itself.
                    let _ = sender.send(qwen_tui::job::event::Command::Stop);
                }
                began = Instant::now();
            }
            _ => {}
        }
        Ok(())
    })?;
    seconds.truncate(STEPS + 1);
    Ok(Cell { tokens, rows, seconds: seconds.split_off(1.min(seconds.len())), peak: memory::peak() })
}

/// The job's flags with other rows.
fn changed(job: &Job, file: &str, rows: usize) -> Vec<String> {
    let others = [
        ("dataset", file.to_owned()),
        ("custom_val_dataset_path", file.to_owned()),
        ("gradient_accumulation_steps", rows.to_string()),
        ("max_steps", (STEPS + 2).to_string()),
        ("evaluation_strategy", "no".to_owned()),
    ];
    let replaced = |flag: &str| others.iter().any(|(name, _)| flag.strip_prefix("--") == Some(name));
    let kept = job.flags.chunks(2).filter(|pair| !replaced(&pair[0])).flatten().cloned();
    kept.chain(flags(&others)).collect()
}
