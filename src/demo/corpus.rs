//! The base's pretraining corpus: reviews as plain text, and in the task's prompt, without their labels.
//!
//! Every row is a text with no query, so that the loss falls on all of its tokens: the prompt's own words cost a
//! small model nothing once it knows them, and the sentence in the prompt teaches as much as a plain one.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::text::{bare, char_count, clauses, key};
use super::write_file;
use crate::data::sampling::RandomState;
use crate::data::{LABELS, sentiment_prompt as prompt};
use crate::error::Result;

/// Shares of the rows, in percent; the rest is plain text.
#[derive(Debug, Clone, Copy)]
pub struct Mixture {
    held_out_piece: u32,
    random_label: u32,
}

/// The language, and to sum up a sentence.
pub const LANGUAGE: Mixture = Mixture { held_out_piece: 45, random_label: 10 };
/// The second part: the answers' format as well, so that the fine-tuning need not learn it.
pub const BOTH: Mixture = Mixture { held_out_piece: 30, random_label: 30 };
/// Nothing but label words after the prompt: a clause that could stand there too is what the fine-tuning would have to
/// unlearn first.
pub const FORMAT: Mixture = Mixture { held_out_piece: 0, random_label: 60 };

/// Characters of a clause that can be held out.
const PIECE: std::ops::RangeInclusive<usize> = 2..=20;

/// A row of `sft`'s own custom format. The loss falls on the response and the end token only.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub query: String,
    pub response: String,
}

#[derive(Debug, Default, Clone, Serialize)]
pub struct CorpusCounts {
    pub rows: usize,
    pub plain: usize,
    pub held_out_piece: usize,
    pub random_label: usize,
    pub characters: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Role {
    /// A language model's row: no query.
    Plain,
    /// In the prompt, one clause taken out of the sentence is the response: what stands after `Output:` is
    /// told by the whole sentence.
    HeldOutPiece,
    /// In the prompt, answered by a label word drawn at random: the format, and nothing of the task.
    RandomLabel,
}

/// One pass over the texts in an order and with roles of its own, drawn from `seed` and `pass`.
/// Texts should have at most `reviews::LONGEST_PIECE` characters.
fn pass_rows<'a>(
    texts: &[&'a str],
    mixture: Mixture,
    seed: u32,
    pass: u32,
) -> impl Iterator<Item = (Role, Row)> + use<'a> {
    let mut random = RandomState::new(u64::from(seed.wrapping_add(pass.wrapping_mul(1_000_003))));
    let mut order = texts.to_vec();
    random.shuffle(&mut order);
    order.into_iter().map(move |text| {
        let drawn = random.randint(100);
        if drawn < mixture.random_label {
            let label = LABELS[random.randint(LABELS.len() as u32) as usize];
            return (Role::RandomLabel, plain(&(prompt(text) + label)));
        }
        if drawn < mixture.random_label + mixture.held_out_piece
            && let Some((rest, piece)) = hold_out(text, &mut random)
        {
            return (Role::HeldOutPiece, plain(&(prompt(&rest) + &piece)));
        }
        (Role::Plain, plain(text))
    })
}

fn plain(text: &str) -> Row {
    Row { query: String::new(), response: text.into() }
}

/// Takes one clause out of the text: what is left, and the clause. The last clause, which often sums up, is
/// drawn twice as often as another. None where there is no clause to spare.
fn hold_out(text: &str, random: &mut RandomState) -> Option<(String, String)> {
    let all = clauses(text);
    let mut candidates: Vec<usize> =
        (0..all.len()).filter(|&n| PIECE.contains(&char_count(&key(bare(all[n]))))).collect();
    let last = *candidates.last()?;
    if last + 1 == all.len() {
        candidates.push(last);
    }
    let taken = candidates[random.randint(candidates.len() as u32) as usize];
    let rest: String = all.iter().enumerate().filter(|(n, _)| *n != taken).map(|(_, c)| *c).collect();
    let rest = rest.trim().trim_end_matches(['，', ',']).trim_end();
    (char_count(&key(rest)) >= 2).then(|| (rest.to_string(), bare(all[taken]).to_string()))
}

/// Writes passes over texts, each over its own, to a JSON-lines file, one after another, to be read in file order.
pub fn write_pretraining(
    path: &Path,
    passes: &[&[&str]],
    mixture: Mixture,
    seed: u32,
) -> Result<CorpusCounts> {
    let mut counts = CorpusCounts::default();
    write_file(path, |out| {
        (0..).zip(passes).flat_map(|(pass, texts)| pass_rows(texts, mixture, seed, pass)).try_for_each(
            |(role, row)| {
                counts.rows += 1;
                counts.characters += char_count(&row.query) + char_count(&row.response);
                match role {
                    Role::Plain => counts.plain += 1,
                    Role::HeldOutPiece => counts.held_out_piece += 1,
                    Role::RandomLabel => counts.random_label += 1,
                }
                write_row(out, &row)
            },
        )
    })?;
    Ok(counts)
}

/// Writes the texts as plain rows, for the perplexity.
pub fn write_plain<'a>(path: &Path, texts: impl Iterator<Item = &'a str>) -> Result<()> {
    write_file(path, |out| texts.map(plain).try_for_each(|row| write_row(out, &row)))
}

fn write_row(out: &mut impl Write, row: &Row) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, row)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "位置很好，房间也大，就是早餐太差，总体满意！";

    #[test]
    fn a_held_out_clause_and_the_rest_make_the_text() {
        let mut random = RandomState::new(3);
        let mut last = 0;
        for _ in 0..1000 {
            let (rest, piece) = hold_out(TEXT, &mut random).unwrap();
            assert!(!rest.contains(&piece) && TEXT.contains(&piece));
            assert_eq!(char_count(&key(&rest)) + char_count(&piece), char_count(&key(TEXT)));
            last += usize::from(piece == "总体满意");
        }
        assert!((300..500).contains(&last), "two in five, not {last} in 1000");
        let (rest, piece) = hold_out("一共就这么一句话没有标点所以很长很长，还行。", &mut random).unwrap();
        assert_eq!((rest.as_str(), piece.as_str()), ("一共就这么一句话没有标点所以很长很长", "还行"));
        assert_eq!(hold_out("只有一句。", &mut random), None);
        assert_eq!(hold_out("", &mut random), None);
    }

    #[test]
    fn roles_come_in_their_shares() {
        let texts = [TEXT; 10_000];
        let rows: Vec<_> = pass_rows(&texts, LANGUAGE, 42, 0).collect();
        let share = |role| rows.iter().filter(|(r, _)| *r == role).count();
        assert!((4300..4700).contains(&share(Role::Plain)));
        assert!((4300..4700).contains(&share(Role::HeldOutPiece)));
        assert!((850..1150).contains(&share(Role::RandomLabel)));
        let negative = rows.iter().filter(|(_, row)| row.response.ends_with("\nOutput:negative")).count();
        assert!((400..600).contains(&negative), "no label is favoured: {negative}");
        for (role, row) in &rows {
            assert_eq!(row.query, "");
            let answer = row.response.rsplit_once("\nOutput:").map(|(_, answer)| answer);
            match role {
                Role::Plain => assert_eq!(row.response, TEXT),
                Role::HeldOutPiece => assert!(answer.is_some_and(|piece| TEXT.contains(piece))),
                Role::RandomLabel => {
                    assert!(row.response.starts_with(&prompt(TEXT)) && LABELS.contains(&answer.unwrap()))
                }
            }
        }
    }

    #[test]
    fn passes_differ_and_repeat_themselves() {
        let texts: Vec<String> = (0..50).map(|n| format!("第{n}条，{TEXT}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str, seed, passes: usize| {
            let path = dir.path().join(name);
            let counts = write_pretraining(&path, &vec![&texts[..]; passes], LANGUAGE, seed).unwrap();
            assert_eq!(counts.rows, counts.plain + counts.held_out_piece + counts.random_label);
            let text = std::fs::read_to_string(path).unwrap();
            assert_eq!(text.lines().count(), counts.rows);
            text
        };
        let two = read("a.jsonl", 42, 2);
        assert_eq!(two, read("b.jsonl", 42, 2));
        assert_ne!(two, read("c.jsonl", 43, 2));
        let lines: Vec<&str> = two.lines().collect();
        assert_eq!(lines.len(), 100);
        assert_ne!(lines[..50], lines[50..]);
        let row: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
        assert!(row["query"].is_string() && row["response"].is_string());
    }
}
