//! Byte-pair encoding (Sennrich et al. 2016) by ranks, as tiktoken does it: of all neighbours the two are joined that make
//! the token of the lowest rank, the leftmost first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Appends the tokens of `word` to `out`: `ranks` has the tokens and `bytes` those of single bytes. A word that is a token
/// is that token, even if no chain of pairs leads to it.
///
/// Takes `n log n` steps for `n` bytes.
pub(super) fn encode(ranks: &HashMap<Vec<u8>, u32>, bytes: &[u32; 256], word: &[u8], out: &mut Vec<u32>) {
    if let Some(&token) = ranks.get(word) {
        out.push(token);
        return;
    }
    let n = word.len();
    // A part is known by its first byte: its token, its end (0 where no part begins), and where the one before it begins.
    let mut tokens: Vec<u32> = word.iter().map(|&byte| bytes[usize::from(byte)]).collect();
    let mut ends: Vec<usize> = (1..=n).collect();
    let mut before: Vec<usize> = (0..n).map(|start| start.saturating_sub(1)).collect();
    let pair =
        |start: usize, end: usize| ranks.get(&word[start..end]).map(|&rank| Reverse((rank, start, end)));
    let mut pairs: BinaryHeap<_> = (1..n).filter_map(|middle| pair(middle - 1, middle + 1)).collect();
    while let Some(Reverse((rank, start, end))) = pairs.pop() {
        let middle = ends[start];
        if middle == 0 || middle == n || ends[middle] != end {
            // One of the two has been joined with another.
            continue;
        }
        tokens[start] = rank;
        ends[start] = end;
        ends[middle] = 0;
        if end < n {
            before[end] = start;
            pairs.extend(pair(start, ends[end]));
        }
        if start > 0 {
            pairs.extend(pair(before[start], end));
        }
    }
    let mut start = 0;
    while start < n {
        out.push(tokens[start]);
        start = ends[start];
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rand_mt::Mt;

    use super::*;

    /// Byte-pair encoding straight from its definition.
    pub fn by_definition(ranks: &HashMap<Vec<u8>, u32>, word: &[u8]) -> Vec<u32> {
        let mut parts: Vec<Vec<u8>> = word.iter().map(|&b| vec![b]).collect();
        while let Some((_, at)) = (1..parts.len())
            .filter_map(|i| ranks.get(&[&parts[i - 1][..], &parts[i][..]].concat()).map(|&rank| (rank, i)))
            .min()
        {
            let tail = parts.remove(at);
            parts[at - 1].extend(tail);
        }
        parts.iter().map(|p| ranks[p]).collect()
    }

    /// Vocabularies of a few letters, whose tokens can be made in many ways and lie over each other.
    #[test]
    fn is_its_definition_whatever_the_vocabulary() {
        let mut random = Mt::new(6);
        let mut run = |most: u32| -> Vec<u8> {
            (0..1 + random.next_u32() % most).map(|_| b'a' + (random.next_u32() % 2) as u8).collect()
        };
        let (mut found, mut joined) = (Vec::new(), 0);
        for _ in 0..200 {
            let mut ranks: HashMap<Vec<u8>, u32> = (0..=255).map(|b| (vec![b], u32::from(b))).collect();
            for _ in 0..30 {
                let next = ranks.len() as u32;
                ranks.entry(run(5)).or_insert(next);
            }
            let bytes = std::array::from_fn(|b| b as u32);
            for _ in 0..40 {
                let word = run(40);
                let wanted =
                    ranks.get(&word).map_or_else(|| by_definition(&ranks, &word), |&token| vec![token]);
                found.clear();
                encode(&ranks, &bytes, &word, &mut found);
                assert_eq!(found, wanted, "{:?} of {ranks:?}", String::from_utf8_lossy(&word));
                joined += usize::from(found.len() < word.len());
            }
        }
        assert!(joined > 4000, "{joined}");
    }
}
