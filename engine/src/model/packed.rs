//! Rows of different length as one batch without padding: what attention alone sees padded.

use tch::{Device, Kind, Tensor};

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
    /// Index of each padded slot's token `[rows * longest]`, and of each token's slot `[tokens]`; none where all
    /// rows are of one length.
    gather: Option<(Tensor, Tensor)>,
}

impl Packed {
    /// Packs `rows` of token ids; `offset` is the position of each row's first token (0 but when a cache is read).
    pub fn new(rows: &[&[u32]], offset: i64, device: Device) -> Self {
        let longest = rows.iter().map(|r| r.len()).max().unwrap_or(0);
        let tokens: usize = rows.iter().map(|r| r.len()).sum();
        let mut ids = Vec::with_capacity(tokens);
        let mut positions = Vec::with_capacity(tokens);
        for row in rows {
            ids.extend(row.iter().map(|&id| i64::from(id)));
            positions.extend((0..row.len() as i64).map(|p| p + offset));
        }
        let gather = rows.iter().any(|r| r.len() != longest).then(|| {
            let mut pad = vec![0i64; rows.len() * longest];
            let mut unpad = Vec::with_capacity(tokens);
            let mut at = 0;
            for (i, row) in rows.iter().enumerate() {
                for j in 0..row.len() {
                    pad[i * longest + j] = at;
                    unpad.push((i * longest + j) as i64);
                    at += 1;
                }
            }
            (Tensor::from_slice(&pad).to_device(device), Tensor::from_slice(&unpad).to_device(device))
        });
        Self {
            ids: Tensor::from_slice(&ids).to_device(device),
            positions: Tensor::from_slice(&positions).to_kind(Kind::Int64).to_device(device),
            rows: rows.len() as i64,
            longest: longest as i64,
            tokens: tokens as i64,
            gather,
        }
    }

    /// `[tokens, width]` to `[rows, longest, width]`.
    pub fn pad(&self, x: &Tensor) -> Tensor {
        let width = *x.size().last().unwrap_or(&1);
        match &self.gather {
            Some((pad, _)) => x.index_select(0, pad).view([self.rows, self.longest, width]),
            None => x.view([self.rows, self.longest, width]),
        }
    }

    /// `[rows, longest, width]` to `[tokens, width]`.
    pub fn unpad(&self, x: &Tensor) -> Tensor {
        let width = *x.size().last().unwrap_or(&1);
        let flat = x.reshape([self.rows * self.longest, width]);
        match &self.gather {
            Some((_, unpad)) => flat.index_select(0, unpad),
            None => flat,
        }
    }
}
