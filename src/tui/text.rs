//! Text that fits: widths as the terminal counts them, where a Chinese character takes two cells.

use crate::error::is_unseen;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub use crate::job::human::figure;

/// Cells that `text` takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` in at most `cells` cells, with `…` where it was cut; never half a character.
pub fn fit(text: &str, cells: usize) -> String {
    let text = clean(text);
    if width(&text) <= cells {
        return text;
    }
    if cells == 0 {
        return String::new();
    }
    let mut short = take(&text, cells - 1).0.to_owned();
    short.push('…');
    short
}

/// `text` cut at the front: the end of a path says more than its beginning.
pub fn fit_end(text: &str, cells: usize) -> String {
    let text = clean(text);
    if width(&text) <= cells {
        return text;
    }
    if cells == 0 {
        return String::new();
    }
    let mut rest = text.as_str();
    while width(rest) > cells - 1 {
        let Some(first) = rest.chars().next() else { break };
        rest = &rest[first.len_utf8()..];
    }
    format!("…{rest}")
}

/// `text` padded to `cells` cells, cut where it is longer.
pub fn pad(text: &str, cells: usize) -> String {
    let mut text = fit(text, cells);
    text.extend(std::iter::repeat_n(' ', cells.saturating_sub(width(&text))));
    text
}

/// Lines of at most `cells` cells: at blanks where there are some, else between characters, as Chinese is broken.
pub fn wrap(text: &str, cells: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = clean(line);
        let mut rest = line.trim_end();
        loop {
            let (head, tail) = take(rest, cells.max(2));
            if tail.is_empty() {
                break;
            }
            let at = match head.rfind(' ') {
                // Text that can be broken anywhere would leave the line too empty after a break in its first half.
                Some(i)
                    if !tail.starts_with(' ')
                        && (i > head.len() / 2 || stays_whole(&rest[i + 1..], cells)) =>
                {
                    i
                }
                // Never nothing: a dash may be wider than a narrow line.
                _ => head.len().max(rest.chars().next().map_or(0, char::len_utf8)),
            };
            lines.push(rest[..at].trim_end().to_owned());
            rest = rest[at..].trim_start();
        }
        lines.push(rest.to_owned());
    }
    lines
}

/// At most `most` of these lines of at most `cells` cells, with `…` at the end of the last where others follow.
pub fn cut(mut lines: Vec<String>, most: usize, cells: usize) -> Vec<String> {
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            // Half a number would be another one.
            if width(last) + 2 > cells
                && let Some(end) = last.rfind(' ')
            {
                last.truncate(end);
            }
            *last = fit(&format!("{last} …"), cells);
        }
    }
    lines
}

/// Whether the first word of `text` fits a line and has no character that takes two cells: a path, a word of English.
fn stays_whole(text: &str, cells: usize) -> bool {
    let word = text.split(' ').next().unwrap_or_default();
    width(word) <= cells && width(word) == word.chars().count()
}

/// The longest beginning of at most `cells` cells, and what follows it.
fn take(text: &str, cells: usize) -> (&str, &str) {
    let mut used = 0;
    for (i, c) in text.char_indices() {
        // The selector that makes an emoji of the sign before it makes it wide, too.
        used += if c == '\u{fe0f}' { 1 } else { c.width().unwrap_or(0) };
        if used > cells {
            return text.split_at(i);
        }
    }
    (text, "")
}

/// Without what would move the cursor: escape sequences go, other control characters become blanks.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\x1b' && chars.peek() == Some(&'[') {
            chars.next();
            // Parameters, then one final character.
            for c in chars.by_ref() {
                if ('\x40'..='\x7e').contains(&c) {
                    break;
                }
            }
        } else if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            out.push(' ');
        } else if !is_unseen(c) {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_is_cut_between_characters() {
        assert_eq!(fit("包装不错", 8), "包装不错");
        assert_eq!(fit("包装不错", 7), "包装不…");
        assert_eq!(fit("包装不错", 6), "包装…");
        assert_eq!(fit("包装", 0), "");
        assert_eq!(fit_end("/runs/包装", 6), "…/包装");
        assert_eq!(fit_end("/runs/包装", 5), "…包装");
        assert_eq!(pad("包", 4), "包  ");
        for cells in 0..9 {
            assert!(width(&fit("a包b装c", cells)) <= cells && width(&fit_end("a包b装c", cells)) <= cells);
        }
    }

    #[test]
    fn lines_break_at_blanks_and_within_chinese() {
        assert_eq!(wrap("the disk is full", 9), ["the disk", "is full"]);
        assert_eq!(wrap("in /a/long/path/of/it", 20), ["in", "/a/long/path/of/it"]);
        assert_eq!(wrap("in /a/path/longer/than/it", 20)[0], "in /a/path/longer/th");
        assert_eq!(wrap("在 包装不错但是质量太差", 10), ["在 包装不", "错但是质量", "太差"]);
        assert_eq!(wrap("包装不错但是质量太差", 7), ["包装不", "错但是", "质量太", "差"]);
        assert_eq!(wrap("a\n\nb", 5), ["a", "", "b"]);
        assert!(wrap("包装", 0).iter().all(|l| width(l) <= 2));
        assert!(wrap(&"❤️1️⃣👨‍👩‍👧".repeat(9), 7).iter().all(|l| width(l) <= 7));
        // A page without a blank takes no longer than its length.
        assert_eq!(wrap(&"长".repeat(1_000_000), 80).len(), 25_000);
    }

    #[test]
    fn what_is_cut_is_marked() {
        let lines = || ["包装", "不错"].map(str::to_owned).to_vec();
        assert_eq!(cut(lines(), 2, 4), ["包装", "不错"]);
        assert_eq!(cut(lines(), 1, 6), ["包装 …"]);
        assert_eq!(cut(lines(), 1, 4), ["包…"]);
        assert_eq!(cut(vec!["in 0.03".to_owned(), "s".to_owned()], 1, 7), ["in …"]);
        assert!(cut(lines(), 0, 4).is_empty());
    }

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(clean("a\x1b[31mred\x1b[0m\tb\r\x07"), "ared b  ");
        assert_eq!(clean("a\u{202e}b\u{2028}c"), "ab c");
    }
}
