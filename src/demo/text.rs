//! Cutting and comparing Chinese text.

use unicode_normalization::UnicodeNormalization;

/// What is left of a text when width, case, whitespace and punctuation do not count: its letters and digits.
pub fn key(text: &str) -> String {
    text.nfkc().flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).collect()
}

pub fn char_count(text: &str) -> usize {
    text.chars().count()
}

fn ends_sentence(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '!' | '?' | '；' | ';' | '…' | '~' | '～')
}

fn ends_clause(c: char) -> bool {
    matches!(c, '，' | '。' | '！' | '？' | '；' | ',' | '.' | '!' | '?' | ';')
}

/// The text in runs that end in one or more of `is_end`'s characters; joined they are the text again.
fn runs(text: &str, is_end: fn(char) -> bool) -> Vec<&str> {
    let mut out = Vec::new();
    let (mut start, mut ended) = (0, false);
    for (at, c) in text.char_indices() {
        let end = is_end(c);
        if ended && !end {
            out.push(&text[start..at]);
            start = at;
        }
        ended = end;
    }
    if start < text.len() {
        out.push(&text[start..]);
    }
    out
}

/// The clauses of a text, each with the punctuation after it; joined they are the text again.
pub fn clauses(text: &str) -> Vec<&str> {
    runs(text, ends_clause)
}

/// A clause without the punctuation after it and the spaces around it.
pub fn bare(clause: &str) -> &str {
    clause.trim_end_matches(ends_clause).trim()
}

/// The text in pieces of at most `max` characters (`max` > 0), cut at the ends of sentences where it has
/// them, else at clauses, else anywhere. Pieces are trimmed and never empty.
pub fn pieces(text: &str, max: usize) -> Vec<String> {
    let mut parts = Vec::new();
    for sentence in runs(text, ends_sentence) {
        if char_count(sentence) <= max {
            parts.push(sentence.to_string());
            continue;
        }
        for clause in clauses(sentence) {
            let chars: Vec<char> = clause.chars().collect();
            parts.extend(chars.chunks(max.max(1)).map(|c| c.iter().collect::<String>()));
        }
    }
    let mut out: Vec<String> = Vec::new();
    let mut room = 0;
    for part in parts {
        let length = char_count(&part);
        match out.last_mut() {
            Some(last) if length <= room => last.push_str(&part),
            _ => {
                out.push(part);
                room = max;
            }
        }
        room = room.saturating_sub(length);
    }
    out.iter().map(|p| p.trim().to_string()).filter(|p| !p.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ignores_what_does_not_count() {
        assert_eq!(key("很好,值得买! ＡＢ１"), key("很好，值得 买！！ab1"));
        assert_ne!(key("很好"), key("不好"));
        assert_eq!(key("……！？"), "");
    }

    #[test]
    fn clauses_keep_their_punctuation() {
        assert_eq!(clauses("还行，就是贵！！不买。"), ["还行，", "就是贵！！", "不买。"]);
        assert_eq!(clauses("，先有标点"), ["，", "先有标点"]);
        assert!(clauses("").is_empty());
        assert_eq!(bare(" 就是贵！！"), "就是贵");
    }

    #[test]
    fn pieces_end_with_sentences_and_lose_nothing() {
        let text = "一二三。四五六七！八九。十一十二十三十四十五，十六";
        let cut = pieces(text, 8);
        assert_eq!(cut, ["一二三。", "四五六七！八九。", "十一十二十三十四", "十五，十六"]);
        assert_eq!(cut.concat(), text);
        assert_eq!(pieces("短", 8), ["短"]);
        assert!(pieces("  ", 8).is_empty());
    }
}
