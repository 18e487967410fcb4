//! From a run's arguments to its rows and their token ids.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::rows::{OnBroken, Places, Read, read_files, resolve_dataset_name};
use super::sampling::{SampleOptions, split_and_sample};
use super::template::{Example, IGNORE, Row, Template, Truncation, encode_rows};
use super::tokenizer::Tokenizer;
use crate::args::{InferArgs, SftArgs};
use crate::error::{Error, Result};
use crate::job::event::{Rows, TokenLengths};

/// Broken rows named one by one; more are counted.
const NAMED: usize = 5;
/// Responses told apart in [`Rows::labels`]; with more different ones none are.
const LABELS: usize = 20;

/// The rows of a run, chosen and in order.
#[derive(Debug, Default)]
pub struct Chosen {
    pub train: Vec<Row>,
    pub validation: Vec<Row>,
    /// Broken rows left out of either.
    pub skipped: (u64, u64),
    /// What the user should know.
    pub warnings: Vec<String>,
    /// [`Read::unplain`] of all files.
    pub unplain: Option<String>,
}

/// Rows as token ids.
#[derive(Debug, Default)]
pub struct Encoded {
    pub train: Vec<Example>,
    pub validation: Vec<Example>,
    pub train_stats: Rows,
    pub validation_stats: Rows,
}

/// Which files to read and which of their rows to take.
#[derive(Debug, Clone)]
pub struct Sources<'a> {
    /// Data sets by name or file (`dataset`, `custom_train_dataset_path`).
    pub train: [&'a [String]; 2],
    /// `custom_val_dataset_path`
    pub validation: &'a [String],
    /// `check_dataset_strategy error`: a broken row ends the reading.
    pub strict: bool,
    pub options: SampleOptions,
}

/// [`Sources`] from arguments; the two programs differ in how many rows they take.
macro_rules! sources {
    ($Args:ty, $train:expr, $validation:expr) => {
        impl<'a> From<&'a $Args> for Sources<'a> {
            fn from(args: &'a $Args) -> Self {
                Self {
                    train: [&args.dataset, &args.custom_train_dataset_path],
                    validation: &args.custom_val_dataset_path,
                    strict: args.check_dataset_strategy == "error",
                    options: SampleOptions {
                        dataset_seed: args.dataset_seed,
                        dataset_test_ratio: args.dataset_test_ratio,
                        train_dataset_sample: $train(args),
                        val_dataset_sample: $validation(args),
                    },
                }
            }
        }
    };
}
sources!(SftArgs, |args: &SftArgs| args.train_dataset_sample, |args: &SftArgs| args.val_dataset_sample);
sources!(InferArgs, |_| -1, |args: &InferArgs| Some(args.val_dataset_sample));

/// Reads the data sets, splits and samples them as SWIFT does.
///
/// # Errors
/// A data set that is not there or holds no row, and with `check_dataset_strategy error` a broken row.
pub fn read(sources: &Sources<'_>) -> Result<Chosen> {
    let on_broken = if sources.strict { OnBroken::Error } else { OnBroken::Skip };
    let mut train: Vec<PathBuf> =
        sources.train[0].iter().map(|name| resolve_dataset_name(name)).collect::<Result<_>>()?;
    train.extend(sources.train[1].iter().map(PathBuf::from));
    let (mut warnings, mut first_unplain) = (Vec::new(), None);
    let mut take = |paths: &[PathBuf]| -> Result<(Vec<Row>, u64)> {
        let Read { rows, broken, broken_rows, unlabelled, blank, unasked, unplain } =
            read_files(paths, on_broken)?;
        warnings.extend(
            [(&blank, "a blank text or answer"), (&unasked, "no query")].into_iter().filter_map(kept),
        );
        first_unplain = first_unplain.take().or(unplain);
        warnings.extend(broken.iter().take(NAMED).map(|b| format!("{b}; the row is left out")));
        if broken_rows > NAMED {
            warnings.push(format!("{} more broken rows are left out", broken_rows - NAMED));
        }
        if unlabelled > 0 {
            warnings.push(match unlabelled {
                1 => "1 row without a label is left out".to_owned(),
                n => format!("{n} rows without a label are left out"),
            });
        }
        Ok((rows, broken_rows as u64))
    };
    let (train, train_broken) = take(&train)?;
    let (validation, validation_broken) = if sources.validation.is_empty() {
        (None, 0)
    } else {
        let paths: Vec<PathBuf> = sources.validation.iter().map(PathBuf::from).collect();
        let (rows, broken) = take(&paths)?;
        (Some(rows), broken)
    };
    let (train, validation) = split_and_sample(train, validation, &sources.options);
    let skipped = (train_broken, validation_broken);
    Ok(Chosen { train, validation, skipped, warnings, unplain: first_unplain })
}

/// The warning of rows that are kept though something is missing in them.
fn kept((places, what): (&Places, &str)) -> Option<String> {
    let first = places.first.as_ref()?;
    Some(match places.count {
        1 => format!("{first}: the row has {what}; it is used as it stands"),
        n => format!("{n} rows have {what} (the first: {first}); they are used as they stand"),
    })
}

/// The token ids of the chosen rows, with `args`' template and `max_length`.
///
/// # Errors
/// Every training row longer than `max_length`; a template that has no place for a row's system message or history.
pub fn encode(args: &SftArgs, tokenizer: &Tokenizer, chosen: &Chosen) -> Result<Encoded> {
    let template = Template::new(&args.template_type, args.system.as_deref())?;
    let truncation = if args.truncation_strategy == "truncation_left" {
        Truncation::TruncationLeft
    } else {
        Truncation::Delete
    };
    let limit = args.max_length_limit();
    let split = |rows: &[Row], skipped: u64| -> Result<(Vec<Example>, Rows)> {
        template.check_read(rows, chosen.unplain.as_deref())?;
        let all = encode_rows(tokenizer, &template, rows, limit, truncation, threads(args));
        let too_long = all.iter().filter(|e| e.is_none()).count() as u64;
        let kept: Vec<Example> = all.into_iter().flatten().collect();
        let stats = Rows {
            rows: kept.len() as u64,
            skipped,
            too_long,
            tokens: lengths(&kept),
            labels: balance(rows),
        };
        Ok((kept, stats))
    };
    let (train, train_stats) = split(&chosen.train, chosen.skipped.0)?;
    let (validation, validation_stats) = split(&chosen.validation, chosen.skipped.1)?;
    if train.is_empty() && chosen.train.is_empty() {
        return Err(Error::user(
            "no training rows: name their files in custom_train_dataset_path (.csv, .jsonl or .json); where they are \
             named, dataset_test_ratio took all there were for validation: add rows, or set dataset_test_ratio to 0",
        ));
    }
    if train.is_empty() {
        return Err(Error::user(format!(
            "max_length {}: all {} training rows are longer; raise it, or keep their ends \
             (truncation_strategy truncation_left)",
            args.max_length, train_stats.too_long
        )));
    }
    if train.iter().all(|e| e.labels.iter().skip(1).all(|&l| l == IGNORE)) {
        return Err(Error::user(format!(
            "max_length {}: there is nothing to predict in any training row, which needs a token before the answer's; \
             raise it, or look whether the rows are empty",
            args.max_length
        )));
    }
    Ok(Encoded { train, validation, train_stats, validation_stats })
}

/// Threads that tokenize; 0 is one a core. SWIFT's default of one process is none that anybody chose.
fn threads(args: &SftArgs) -> usize {
    if args.preprocess_num_proc == 1 { 0 } else { args.preprocess_num_proc }
}

/// Token lengths as SWIFT's `dataset_info` gives them (population standard deviation).
fn lengths(examples: &[Example]) -> TokenLengths {
    let lengths: Vec<u64> = examples.iter().map(|e| e.ids.len() as u64).collect();
    let n = lengths.len().max(1) as f64;
    let total: u64 = lengths.iter().sum();
    let mean = total as f64 / n;
    let variance = lengths.iter().map(|&l| (l as f64 - mean).powi(2)).sum::<f64>() / n;
    TokenLengths {
        mean,
        std: variance.sqrt(),
        min: lengths.iter().copied().min().unwrap_or(0),
        max: lengths.iter().copied().max().unwrap_or(0),
        total,
    }
}

/// Rows by response; empty where there are more different ones than labels would have.
pub fn balance(rows: &[Row]) -> BTreeMap<String, u64> {
    let mut labels = BTreeMap::new();
    for row in rows {
        *labels.entry(row.response.clone()).or_insert(0) += 1;
        if labels.len() > LABELS {
            return BTreeMap::new();
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swifts_default_of_one_process_is_a_thread_a_core() {
        for (flag, wanted) in [("1", 0), ("2", 2), ("7", 7)] {
            let words = ["--model_type", "qwen-7b", "--dataset", "a", "--preprocess_num_proc", flag];
            let args = crate::args::load_sft(None, &words.map(str::to_owned)).unwrap().args;
            assert_eq!(threads(&args), wanted);
        }
    }
}
