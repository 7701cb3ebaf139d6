//! Random numbers as a pure function: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
//! 1, 2, 3", SC 2011).
//!
//! Element `i` of a random tensor depends on its [`Key`] and on `i` alone. So the numbers are the same on
//! every backend, for any number of threads and data-loading workers, and a forward pass that is computed
//! a second time (activation checkpointing) draws the same dropout mask.
//!
//! A [`Key`] is `(seed, stream)`. [`Rng`] hands out fresh streams: as a value of its own, or as the
//! calling thread's ambient generator ([`manual_seed`], [`next_key`]) which layers use.

use std::cell::Cell;

/// Which sequence of random numbers: a seed, and a stream under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The user's seed.
    pub seed: u64,
    /// One sequence among 2^64 under that seed.
    pub stream: u64,
}

impl Key {
    /// Block number `block` of the sequence: 128 random bits.
    #[inline]
    pub fn block(self, block: u64) -> [u32; 4] {
        philox(
            [block as u32, (block >> 32) as u32, self.stream as u32, (self.stream >> 32) as u32],
            [self.seed as u32, (self.seed >> 32) as u32],
        )
    }

    /// The 32 random bits of element `i`.
    #[inline]
    pub fn bits32(self, i: u64) -> u32 {
        self.block(i / 4)[(i % 4) as usize]
    }

    /// The 64 random bits of element `i`. Shares bits with [`Key::bits32`]: use one or the other per key.
    #[inline]
    pub fn bits64(self, i: u64) -> u64 {
        let block = self.block(i / 2);
        let lane = (i % 2) as usize * 2;
        block[lane] as u64 | (block[lane + 1] as u64) << 32
    }

    /// Uniform in `[0, 1)` with 24 random bits: what `f32` and narrower tensors are drawn from.
    #[inline]
    pub fn uniform32(self, i: u64) -> f32 {
        (self.bits32(i) >> 8) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    /// Uniform in `[0, 1)` with 53 random bits: what `f64` tensors are drawn from.
    #[inline]
    pub fn uniform64(self, i: u64) -> f64 {
        (self.bits64(i) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Standard normal by Box and Muller's transform of neighbouring elements, from 32-bit draws.
    pub fn normal32(self, i: u64) -> f64 {
        let pair = i & !1;
        // Never 0, so that its logarithm is finite.
        let u = (self.bits32(pair) as f64 + 1.0) / 4294967296.0;
        let v = self.bits32(pair + 1) as f64 / 4294967296.0;
        box_muller(u, v, i % 2 == 1)
    }

    /// Standard normal by Box and Muller's transform of neighbouring elements, from 53-bit draws.
    pub fn normal64(self, i: u64) -> f64 {
        let pair = i & !1;
        box_muller(1.0 - self.uniform64(pair), self.uniform64(pair + 1), i % 2 == 1)
    }

    /// Uniform in `0..bound`, by multiplication of 64 bits (bias below 2^-64 * bound).
    pub fn below(self, i: u64, bound: u64) -> u64 {
        ((self.bits64(i) as u128 * bound as u128) >> 64) as u64
    }

    /// A key for a part of the work this key stands for; parts with different numbers are independent.
    pub fn fold(self, part: u64) -> Key {
        let [a, b, c, d] = philox(
            [part as u32, (part >> 32) as u32, self.stream as u32, (self.stream >> 32) as u32],
            // Another key schedule than `block` uses, so that folding never reuses drawn bits.
            [!(self.seed as u32), !((self.seed >> 32) as u32)],
        );
        Key { seed: a as u64 | (b as u64) << 32, stream: c as u64 | (d as u64) << 32 }
    }
}

fn box_muller(u: f64, v: f64, second: bool) -> f64 {
    let radius = (-2.0 * u.ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * v).sin_cos();
    radius * if second { sin } else { cos }
}

/// Philox4x32 with 10 rounds.
#[inline]
fn philox(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = c[0] as u64 * 0xD251_1F53;
        let b = c[2] as u64 * 0xCD9E_8D57;
        c = [(b >> 32) as u32 ^ c[1] ^ k[0], b as u32, (a >> 32) as u32 ^ c[3] ^ k[1], a as u32];
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

/// A source of fresh keys: a seed and the next unused stream. `Copy`, so saving it is saving the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rng {
    /// The seed of every key handed out.
    pub seed: u64,
    /// The stream of the next key.
    pub next: u64,
}

impl Rng {
    /// A generator at the start of its streams.
    pub const fn new(seed: u64) -> Self {
        Self { seed, next: 0 }
    }

    /// A key that this generator has not handed out before.
    pub fn next_key(&mut self) -> Key {
        let key = Key { seed: self.seed, stream: self.next };
        self.next = self.next.wrapping_add(1);
        key
    }
}

thread_local! {
    static AMBIENT: Cell<Rng> = const { Cell::new(Rng::new(0)) };
}

/// Seeds the calling thread's ambient generator, which initialization, dropout and `Tensor::randn` use.
/// A thread that never called this has seed 0.
pub fn manual_seed(seed: u64) {
    set_state(Rng::new(seed));
}

/// The ambient generator's state: save it to resume, or to draw the same numbers again.
pub fn state() -> Rng {
    AMBIENT.get()
}

/// Puts the ambient generator into a saved state.
pub fn set_state(rng: Rng) {
    AMBIENT.set(rng);
}

/// A fresh key from the ambient generator.
pub fn next_key() -> Key {
    let mut rng = AMBIENT.get();
    let key = rng.next_key();
    AMBIENT.set(rng);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_test_vectors() {
        // Random123's known answers for philox4x32-10.
        assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        assert_eq!(
            philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn normal_draws_have_the_moments_of_a_normal() {
        let key = Key { seed: 7, stream: 3 };
        for draw in [Key::normal32, Key::normal64] {
            let n = 100_000;
            let xs: Vec<f64> = (0..n).map(|i| draw(key, i)).collect();
            let mean = xs.iter().sum::<f64>() / n as f64;
            let var = xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            let kurt = xs.iter().map(|x| (x - mean).powi(4)).sum::<f64>() / n as f64 / var.powi(2);
            assert!(mean.abs() < 0.015 && (var - 1.0).abs() < 0.02 && (kurt - 3.0).abs() < 0.1);
        }
    }
}
