//! Which rows are taken, and in which order: numpy's `RandomState`, bit for bit, as SWIFT draws with it.

use rand_mt::Mt;

use super::template::Row;

/// numpy's legacy generator (MT19937), as far as SWIFT uses it. One stream: every draw moves it on.
pub struct RandomState(Mt);

impl RandomState {
    /// `numpy.random.RandomState(seed)`. numpy refuses seeds above 2^32 - 1;
    /// here such a seed becomes the key `[low half, high half]`.
    pub fn new(seed: u64) -> Self {
        match u32::try_from(seed) {
            Ok(seed) => RandomState(Mt::new(seed)),
            Err(_) => Self::with_key(&[seed as u32, (seed >> 32) as u32]),
        }
    }

    /// `numpy.random.RandomState([k0, k1, ...])`.
    pub fn with_key(key: &[u32]) -> Self {
        RandomState(Mt::new_with_key(key.iter().copied()))
    }

    /// A whole number from 0 to `max`, both included: bits under a mask, thrown away while they are too large.
    fn interval(&mut self, max: u32) -> u32 {
        if max == 0 {
            return 0;
        }
        let mask = u32::MAX >> max.leading_zeros();
        loop {
            let value = self.0.next_u32() & mask;
            if value <= max {
                return value;
            }
        }
    }

    /// `randint(0, end)`; 0 where `end` is 0.
    pub fn randint(&mut self, end: u32) -> u32 {
        self.interval(end.saturating_sub(1))
    }

    /// `shuffle(items)`: Fisher and Yates from the end.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            // Rows are counted in 32 bits: more of them would not fit in memory.
            items.swap(i, self.interval(i as u32) as usize);
        }
    }

    /// `permutation(n)`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }
}

/// `numpy.random.RandomState(seed).permutation(n)`.
pub fn numpy_permutation(seed: u64, n: usize) -> Vec<usize> {
    RandomState::new(seed).permutation(n)
}

/// The order of `n` rows in an epoch, a function of seed and epoch alone, so that a run can be taken up anywhere.
/// Without `random` it is the order of the file. (The reference run's order comes from PyTorch's sampler instead.)
pub fn epoch_order(seed: u64, epoch: u64, n: usize, random: bool) -> Vec<usize> {
    if !random {
        return (0..n).collect();
    }
    RandomState::with_key(&[seed as u32, (seed >> 32) as u32, epoch as u32, (epoch >> 32) as u32])
        .permutation(n)
}

/// SWIFT's arguments of sampling, under its names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleOptions {
    pub dataset_seed: u64,
    /// Share of the training rows that becomes the validation set where there is none of its own.
    pub dataset_test_ratio: f64,
    /// Rows to train on; negative: all.
    pub train_dataset_sample: i64,
    /// Rows to validate on; negative: all; None: `max(int(train rows * dataset_test_ratio), 1)`,
    /// or all where `train_dataset_sample` is negative.
    pub val_dataset_sample: Option<i64>,
}

/// Chooses the training and validation rows as SWIFT does.
///
/// Without `val`, `dataset_test_ratio` of the training rows (rounded up) is split off first, at random;
/// with a ratio of 0 there is no validation set. Then of the training rows the first `train_dataset_sample` are
/// taken, shuffled (all of them, in file order, where there are no more than that), and the first validation rows.
///
/// With a validation set the rows are exactly SWIFT's. Where one has to be split off, SWIFT leaves it to the
/// `datasets` library, which shuffles with another generator (PCG64) seeded from this stream; here the same seed
/// goes to our `RandomState`: as many rows, but others.
pub fn split_and_sample(
    mut train: Vec<Row>,
    val: Option<Vec<Row>>,
    options: &SampleOptions,
) -> (Vec<Row>, Vec<Row>) {
    let mut random = RandomState::new(options.dataset_seed);
    let ratio =
        if options.dataset_test_ratio.is_finite() { options.dataset_test_ratio.clamp(0.0, 1.0) } else { 0.0 };
    let mut val = match val {
        Some(val) => val,
        None if ratio > 0.0 => {
            // SWIFT draws the split's seed from the stream that the sample below goes on with.
            let seed = random.randint(i32::MAX as u32);
            let order = numpy_permutation(seed.into(), train.len());
            let held_out = (train.len() as f64 * ratio).ceil() as usize;
            let (test, rest) = order.split_at(held_out.min(order.len()));
            let val = pick(&mut train, test);
            train = pick(&mut train, rest);
            val
        }
        None => Vec::new(),
    };

    let mut val_sample = options.val_dataset_sample;
    if let Ok(wanted) = usize::try_from(options.train_dataset_sample) {
        let n = wanted.min(train.len());
        if train.len() > n {
            let order = random.permutation(n);
            train = pick(&mut train, &order);
        }
        val_sample = val_sample.or(Some(((n as f64 * ratio) as i64).max(1)));
    }
    if let Some(n) = val_sample.and_then(|n| usize::try_from(n).ok()) {
        val.truncate(n);
    }
    (train, val)
}

/// The rows at `indices`, each of which stands there once, moved out of `rows`.
fn pick(rows: &mut [Row], indices: &[usize]) -> Vec<Row> {
    indices.iter().map(|&i| std::mem::take(&mut rows[i])).collect()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn equals_numpy() {
        // Written by numpy 2.4.6: numpy.random.RandomState(seed).permutation(n).
        assert_eq!(numpy_permutation(42, 10), [8, 1, 5, 0, 7, 2, 9, 4, 3, 6]);
        assert_eq!(numpy_permutation(0, 7), [6, 2, 1, 3, 0, 5, 4]);
        assert_eq!(
            numpy_permutation(123456789, 20),
            [17, 1, 10, 5, 9, 8, 2, 6, 11, 14, 0, 16, 19, 13, 3, 15, 4, 7, 12, 18]
        );
        assert_eq!(numpy_permutation(4294967295, 5), [4, 1, 0, 2, 3]);
        assert_eq!(numpy_permutation(42, 1), [0]);
        assert!(numpy_permutation(42, 0).is_empty());
        let order = numpy_permutation(42, 2000);
        assert_eq!(order[..8], [1860, 353, 1333, 905, 1289, 1273, 938, 1731]);
        assert_eq!(order[1996..], [1294, 860, 1459, 1126]);
        let bytes: Vec<u8> =
            numpy_permutation(7, 100_000).iter().flat_map(|&i| (i as u32).to_le_bytes()).collect();
        let hex: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "98c8dfa819be502e1d525d13121e3ce18a8f457aeb8b48d3d2986cf4888bcd4c");
    }

    #[test]
    fn the_stream_goes_on_as_in_numpy() {
        let mut r = RandomState::new(42);
        let seeds: Vec<u32> = (0..4).map(|_| r.randint(i32::MAX as u32)).collect();
        assert_eq!(seeds, [1608637542, 1273642419, 1935803228, 787846414]);
        assert_eq!(r.permutation(6), [3, 1, 5, 0, 4, 2]);
        assert_eq!((r.randint(10), r.randint(1000)), (2, 214));
        let mut r = RandomState::new(5);
        assert_eq!((0..10).map(|_| r.randint(3)).collect::<Vec<_>>(), [2, 1, 2, 2, 0, 1, 0, 0, 2, 0]);
        assert_eq!(r.permutation(4), [3, 1, 0, 2]);
        assert_eq!(RandomState::with_key(&[42, 0, 1, 0]).permutation(10), KEYED);
    }

    const KEYED: [usize; 10] = [8, 5, 4, 2, 7, 0, 6, 1, 9, 3];

    #[test]
    fn an_epoch_has_its_own_order_and_always_the_same() {
        let a = epoch_order(42, 0, 100, true);
        assert_eq!(a, epoch_order(42, 0, 100, true));
        assert_ne!(a, epoch_order(42, 1, 100, true));
        assert_ne!(a, epoch_order(43, 0, 100, true));
        assert_ne!(a, epoch_order(42 + (1 << 32), 0, 100, true));
        let mut sorted = a;
        sorted.sort_unstable();
        assert_eq!(sorted, epoch_order(42, 0, 100, false));
        assert_eq!(epoch_order(42, 1, 10, true), KEYED);
    }

    fn rows(n: usize) -> Vec<Row> {
        (0..n).map(|i| Row::new(i.to_string(), String::new())).collect()
    }

    fn names(rows: &[Row]) -> Vec<usize> {
        rows.iter().map(|r| r.query.parse().unwrap()).collect()
    }

    #[test]
    fn samples_as_swift_does() {
        let options = SampleOptions {
            dataset_seed: 42,
            dataset_test_ratio: 0.01,
            train_dataset_sample: 2000,
            val_dataset_sample: None,
        };
        let (train, val) = split_and_sample(rows(5000), Some(rows(100)), &options);
        assert_eq!(names(&train), numpy_permutation(42, 2000));
        assert_eq!(names(&val), (0..20).collect::<Vec<_>>());
        // No more rows than asked for: all of them, in file order; at least one row to validate on.
        let (train, val) = split_and_sample(rows(50), Some(rows(100)), &options);
        assert_eq!((names(&train), names(&val)), ((0..50).collect(), vec![0]));
        let all = SampleOptions { train_dataset_sample: -1, ..options };
        let (train, val) = split_and_sample(rows(5000), Some(rows(100)), &all);
        assert_eq!((train.len(), val.len()), (5000, 100));
        let (_, val) =
            split_and_sample(rows(5), Some(rows(100)), &SampleOptions { val_dataset_sample: Some(7), ..all });
        assert_eq!(val.len(), 7);
    }

    #[test]
    fn splits_a_validation_set_off() {
        let options = SampleOptions {
            dataset_seed: 42,
            dataset_test_ratio: 0.01,
            train_dataset_sample: -1,
            val_dataset_sample: None,
        };
        let (train, val) = split_and_sample(rows(250), None, &options);
        assert_eq!((train.len(), val.len()), (247, 3));
        let mut together = [names(&train), names(&val)].concat();
        together.sort_unstable();
        assert_eq!(together, (0..250).collect::<Vec<_>>());
        // The sample is drawn after the split's seed, from the same stream.
        let (sample, _) =
            split_and_sample(rows(250), None, &SampleOptions { train_dataset_sample: 4, ..options });
        let mut stream = RandomState::new(42);
        stream.randint(i32::MAX as u32);
        assert_eq!(
            names(&sample),
            stream.permutation(4).iter().map(|&i| names(&train)[i]).collect::<Vec<_>>()
        );

        let none = SampleOptions { dataset_test_ratio: 0.0, ..options };
        assert_eq!(split_and_sample(rows(9), None, &none).1.len(), 0);
        assert_eq!(split_and_sample(vec![], None, &options), (vec![], vec![]));
    }
}
