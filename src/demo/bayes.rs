//! The classifier that the fine-tuned model is held against: multinomial naive Bayes over a bag of characters
//! and pairs of characters.

use std::collections::HashMap;

/// Added to every count (Laplace).
const SMOOTHING: f64 = 1.0;

pub struct NaiveBayes {
    classes: usize,
    /// log P(class) of each class.
    priors: Vec<f64>,
    /// Of each feature seen in training, log P(feature | class): `classes` numbers from `feature * classes` on.
    likelihoods: Vec<f64>,
    features: HashMap<String, usize>,
}

impl NaiveBayes {
    /// Fits to texts with their class numbers. With no rows, every prediction is 0.
    pub fn fit(rows: &[(String, usize)]) -> Self {
        let classes = rows.iter().map(|(_, class)| class + 1).max().unwrap_or(1);
        let mut features: HashMap<String, usize> = HashMap::new();
        let mut counts: Vec<f64> = Vec::new();
        let mut totals = vec![0.0; classes];
        let mut sizes = vec![0.0; classes];
        for (text, class) in rows {
            sizes[*class] += 1.0;
            for gram in grams(text) {
                let next = features.len();
                let feature = *features.entry(gram).or_insert(next);
                if feature == next {
                    counts.resize(counts.len() + classes, 0.0);
                }
                counts[feature * classes + class] += 1.0;
                totals[*class] += 1.0;
            }
        }
        let distinct = features.len() as f64;
        let log_likelihood = |(n, count): (usize, &f64)| {
            ((count + SMOOTHING) / (totals[n % classes] + SMOOTHING * distinct)).ln()
        };
        NaiveBayes {
            classes,
            priors: sizes.iter().map(|size| (size / rows.len().max(1) as f64).ln()).collect(),
            likelihoods: counts.iter().enumerate().map(log_likelihood).collect(),
            features,
        }
    }

    /// log P(class) + log P(text | class) of each class; what was not seen in training does not count.
    pub fn scores(&self, text: &str) -> Vec<f64> {
        let mut scores = self.priors.clone();
        for gram in grams(text) {
            if let Some(feature) = self.features.get(&gram) {
                let of_classes = &self.likelihoods[feature * self.classes..][..self.classes];
                scores.iter_mut().zip(of_classes).for_each(|(score, l)| *score += l);
            }
        }
        scores
    }

    /// The likeliest class, the lower one where two are level.
    pub fn predict(&self, text: &str) -> usize {
        let scores = self.scores(text);
        (0..scores.len()).fold(0, |best, n| if scores[n] > scores[best] { n } else { best })
    }

    /// The share of rows whose class is predicted.
    pub fn accuracy<'a>(&self, rows: impl IntoIterator<Item = (&'a str, usize)>) -> f64 {
        let (mut right, mut all) = (0, 0);
        for (text, class) in rows {
            right += usize::from(self.predict(text) == class);
            all += 1;
        }
        f64::from(u32::try_from(right).unwrap_or(u32::MAX)) / f64::from(all.max(1))
    }
}

/// The characters of the text, and its pairs of neighbours; lowercase, and each run of whitespace one space.
fn grams(text: &str) -> Vec<String> {
    let mut letters: Vec<char> = Vec::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        let c = if c.is_whitespace() { ' ' } else { c };
        if c != ' ' || letters.last() != Some(&' ') {
            letters.push(c);
        }
    }
    let singles = letters.iter().map(char::to_string);
    singles.chain(letters.windows(2).map(|pair| pair.iter().collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(list: &[(&str, usize)]) -> Vec<(String, usize)> {
        list.iter().map(|(t, c)| (t.to_string(), *c)).collect()
    }

    #[test]
    fn scores_are_those_worked_out_by_hand() {
        // Class 0 has 好, 好 and 好好; class 1 has 坏; 3 features in all.
        let bayes = NaiveBayes::fit(&rows(&[("好好", 0), ("坏", 1)]));
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        let scores = bayes.scores("好坏新");
        close(scores[0], (0.5f64 * (3.0 / 6.0) * (1.0 / 6.0)).ln());
        close(scores[1], (0.5f64 * (1.0 / 4.0) * (2.0 / 4.0)).ln());
        assert_eq!(bayes.predict("好"), 0);
        assert_eq!(bayes.predict("坏"), 1);
    }

    #[test]
    fn pairs_tell_a_negation() {
        let bayes = NaiveBayes::fit(&rows(&[("很好", 1), ("不好", 0), ("真好", 1), ("不值", 0)]));
        assert_eq!(bayes.predict("好"), 1);
        assert_eq!(bayes.predict("不好"), 0);
        assert_eq!(bayes.accuracy([("很好", 1), ("不值", 1)]), 0.5);
    }

    #[test]
    fn nothing_learned_is_no_panic() {
        assert_eq!(NaiveBayes::fit(&[]).predict("好"), 0);
        assert_eq!(NaiveBayes::fit(&[]).accuracy([]), 0.0);
    }

    #[test]
    fn grams_fold_case_and_space() {
        assert_eq!(grams("A  b"), ["a", " ", "b", "a ", " b"]);
    }
}
