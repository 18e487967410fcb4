//! Rows of different length as one batch without padding: what attention alone sees padded.

use std::cell::OnceCell;

use tch::{Device, Tensor};

use super::dropout::token_key;
use crate::shim;

/// Rows laid end to end. Everything but attention works on `[tokens, ...]`; attention gathers the rows right-padded
/// to `[rows, longest]`. Padding stands to the right of a causal row, so no token ever looks at it.
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
    bounds: OnceCell<Tensor>,
    /// Number in the step and length of each row.
    numbers: Vec<(u64, u64)>,
    keys: OnceCell<Tensor>,
}

/// `numbers` on `device`, as [`shim::sent`] sends them.
pub fn sent<T: tch::kind::Element>(numbers: &[T], device: Device) -> Tensor {
    shim::sent(Tensor::from_slice(numbers), device)
}

/// Tokens of a pass on a GPU are filled up to a multiple of this.
const FILLED: usize = 128;

impl Packed {
    /// Packs whole `rows` of token ids. On a GPU a row that nothing looks at fills the tokens up to a round number: for
    /// every number that has not come before, libtorch looks for the products' kernels and for memory, which takes as
    /// long as the step (measured on an H200: 25 ms instead of 15).
    pub fn filled(rows: &[&[u32]], device: Device) -> Self {
        let tokens: usize = rows.iter().map(|r| r.len()).sum();
        let lacking = tokens.next_multiple_of(FILLED) - tokens;
        if device == Device::Cpu || lacking == 0 || tokens == 0 {
            return Self::new(rows, 0, device);
        }
        let filling = vec![0; lacking];
        Self::new(&[rows, &[&filling]].concat(), 0, device)
    }

    /// Packs `rows` of token ids; `offset` is the position of each row's first token (0 but when a cache is read).
    pub fn new(rows: &[&[u32]], offset: i64, device: Device) -> Self {
        let longest = rows.iter().map(|r| r.len()).max().unwrap_or(0);
        let tokens: usize = rows.iter().map(|r| r.len()).sum();
        let mut ids = Vec::<i64>::with_capacity(tokens);
        let mut positions = Vec::<i64>::with_capacity(tokens);
        for row in rows {
            ids.extend(row.iter().map(|&id| i64::from(id)));
            positions.extend((0..row.len() as i64).map(|p| p + offset));
        }
        Self {
            ids: sent(&ids, device),
            positions: sent(&positions, device),
            rows: rows.len() as i64,
            longest: longest as i64,
            tokens: tokens as i64,
            end: longest as i64 + offset,
            gather: OnceCell::new(),
            bounds: OnceCell::new(),
            numbers: rows.iter().zip(0..).map(|(row, number)| (number, row.len() as u64)).collect(),
            keys: OnceCell::new(),
        }
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

    /// Where rows begin and end among the tokens `[rows + 1]`, in int32.
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
            self.numbers.iter().any(|&(_, length)| length != longest as u64).then(|| {
                let mut pad = vec![0i64; self.numbers.len() * longest];
                let mut unpad = Vec::with_capacity(self.tokens as usize);
                for (i, &(_, length)) in self.numbers.iter().enumerate() {
                    let slots = pad.iter_mut().enumerate().skip(i * longest).take(length as usize);
                    for (slot, token) in slots {
                        *token = unpad.len() as i64;
                        unpad.push(slot as i64);
                    }
                }
                let device = self.ids.device();
                (sent(&pad, device), sent(&unpad, device))
            })
        });
        made.as_ref()
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
