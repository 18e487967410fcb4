//! Forty everyday sentences, written for this demo: what a person might type, not what the reviews hold.

use serde::Deserialize;

use crate::error::{Context, Result};

const LIST: &str = include_str!("../../demo/everyday.jsonl");

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Everyday {
    pub sentence: String,
    /// 0 negative, 1 positive.
    pub label: usize,
}

/// The sentences: praise and complaint, twenty each; among them negations and contrasts.
pub fn everyday() -> Result<Vec<Everyday>> {
    LIST.lines().map(serde_json::from_str).collect::<Result<_, _>>().internal("demo/everyday.jsonl")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn twenty_of_each_and_all_different() {
        let list = everyday().unwrap();
        assert_eq!(list.len(), 40);
        assert_eq!(list.iter().filter(|e| e.label == 1).count(), 20);
        assert!(list.iter().all(|e| e.label < 2 && e.sentence.chars().count() >= 8));
        assert_eq!(list.iter().map(|e| &e.sentence).collect::<HashSet<_>>().len(), 40);
    }
}
