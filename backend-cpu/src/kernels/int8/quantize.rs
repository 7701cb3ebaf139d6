//! Rows of floats as unsigned bytes, each with a step and a zero point of its own.

use gradus_tensor_core::{DType, Result};

use crate::kernels::dense::Parts;
use crate::level::Kernel;
use crate::{Cpu, CpuBuffer, Level};

/// The largest byte.
const LEVELS: f32 = 255.0;
/// Numbers below 2^22 in size are rounded to whole ones, ties to even, by adding this: 1.5 * 2^23.
const MAGIC: f32 = 12_582_912.0;
/// Work per element, as [`Cpu::for_chunks`] counts it.
const COST: usize = 2;

/// Quantized rows: `x = step * (q - zero)`, about.
#[derive(Debug)]
pub(super) struct Rows {
    bytes: CpuBuffer,
    scales: Vec<Scale>,
    pitch: usize,
}

/// What the bytes of a row mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Scale {
    /// From one level to the next; NaN if the row has an element that is not finite.
    pub(super) step: f32,
    /// The byte that stands for 0.
    pub(super) zero: i32,
}

impl Rows {
    /// Quantizes rows of `k` elements.
    pub(super) fn new(cpu: &Cpu, x: &[f32], rows: usize, k: usize) -> Result<Self> {
        // Kernels read four bytes at once.
        let pitch = k.next_multiple_of(4);
        let mut bytes = cpu.alloc_len(DType::U8, rows * pitch)?;
        let mut scales = vec![Scale::default(); rows];
        let (to, of) = (Parts::new(bytes.slice_mut::<u8>()), Parts::new(&mut scales));
        cpu.for_chunks(rows, k * COST, |range| {
            for r in range {
                // SAFETY: rows are disjoint.
                let (q, scale) = unsafe { (to.part(r * pitch..(r + 1) * pitch), of.part(r..r + 1)) };
                scale[0] = row(cpu.level(), &x[r * k..(r + 1) * k], q);
            }
        });
        Ok(Self { bytes, scales, pitch })
    }

    /// The bytes of row `r`, followed by zeros up to a multiple of four.
    #[inline]
    pub(super) fn row(&self, r: usize) -> &[u8] {
        &self.bytes.as_slice().unwrap_or(&[])[r * self.pitch..(r + 1) * self.pitch]
    }

    /// The bytes from row `r` on, and from one row to the next.
    #[inline]
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(super) fn from(&self, r: usize) -> (&[u8], usize) {
        (&self.bytes.as_slice().unwrap_or(&[])[r * self.pitch..], self.pitch)
    }

    #[inline]
    pub(super) fn scale(&self, r: usize) -> Scale {
        self.scales[r]
    }
}

/// Quantizes one row; `q` is as long or a little longer, and ends with zeros.
fn row(level: Level, x: &[f32], q: &mut [u8]) -> Scale {
    let (q, rest) = q.split_at_mut(x.len());
    rest.fill(0);
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx512 {
        // SAFETY: a level is at most what the machine was found to have; the lengths are equal.
        return unsafe { avx512::row(x, q) };
    }
    level.run(Row { x, q })
}

impl Scale {
    /// The scale of a row whose numbers, and 0, lie between these.
    #[inline(always)]
    fn new(low: f32, high: f32) -> (Self, Conversion) {
        let step = (high / LEVELS - low / LEVELS).max(f32::MIN_POSITIVE);
        let inverse = 1.0 / step;
        let zero = -(low * inverse).round_ties_even();
        let shift = zero as i32;
        (Scale { step, zero: shift }, Conversion { inverse, lowest: -zero, highest: LEVELS - zero, shift })
    }

    /// Of a row with an element that is not finite.
    const LOST: Scale = Scale { step: f32::NAN, zero: 0 };
}

/// From a number to its byte: `round(clamp(x * inverse, lowest, highest)) + shift`.
#[derive(Clone, Copy)]
struct Conversion {
    inverse: f32,
    lowest: f32,
    highest: f32,
    shift: i32,
}

struct Row<'a> {
    x: &'a [f32],
    q: &'a mut [u8],
}

impl Kernel for Row<'_> {
    type Output = Scale;

    #[inline(always)]
    fn run(self) -> Scale {
        let Row { x, q } = self;
        let Some((low, high)) = range(x) else {
            q.fill(0);
            return Scale::LOST;
        };
        let (scale, Conversion { inverse, lowest, highest, shift }) = Scale::new(low, high);
        for (q, &x) in q.iter_mut().zip(x) {
            let scaled = least(most(x * inverse, lowest), highest);
            // The number stands in the low bits of the sum.
            let whole = ((scaled + MAGIC).to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32);
            *q = whole.wrapping_add(shift) as u8;
        }
        scale
    }
}

/// The smallest and the largest of the numbers and 0; `None` if one is not finite.
#[inline(always)]
#[allow(clippy::eq_op)] // only finite numbers less themselves are 0
fn range(x: &[f32]) -> Option<(f32, f32)> {
    const LANES: usize = 32;
    let (mut low, mut high, mut lost) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            low[lane] = least(chunk[lane], low[lane]);
            high[lane] = most(chunk[lane], high[lane]);
            lost[lane] += chunk[lane] - chunk[lane];
        }
    }
    let (mut low, mut high) = (low.into_iter().fold(0.0, least), high.into_iter().fold(0.0, most));
    let mut lost: f32 = lost.into_iter().sum();
    for &x in rest {
        (low, high, lost) = (least(x, low), most(x, high), lost + (x - x));
    }
    lost.is_finite().then_some((low, high))
}

/// The smaller number. (One instruction: which of the two it is if one is NaN does not matter.)
#[inline(always)]
fn least(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// The larger number.
#[inline(always)]
fn most(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The same with instructions that loops are not compiled to: those that tell what is finite, and that narrow.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{Conversion, Scale};

    const LANES: usize = 16;
    /// Quiet and signalling NaN, and both infinities.
    const NOT_FINITE: i32 = 0x99;

    /// # Safety
    /// The machine has AVX-512 F and DQ; both slices have one length.
    #[target_feature(enable = "avx512f,avx512dq")]
    pub(super) unsafe fn row(x: &[f32], q: &mut [u8]) -> Scale {
        let [mut low, mut high] = [_mm512_setzero_ps(); 2];
        let mut lost = 0;
        for at in (0..x.len()).step_by(LANES) {
            // SAFETY: only elements of the row are read. (The others are 0, which is in the range anyway.)
            let x = unsafe { _mm512_maskz_loadu_ps(mask(x.len() - at), x.as_ptr().add(at)) };
            low = _mm512_min_ps(low, x);
            high = _mm512_max_ps(high, x);
            lost |= _mm512_fpclass_ps_mask::<NOT_FINITE>(x);
        }
        if lost != 0 {
            q.fill(0);
            return Scale::LOST;
        }
        let (scale, Conversion { inverse, lowest, highest, shift }) =
            Scale::new(_mm512_reduce_min_ps(low), _mm512_reduce_max_ps(high));
        let (inverse, shift) = (_mm512_set1_ps(inverse), _mm512_set1_epi32(shift));
        let (lowest, highest) = (_mm512_set1_ps(lowest), _mm512_set1_ps(highest));
        for at in (0..x.len()).step_by(LANES) {
            let mask = mask(x.len() - at);
            // SAFETY: only elements of the row are read, and only bytes that stand for them written.
            unsafe {
                let x = _mm512_maskz_loadu_ps(mask, x.as_ptr().add(at));
                let scaled = _mm512_min_ps(_mm512_max_ps(_mm512_mul_ps(x, inverse), lowest), highest);
                let whole = _mm512_add_epi32(_mm512_cvtps_epi32(scaled), shift);
                _mm512_mask_cvtepi32_storeu_epi8(q.as_mut_ptr().add(at).cast(), mask, whole);
            }
        }
        scale
    }

    /// The lanes of the first of so many elements.
    #[inline(always)]
    fn mask(left: usize) -> u16 {
        u16::MAX >> LANES.saturating_sub(left)
    }
}
