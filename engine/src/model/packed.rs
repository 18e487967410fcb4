//! Rows of different length as one batch without padding: what attention alone sees padded.

use std::cell::OnceCell;

use tch::{Device, Tensor};

use super::dropout::token_key;
use super::tree::Tree;
use crate::shim;

/// Rows laid end to end. Everything but attention works on `[tokens, ...]`; attention gathers the rows right-padded
/// to `[rows, longest]`. Padding stands to the right of a causal row, so no token ever looks at it.
///
/// A place is where a token would lie were the rows laid whole; places and tokens are the same but in [`Self::shared`].
pub struct Packed {
    /// Token ids `[tokens]`.
    pub ids: Tensor,
    /// Position of each token in its row `[tokens]`.
    pub positions: Tensor,
    pub rows: i64,
    pub longest: i64,
    pub tokens: i64,
    /// One more than the highest position.
    pub end: i64,
    /// Index of each padded slot's token `[rows * longest]`, and of each token's slot `[tokens]`; none where all
    /// rows are of one length.
    gather: OnceCell<Option<(Tensor, Tensor)>>,
    tree: Option<Shared>,
    bounds: OnceCell<Tensor>,
    /// Number in the step and length of each row.
    numbers: Vec<(u64, u64)>,
    keys: OnceCell<Tensor>,
}

/// Rows that have their beginnings in common.
struct Shared {
    /// The token of each place, and the first place of each token.
    tokens: Vec<i64>,
    places: Vec<i64>,
    /// The same on the device.
    sent: OnceCell<(Tensor, Tensor)>,
}

/// `numbers` on `device`, as [`shim::sent`] sends them.
pub fn sent<T: tch::kind::Element>(numbers: &[T], device: Device) -> Tensor {
    shim::sent(Tensor::from_slice(numbers), device)
}

/// Tokens of a pass on a GPU are filled up to a multiple of this.
const FILLED: usize = 128;

/// Beginnings are shared where they are at least this part of all tokens: attention gathers them for every row.
const WORTH_SHARING: f64 = 1.0 / 16.0;

/// Tokens that `tokens` lack of a round number on a GPU.
fn lacking(tokens: usize, device: Device) -> usize {
    if device == Device::Cpu { 0 } else { tokens.next_multiple_of(FILLED) - tokens }
}

impl Packed {
    /// Packs whole `rows` of token ids. On a GPU a row that nothing looks at fills the tokens up to a round number: for
    /// every number that has not come before, libtorch looks for the products' kernels and for memory, which takes as
    /// long as the step (measured on an H200: 25 ms instead of 15).
    pub fn filled(rows: &[&[u32]], device: Device) -> Self {
        match lacking(rows.iter().map(|r| r.len()).sum(), device) {
            0 => Self::new(rows, 0, device),
            n => Self::new(&[rows, &[&vec![0; n]]].concat(), 0, device),
        }
    }

    /// Packs whole `rows` of token ids like [`filled`](Self::filled), those that they begin with alike as one token
    /// each, where that saves enough of them. Only for passes without dropout and without a way back.
    pub fn shared(rows: &[&[u32]], device: Device) -> Self {
        let mut tree = Tree::of(rows);
        let (all, left) = (tree.tokens.len(), tree.ids.len());
        if ((all - left) as f64) < WORTH_SHARING * all as f64 || all == 0 {
            return Self::filled(rows, device);
        }
        let mut lengths: Vec<usize> = rows.iter().map(|r| r.len()).collect();
        let lacking = lacking(left, device);
        if lacking > 0 {
            tree.append(&vec![0; lacking]);
            lengths.push(lacking);
        }
        let Tree { ids, positions, tokens, places } = tree;
        let shared = Shared { tokens, places, sent: OnceCell::new() };
        Self { tree: Some(shared), ..Self::laid(&ids, &positions, &lengths, 0, device) }
    }

    /// Packs `rows` of token ids; `offset` is the position of each row's first token (0 but when a cache is read).
    pub fn new(rows: &[&[u32]], offset: i64, device: Device) -> Self {
        let tokens: usize = rows.iter().map(|r| r.len()).sum();
        let mut ids = Vec::<i64>::with_capacity(tokens);
        let mut positions = Vec::<i64>::with_capacity(tokens);
        for row in rows {
            ids.extend(row.iter().map(|&id| i64::from(id)));
            positions.extend((0..row.len() as i64).map(|p| p + offset));
        }
        let lengths: Vec<usize> = rows.iter().map(|r| r.len()).collect();
        Self::laid(&ids, &positions, &lengths, offset, device)
    }

    /// Tokens with their positions, of rows of these lengths.
    fn laid(ids: &[i64], positions: &[i64], lengths: &[usize], offset: i64, device: Device) -> Self {
        let longest = lengths.iter().max().map_or(0, |&n| n as i64);
        Self {
            ids: sent(ids, device),
            positions: sent(positions, device),
            rows: lengths.len() as i64,
            longest,
            tokens: ids.len() as i64,
            end: longest + offset,
            gather: OnceCell::new(),
            tree: None,
            bounds: OnceCell::new(),
            numbers: (0..).zip(lengths).map(|(number, &length)| (number, length as u64)).collect(),
            keys: OnceCell::new(),
        }
    }

    /// The token at a place.
    pub fn token_at(&self, place: usize) -> i64 {
        self.tree.as_ref().map_or(place as i64, |tree| tree.tokens[place])
    }

    /// Whether rows share tokens.
    pub fn is_shared(&self) -> bool {
        self.tree.is_some()
    }

    /// The same rows, numbered as they are in their step: what their dropout is drawn by.
    pub fn numbered(mut self, numbers: impl IntoIterator<Item = u64>) -> Self {
        self.numbers.iter_mut().zip(numbers).for_each(|(row, number)| row.0 = number);
        self.keys = OnceCell::new();
        self
    }

    /// What each token's dropout is drawn by `[tokens]`.
    pub fn keys(&self) -> &Tensor {
        self.keys.get_or_init(|| {
            let tokens = self.numbers.iter().flat_map(|&(row, length)| (0..length).map(move |at| (row, at)));
            let keys: Vec<i64> = tokens.map(|(row, at)| token_key(row, at)).collect();
            sent(&keys, self.ids.device())
        })
    }

    /// Of each token the length of its row `[tokens]`, in fp32.
    pub fn row_lengths(&self) -> Tensor {
        let lengths = self.numbers.iter().flat_map(|&(_, n)| (0..n).map(move |_| n as f32));
        sent(&lengths.collect::<Vec<_>>(), self.ids.device())
    }

    /// Where rows begin and end among the places `[rows + 1]`, in int32.
    pub fn bounds(&self) -> &Tensor {
        self.bounds.get_or_init(|| {
            let mut end = 0;
            let ends = self.numbers.iter().map(|&(_, length)| {
                end += length as i32;
                end
            });
            let bounds: Vec<i32> = std::iter::once(0).chain(ends).collect();
            sent(&bounds, self.ids.device())
        })
    }

    fn gather(&self) -> Option<&(Tensor, Tensor)> {
        let made = self.gather.get_or_init(|| {
            let longest = self.longest as usize;
            let uneven = self.numbers.iter().any(|&(_, length)| length != longest as u64);
            (uneven || self.is_shared()).then(|| {
                let mut slots = Vec::<i64>::new();
                for (row, &(_, length)) in (0..).zip(&self.numbers) {
                    let start = row * self.longest;
                    slots.extend(start..start + length as i64);
                }
                let mut pad = vec![0i64; self.numbers.len() * longest];
                for (place, &slot) in slots.iter().enumerate() {
                    pad[slot as usize] = self.token_at(place);
                }
                let unpad = match &self.tree {
                    Some(tree) => tree.places.iter().map(|&place| slots[place as usize]).collect(),
                    None => slots,
                };
                let device = self.ids.device();
                (sent(&pad, device), sent(&unpad, device))
            })
        });
        made.as_ref()
    }

    /// The tokens of each place and the first place of each token, on the device, where rows share any.
    pub(super) fn indices(&self) -> Option<&(Tensor, Tensor)> {
        let tree = self.tree.as_ref()?;
        let device = self.ids.device();
        Some(tree.sent.get_or_init(|| (sent(&tree.tokens, device), sent(&tree.places, device))))
    }

    /// `[tokens, ...]` to `[places, ...]`: the rows whole.
    pub fn whole(&self, x: &Tensor) -> Tensor {
        self.indices().map_or_else(|| x.shallow_clone(), |(tokens, _)| x.index_select(0, tokens))
    }

    /// `[places, ...]` to `[tokens, ...]`.
    pub fn once(&self, x: &Tensor) -> Tensor {
        self.indices().map_or_else(|| x.shallow_clone(), |(_, places)| x.index_select(0, places))
    }

    /// `[tokens, width]` to `[rows, longest, width]`.
    pub fn pad(&self, x: &Tensor) -> Tensor {
        let width = *x.size().last().unwrap_or(&1);
        match self.gather() {
            Some((pad, _)) => x.index_select(0, pad).view([self.rows, self.longest, width]),
            None => x.view([self.rows, self.longest, width]),
        }
    }

    /// The same with zeros in the padding.
    pub fn pad_with_zeros(&self, x: &Tensor) -> Tensor {
        let width = *x.size().last().unwrap_or(&1);
        match self.gather() {
            Some((_, unpad)) => x
                .new_zeros([self.rows * self.longest, width], (x.kind(), x.device()))
                .index_copy_(0, unpad, x)
                .view([self.rows, self.longest, width]),
            None => x.view([self.rows, self.longest, width]),
        }
    }

    /// `[rows, longest, width]` to `[tokens, width]`.
    pub fn unpad(&self, x: &Tensor) -> Tensor {
        let width = *x.size().last().unwrap_or(&1);
        let flat = x.reshape([self.rows * self.longest, width]);
        match self.gather() {
            Some((_, unpad)) => flat.index_select(0, unpad),
            None => flat,
        }
    }
}
