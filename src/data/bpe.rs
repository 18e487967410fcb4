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
