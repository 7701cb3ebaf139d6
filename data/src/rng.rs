//! The random stream of one sample.

use gradus_tensor_core::rng::Key;

/// The random numbers of one sample, in order.
///
/// A stream is named by `(seed, epoch, key)` and by nothing else: not by the worker, the batch, or
/// what was drawn before. So augmentation is the same with any number of workers, and a resumed run
/// needs no generator state.
///
/// ```
/// use gradus_data::SampleRng;
///
/// let mut once = SampleRng::new(42, 3, 1_000);
/// let mut again = SampleRng::new(42, 3, 1_000);
/// assert_eq!(once.next_u32(), again.next_u32());
/// assert_ne!(once.next_u64(), SampleRng::new(42, 4, 1_000).next_u64());
/// ```
#[derive(Clone, Debug)]
pub struct SampleRng {
    key: Key,
    /// The next block to draw.
    next: u64,
    block: [u32; 4],
    used: usize,
}

/// The streams under a seed that this crate draws from, far from those that count up from 0.
pub(crate) mod stream {
    const DATA: u64 = 0x6461_7461 << 32;
    /// Augmentation.
    pub const SAMPLE: u64 = DATA + 1;
    /// The order of shuffled samples.
    pub const SHUFFLE: u64 = DATA + 2;
    /// Drawing by weight.
    pub const WEIGHTED: u64 = DATA + 3;
}

impl SampleRng {
    /// The stream of the sample with this key (its index, for most samplers) in this epoch.
    pub fn new(seed: u64, epoch: u64, key: u64) -> Self {
        let key = Key { seed, stream: stream::SAMPLE }.fold(epoch).fold(key);
        Self { key, next: 0, block: [0; 4], used: 4 }
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == self.block.len() {
            self.block = self.key.block(self.next);
            self.next = self.next.wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) | u64::from(self.next_u32()) << 32
    }

    /// A number in `[0, 1)`, a multiple of 2⁻²⁴.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    /// `true` with this probability: never if it is 0 or less (or NaN), always if it is 1 or more.
    pub fn chance(&mut self, probability: f32) -> bool {
        self.uniform() < probability
    }

    /// A whole number in `[0, bound)`; 0 if the bound is 0. Its bias is below `bound` / 2⁶⁴.
    pub fn below(&mut self, bound: usize) -> usize {
        scale(self.next_u64(), bound)
    }
}

/// Maps 64 random bits evenly onto `[0, bound)`.
pub(crate) fn scale(bits: u64, bound: usize) -> usize {
    ((u128::from(bits) * bound as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_is_even_and_in_range() {
        let mut rng = SampleRng::new(1, 2, 3);
        let mut seen = [0; 7];
        (0..70_000).for_each(|_| seen[rng.below(7)] += 1);
        assert!(seen.iter().all(|&n| (9_600..10_400).contains(&n)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn chance_at_its_ends_is_certain() {
        let mut rng = SampleRng::new(1, 2, 3);
        assert!((0..1_000).all(|_| rng.chance(1.0) && !rng.chance(0.0) && !rng.chance(f32::NAN)));
    }

    #[test]
    fn neighbouring_streams_do_not_overlap() {
        let mut first: Vec<u64> = Vec::new();
        for (seed, epoch, key) in
            (0..8).flat_map(|s| (0..8).flat_map(move |e| (0..8).map(move |k| (s, e, k))))
        {
            first.push(SampleRng::new(seed, epoch, key).next_u64());
        }
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 512);
    }
}
