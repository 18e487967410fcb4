//! Qwen-1's tokenizer: byte-level BPE over `qwen.tiktoken`, with Qwen's splitting and special tokens.

use std::borrow::Cow;
use std::path::Path;

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::ranks::Ranks;
use crate::error::{Context, Error, Result, shown};

/// The file in a model directory that holds the vocabulary.
pub const VOCABULARY_FILE: &str = "qwen.tiktoken";

/// How Qwen-1 cuts a text into words before byte-pair encoding (its published pattern): digits one by one.
pub const SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Number of `<|extra_N|>` tokens.
const EXTRAS: usize = 205;

/// Spare rows that an embedding may have: sizes are rounded up, Qwen's own by 85.
const SPARE: usize = 512;

/// A Qwen-1 tokenizer. Ids are the ranks of `qwen.tiktoken`, followed by the special tokens
/// `<|endoftext|>`, `<|im_start|>`, `<|im_end|>`, `<|extra_0|>` .. `<|extra_204|>`.
pub struct Tokenizer {
    bpe: tokenizers::Tokenizer,
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
                shown(path)
            )));
        }
        let merges = ranks.merges().ok_or_else(|| {
            Error::user(format!(
                "{}: its tokens can be put together in more ways than those of any Qwen-1; fetch it again",
                shown(path)
            ))
        })?;
        let bpe = build(&ranks, merges, &specials).internal(format!("the tokenizer of {}", shown(path)))?;

        let bytes = std::array::from_fn(|b| ranks.ids[[b as u8].as_slice()]);
        let count = ranks.tokens.len() as u32;
        let mut tokens = ranks.tokens;
        tokens.extend(specials.into_iter().map(String::into_bytes));
        Ok(Tokenizer { bpe, tokens, bytes, ranks: count })
    }

    /// Token ids of `text`, normalised to NFC first; special tokens written in the text are read as special.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        // The whole text is normalised, and only then are special tokens looked for, as Qwen-1 does it.
        let text: Cow<str> = match is_nfc_quick(text.chars()) {
            IsNormalized::Yes => text.into(),
            _ => text.nfc().collect::<String>().into(),
        };
        match self.bpe.encode_fast(text.as_ref(), false) {
            Ok(encoding) => encoding.get_ids().to_vec(),
            // Every byte is a token, so there is nothing left to fail; were it to, the text is still kept whole.
            Err(_) => text.bytes().map(|b| self.bytes[b as usize]).collect(),
        }
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
            shown(dir),
            EXTRAS + 3
        )))
    }

    /// Number of ids, special tokens included.
    pub fn vocab_size(&self) -> usize {
        self.tokens.len()
    }
}

fn special_tokens() -> Vec<String> {
    let mut names: Vec<String> = ["endoftext", "im_start", "im_end"].map(|n| format!("<|{n}|>")).into();
    names.extend((0..EXTRAS).map(|n| format!("<|extra_{n}|>")));
    names
}

fn build(
    ranks: &Ranks,
    merges: Vec<(u32, u32)>,
    specials: &[String],
) -> tokenizers::Result<tokenizers::Tokenizer> {
    let alphabet = byte_alphabet();
    let written: Vec<String> =
        ranks.tokens.iter().map(|t| t.iter().map(|&b| alphabet[b as usize]).collect()).collect();
    let merges: Merges =
        merges.into_iter().map(|(a, b)| (written[a as usize].clone(), written[b as usize].clone())).collect();
    let vocabulary: Vocab = written.into_iter().zip(0..).collect();
    // A word that is a token is that token, even if no chain of merges leads to it.
    let bpe = BPE::builder().vocab_and_merges(vocabulary, merges).ignore_merges(true).build()?;

    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    let split = Split::new(SplitPattern::Regex(SPLIT.into()), SplitDelimiterBehavior::Isolated, false)?;
    let bytes = ByteLevel::new(false, false, false);
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()])));
    tokenizer.add_special_tokens(specials.iter().map(|s| AddedToken::from(s.as_str(), true)))?;
    Ok(tokenizer)
}

/// GPT-2's printable character for each byte: printable Latin-1 stands for itself, the rest follows from U+0100.
fn byte_alphabet() -> [char; 256] {
    let mut next = 0x100;
    std::array::from_fn(|b| match b as u8 {
        b @ (b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF) => b as char,
        _ => {
            next += 1;
            char::from_u32(next - 1).unwrap_or('\u{FFFD}')
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::data::shared;

    fn qwen() -> Option<Tokenizer> {
        Some(Tokenizer::load(&shared("qwen1-tokenizer")?).unwrap())
    }

    /// Byte-pair encoding straight from its definition: join the leftmost pair of lowest rank until none is left.
    fn by_definition(ids: &Ranks, word: &[u8]) -> Vec<u32> {
        let mut parts: Vec<Vec<u8>> = word.iter().map(|&b| vec![b]).collect();
        while let Some((_, at)) = (1..parts.len())
            .filter_map(|i| ids.ids.get(&[&parts[i - 1][..], &parts[i][..]].concat()).map(|&rank| (rank, i)))
            .min()
        {
            let tail = parts.remove(at);
            parts[at - 1].extend(tail);
        }
        parts.iter().map(|p| ids.ids[p]).collect()
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
                None => by_definition(&ranks, word.as_bytes()),
            };
            assert_eq!(tokenizer.encode(&word), want, "{word}");
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
