//! The random stream of one sample.

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
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

/// Separates the streams of samples from everything else that is drawn with the same seed.
const SAMPLE_DOMAIN: u64 = 0x5341_4d50_4c45_0001;

impl SampleRng {
    /// The stream of the sample with this key (its index, for most samplers) in this epoch.
    pub fn new(seed: u64, epoch: u64, key: u64) -> Self {
        let stream = mix(mix(SAMPLE_DOMAIN ^ epoch) ^ key);
        let counter = [0, 0, stream as u32, (stream >> 32) as u32];
        Self { key: [seed as u32, (seed >> 32) as u32], counter, block: [0; 4], used: 4 }
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox(self.counter, self.key);
            self.used = 0;
            let (low, carried) = self.counter[0].overflowing_add(1);
            self.counter[0] = low;
            self.counter[1] = self.counter[1].wrapping_add(u32::from(carried));
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
        scale(self.next_u64(), bound as u64) as usize
    }
}

/// Maps 64 random bits evenly onto `[0, bound)`.
pub(crate) fn scale(bits: u64, bound: u64) -> u64 {
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}

/// A bijection of 64-bit words in which every output bit depends on every input bit.
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Philox 4x32 with ten rounds.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xd251_1f53;
        let b = u64::from(counter[2]) * 0xcd9e_8d57;
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_test_vectors() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
    }

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
