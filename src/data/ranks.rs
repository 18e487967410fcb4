//! `qwen.tiktoken`: the vocabulary of a Qwen-1 tokenizer as published, one `base64 rank` a line.

use std::collections::HashMap;
use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::error::{Error, Result, shown};
use crate::plain;

/// Qwen's longest token has 128 bytes; the work of cutting one in two grows with the square of its length.
const LONGEST: usize = 1024;
/// Bytes of the longest file that is read, some ten times the published one.
const FILE_LIMIT: u64 = 32 << 20;
/// Bytes of the tokens of all merges. Qwen's are 2.1 MB; of runs of one letter there could be gigabytes.
const MERGES_LIMIT: usize = 64 << 20;

/// Tokens by rank, and ranks by token.
pub(super) struct Ranks {
    pub tokens: Vec<Vec<u8>>,
    pub ids: HashMap<Vec<u8>, u32>,
}

impl Ranks {
    /// Reads a file of ranks 0, 1, 2... in this order; all 256 single bytes must be among the tokens.
    ///
    /// # Errors
    /// `Error::User` naming file and line.
    pub fn load(path: &Path) -> Result<Self> {
        let text = plain::read(path, FILE_LIMIT).map_err(|e| {
            Error::user(format!(
                "cannot read the tokenizer's vocabulary {}: {e}. A Qwen-1 model directory holds it beside config.json; \
                 copy it there or give another directory",
                shown(path)
            ))
        })?;
        Self::parse(&text).map_err(|(line, reason)| {
            let place = line.map_or(String::new(), |n| format!(", line {n}"));
            Error::user(format!(
                "{}{place}: {reason}. The file is corrupt or not a Qwen-1 vocabulary; fetch it again",
                shown(path)
            ))
        })
    }

    fn parse(text: &[u8]) -> Result<Self, (Option<usize>, String)> {
        let mut tokens: Vec<Vec<u8>> = Vec::new();
        let mut ids = HashMap::new();
        for (index, line) in text.split(|&b| b == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let bad = |reason: String| (Some(index + 1), reason);
            let mut parts = line.splitn(2, |&b| b == b' ');
            let (Some(token), Some(rank)) = (parts.next(), parts.next()) else {
                return Err(bad("expected a base64 token, a space and a rank".into()));
            };
            let token = STANDARD.decode(token).map_err(|e| bad(format!("the token is not base64 ({e})")))?;
            if token.is_empty() {
                return Err(bad("the token is empty".into()));
            }
            if token.len() > LONGEST {
                return Err(bad(format!("a token of {} bytes; {LONGEST} are the most", token.len())));
            }
            let rank: usize = std::str::from_utf8(rank)
                .ok()
                .and_then(|r| r.parse().ok())
                .ok_or_else(|| bad(format!("{:?} is not a rank", String::from_utf8_lossy(rank))))?;
            if rank != tokens.len() {
                return Err(bad(format!(
                    "rank {rank} where {} was expected (ranks count up from 0 without gaps)",
                    tokens.len()
                )));
            }
            if let Some(first) = ids.insert(token.clone(), rank as u32) {
                return Err(bad(format!("the same token as rank {first}")));
            }
            tokens.push(token);
        }
        if tokens.is_empty() {
            return Err((None, "no token in it".into()));
        }
        match (0..=255u8).find(|&b| !ids.contains_key([b].as_slice())) {
            Some(byte) => {
                Err((None, format!("the single byte 0x{byte:02x} is missing (the file is cut short?)")))
            }
            None => Ok(Ranks { tokens, ids }),
        }
    }

    /// The pairs that byte-pair encoding may join, in the order in which it prefers them:
    /// for each token every split whose halves are tokens themselves.
    ///
    /// None where they are more than any vocabulary's.
    pub fn merges(&self) -> Option<Vec<(u32, u32)>> {
        let mut merges = Vec::with_capacity(2 * self.tokens.len());
        let mut bytes = 0;
        for token in &self.tokens {
            let start = merges.len();
            for at in 1..token.len() {
                if let Some(&a) = self.ids.get(&token[..at])
                    && let Some(&b) = self.ids.get(&token[at..])
                {
                    merges.push((a, b));
                }
            }
            bytes += (merges.len() - start) * token.len();
            if bytes > MERGES_LIMIT {
                return None;
            }
            merges[start..].sort_unstable();
        }
        Some(merges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<String> {
        (0..=255u8).map(|b| format!("{} {b}", STANDARD.encode([b]))).collect()
    }

    fn problem(lines: &[String]) -> String {
        match Ranks::parse(lines.join("\n").as_bytes()) {
            Ok(_) => panic!("accepted"),
            Err((line, reason)) => format!("{line:?} {reason}"),
        }
    }

    #[test]
    fn every_kind_of_damage_is_named_with_its_line() {
        let good = lines();
        assert!(Ranks::parse(good.join("\n").as_bytes()).is_ok());
        assert!(Ranks::parse((good.join("\r\n") + "\r\n\r\n").as_bytes()).is_ok());
        let with = |n: usize, s: &str| {
            let mut l = good.clone();
            l[n] = s.into();
            problem(&l)
        };
        assert!(with(9, "no-base64! 9").starts_with("Some(10) the token is not base64"));
        assert!(with(9, "CQ==").starts_with("Some(10) expected"));
        assert!(with(9, "CQ== x").starts_with("Some(10) \"x\" is not a rank"));
        assert!(with(9, "CQ== -9").contains("is not a rank"));
        assert!(with(9, "CQ== 99999999999999999999999").contains("is not a rank"));
        assert!(with(9, "CQ== 10").contains("rank 10 where 9 was expected"));
        assert!(with(9, "CA== 9").contains("the same token as rank 8"));
        assert!(with(9, "YWI= 9").starts_with("None the single byte 0x09 is missing"));
        assert!(problem(&good[..200]).contains("0xc8 is missing"));
        assert!(problem(&[]).contains("no token"));
        assert!(with(9, "\u{0}\u{1}").contains("expected"));
    }

    #[test]
    fn a_small_file_of_countless_merges_is_refused() {
        let mut all = lines();
        let run = |n: usize| STANDARD.encode(vec![b'a'; n]);
        all.extend((2..=100).map(|n| format!("{} {}", run(n), 254 + n)));
        let some = Ranks::parse(all.join("\n").as_bytes()).unwrap().merges().unwrap();
        assert_eq!(some.len(), (1..100).sum::<usize>());
        all.extend((101..=LONGEST).map(|n| format!("{} {}", run(n), 254 + n)));
        assert_eq!(Ranks::parse(all.join("\n").as_bytes()).unwrap().merges(), None);
        all.push(format!("{} {}", run(LONGEST + 1), all.len()));
        assert!(problem(&all).contains("1024 are the most"));
    }
}
