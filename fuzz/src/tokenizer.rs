//! Vocabularies, and texts. The first byte says what the rest is: most often a file; or lines, each of which becomes a token
//! after those of single bytes, and a last line that is encoded; or a text for a vocabulary of some tokens.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::OnceLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use qwen_tui::data::Tokenizer;

use super::place::{choice, for_people, write};

const FILE: &str = "qwen.tiktoken";
/// Of the vocabulary that texts are encoded with.
const TOKENS: [&str; 12] = ["的", "不", "不错", "包", "包装", "he", "in", "the", "  ", "\r\n", "12", "<|im"];

pub fn run(bytes: &[u8]) {
    let (how, rest) = choice(bytes);
    match how % 16 {
        0..12 => {
            if let Some(tokenizer) = for_people(Tokenizer::load_file(&write(FILE, rest))) {
                goes_round(&tokenizer, "好 <|im_end|>\n");
            }
        }
        // Building is a thousand times the work of an encoding.
        12 if is_one_of(128, rest) => {
            let mut lines: Vec<&[u8]> = rest.split(|b| *b == b'\n').collect();
            let text = lines.pop().unwrap_or_default();
            if let Some(tokenizer) = for_people(Tokenizer::load_file(&vocabulary(&lines))) {
                goes_round(&tokenizer, &String::from_utf8_lossy(text));
            }
        }
        _ => {
            static READY: OnceLock<Tokenizer> = OnceLock::new();
            let ready = READY.get_or_init(|| {
                let tokens = TOKENS.map(str::as_bytes);
                Tokenizer::load_file(&vocabulary(&tokens)).expect("a vocabulary")
            });
            goes_round(ready, &String::from_utf8_lossy(rest));
        }
    }
}

/// Whether the bytes are of one share in `n`.
fn is_one_of(n: u32, bytes: &[u8]) -> bool {
    bytes.iter().fold(0u32, |sum, b| sum.wrapping_mul(31).wrapping_add(u32::from(*b))).is_multiple_of(n)
}

/// A file of all single bytes and then these tokens.
fn vocabulary(tokens: &[&[u8]]) -> PathBuf {
    let bytes: Vec<[u8; 1]> = (0..=255).map(|b| [b]).collect();
    let mut file = String::new();
    for (rank, token) in bytes.iter().map(|b| &b[..]).chain(tokens.iter().copied()).enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(file, "{} {rank}", STANDARD.encode(token));
    }
    write(FILE, file.as_bytes())
}

/// The ids of a text are in the vocabulary, and its decoded text, which is in normal form, has the same ones.
fn goes_round(tokenizer: &Tokenizer, text: &str) {
    let ids = tokenizer.encode(text);
    assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()), "{text:?}");
    let again = tokenizer.decode(&ids);
    assert_eq!(tokenizer.encode(&again), ids, "{text:?}");
    assert_eq!(tokenizer.decode(&ids[ids.len() / 2..]).is_empty(), ids[ids.len() / 2..].is_empty());
}
