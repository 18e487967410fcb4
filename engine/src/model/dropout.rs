//! Dropout whose mask depends on the run's seed, the step, the row and the place in the model, and on nothing else:
//! not on what was drawn before, nor on which rows share a pass. So a step split otherwise, computed again on the way
//! back, or repeated by a resumed run drops the same elements. NEFTune's noise on the embeddings is drawn the same way.
//!
//! A counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") made of tensor
//! operations: each 64-bit word is SplitMix64's finalizer of a token's key plus a counter, and has four draws of 16
//! bits (two of 32 for noise). On the CPU that is several times faster than libtorch's serial generator.

use std::cell::RefCell;
use std::collections::HashMap;

use tch::{Device, Kind, Tensor};

use super::packed::{Packed, sent};
use super::qwen::Mode;

/// The increment of SplitMix64, and the multipliers of its finalizer (Steele et al. 2014).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const FIRST: u64 = 0xbf58_476d_1ce4_e5b9;
const SECOND: u64 = 0x94d0_49bb_1331_11eb;
/// Keeps the counters of an attention head apart from those of its neighbours.
const HEAD: u64 = 0xd1b5_4a32_d192_ed03;

/// A well-spread 64-bit number from another.
fn finalize(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(FIRST);
    z = (z ^ (z >> 27)).wrapping_mul(SECOND);
    z ^ (z >> 31)
}

/// A well-spread 63-bit seed from a seed and a number.
pub fn mix(seed: u64, n: u64) -> u64 {
    finalize(seed.wrapping_add(n.wrapping_add(1).wrapping_mul(GOLDEN))) >> 1
}

/// What dropout stands at in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The inputs of the adapters, each with a mask of its own.
    AttnIn,
    AttnOut,
    W1,
    W2,
    MlpOut,
    /// Attention's probabilities.
    Attention,
    /// The embeddings, whose block is the one after the last.
    Embedding,
    /// NEFTune's noise on the embeddings.
    Noise,
}

/// The dropout of one block in one pass.
#[derive(Clone, Copy)]
pub struct Dropout<'a> {
    pub mode: &'a Mode,
    pub batch: &'a Packed,
    pub layer: usize,
}

impl Dropout<'_> {
    /// The start of this place's counters.
    fn origin(&self, place: Place) -> u64 {
        origin(self.mode, self.layer, place)
    }

    /// `x` `[tokens, width]` with elements set to zero, and what the rest is to be multiplied by.
    pub fn drop(&self, x: &Tensor, place: Place, p: f64) -> (Tensor, f64) {
        if !self.mode.train || p <= 0.0 {
            return (x.shallow_clone(), 1.0);
        }
        let width = x.size().last().copied().unwrap_or(1);
        let mask = dropped(self.batch.keys(), self.origin(place), width, p);
        (x.masked_fill(&mask, 0.0), 1.0 / (1.0 - p))
    }

    /// Attention's probabilities `[rows, heads, longest, longest]` with elements set to zero, the rest scaled up.
    pub fn drop_attention(&self, probabilities: &Tensor, p: f64) -> Tensor {
        let (heads, longest) = (probabilities.size()[1], self.batch.longest);
        let offsets = Tensor::arange(heads, (Kind::Int64, probabilities.device())) * (HEAD as i64);
        let keys = self.batch.pad(&self.batch.keys().unsqueeze(1)).view([self.batch.rows, 1, longest]);
        let keys = keys + offsets.view([1, heads, 1]);
        let mask = dropped(&keys, self.origin(Place::Attention), longest, p);
        probabilities.masked_fill(&mask, 0.0) * (1.0 / (1.0 - p))
    }

    /// Embeddings `[tokens, width]` with NEFTune's noise (Jain et al. 2023): uniform within alpha / sqrt(length * width),
    /// the length being that of the token's own row, so that no padding changes it.
    pub fn noise(&self, x: &Tensor) -> Tensor {
        let alpha = self.mode.neftune_alpha;
        if !self.mode.train || alpha <= 0.0 {
            return x.shallow_clone();
        }
        let width = x.size().last().copied().unwrap_or(1);
        let draws = words(self.batch.keys(), self.origin(Place::Noise), (width + 1) / 2)
            .view_dtype(Kind::Int)
            .narrow(-1, 0, width);
        let bounds = (self.batch.row_lengths() * width as f64).rsqrt() * (alpha * 2f64.powi(-31));
        let noise = draws.to_kind(Kind::Float) * bounds.unsqueeze(-1);
        x + noise.to_kind(x.kind())
    }
}

/// A mask that a pass will ask for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub layer: usize,
    pub place: Place,
    /// Elements a token.
    pub width: i64,
}

/// Bytes of random numbers that are drawn at once on a GPU.
const DRAWN_AT_ONCE: i64 = 128 << 20;

/// The masks of all adapters in a pass, the same as [`Dropout::drop`] draws. On a GPU those of several blocks are drawn
/// together: they are many small kernels otherwise.
pub struct Masks<'a> {
    batch: &'a Packed,
    /// Share of elements that are dropped; 0: no masks.
    p: f64,
    groups: Vec<Group>,
    drawn: RefCell<HashMap<(usize, Place), Tensor>>,
}

/// Masks that are drawn together.
struct Group {
    wanted: Vec<Wanted>,
    /// A counter for each four elements of a token, those of one mask after those of the other.
    counters: Tensor,
}

impl Wanted {
    /// Words of four draws each that a token's elements take.
    fn words(&self) -> i64 {
        (self.width + 3) / 4
    }
}

impl<'a> Masks<'a> {
    /// The masks `wanted`, in the order of their use.
    pub fn new(mode: &Mode, batch: &'a Packed, wanted: Vec<Wanted>) -> Self {
        let p = if mode.train { mode.lora_dropout.max(0.0) } else { 0.0 };
        let mut made = Self { batch, p, groups: Vec::new(), drawn: RefCell::default() };
        if p == 0.0 {
            return made;
        }
        let counters = wanted.iter().flat_map(|one| {
            let origin = origin(mode, one.layer, one.place);
            (0..one.words()).map(move |n| (n as u64).wrapping_mul(GOLDEN).wrapping_add(origin) as i64)
        });
        let counters = sent(&counters.collect::<Vec<_>>(), batch.ids.device());
        let at_once = if batch.ids.device() == Device::Cpu { 0 } else { DRAWN_AT_ONCE };
        let bytes = |wanted: &[Wanted]| wanted.iter().map(Wanted::words).sum::<i64>() * batch.tokens * 8;
        let (mut rest, mut at) = (wanted.as_slice(), 0);
        while !rest.is_empty() {
            let many = (1..=rest.len()).rev().find(|&n| bytes(&rest[..n]) <= at_once).unwrap_or(1);
            let group = rest[..many].to_vec();
            let words = group.iter().map(Wanted::words).sum::<i64>();
            made.groups.push(Group { wanted: group, counters: counters.narrow(0, at, words) });
            (rest, at) = (&rest[many..], at + words);
        }
        made
    }

    /// What elements that are left are to be multiplied by.
    pub fn factor(&self) -> f64 {
        1.0 / (1.0 - self.p)
    }

    /// What of a place's elements is kept `[tokens, width]`, true where an element is; none without dropout.
    pub fn take(&self, layer: usize, place: Place) -> Option<Tensor> {
        let mut drawn = self.drawn.borrow_mut();
        if let Some(kept) = drawn.remove(&(layer, place)) {
            return Some(kept);
        }
        let is_it = |one: &Wanted| (one.layer, one.place) == (layer, place);
        let group = self.groups.iter().find(|group| group.wanted.iter().any(is_it))?;
        let kept = words_at(self.batch.keys(), &group.counters).view_dtype(Kind::Int16).ge(threshold(self.p));
        let mut at = 0;
        for one in &group.wanted {
            drawn.insert((one.layer, one.place), kept.narrow(1, 4 * at, one.width));
            at += one.words();
        }
        drawn.remove(&(layer, place))
    }
}

/// The start of a place's counters.
fn origin(mode: &Mode, layer: usize, place: Place) -> u64 {
    mix(mix(mode.seed, layer as u64), place as u64)
}

/// The key of a token, by the number of its row in the step and its position there.
pub fn token_key(row: u64, position: u64) -> i64 {
    finalize(mix(row, position).wrapping_add(GOLDEN)) as i64
}

/// Which elements are dropped: `[..]` keys to `[.., width]`, true with probability `p` (to 1 / 65,536).
fn dropped(keys: &Tensor, origin: u64, width: i64, p: f64) -> Tensor {
    let draws = words(keys, origin, (width + 3) / 4).view_dtype(Kind::Int16);
    draws.narrow(-1, 0, width).lt(threshold(p))
}

/// Random words of 64 bits: `[..]` keys to `[.., count]`.
fn words(keys: &Tensor, origin: u64, count: i64) -> Tensor {
    words_at(keys, &(Tensor::arange(count, (Kind::Int64, keys.device())) * (GOLDEN as i64) + origin as i64))
}

/// Random words of 64 bits: `[..]` keys and `[count]` counters to `[.., count]`.
fn words_at(keys: &Tensor, counters: &Tensor) -> Tensor {
    let mut z = keys.unsqueeze(-1) + counters;
    // libtorch's shift keeps the sign; without it the finalizer would lose its highest bit.
    let shifted = |z: &Tensor, by: i64| {
        let mut high = z.bitwise_right_shift_tensor_scalar(by);
        let _ = high.bitwise_and_((1i64 << (64 - by)) - 1);
        high
    };
    for (by, multiplier) in [(30, FIRST), (27, SECOND)] {
        let high = shifted(&z, by);
        let _ = z.bitwise_xor_tensor_(&high).g_mul_scalar_(multiplier as i64);
    }
    let high = shifted(&z, 31);
    let _ = z.bitwise_xor_tensor_(&high);
    z
}

/// A draw, read as a signed number of 16 bits, is below this with probability `p`.
fn threshold(p: f64) -> i64 {
    ((p * 65_536.0).round() as i64).clamp(0, 65_535) - 32_768
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// Each element against the generator written out in whole numbers.
    #[test]
    fn the_mask_is_the_generators() {
        let (origin, width, p) = (mix(3, 7), 11, 0.3);
        let keys = [token_key(0, 0), token_key(0, 1), token_key(5, 0), -1];
        let mask = dropped(&Tensor::from_slice(&keys), origin, width, p);
        let ours = Vec::<bool>::try_from(mask.flatten(0, -1)).unwrap();
        let draw = |key: i64, column: i64| {
            let counter = (column as u64 / 4).wrapping_mul(GOLDEN);
            let word = finalize((key as u64).wrapping_add(origin).wrapping_add(counter));
            i64::from((word >> (16 * (column % 4))) as u16 as i16)
        };
        let wanted: Vec<bool> = keys
            .iter()
            .flat_map(|&key| (0..width).map(move |column| draw(key, column) < threshold(p)))
            .collect();
        assert_eq!(ours, wanted);
        assert!(wanted.contains(&true) && wanted.contains(&false));
    }

    /// Shares of a mask and of what two masks have in common, beside their expectations.
    #[test]
    fn elements_are_independent_along_every_axis() {
        let (tokens, width, p) = (400, 512, 0.05);
        let keys: Vec<i64> = (0..tokens).map(|t| token_key(t / 50, t % 50)).collect();
        let mask = |origin: u64| {
            dropped(&Tensor::from_slice(&keys), origin, width, p).to_kind(Kind::Double).to_device(Device::Cpu)
        };
        let (a, b) = (mask(1), mask(2));
        let n = (tokens as i64 * width) as f64;
        let near = |what: &str, found: f64, wanted: f64| {
            let sigma = (wanted * (1.0 - wanted) / n).sqrt();
            assert!((found - wanted).abs() < 5.0 * sigma, "{what}: {found} instead of {wanted}");
        };
        let share = |t: &Tensor| t.mean(Kind::Double).double_value(&[]);
        near("share", share(&a), p);
        near("two places", share(&(&a * &b)), p * p);
        for lag in [1, 2, 3, 4, 5, 50, 64] {
            near("columns", share(&(&a * a.roll([lag], [1]))), p * p);
            near("tokens", share(&(&a * a.roll([lag], [0]))), p * p);
        }
    }
}
