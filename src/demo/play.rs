//! The demo from beginning to end: rows, the base's answers, training, the answers after it, the report.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::bayes::NaiveBayes;
use super::everyday::everyday;
use super::places;
use super::reviews::{self, Review};
use crate::args::{Draft, Loaded, SftArgs, load_sft};
use crate::data::LABELS;
use crate::error::{Context, Error, Result};
use crate::job::engine::ask_engine;
use crate::job::stop::Beginning;
use crate::job::{Outcome, run_foreground};
use crate::run::{RunDir, check_output_dir, write_atomic};

const CONFIG: &str = include_str!("../../configs/demo.json");

/// The demo's job: its arguments, and the rows that the report is about.
pub struct Job {
    pub args: SftArgs,
    /// What the user should know of the arguments.
    pub warnings: Vec<String>,
    /// What `args` were loaded from: a file, and flags over it.
    pub config: PathBuf,
    pub flags: Vec<String>,
    base: PathBuf,
    train: Vec<(String, usize)>,
    validation: Vec<Review>,
}

/// The demo's figures. Accuracies are shares of the 1,000 validation rows, which neither the pretraining nor the
/// training nor the choice of a checkpoint has seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The base model's.
    pub accuracy_before: f64,
    /// The best checkpoint's.
    pub accuracy_after: f64,
    /// Of naive Bayes over character 1- and 2-grams, fitted to the same 2,000 rows.
    pub accuracy_bag_of_words: f64,
    /// Rows that the base calls positive.
    pub positive_before: usize,
    pub steps: u64,
    /// All of it, from reading the reviews on.
    pub seconds: f64,
    /// The training alone.
    pub train_seconds: f64,
    pub run_dir: PathBuf,
    pub checkpoint: PathBuf,
    pub everyday: EverydayReport,
}

/// The everyday sentences: how many, and how many were labelled rightly.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EverydayReport {
    pub sentences: usize,
    pub right_before: usize,
    pub right_after: usize,
    pub right_bag_of_words: usize,
    /// Those labelled wrongly after training.
    pub wrong: Vec<String>,
}

/// What the report rests on: the base model before training, the demo's rows, a checkpoint after it.
const FIXED: [&str; 9] = [
    "model_type",
    "model_id_or_path",
    "model_cache_dir",
    "template_type",
    "system",
    "dataset",
    "custom_train_dataset_path",
    "custom_val_dataset_path",
    "config",
];

/// Looks at flags before anything is prepared.
///
/// # Errors
/// Words that are no flags, values that are not allowed, flags with which the report would compare unlike things.
pub fn check_flags(flags: &[String]) -> Result<()> {
    comparable(flags)?;
    Draft::load(None, flags).map(drop)
}

/// Refuses flags with which the report would compare unlike things.
fn comparable(flags: &[String]) -> Result<()> {
    let names = flags.iter().filter_map(|flag| flag.strip_prefix("--")?.split('=').next());
    match names.map(|name| name.replace('-', "_")).find(|name| FIXED.contains(&name.as_str())) {
        Some(name) => Err(Error::user(format!(
            "--{name} is the demo's own, which compares its base model and its reviews before and after: train with \
             `qwen-tui sft --{name} ...`"
        ))),
        None => Ok(()),
    }
}

/// Prepares the rows in `output_dir/demo-data` and the arguments of the job; `flags` override `configs/demo.json`.
///
/// # Errors
/// Reviews or base model that are not there, a folder that cannot be written, flags that are wrong or the demo's own.
pub fn prepare(output_dir: &Path, flags: &[String]) -> Result<Job> {
    check_flags(flags)?;
    let output_dir = &check_output_dir(output_dir, "", false)?;
    let base = places::base_dir()?;
    let data = output_dir.join("demo-data");
    let prepared = reviews::prepare(&places::reviews_dir()?, &data)?;
    let data = data.canonicalize().user(data.display())?;
    let text = |path: &Path| path.display().to_string();
    let config = data.join("demo.json");
    let mut all: Vec<String> = [
        "--model_id_or_path",
        &text(&base),
        "--custom_train_dataset_path",
        &text(&data.join("train.jsonl")),
        "--custom_val_dataset_path",
        &text(&data.join("dev.jsonl")),
        "--output_dir",
        &text(output_dir),
    ]
    .map(str::to_owned)
    .into();
    all.extend(flags.iter().cloned());
    let Loaded { args, warnings } = write_config(&config, &all)?;
    if args.save_strategy == "no" {
        return Err(Error::user(
            "save_strategy is \"no\": the demo reports on a checkpoint; leave it at steps, or use `qwen-tui sft`",
        ));
    }
    let train = prepared.train.into_iter().map(|r| (r.text, r.label)).collect();
    Ok(Job { args, warnings, config, flags: all, base, train, validation: prepared.validation })
}

/// Writes `configs/demo.json` with `flags` over it to `config`, which is then the whole job: `--config` trains it again.
/// Another file that stands there, which somebody may have changed, is kept under the next free name; a warning says so.
fn write_config(config: &Path, flags: &[String]) -> Result<Loaded> {
    let fresh = config.with_extension("new.json");
    write_atomic(&fresh, CONFIG.as_bytes())?;
    let mut loaded = load_sft(Some(&fresh), flags)?;
    let whole = Draft::load(Some(&fresh), flags)?.draft.to_text();
    let failed = |e: std::io::Error| Error::user(format!("cannot write {}: {e}", config.display()));
    if fs::read(config).is_ok_and(|there| there != whole.as_bytes()) {
        let free = |n: &u32| config.with_extension(format!("{n}.json"));
        let kept = (1..).map(|n| free(&n)).find(|path| !path.exists());
        if let Some(kept) = kept {
            fs::rename(config, &kept).map_err(failed)?;
            let message = format!(
                "the {} that was there has other arguments: it is kept as {}",
                config.display(),
                kept.display()
            );
            loaded.warnings.push(message);
        }
    }
    write_atomic(config, whole.as_bytes())?;
    fs::remove_file(&fresh).map_err(failed)?;
    Ok(loaded)
}

/// Runs the job in the foreground; `say` hears what it is about to do. `None` where it was stopped before there was
/// something to report on.
///
/// # Errors
/// Those of the training and of the engine's answers.
pub fn play(job: &Job, say: &mut dyn FnMut(&str)) -> Result<Option<Report>> {
    let started = Instant::now();
    let sentences = everyday()?;
    let rows: Vec<(&str, usize)> = job
        .validation
        .iter()
        .map(|r| (r.text.as_str(), r.label))
        .chain(sentences.iter().map(|e| (e.sentence.as_str(), e.label)))
        .collect();
    let (validation, everyday) = rows.split_at(job.validation.len());

    let bayes = NaiveBayes::fit(&job.train);
    say(&format!("{} rows to train on, {} to report on", job.train.len(), validation.len()));
    say("the base model's answers, before any training");
    let before = classify(job, None, &rows, say)?;
    say("training");
    let beginning = Beginning::begun()?;
    let run = RunDir::create(
        Path::new(&job.args.output_dir),
        &job.args.model_type,
        job.args.add_output_dir_suffix,
    )?;
    run.write_args(&job.args.to_json())?;
    let Some(outcome) = run_foreground(run.path(), !job.args.disable_tqdm, &beginning)? else {
        run.discard(Path::new(&job.args.output_dir));
        say("stopped before it began: nothing was trained");
        return Ok(None);
    };
    if outcome.stopped {
        say(&format!(
            "stopped before the end, so there is no report; what was saved lies in {}",
            run.path().display()
        ));
        return Ok(None);
    }
    let checkpoint = best(&run, &outcome)?;
    say("the trained model's answers");
    let after = classify(job, Some(&checkpoint), &rows, say)?;

    let right = |answers: &[usize], rows: &[(&str, usize)]| {
        answers.iter().zip(rows).filter(|(answer, (_, label))| *answer == label).count()
    };
    let share = |n: usize| n as f64 / validation.len().max(1) as f64;
    let (before, before_everyday) = before.split_at(validation.len());
    let (after, after_everyday) = after.split_at(validation.len());
    let wrong = everyday
        .iter()
        .zip(after_everyday)
        .filter(|((_, label), answer)| label != *answer)
        .map(|((sentence, _), _)| (*sentence).to_owned())
        .collect();
    Ok(Some(Report {
        accuracy_before: share(right(before, validation)),
        accuracy_after: share(right(after, validation)),
        accuracy_bag_of_words: bayes.accuracy(validation.iter().copied()),
        positive_before: before.iter().filter(|answer| **answer == 1).count(),
        steps: outcome.step,
        seconds: started.elapsed().as_secs_f64(),
        train_seconds: outcome.seconds,
        run_dir: run.path().to_owned(),
        checkpoint,
        everyday: EverydayReport {
            sentences: everyday.len(),
            right_before: right(before_everyday, everyday),
            right_after: right(after_everyday, everyday),
            right_bag_of_words: everyday.iter().filter(|(s, label)| bayes.predict(s) == *label).count(),
            wrong,
        },
    }))
}

/// The best checkpoint, or the last where none was evaluated.
fn best(run: &RunDir, outcome: &Outcome) -> Result<PathBuf> {
    let name = outcome.best_checkpoint.as_ref().or(outcome.last_checkpoint.as_ref());
    name.map(|name| run.path().join(name)).ok_or_else(|| Error::internal("the run left no checkpoint"))
}

/// The number of each text's label, by the base or by a checkpoint; `say` hears how far it is at each quarter.
fn classify(
    job: &Job,
    checkpoint: Option<&Path>,
    rows: &[(&str, usize)],
    say: &mut dyn FnMut(&str),
) -> Result<Vec<usize>> {
    #[derive(Deserialize)]
    struct Verdict {
        label: String,
    }
    let mut args = vec!["--device".to_owned(), job.args.device.clone()];
    match checkpoint {
        Some(dir) => args.extend(["--ckpt_dir".to_owned(), dir.display().to_string()]),
        None => args.extend(
            ["--model_type", &job.args.model_type, "--model_id_or_path", &job.base.display().to_string()]
                .map(str::to_owned),
        ),
    }
    let input: String =
        rows.iter().map(|(text, _)| format!("{}\n", text.replace(['\n', '\r'], " "))).collect();
    let mut told = |n: usize| {
        if n.is_multiple_of(rows.len().div_ceil(4).max(1)) {
            say(&format!("{n} of {} answers", rows.len()));
        }
    };
    let answer = ask_engine("classify", &args, &input, &mut told)?;
    let labels: Vec<usize> = answer
        .lines()
        .map(|line| {
            let verdict: Verdict = serde_json::from_str(line).internal("the engine's answer")?;
            LABELS.iter().position(|l| *l == verdict.label).ok_or_else(|| {
                Error::internal(format!("the engine answered with the label {:?}", verdict.label))
            })
        })
        .collect::<Result<_>>()?;
    if labels.len() != rows.len() {
        return Err(Error::internal(format!("the engine answered {} of {} texts", labels.len(), rows.len())));
    }
    Ok(labels)
}

/// A sentence that nobody can take for praise.
const COMPLAINT: &str = "质量太差，用了两天就坏了";

/// This program as it was started: by a path, or by its name alone.
fn program() -> String {
    std::env::args().next().filter(|word| word.contains('/')).unwrap_or_else(|| "qwen-tui".to_owned())
}

impl Report {
    /// The report for people.
    pub fn text(&self) -> String {
        let Report { everyday: e, .. } = self;
        let percent = |x: f64| format!("{:.1} %", 100.0 * x);
        let mut text = format!(
            "\n                              1,000 reviews   {} everyday sentences\n\
             before training               {:>10}      {:>2} right\n\
             after {:>4} steps              {:>10}      {:>2} right\n\
             bag of words, same rows       {:>10}      {:>2} right\n\n",
            e.sentences,
            percent(self.accuracy_before),
            e.right_before,
            self.steps,
            percent(self.accuracy_after),
            e.right_after,
            percent(self.accuracy_bag_of_words),
            e.right_bag_of_words,
        );
        if !e.wrong.is_empty() {
            text += "Everyday sentences it gets wrong:\n";
            for sentence in &e.wrong {
                text += &format!("  {sentence}\n");
            }
            text.push('\n');
        }
        text += &format!(
            "{:.0} s in all. Try it:\n  {} classify --ckpt_dir {} {COMPLAINT}\n",
            self.seconds,
            program(),
            self.checkpoint.display()
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_cannot_be_changed() {
        for flag in ["--model_id_or_path", "--dataset=x.csv", "--custom-val-dataset-path"] {
            let error = comparable(&["--seed".into(), "1".into(), flag.into()]).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("qwen-tui sft"), "{error}");
        }
        assert!(comparable(&["--dataset_seed".into(), "7".into(), "--lora_rank=4".into()]).is_ok());
    }

    #[test]
    fn the_file_is_the_whole_job() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("demo.json");
        // One epoch is the default, and not what the demo has.
        let flags = "--model_id_or_path /模型/base --custom_train_dataset_path /评论/train.jsonl \
            --custom_val_dataset_path /评论/dev.jsonl --output_dir /out --num_train_epochs 1 --lora_rank 4";
        let flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
        let with_flags = write_config(&config, &flags).unwrap();
        assert_eq!((with_flags.args.num_train_epochs, with_flags.args.lora_rank), (1, 4));
        assert_eq!(load_sft(Some(&config), &[]).unwrap().args, with_flags.args);
        let form = |flags| Draft::load(Some(&config), flags).unwrap().draft;
        assert_eq!(form(&[]), form(&flags));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

        // The same again changes nothing; what somebody has changed is kept.
        assert!(write_config(&config, &flags).unwrap().warnings.is_empty());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        for n in 1..3 {
            std::fs::write(&config, format!("{{\"lora_rank\": {n}}}")).unwrap();
            let told = write_config(&config, &flags).unwrap().warnings;
            let kept = dir.path().join(format!("demo.{n}.json"));
            assert!(told.len() == 1 && told[0].contains(&kept.display().to_string()), "{told:?}");
            assert_eq!(std::fs::read_to_string(kept).unwrap(), format!("{{\"lora_rank\": {n}}}"));
            assert_eq!(form(&[]), form(&flags));
        }
    }

    #[test]
    fn flags_are_looked_at_before_anything_is_prepared() {
        let dir = tempfile::tempdir().unwrap();
        for (flag, told) in
            [("extra", "extra"), ("--lora_rnk=4", "lora_rank"), ("--lora_rank=many", "lora_rank")]
        {
            let error = prepare(dir.path(), &[flag.into()]).err().unwrap();
            assert!(error.exit_code() == 2 && error.to_string().contains(told), "{error}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
