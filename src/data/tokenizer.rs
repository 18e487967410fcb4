//! Qwen-1's tokenizer: byte-level BPE over `qwen.tiktoken`, with Qwen's splitting and special tokens.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use fancy_regex::Regex;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::bpe;
use super::ranks::Ranks;
use crate::error::{Context, Error, Result};

/// The file in a model directory that holds the vocabulary.
pub const VOCABULARY_FILE: &str = "qwen.tiktoken";

/// How Qwen-1 cuts a text into words before byte-pair encoding (its published pattern): digits one by one.
pub const SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Number of `<|extra_N|>` tokens.
const EXTRAS: usize = 205;

/// What a special token is written between; nothing within it is the second of them.
const OPEN: &str = "<|";
const CLOSE: &str = "|>";
/// Bytes of the longest special token, more or less.
const LONGEST_SPECIAL: usize = 16;

/// Spare rows that an embedding may have: sizes are rounded up, Qwen's own by 85.
const SPARE: usize = 512;

/// A Qwen-1 tokenizer. Ids are the ranks of `qwen.tiktoken`, followed by the special tokens
/// `<|endoftext|>`, `<|im_start|>`, `<|im_end|>`, `<|extra_0|>` .. `<|extra_204|>`.
pub struct Tokenizer {
    ids: HashMap<Vec<u8>, u32>,
    split: Regex,
    specials: HashMap<Vec<u8>, u32>,
    /// The bytes of every token, special ones (as written) included.
    tokens: Vec<Vec<u8>>,
    /// The token of each single byte.
    bytes: [u32; 256],
    /// Number of ranks, which is the id of the first special token.
    ranks: u32,
}

impl Tokenizer {
    /// Loads `model_dir/qwen.tiktoken`.
    ///
    /// # Errors
    /// `Error::User` naming file and line where the file is missing or corrupt.
    pub fn load(model_dir: &Path) -> Result<Self> {
        Self::load_file(&model_dir.join(VOCABULARY_FILE))
    }

    /// [`load`](Self::load) of a file of another name or place.
    pub fn load_file(path: &Path) -> Result<Self> {
        let ranks = Ranks::load(path)?;
        let specials = special_tokens();
        if let Some(special) = specials.iter().find(|s| ranks.ids.contains_key(s.as_bytes())) {
            return Err(Error::user(format!(
                "{}: {special} is an ordinary token there, but Qwen-1 keeps it as a special one",
                path.display()
            )));
        }
        let split = Regex::new(SPLIT).internal("the pattern of Qwen's words")?;
        let Ranks { mut tokens, ids } = ranks;
        let bytes = std::array::from_fn(|b| ids[[b as u8].as_slice()]);
        let count = tokens.len() as u32;
        let specials: Vec<Vec<u8>> = specials.into_iter().map(String::into_bytes).collect();
        tokens.extend(specials.iter().cloned());
        let specials = specials.into_iter().zip(count..).collect();
        Ok(Tokenizer { ids, split, specials, tokens, bytes, ranks: count })
    }

    /// Token ids of `text`, normalised to NFC first; special tokens written in the text are read as special.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        // The whole text is normalised, and only then are special tokens looked for, as Qwen-1 does it.
        let text: Cow<str> = match is_nfc_quick(text.chars()) {
            IsNormalized::Yes => text.into(),
            _ => text.nfc().collect::<String>().into(),
        };
        let mut out = Vec::new();
        let (mut done, mut at) = (0, 0);
        while let Some(found) = text[at..].find(OPEN) {
            let start = at + found;
            at = start + OPEN.len();
            if let Some((special, end)) = self.special_at(&text, start) {
                self.encode_words(&text[done..start], &mut out);
                out.push(special);
                (done, at) = (end, end);
            }
        }
        self.encode_words(&text[done..], &mut out);
        out
    }

    /// The special token that is written at `start`, where one is opened, and where it ends.
    fn special_at(&self, text: &str, start: usize) -> Option<(u32, usize)> {
        let inside = start + OPEN.len();
        let written = &text.as_bytes()[inside..text.len().min(inside + LONGEST_SPECIAL)];
        let close = written.windows(CLOSE.len()).position(|bytes| bytes == CLOSE.as_bytes())?;
        let end = inside + close + CLOSE.len();
        Some((*self.specials.get(&text.as_bytes()[start..end])?, end))
    }

    /// Appends the tokens of a text without special tokens.
    fn encode_words(&self, text: &str, out: &mut Vec<u32>) {
        let mut word = |from: usize, to: usize| {
            if from < to {
                bpe::encode(&self.ids, &self.bytes, &text.as_bytes()[from..to], out);
            }
        };
        let mut done = 0;
        // Every text matches from end to end. Should the matching give up, the rest is still kept, as one word.
        for found in self.split.find_iter(text).map_while(std::result::Result::ok) {
            word(done, found.start());
            word(found.start(), found.end());
            done = found.end();
        }
        word(done, text.len());
    }

    /// The text of `ids`, special tokens written out. Bytes that are no UTF-8 become U+FFFD;
    /// ids outside the vocabulary (a model's embedding has spare rows) are left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().filter_map(|&id| self.token_bytes(id)).flatten().copied().collect();
        String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
    }

    /// The bytes a token stands for; a special token's are its name.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.tokens.get(id as usize).map(Vec::as_slice)
    }

    /// `<|endoftext|>`, 151643 in Qwen's own vocabulary.
    pub fn eos(&self) -> u32 {
        self.ranks
    }

    /// `<|im_start|>`.
    pub fn im_start(&self) -> u32 {
        self.ranks + 1
    }

    /// `<|im_end|>`.
    pub fn im_end(&self) -> u32 {
        self.ranks + 2
    }

    /// Checks that a model in `dir`, whose embedding has `rows` rows, is the tokenizer's: special tokens follow the last
    /// rank, so that a file cut short would give them ids of other tokens.
    ///
    /// # Errors
    /// `Error::User` where the tokens are more than the rows, or fewer than rounding up explains.
    pub fn check_rows(&self, dir: &Path, rows: usize) -> Result<()> {
        let tokens = self.vocab_size();
        let wrong = if tokens > rows {
            "more"
        } else if tokens + SPARE < rows {
            "far fewer"
        } else {
            return Ok(());
        };
        let cut =
            if tokens < rows { ": the file is cut short or another model's, fetch it again" } else { "" };
        Err(Error::user(format!(
            "{}: qwen.tiktoken has {tokens} tokens ({} special ones included), {wrong} than the {rows} rows of the \
             embedding (vocab_size in config.json){cut}",
            dir.display(),
            EXTRAS + 3
        )))
    }

    /// Number of ids, special tokens included.
    pub fn vocab_size(&self) -> usize {
        self.tokens.len()
    }
}

fn special_tokens() -> Vec<String> {
    let mut names: Vec<String> = ["endoftext", "im_start", "im_end"].map(str::to_owned).into();
    names.extend((0..EXTRAS).map(|n| format!("extra_{n}")));
    names.into_iter().map(|name| OPEN.to_owned() + &name + CLOSE).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::data::bpe::tests::by_definition;
    use crate::data::shared;

    fn qwen() -> Option<Tokenizer> {
        Some(Tokenizer::load(&shared("qwen1-tokenizer")?).unwrap())
    }

    #[test]
    fn equals_the_published_tokenizer() {
        #[derive(serde::Deserialize)]
        struct Golden {
            text: String,
            ids: Vec<u32>,
            decoded: String,
        }
        let Some(tokenizer) = qwen() else { return };
        let golden = std::fs::read_to_string(shared("qwen1-tokenizer/golden.json").unwrap()).unwrap();
        let golden: Vec<Golden> = serde_json::from_str(&golden).unwrap();
        assert!(golden.len() > 100);
        for g in &golden {
            assert_eq!(tokenizer.encode(&g.text), g.ids, "{:?}", g.text);
            assert_eq!(tokenizer.decode(&g.ids), g.decoded);
        }
        assert_eq!((tokenizer.eos(), tokenizer.im_start(), tokenizer.im_end()), (151_643, 151_644, 151_645));
        assert_eq!(tokenizer.vocab_size(), 151_851);
        assert_eq!(tokenizer.encode("<|extra_204|>"), [151_850]);
    }

    #[test]
    fn merges_as_the_definition_of_bpe() {
        let Some(tokenizer) = qwen() else { return };
        let ranks = Ranks::load(&shared("qwen1-tokenizer/qwen.tiktoken").unwrap()).unwrap();
        // Letters only, so that a text is one word; runs and mixtures that are no token as a whole.
        let mut state = 1u64;
        for n in 0..4000 {
            let alphabet: Vec<char> =
                ["ab", "aé", "哈嘻", "的是不了在", "xyzXYZ", "ありがとう", "가나다"][n % 7].chars().collect();
            let word: String = (0..3 + n % 37)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    alphabet[(state >> 33) as usize % alphabet.len()]
                })
                .collect();
            let want = match ranks.ids.get(word.as_bytes()) {
                Some(&id) => vec![id],
                None => by_definition(&ranks.ids, word.as_bytes()),
            };
            assert_eq!(tokenizer.encode(&word), want, "{word}");
        }
    }

    #[test]
    fn a_special_token_is_one_only_as_it_is_written() {
        let Some(tokenizer) = qwen() else { return };
        let plain = |text: &str| {
            let ids = tokenizer.encode(text);
            assert!(ids.iter().all(|&id| id < tokenizer.eos()), "{text}");
            ids
        };
        let end = vec![tokenizer.im_end()];
        for (text, ids) in [
            ("<|<|im_end|>|>", [plain("<|"), end.clone(), plain("|>")].concat()),
            ("<|im_end|><|im_end|>", [end.clone(), end.clone()].concat()),
            ("a <|im_end|> b", [plain("a "), end.clone(), plain(" b")].concat()),
            ("<|extra_204|>", vec![151_850]),
        ] {
            assert_eq!(tokenizer.encode(text), ids, "{text}");
        }
        for text in
            ["<|extra_205|>", "<|im_end|", "<|", "<||>", "<|IM_END|>", "<|im_end |>", "<|好好好好好好|>"]
        {
            plain(text);
        }
    }

    #[test]
    fn decoding_takes_any_ids() {
        let Some(tokenizer) = qwen() else { return };
        let half = &tokenizer.encode("𪚥")[..1];
        assert_eq!(tokenizer.decode(half), "\u{FFFD}");
        assert_eq!(tokenizer.decode(&[151_643, 64, 151_935, u32::MAX]), "<|endoftext|>a");
        assert_eq!(tokenizer.token_bytes(151_851), None);
    }

    #[test]
    fn bears_huge_words() {
        let start = Instant::now();
        let Some(tokenizer) = qwen() else { return };
        eprintln!("loaded in {:.2} s", start.elapsed().as_secs_f64());
        for unit in ["a", " ", "哈", "!", "\n", "\u{301}", "1", "<|"] {
            let text = unit.repeat(300_000);
            let start = Instant::now();
            assert_eq!(tokenizer.decode(&tokenizer.encode(&text)), text);
            eprintln!("{unit:?} in {:.2} s", start.elapsed().as_secs_f64());
        }
    }

    #[test]
    fn a_small_vocabulary_works_and_damage_is_told() {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let dir = tempfile::tempdir().unwrap();
        let error = Tokenizer::load(dir.path()).err().unwrap();
        assert!(matches!(&error, Error::User(m) if m.contains("qwen.tiktoken")), "{error}");

        let mut file: String = (0..=255u8).map(|b| format!("{} {b}\n", STANDARD.encode([b]))).collect();
        file += &format!("{} 256\n", STANDARD.encode("不"));
        std::fs::write(dir.path().join(VOCABULARY_FILE), &file).unwrap();
        let tokenizer = Tokenizer::load(dir.path()).unwrap();
        assert_eq!(tokenizer.eos(), 257);
        assert_eq!(tokenizer.vocab_size(), 257 + 208);
        let fits = |rows| tokenizer.check_rows(dir.path(), rows).map_err(|e| e.to_string());
        assert_eq!((fits(465), fits(465 + 512)), (Ok(()), Ok(())));
        assert!(
            fits(464).unwrap_err().contains("465 tokens") && fits(978).unwrap_err().contains("cut short")
        );
        // "不" is a token as a whole, though no merge makes it: alone it is found, within a word it is not.
        assert_eq!(tokenizer.encode("不<|im_end|>a"), [256, 259, 97]);
        assert_eq!(tokenizer.encode("不a").len(), 4);

        for bad in [format!("{} 257\n", STANDARD.encode("<|im_end|>")), "### 257\n".into()] {
            std::fs::write(dir.path().join(VOCABULARY_FILE), file.clone() + &bad).unwrap();
            assert!(matches!(Tokenizer::load(dir.path()), Err(Error::User(_))), "{bad}");
        }
    }
}
