//! Rows of floats as unsigned bytes, each with a step and a zero point of its own.

use gradus_tensor_core::{DType, Result};

use crate::kernels::dense::Parts;
use crate::level::Kernel;
use crate::{Cpu, CpuBuffer};

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
                scale[0] = cpu.level().run(Row { x: &x[r * k..(r + 1) * k], q });
            }
        });
        Ok(Self { bytes, scales, pitch })
    }

    /// The bytes of row `r`, followed by zeros up to a multiple of four.
    #[inline]
    pub(super) fn row(&self, r: usize) -> &[u8] {
        &self.bytes.as_slice().unwrap_or(&[])[r * self.pitch..(r + 1) * self.pitch]
    }

    #[inline]
    pub(super) fn scale(&self, r: usize) -> Scale {
        self.scales[r]
    }
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
        let (q, rest) = q.split_at_mut(x.len());
        rest.fill(0);
        let Some((low, high)) = range(x) else {
            q.fill(0);
            return Scale { step: f32::NAN, zero: 0 };
        };
        let step = (high / LEVELS - low / LEVELS).max(f32::MIN_POSITIVE);
        let inverse = 1.0 / step;
        let zero = -(low * inverse).round_ties_even();
        let (lowest, highest, shift) = (-zero, LEVELS - zero, zero as i32);
        for (q, &x) in q.iter_mut().zip(x) {
            let scaled = least(most(x * inverse, lowest), highest);
            // The number stands in the low bits of the sum.
            let whole = ((scaled + MAGIC).to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32);
            *q = whole.wrapping_add(shift) as u8;
        }
        Scale { step, zero: shift }
    }
}

/// The smallest and the largest of the numbers and 0; `None` if one is not finite.
#[inline(always)]
#[allow(clippy::eq_op)] // only finite numbers less themselves are 0
fn range(x: &[f32]) -> Option<(f32, f32)> {
    const LANES: usize = 16;
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
