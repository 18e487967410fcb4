//! Seeded draws that are the same on every machine: numpy's legacy `RandomState`, a Mersenne Twister.

use rand_mt::Mt;

pub struct Random(Mt);

impl Random {
    pub fn new(seed: u32) -> Self {
        Random(Mt::new(seed))
    }

    /// A whole number below `n`, each equally likely. `n` of 0 counts as 1.
    pub fn below(&mut self, n: usize) -> usize {
        let max = n.saturating_sub(1).min(u32::MAX as usize) as u32;
        if max == 0 {
            return 0;
        }
        // numpy's way: the lowest bits that can hold `max`, drawn again while they exceed it.
        let mask = u32::MAX >> max.leading_zeros();
        loop {
            let drawn = self.0.next_u32() & mask;
            if drawn <= max {
                return drawn as usize;
            }
        }
    }

    /// Fisher and Yates from the end, in numpy's order of draws.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffles_like_numpy() {
        // numpy.random.RandomState(42).permutation(10)
        let mut order: Vec<usize> = (0..10).collect();
        Random::new(42).shuffle(&mut order);
        assert_eq!(order, [8, 1, 5, 0, 7, 2, 9, 4, 3, 6]);
    }

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut random = Random::new(1);
        let mut seen = [0; 6];
        for _ in 0..600 {
            seen[random.below(6)] += 1;
        }
        assert!(seen.iter().all(|&n| n > 60), "{seen:?}");
        assert_eq!(random.below(1), 0);
        assert_eq!(random.below(0), 0);
    }
}
