//! Made-up rows of the task: sentences of random Chinese characters in the task's prompt, and a label.

use std::path::Path;
use std::str::FromStr;

use rand_mt::Mt;
use serde_json::json;

use super::vocabulary::CHARACTERS;
use crate::data::{LABELS, Tokenizer, sentiment_prompt};
use crate::error::{Context, Error, Result};

/// Rows are tried to be made this often: a tokenizer may join characters.
const TRIES: usize = 100;

/// From how many tokens a row has to how many, both included; evenly spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    pub from: usize,
    pub to: usize,
}

impl FromStr for Lengths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| part.trim().parse::<usize>().ok();
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        match (number(from), number(to)) {
            (Some(from), Some(to)) if from <= to => Ok(Self { from, to }),
            _ => Err(format!("{text:?} is neither a number of tokens nor FROM-TO, such as 30-110")),
        }
    }
}

/// Writes rows.
pub struct Synthetic<'a> {
    tokenizer: &'a Tokenizer,
    random: Mt,
    /// Characters that are one token each.
    characters: Vec<char>,
}

impl<'a> Synthetic<'a> {
    /// Rows in the tokens of `tokenizer`, the same for the same `seed`.
    ///
    /// # Errors
    /// A tokenizer that has no Chinese characters.
    pub fn new(tokenizer: &'a Tokenizer, seed: u64) -> Result<Self> {
        let single = |c: &char| tokenizer.encode(c.encode_utf8(&mut [0; 4])).len() == 1;
        // Some thousands are enough, and are found in a moment.
        let characters: Vec<char> = CHARACTERS.step_by(3).filter(single).collect();
        if characters.is_empty() {
            return Err(Error::user(
                "the tokenizer has no token that is a Chinese character: give rows by --rows-file",
            ));
        }
        Ok(Self { tokenizer, random: Mt::new(seed as u32), characters })
    }

    /// Writes `count` rows as JSON lines to `path`.
    ///
    /// # Errors
    /// Lengths that the prompt alone is longer than; the disk's.
    pub fn write(&mut self, path: &Path, count: usize, lengths: Lengths) -> Result<()> {
        let mut lines = String::new();
        for _ in 0..count {
            let spread = (lengths.to - lengths.from + 1) as u32;
            let length = lengths.from + (self.random.next_u32() % spread) as usize;
            let label = LABELS[(self.random.next_u32() % LABELS.len() as u32) as usize];
            let query = sentiment_prompt(&self.sentence(label, length)?);
            lines += &format!("{}\n", json!({"query": query, "response": label}));
        }
        std::fs::write(path, lines).user(path.display())
    }

    /// A sentence with which the row of this label has `length` tokens, the end token included.
    fn sentence(&mut self, label: &str, length: usize) -> Result<String> {
        let mut sentence = String::new();
        for _ in 0..TRIES {
            let answer = self.tokenizer.encode(label).len() + 1;
            let found = self.tokenizer.encode(&sentiment_prompt(&sentence)).len() + answer;
            if found == length && !sentence.is_empty() {
                return Ok(sentence);
            }
            if found >= length {
                // Too long as it is, or by characters that did not join.
                match sentence.pop() {
                    Some(_) if !sentence.is_empty() => continue,
                    _ => break,
                }
            }
            for _ in found..length {
                let n = self.random.next_u32() as usize % self.characters.len();
                sentence.push(self.characters[n]);
            }
        }
        Err(Error::user(format!("no row of {length} tokens can be made: the prompt alone has about as many")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::vocabulary;

    #[test]
    fn rows_have_the_lengths_that_are_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        std::fs::write(file("qwen.tiktoken"), vocabulary(4000)).unwrap();
        let tokenizer = Tokenizer::load(dir.path()).unwrap();
        let lengths: Lengths = "30-40".parse().unwrap();
        Synthetic::new(&tokenizer, 1).unwrap().write(&file("rows"), 40, lengths).unwrap();
        Synthetic::new(&tokenizer, 1).unwrap().write(&file("again"), 40, lengths).unwrap();
        let text = std::fs::read_to_string(file("rows")).unwrap();
        assert_eq!(text, std::fs::read_to_string(file("again")).unwrap());
        let found: Vec<usize> = text
            .lines()
            .map(|line| {
                let row: serde_json::Value = serde_json::from_str(line).unwrap();
                let tokens = |key: &str| tokenizer.encode(row[key].as_str().unwrap()).len();
                tokens("query") + tokens("response") + 1
            })
            .collect();
        assert!(found.len() == 40 && found.iter().all(|n| (30..=40).contains(n)), "{found:?}");
        assert!(found.contains(&30) && found.contains(&40), "{found:?}");
        assert!(Synthetic::new(&tokenizer, 1).unwrap().write(&file("x"), 1, "5".parse().unwrap()).is_err());
    }

    #[test]
    fn lengths_are_read() {
        let of = |text: &str| text.parse::<Lengths>().ok().map(|l| (l.from, l.to));
        assert_eq!((of("64"), of("30-110")), (Some((64, 64)), Some((30, 110))));
        assert_eq!((of("9-3"), of("x"), of("")), (None, None, None));
    }
}
