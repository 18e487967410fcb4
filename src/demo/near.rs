//! Near copies: texts that hold another text whole, or are held by one.

use std::collections::{HashMap, HashSet};

use super::text::key;

/// Shorter keys ("很好") are common words, not copies.
const SHORTEST: usize = 8;

/// An index over keys that answers whether a text is a near copy of any of them.
#[derive(Default)]
pub struct NearCopies {
    keys: Vec<String>,
    exact: HashSet<String>,
    /// The first `SHORTEST` characters of each key.
    starts: HashMap<Vec<char>, Vec<usize>>,
    /// All stretches of `SHORTEST` characters of each key.
    stretches: HashMap<Vec<char>, Vec<usize>>,
}

impl NearCopies {
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut index = NearCopies::default();
        for text in texts {
            let key = key(text);
            let n = index.keys.len();
            let chars: Vec<char> = key.chars().collect();
            for (at, stretch) in chars.windows(SHORTEST).enumerate() {
                if at == 0 {
                    index.starts.entry(stretch.to_vec()).or_default().push(n);
                }
                index.stretches.entry(stretch.to_vec()).or_default().push(n);
            }
            index.exact.insert(key.clone());
            index.keys.push(key);
        }
        index
    }

    /// Whether the text's key equals one of the keys, holds one of 8 or more characters, or (having 8 or
    /// more itself) is held by one.
    pub fn has(&self, text: &str) -> bool {
        let key = key(text);
        if self.exact.contains(&key) {
            return true;
        }
        let chars: Vec<char> = key.chars().collect();
        let listed = |map: &HashMap<Vec<char>, Vec<usize>>, stretch: &[char], test: &dyn Fn(&str) -> bool| {
            map.get(stretch).is_some_and(|found| found.iter().any(|&n| test(&self.keys[n])))
        };
        let held = chars.windows(SHORTEST).next();
        held.is_some_and(|first| listed(&self.stretches, first, &|k| k.contains(&key)))
            || chars.windows(SHORTEST).any(|s| listed(&self.starts, s, &|k| key.contains(k)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_copies_both_ways() {
        let near = NearCopies::of(["房间很大，服务也不错", "很好"]);
        assert!(near.has("房间很大 服务也不错！"), "the same but for punctuation");
        assert!(near.has("位置方便。房间很大，服务也不错，下次还来"), "holds it");
        assert!(near.has("房间很大，服务也不"), "eight characters of it");
        assert!(!near.has("服务也不错"), "too short to be a copy");
        assert!(near.has("很好！"), "equal, though short");
        assert!(!near.has("这本书很好，值得一看"), "holds a common word only");
        assert!(!near.has(""));
    }
}
