//! The vocabulary of the demo's base: byte-level BPE with Qwen-1's way of splitting text.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use base64::Engine as _;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior, Trainer,
};
use unicode_normalization::UnicodeNormalization;

use super::write_file;
use crate::data::tokenizer::SPLIT;
use crate::data::{LABELS, sentiment_prompt as prompt};
use crate::error::{Context, Error, Result};

/// How often the prompt is read beside the texts: more than the rarest merge occurs, so that each of its
/// words becomes one token.
const PROMPTS: usize = 2000;

/// Learns `ranks` tokens from the texts and the task's prompt: the 256 bytes first, then the merges in the
/// order learned, as a tiktoken file has them. Fewer where the texts do not hold that many.
///
/// # Errors
/// `User` for fewer than 256 ranks; `Internal` where the trainer fails.
pub fn train_vocabulary<'a>(
    texts: impl Iterator<Item = &'a str> + Send,
    ranks: usize,
) -> Result<Vec<Vec<u8>>> {
    if ranks < 256 {
        return Err(Error::user(format!("a vocabulary of {ranks} ranks has no room for the 256 bytes")));
    }
    let split = Split::new(SplitPattern::Regex(SPLIT.into()), SplitDelimiterBehavior::Isolated, false)
        .internal("splitting pattern")?;
    let alphabet = byte_letters();
    let words = |text: &str| -> tokenizers::Result<Vec<String>> {
        let mut cut = PreTokenizedString::from(text.nfc().collect::<String>());
        split.pre_tokenize(&mut cut)?;
        let parts = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
        Ok(parts.iter().map(|(part, ..)| part.bytes().map(|b| alphabet[usize::from(b)]).collect()).collect())
    };
    // A digit is never merged, so the sentence's place teaches nothing.
    let examples: Vec<String> = LABELS.iter().flat_map(|label| [prompt("1"), (*label).to_string()]).collect();
    let repeated = (0..PROMPTS / LABELS.len()).flat_map(|_| examples.iter().cloned().map(Cow::Owned));

    let mut trainer = BpeTrainer::builder()
        .vocab_size(ranks)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(alphabet.iter().copied().collect::<HashSet<char>>().into_iter().collect())
        .build();
    trainer
        .feed(texts.map(Cow::Borrowed).chain(repeated), words)
        .internal("reading the texts for the vocabulary")?;
    let mut model = BPE::default();
    trainer.train(&mut model).internal("learning the vocabulary")?;

    let mut learned: Vec<(u32, Vec<u8>)> = model
        .get_vocab()
        .into_iter()
        .filter(|(token, _)| token.chars().nth(1).is_some())
        .map(|(token, id)| {
            let byte = |c| alphabet.iter().position(|&a| a == c).unwrap_or_default() as u8;
            (id, token.chars().map(byte).collect())
        })
        .collect();
    learned.sort();
    let bytes = byte_order().into_iter().map(|b| vec![b]);
    Ok(bytes.chain(learned.into_iter().map(|(_, token)| token)).collect())
}

/// Writes a `qwen.tiktoken`: a line a token, its bytes in base64, a space, its rank.
pub fn write_tiktoken(vocabulary: &[Vec<u8>], path: &Path) -> Result<()> {
    write_file(path, |out| {
        vocabulary.iter().enumerate().try_for_each(|(rank, token)| {
            writeln!(out, "{} {rank}", base64::engine::general_purpose::STANDARD.encode(token))
        })
    })
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The bytes in the order of GPT-2's and Qwen's vocabularies: printable ones of Latin-1 first.
fn byte_order() -> Vec<u8> {
    let (mut printable, rest): (Vec<u8>, Vec<u8>) = (0..=255).partition(|&b| is_printable(b));
    printable.extend(rest);
    printable
}

/// A letter for each byte, as byte-level BPE writes them: printable bytes stand for themselves, the others
/// from U+0100 on.
fn byte_letters() -> Vec<char> {
    let mut letters = vec!['\0'; 256];
    for (n, &byte) in byte_order().iter().enumerate() {
        let code = if is_printable(byte) { u32::from(byte) } else { 0x100 + n as u32 - 188 };
        letters[usize::from(byte)] = char::from_u32(code).unwrap_or('\0');
    }
    letters
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const TEXTS: [&str; 3] =
        ["房间很大，房间很干净。", "房间太小，服务太差。", "很好，很好，很好，2015年来过"];

    #[test]
    fn bytes_first_then_whole_words() {
        let vocabulary = train_vocabulary(TEXTS.into_iter(), 500).unwrap();
        assert!(vocabulary.len() <= 500 && vocabulary.len() > 256);
        let mut bytes = vocabulary[..256].concat();
        assert_eq!((bytes[0], bytes[94], bytes[188]), (b'!', 0xa1, 0), "the order of Qwen's file");
        bytes.sort();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        let distinct: HashSet<&Vec<u8>> = vocabulary.iter().collect();
        assert_eq!(distinct.len(), vocabulary.len());
        let words = "negative| negative|positive| positive|Task| Sentiment| Classification|Sentence|Category|Output|很好";
        for word in words.split('|') {
            assert!(distinct.contains(&word.as_bytes().to_vec()), "{word:?}");
        }
        assert!(!distinct.contains(&b"20".to_vec()), "digits stand alone");
    }

    #[test]
    fn every_token_is_made_of_two_earlier_ones() {
        let vocabulary = train_vocabulary(TEXTS.into_iter(), 400).unwrap();
        for (rank, token) in vocabulary.iter().enumerate().skip(256) {
            let earlier = |part: &[u8]| vocabulary[..rank].iter().any(|t| t == part);
            assert!((1..token.len()).any(|at| earlier(&token[..at]) && earlier(&token[at..])), "rank {rank}");
        }
    }

    #[test]
    fn repeats_itself_and_writes_ranks() {
        let vocabulary = train_vocabulary(TEXTS.into_iter(), 360).unwrap();
        assert_eq!(vocabulary, train_vocabulary(TEXTS.into_iter(), 360).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/qwen.tiktoken");
        write_tiktoken(&vocabulary, &path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("IQ== 0\nIg== 1\n"), "as Qwen's file begins");
        assert_eq!(text.lines().count(), vocabulary.len());
        assert!(!dir.path().join("new/qwen.part").exists());
    }

    #[test]
    fn too_few_ranks_are_refused() {
        assert_eq!(train_vocabulary(TEXTS.into_iter(), 255).unwrap_err().exit_code(), 2);
    }
}
