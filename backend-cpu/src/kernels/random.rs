//! Random tensors and dropout: pure functions of a key and the element's index.
//!
//! One Philox block serves several neighbouring elements, so the work goes block by block, and draws of 32 bits
//! compute many blocks on vectors; the numbers are those that [`Key`]'s methods define for each element alone.

use gradus_tensor_core::op::{Distribution, Random};
use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{DType, Element, Meta, Outcome, View, with_dtype};

use crate::execute::{Done, done};
use crate::level::Kernel;
use crate::parallel::SendPtr;
use crate::{Cpu, CpuBuffer};

/// Work per element of a draw from bits, and of one that also takes logarithm, sine and cosine.
const DRAW: usize = 10;
const NORMAL: usize = 200;

/// A tensor of random numbers.
pub(crate) fn random(cpu: &Cpu, op: &Random, out: &Meta) -> Done {
    let mut buffer = cpu.alloc(out)?;
    with_dtype!(out.dtype, T => {
        let (key, wide) = (op.key, T::DTYPE == DType::F64);
        match op.distribution {
            Distribution::Uniform { low, high } => {
                let largest = Distribution::largest(low, high, T::DTYPE);
                let place = |u: f64| T::from_f64((low + (high - low) * u).min(largest));
                if wide {
                    by_blocks::<T, 2>(cpu, &mut buffer, DRAW, |b| {
                        [key.uniform64(2 * b), key.uniform64(2 * b + 1)].map(place)
                    });
                } else {
                    by_bits::<T>(cpu, &mut buffer, key, |_, x| place(unit32(x)));
                }
            }
            Distribution::Normal { mean, std } => {
                let place = |z: f64| T::from_f64(mean + std * z);
                if wide {
                    by_blocks::<T, 2>(cpu, &mut buffer, NORMAL, |b| {
                        let (u, v) = (key.uniform64(2 * b), key.uniform64(2 * b + 1));
                        box_muller(1.0 - u, v).map(place)
                    });
                } else {
                    by_blocks::<T, 4>(cpu, &mut buffer, NORMAL, |b| {
                        let [a, b, c, d] = key.block(b).map(|x| x as f64);
                        const ALL: f64 = 4_294_967_296.0; // 2^32
                        let pair = |u: f64, v: f64| box_muller((u + 1.0) / ALL, v / ALL).map(place);
                        let ([a, b], [c, d]) = (pair(a, b), pair(c, d));
                        [a, b, c, d]
                    });
                }
            }
            Distribution::Bernoulli { p } => {
                by_bits::<T>(cpu, &mut buffer, key, |_, x| T::from_i64((unit32(x) < p) as i64));
            }
            Distribution::Integer { low, high } => {
                let span = high.wrapping_sub(low) as u64;
                by_blocks::<T, 2>(cpu, &mut buffer, DRAW, |b| {
                    [2 * b, 2 * b + 1].map(|i| T::from_i64(low.wrapping_add(key.below(i, span) as i64)))
                });
            }
            _ => return Ok(Outcome::Unsupported),
        }
    });
    done(buffer)
}

/// [`Key::uniform32`] from its bits.
#[inline(always)]
fn unit32(bits: u32) -> f64 {
    (bits >> 8) as f64 * (1.0 / (1u32 << 24) as f64)
}

/// Both normal numbers of Box and Muller's transform.
fn box_muller(u: f64, v: f64) -> [f64; 2] {
    let radius = (-2.0 * u.ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * v).sin_cos();
    [radius * cos, radius * sin]
}

/// Writes elements `L * b ..` from `draw(b)`.
fn by_blocks<T: Element, const L: usize>(
    cpu: &Cpu,
    out: &mut CpuBuffer,
    cost: usize,
    draw: impl Fn(u64) -> [T; L] + Sync,
) {
    let n = out.len();
    let to = SendPtr(out.ptr_mut::<T>());
    cpu.for_chunks(n.div_ceil(L), cost * L, |blocks| {
        for b in blocks {
            for (i, value) in (b * L..n).zip(draw(b as u64)) {
                // SAFETY: element `i < n` belongs to this block alone.
                unsafe { to.get().add(i).write(value) };
            }
        }
    });
}

/// Blocks that are computed together, lane by lane.
const TOGETHER: usize = 64;

/// The bits of [`TOGETHER`] neighbouring blocks.
struct Blocks {
    key: Key,
    first: u64,
}

impl Kernel for Blocks {
    type Output = [u32; 4 * TOGETHER];
    /// Philox4x32-10 as [`Key::block`] computes it, on vectors.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // lanes of several arrays
    fn run(self) -> Self::Output {
        let Blocks { key, first } = self;
        let mut c = [[0u32; TOGETHER]; 4];
        for lane in 0..TOGETHER {
            let block = first + lane as u64;
            c[0][lane] = block as u32;
            c[1][lane] = (block >> 32) as u32;
            c[2][lane] = key.stream as u32;
            c[3][lane] = (key.stream >> 32) as u32;
        }
        let (mut k0, mut k1) = (key.seed as u32, (key.seed >> 32) as u32);
        for _ in 0..10 {
            // Many lanes, so that this stays a loop, which the compiler vectorizes.
            for lane in 0..TOGETHER {
                let a = c[0][lane] as u64 * 0xD251_1F53;
                let b = c[2][lane] as u64 * 0xCD9E_8D57;
                c[0][lane] = (b >> 32) as u32 ^ c[1][lane] ^ k0;
                c[1][lane] = b as u32;
                c[2][lane] = (a >> 32) as u32 ^ c[3][lane] ^ k1;
                c[3][lane] = a as u32;
            }
            k0 = k0.wrapping_add(0x9E37_79B9);
            k1 = k1.wrapping_add(0xBB67_AE85);
        }
        let mut out = [0; 4 * TOGETHER];
        for lane in 0..TOGETHER {
            for word in 0..4 {
                out[4 * lane + word] = c[word][lane];
            }
        }
        out
    }
}

/// Writes element `i` from `draw(i, the 32 bits of element i)`.
fn by_bits<T: Element>(cpu: &Cpu, out: &mut CpuBuffer, key: Key, draw: impl Fn(usize, u32) -> T + Sync) {
    const ELEMENTS: usize = 4 * TOGETHER;
    let (n, level) = (out.len(), cpu.level());
    let to = SendPtr(out.ptr_mut::<T>());
    cpu.for_chunks(n.div_ceil(ELEMENTS), DRAW * ELEMENTS, |groups| {
        for g in groups {
            let bits = level.run(Blocks { key, first: (g * TOGETHER) as u64 });
            for (i, &bits) in (g * ELEMENTS..n).zip(&bits) {
                // SAFETY: element `i < n` belongs to this group alone.
                unsafe { to.get().add(i).write(draw(i, bits)) };
            }
        }
    });
}

/// Zeroes elements with probability `p` and scales the others.
pub(crate) fn dropout(cpu: &Cpu, p: f64, key: Key, x: &View<'_, CpuBuffer>) -> Done {
    let x = super::copy::packed(cpu, x)?;
    let mut out = cpu.alloc(&x.meta())?;
    // p = 1 keeps nothing, whatever the scale.
    let scale = if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 };
    // `u >= p` for u a multiple of 2^-24, on integers.
    let threshold = (p * (1u32 << 24) as f64).ceil() as u32;
    macro_rules! with {
        ($t:ty, |$v:ident| $scaled:expr) => {{
            let from = x.as_slice::<$t>();
            by_bits::<$t>(cpu, &mut out, key, |i, bits| {
                let $v = from[i];
                if bits >> 8 >= threshold { $scaled } else { <$t>::default() }
            });
        }};
    }
    use crate::math::half::Half;
    use gradus_tensor_core::half::{bf16, f16};
    let single = scale as f32;
    match x.dtype() {
        DType::F32 => with!(f32, |v| v * single),
        DType::F64 => with!(f64, |v| v * scale),
        DType::F16 => with!(f16, |v| f16::from_single(v.to_single() * single)),
        DType::BF16 => with!(bf16, |v| bf16::from_single(v.to_single() * single)),
        _ => return Ok(Outcome::Unsupported),
    }
    done(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    #[test]
    fn blocks_on_vectors_are_the_blocks_of_the_key() {
        let key = Key { seed: 0x1234_5678_9abc_def0, stream: 0xfeed_beef_0000_0007 };
        for first in [0, 64, u32::MAX as u64 - 20, u64::MAX - 63] {
            let bits = Level::detect().run(Blocks { key, first });
            for (k, bits) in bits.chunks_exact(4).enumerate() {
                assert_eq!(bits, key.block(first + k as u64));
            }
        }
    }
}
