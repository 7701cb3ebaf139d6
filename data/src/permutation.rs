//! A pseudo-random permutation of `0..len` that knows each of its places without the others.
//!
//! Shuffling an array takes memory for all of it and time for all of it before the first element is
//! known, and again on resume. Here the permutation is a *cipher* on the numbers below `len`: a
//! Feistel network whose round keys come from the seed. It permutes the numbers below a power of
//! two; an output that is not below `len` is enciphered again until it is ("cycle walking"), which
//! follows a cycle of the larger permutation and so permutes the numbers below `len` among
//! themselves. The power of two is at most twice `len`, so that takes two steps on average.

/// Rounds of the network. Four make a good cipher of wide halves; the halves of a small data set
/// have few bits, and need more.
const ROUNDS: u64 = 10;

/// The smallest domain, in bits. Narrower networks reach only a fraction of all permutations.
const MIN_BITS: u32 = 6;

/// A permutation of `0..len`, chosen by a seed.
///
/// ```
/// use gradus_data::Permutation;
///
/// let permutation = Permutation::new(1_000_000_000_000, 7);
/// let position = permutation.get(123_456_789_012); // at once, whatever the length
/// assert!(position < 1_000_000_000_000);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Permutation {
    len: u64,
    seed: u64,
    /// Bits of the low half; the other half has as many, or one more.
    low_bits: u32,
    high_bits: u32,
}

impl Permutation {
    /// The permutation of `0..len` with this seed.
    pub fn new(len: usize, seed: u64) -> Self {
        let len = len as u64;
        let bits = (u64::BITS - len.saturating_sub(1).leading_zeros()).max(MIN_BITS);
        Self { len, seed, low_bits: bits / 2, high_bits: bits.div_ceil(2) }
    }

    /// The number at this position, below `len` if `position` is; any other position stays itself.
    pub fn get(&self, position: usize) -> usize {
        let mut x = position as u64;
        if x >= self.len {
            return position;
        }
        loop {
            x = self.encipher(x);
            if x < self.len {
                return x as usize;
            }
        }
    }

    /// One pass of the network over all numbers of `low_bits + high_bits` bits. Each round changes
    /// one half by a function of the other, which can be undone: so every round permutes.
    fn encipher(&self, x: u64) -> u64 {
        let (low_mask, high_mask) = ((1 << self.low_bits) - 1, (1 << self.high_bits) - 1);
        let (mut low, mut high) = (x & low_mask, x >> self.low_bits);
        for round in 0..ROUNDS {
            let key = self.seed.wrapping_add(round << 56);
            if round % 2 == 0 {
                high ^= mix(mix(key) ^ low) & high_mask;
            } else {
                low ^= mix(mix(key) ^ high) & low_mask;
            }
        }
        high << self.low_bits | low
    }
}

/// A bijection of 64-bit words in which every output bit depends on every input bit.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(len: usize, seed: u64) -> Vec<usize> {
        let permutation = Permutation::new(len, seed);
        (0..len).map(|position| permutation.get(position)).collect()
    }

    proptest! {
        #[test]
        fn every_number_comes_exactly_once(len in 0_usize..5_000, seed: u64) {
            let mut numbers = all(len, seed);
            numbers.sort_unstable();
            prop_assert!(numbers.into_iter().eq(0..len));
        }

        #[test]
        fn huge_lengths_stay_in_range(len in 1_usize.., seed: u64, at: prop::sample::Index) {
            prop_assert!(Permutation::new(len, seed).get(at.index(len)) < len);
        }
    }

    #[test]
    fn each_number_is_equally_likely_at_each_position() {
        for len in [2, 3, 5, 16, 17, 100] {
            let trials = 2_000 * len;
            let mut counts = vec![vec![0_f64; len]; len];
            for seed in 0..trials {
                let numbers = all(len, mix(seed as u64));
                numbers.iter().enumerate().for_each(|(position, &number)| counts[position][number] += 1.0);
            }
            // Chi-square with (len - 1)² degrees of freedom: mean that, variance twice that.
            let expected = trials as f64 / len as f64;
            let chi: f64 = counts.iter().flatten().map(|n| (n - expected).powi(2) / expected).sum();
            let freedom = ((len - 1) * (len - 1)) as f64;
            assert!((chi - freedom).abs() < 5.0 * (2.0 * freedom).sqrt(), "len {len}: {chi} for {freedom}");
        }
    }

    #[test]
    fn each_order_of_four_is_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        (0..24_000).for_each(|seed| *counts.entry(all(4, mix(seed))).or_insert(0) += 1);
        assert_eq!(counts.len(), 24);
        let chi: f64 = counts.values().map(|&n| f64::from(n - 1_000).powi(2) / 1_000.0).sum();
        assert!(chi < 23.0 + 5.0 * 46.0_f64.sqrt(), "{chi} for 23 degrees of freedom");
    }

    #[test]
    fn neighbours_are_torn_apart() {
        let numbers = all(10_000, 3);
        let steps: Vec<f64> = numbers.windows(2).map(|w| w[0].abs_diff(w[1]) as f64).collect();
        let mean = steps.iter().sum::<f64>() / steps.len() as f64;
        assert!(
            (mean - 10_000.0 / 3.0).abs() < 100.0,
            "mean distance {mean}, expected a third of the length"
        );
    }
}
