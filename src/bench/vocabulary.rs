//! A made-up vocabulary in the format of `qwen.tiktoken`, for models with random weights: the published one belongs to
//! its publisher. It has the published one's size and sort of tokens, not its tokens.

use std::collections::HashSet;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::data::{LABELS, sentiment_prompt};

/// Ordinary tokens of the published `qwen.tiktoken`.
pub const PUBLISHED_RANKS: usize = 151_643;

/// The Chinese characters that are tokens, U+4E00 to U+9FA5 (Unicode 1.1).
pub const CHARACTERS: std::ops::RangeInclusive<char> = '\u{4e00}'..='\u{9fa5}';

/// Tokens in the order of their ranks, each once.
struct Tokens {
    all: Vec<Vec<u8>>,
    seen: HashSet<Vec<u8>>,
    limit: usize,
}

impl Tokens {
    fn add(&mut self, token: &[u8]) {
        if self.all.len() < self.limit && self.seen.insert(token.to_vec()) {
            self.all.push(token.to_vec());
        }
    }

    /// A word, and before it all its beginnings, so that joining from the left leads to it.
    fn grow(&mut self, word: &[u8]) {
        (2..=word.len()).for_each(|end| self.add(&word[..end]));
    }
}

/// A `qwen.tiktoken` of `ranks` tokens (256 at least), the same every time: the single bytes, the words of the task's
/// prompt and its labels, the Chinese characters in Unicode's order, and pairs of the first of them.
pub fn vocabulary(ranks: usize) -> String {
    let mut tokens = Tokens { all: Vec::new(), seen: HashSet::new(), limit: ranks.max(256) };
    (0..=u8::MAX).for_each(|byte| tokens.add(&[byte]));
    let prompt = sentiment_prompt("");
    for word in prompt.split_inclusive(|c: char| !c.is_alphabetic()).chain(LABELS) {
        let word = word.trim_end_matches(|c: char| !c.is_alphabetic());
        tokens.grow(word.as_bytes());
        tokens.grow(format!(" {word}").as_bytes());
    }
    let mut utf8 = [0; 4];
    for c in CHARACTERS {
        tokens.grow(c.encode_utf8(&mut utf8).as_bytes());
    }
    'pairs: for n in 0.. {
        // Pairs of the first n characters that the n-th is in: they come in the order of the larger one.
        let Some(last) = CHARACTERS.clone().nth(n) else { break };
        for other in CHARACTERS.clone().take(n + 1) {
            tokens.add(format!("{last}{other}").as_bytes());
            tokens.add(format!("{other}{last}").as_bytes());
            if tokens.all.len() == tokens.limit {
                break 'pairs;
            }
        }
    }
    let line = |(rank, token): (usize, &Vec<u8>)| format!("{} {rank}\n", STANDARD.encode(token));
    tokens.all.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Tokenizer;

    #[test]
    fn it_is_a_vocabulary_and_the_prompt_is_short_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("qwen.tiktoken");
        for (ranks, embedding) in [(PUBLISHED_RANKS, 151_851), (4000, 4208)] {
            std::fs::write(&file, vocabulary(ranks)).unwrap();
            let tokenizer = Tokenizer::load_file(&file).unwrap();
            assert_eq!(tokenizer.vocab_size(), embedding);
            assert_eq!(tokenizer.encode(&sentiment_prompt("")).len(), 17);
            assert!(LABELS.iter().all(|label| tokenizer.encode(label).len() == 1));
            let text = "一丁七";
            assert_eq!(tokenizer.decode(&tokenizer.encode(text)), text);
        }
    }

    #[test]
    fn a_character_is_a_token_and_so_are_pairs_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("qwen.tiktoken");
        std::fs::write(&file, vocabulary(PUBLISHED_RANKS)).unwrap();
        let tokenizer = Tokenizer::load_file(&file).unwrap();
        assert_eq!(tokenizer.encode("质量太差").len(), 4);
        assert_eq!(tokenizer.encode("一丁").len(), 1);
    }
}
