//! How written answers compare with the labels: SWIFT's `compute_nlg_metrics` (`swift/utils/metric.py`).
//!
//! ROUGE over jieba's words as the Python package rouge 1.0.1 counts it (sets of n-grams, sentences cut at full stops),
//! BLEU-4 over characters as nltk does with smoothing method 3 (Chen and Cherry 2014).

use std::collections::{BTreeSet, HashMap, HashSet};

use jieba_rs::Jieba;
use qwen_tui::run::NlgScores;

/// What stands for an answer that says nothing.
const NOTHING: &str = "<|endoftext|>";

/// Compares answers; the dictionary is loaded once.
pub struct Comparison {
    jieba: Jieba,
}

impl Comparison {
    pub fn new() -> Self {
        Self { jieba: Jieba::new() }
    }

    /// Mean scores of answers against their labels, as (answer, label); none where no pair can be compared.
    pub fn mean(&self, pairs: &[(String, String)]) -> Option<NlgScores> {
        let all: Vec<NlgScores> =
            pairs.iter().filter_map(|(answer, label)| self.compare(answer, label)).collect();
        let mean = |of: fn(&NlgScores) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
        (!all.is_empty()).then(|| NlgScores {
            rouge_1: mean(|s| s.rouge_1),
            rouge_2: mean(|s| s.rouge_2),
            rouge_l: mean(|s| s.rouge_l),
            bleu_4: mean(|s| s.bleu_4),
        })
    }

    /// jieba's words. The crate keeps letters and digits together over `.`, `_` and `-`; Python's jieba cuts there.
    fn words<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut words = Vec::new();
        for token in self.jieba.cut(text, true) {
            let joined = |c: char| ['.', '_', '-'].contains(&c);
            match token.word.contains(joined) && !self.jieba.has_word(token.word) {
                true => words.extend(pieces(token.word)),
                false => words.push(token.word),
            }
        }
        words
    }

    /// Scores in percent with four decimals; none where either text has no sentence.
    fn compare(&self, answer: &str, label: &str) -> Option<NlgScores> {
        let mut words = self.words(answer);
        if words.is_empty() || answer == "." {
            words = vec![NOTHING];
        }
        let (answered, expected) = (words.join(" "), self.words(label).join(" "));
        let answered = sentences(&answered);
        let expected = sentences(&expected);
        if answered.is_empty() || expected.is_empty() {
            return None;
        }
        Some(NlgScores {
            rouge_1: percent(rouge_n(&answered, &expected, 1)),
            rouge_2: percent(rouge_n(&answered, &expected, 2)),
            rouge_l: percent(rouge_l(&answered, &expected)),
            bleu_4: percent(bleu_4(answer, label)),
        })
    }
}

/// Cuts as Python's jieba does where the dictionary has no word: letters and digits, then perhaps a decimal part and `%`
/// (`[a-zA-Z0-9]+(?:\.\d+)?%?`), and what is between.
fn pieces(word: &str) -> Vec<&str> {
    let count = |text: &str, wanted: fn(&u8) -> bool| text.bytes().take_while(wanted).count();
    let mut pieces = Vec::new();
    let mut rest = word;
    while !rest.is_empty() {
        let mut end = count(rest, u8::is_ascii_alphanumeric);
        if end == 0 {
            end = rest.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        } else {
            if let Some(decimals) = rest[end..].strip_prefix('.') {
                let digits = count(decimals, u8::is_ascii_digit);
                end += if digits > 0 { 1 + digits } else { 0 };
            }
            end += usize::from(rest[end..].starts_with('%'));
        }
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Rounded from the binary value, as Python's `round` does it.
fn percent(share: f64) -> f64 {
    let percent = share * 100.0;
    format!("{percent:.4}").parse().unwrap_or(percent)
}

/// The words of each sentence; a sentence of blanks alone has one word, the empty one.
fn sentences(text: &str) -> Vec<Vec<&str>> {
    // What Python's `str.split` splits at.
    let blank = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
    text.split('.')
        .filter(|sentence| !sentence.is_empty())
        .map(|sentence| {
            let words: Vec<&str> = sentence.split(blank).filter(|word| !word.is_empty()).collect();
            if words.is_empty() { vec![""] } else { words }
        })
        .collect()
}

/// F1 of shares, with the package's term against 0 / 0.
fn f1(common: usize, answered: usize, expected: usize) -> f64 {
    let share = |of: usize| if of == 0 { 0.0 } else { common as f64 / of as f64 };
    let (precision, recall) = (share(answered), share(expected));
    2.0 * ((precision * recall) / (precision + recall + 1e-8))
}

/// ROUGE-N (Lin 2004) over the distinct n-grams of all words.
fn rouge_n(answered: &[Vec<&str>], expected: &[Vec<&str>], n: usize) -> f64 {
    let (answered, expected) = (answered.concat(), expected.concat());
    let grams = |words| -> HashSet<&[&str]> { <[&str]>::windows(words, n).collect() };
    let (a, e) = (grams(&answered), grams(&expected));
    f1(a.intersection(&e).count(), a.len(), e.len())
}

/// ROUGE-L of summaries (Lin 2004): the distinct words of the longest common subsequences of all pairs of sentences.
fn rouge_l(answered: &[Vec<&str>], expected: &[Vec<&str>]) -> f64 {
    let distinct = |sentences: &[Vec<&str>]| sentences.concat().iter().collect::<HashSet<_>>().len();
    let mut common: BTreeSet<&str> = BTreeSet::new();
    for reference in expected {
        for sentence in answered {
            common.extend(longest_common(reference, sentence));
        }
    }
    f1(common.len(), distinct(answered), distinct(expected))
}

/// A longest common subsequence; where there are several, the one that the package finds.
fn longest_common<'a>(x: &[&'a str], y: &[&str]) -> Vec<&'a str> {
    let width = y.len() + 1;
    let mut table = vec![0u32; (x.len() + 1) * width];
    for i in 1..=x.len() {
        for j in 1..=y.len() {
            table[i * width + j] = match x[i - 1] == y[j - 1] {
                true => table[(i - 1) * width + j - 1] + 1,
                false => table[(i - 1) * width + j].max(table[i * width + j - 1]),
            };
        }
    }
    let (mut i, mut j, mut found) = (x.len(), y.len(), Vec::new());
    while i > 0 && j > 0 {
        if x[i - 1] == y[j - 1] {
            found.push(x[i - 1]);
            (i, j) = (i - 1, j - 1);
        } else if table[(i - 1) * width + j] > table[i * width + j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    found
}

/// BLEU-4 (Papineni et al. 2002) of characters: a precision of nothing becomes 1 / (2^k x n-grams), k counting them.
fn bleu_4(answer: &str, label: &str) -> f64 {
    let (answer, label): (Vec<char>, Vec<char>) = (answer.chars().collect(), label.chars().collect());
    let mut zeros = 0;
    let mut logs = 0.0;
    for n in 1..=4 {
        let counts = |text| {
            let mut counts: HashMap<&[char], usize> = HashMap::new();
            <[char]>::windows(text, n).for_each(|gram| *counts.entry(gram).or_default() += 1);
            counts
        };
        let (a, l) = (counts(&answer), counts(&label));
        let matched: usize = a.iter().map(|(gram, &n)| n.min(l.get(gram).copied().unwrap_or(0))).sum();
        if n == 1 && matched == 0 {
            return 0.0;
        }
        let all = a.values().sum::<usize>().max(1) as f64;
        let precision = match matched {
            0 => {
                zeros += 1;
                1.0 / (2f64.powi(zeros) * all)
            }
            matched => matched as f64 / all,
        };
        logs += 0.25 * precision.ln();
    }
    let brevity = match answer.len() > label.len() {
        true => 1.0,
        false => (1.0 - label.len() as f64 / answer.len() as f64).exp(),
    };
    brevity * logs.exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fit::tests::common::shared;
    use serde_json::Value;

    /// `tests/data/nlg.py` has written them with jieba, rouge and nltk.
    #[test]
    fn scores_are_those_of_pythons_packages() {
        let comparison = Comparison::new();
        let cases: Value = serde_json::from_str(include_str!("../../tests/data/nlg.json")).unwrap();
        let cases = cases.as_array().unwrap();
        let (mut pairs, mut expected) = (Vec::new(), Vec::new());
        for case in cases {
            let text = |key: &str| case[key].as_str().unwrap();
            let words: Vec<&str> =
                case["words"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
            assert_eq!(comparison.words(text("prediction")), words);
            let ours = comparison.compare(text("prediction"), text("label"));
            pairs.push((text("prediction").to_owned(), text("label").to_owned()));
            if case["scores"].is_null() {
                assert_eq!(ours, None, "{case}");
                continue;
            }
            let ours = ours.unwrap_or_else(|| panic!("{case}"));
            let of = |key: &str| case["scores"][key].as_f64().unwrap();
            let theirs = [of("rouge-1"), of("rouge-2"), of("rouge-l"), of("bleu-4")];
            let ours = [ours.rouge_1, ours.rouge_2, ours.rouge_l, ours.bleu_4];
            assert!(
                ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-9),
                "{ours:?}, not {theirs:?}: {case}"
            );
            expected.push(theirs[2]);
        }
        assert!(expected.len() >= 35 && expected.len() < cases.len());
        let mean = expected.iter().sum::<f64>() / expected.len() as f64;
        assert!((comparison.mean(&pairs).unwrap().rouge_l - mean).abs() < 1e-9);
        assert_eq!(comparison.mean(&[("a".to_owned(), String::new())]), None);
    }

    /// Reviews against their neighbours: the dictionary's words and the others, as people write them.
    #[test]
    fn so_are_those_of_real_reviews() {
        let Some(reviews) = shared("reviews/validation.jsonl") else { return };
        let texts: Vec<String> = std::fs::read_to_string(reviews)
            .unwrap()
            .lines()
            .map(|line| {
                let row: Value = serde_json::from_str(line).unwrap();
                row["sentence"].as_str().unwrap().to_owned()
            })
            .collect();
        let expected: Vec<[f64; 4]> =
            serde_json::from_str(include_str!("../../tests/data/nlg_reviews.json")).unwrap();
        assert_eq!(expected.len() + 1, texts.len());
        let comparison = Comparison::new();
        for (pair, theirs) in texts.windows(2).zip(expected) {
            let ours = comparison.compare(&pair[0], &pair[1]).unwrap();
            let ours = [ours.rouge_1, ours.rouge_2, ours.rouge_l, ours.bleu_4];
            assert!(
                ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-9),
                "{ours:?}, not {theirs:?}: {pair:?}"
            );
        }
    }
}
