//! Softmax of outputs that no cache holds.
//!
//! A row is gone over three times: for its maximum, for the exponentials and their sum, to scale them. If one pass follows the
//! other, memory is read in the first, waits in the second and is written in the third, and the times add up. So three rows
//! are worked on at once, in steps of a few lines: of one row the maximum is looked for, while it comes from memory, of the
//! row before it the exponentials are computed, in the first cache, and those of the row before that are scaled and streamed
//! away. Memory then reads and writes all the time. The gradient, which has two passes, does the same with two rows.
//!
//! Sums run in the same lanes in the same order as those of rows in a cache, so the bits are the same. The loop of three rows
//! is written out for AVX-512: compilers tear its lanes apart, in one version into pairs and in the next into single numbers.

#[cfg(target_arch = "x86_64")]
use gradus_tensor_core::DType;

use crate::kernels::dense::Real;
#[cfg(target_arch = "x86_64")]
use crate::kernels::dense::Scratch;
use crate::kernels::real::{LANES, fold};
use crate::level::Kernel;
use crate::{Cpu, Level, stream};

/// Elements of a step.
const STEP: usize = 64;
/// How far ahead of the row that is read first memory is asked for lines, in elements.
const AHEAD: usize = 2048;
/// Bytes of the longest row of which three are still in the second cache.
const LONGEST: usize = 192 << 10;

/// Whether rows of n elements of such an output are to be computed this way.
pub(super) fn pays<T>(level: Level, output: &[T], n: usize) -> bool {
    stream::pays_by_row(level, output, n)
        && output.as_ptr().addr().is_multiple_of(64)
        && n.is_multiple_of(STEP)
        && n * size_of::<T>() <= LONGEST
}

/// Softmax of rows of n elements, or its logarithm, where [that pays](pays). Or not, which it says, if they are no `f32`, there is no
/// AVX-512 or no memory for a row.
pub(super) fn rows<T: Real>(cpu: &Cpu, x: &[T], y: &mut [T], n: usize, log: bool) -> bool {
    #[cfg(target_arch = "x86_64")]
    if cpu.level() >= Level::Avx512
        && T::DTYPE == DType::F32
        && let Ok(mut scratch) = Scratch::new(cpu, n)
    {
        let (x, y) = (bytemuck::cast_slice(x), bytemuck::cast_slice_mut(y));
        // SAFETY: there is AVX-512.
        unsafe { avx512(x, y, scratch.slice(), log) };
        return true;
    }
    let _ = (cpu, x, y, n, log);
    false
}

/// Rows of `scratch.len()` elements.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(x: &[f32], y: &mut [f32], scratch: &mut [f32], log: bool) {
    use std::arch::x86_64::*;

    use crate::kernels::real::{above, max};
    use crate::math::exp::{UNLIFT, exp_raised_avx512};

    const VECTOR: usize = 16;
    /// The numbers of two vectors.
    #[target_feature(enable = "avx512f")]
    fn lanes([a, b]: [__m512; 2]) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        // SAFETY: room for two vectors.
        unsafe {
            _mm512_storeu_ps(lanes.as_mut_ptr(), a);
            _mm512_storeu_ps(lanes.as_mut_ptr().add(VECTOR), b);
        }
        lanes
    }
    let n = scratch.len();
    let rows = x.len() / n;
    assert!(n.is_multiple_of(STEP) && y.as_ptr().addr().is_multiple_of(64), "whole lines");
    assert_eq!(x.len(), y.len(), "an output for each input");
    let mut top = max(&x[..n]);
    // What the exponentials of the row before are multiplied with, or what is subtracted from its elements.
    let mut last = 0.0;
    for row in 0..=rows {
        let (mut tops, mut totals) = ([_mm512_set1_ps(f32::NEG_INFINITY); 2], [_mm512_setzero_ps(); 2]);
        let (top_now, last_now) = (_mm512_set1_ps(top), _mm512_set1_ps(last));
        for at in (0..n).step_by(STEP) {
            let e = &mut scratch[at..at + STEP];
            if row > 0 {
                let before = (row - 1) * n + at;
                let (x, y) = (&x[before..before + STEP], &mut y[before..before + STEP]);
                for i in (0..STEP).step_by(VECTOR) {
                    // SAFETY: inside of the steps; of `y`, steps are whole lines of an aligned slice.
                    unsafe {
                        let value = if log {
                            _mm512_sub_ps(_mm512_loadu_ps(x.as_ptr().add(i)), last_now)
                        } else {
                            _mm512_mul_ps(_mm512_loadu_ps(e.as_ptr().add(i)), last_now)
                        };
                        _mm512_stream_ps(y.as_mut_ptr().add(i), value);
                    }
                }
            }
            if row < rows {
                let x = &x[row * n + at..][..STEP];
                for i in (0..STEP).step_by(VECTOR) {
                    // SAFETY: inside of the steps.
                    unsafe {
                        let x = _mm512_loadu_ps(x.as_ptr().add(i));
                        let value = exp_raised_avx512(_mm512_sub_ps(x, top_now));
                        _mm512_storeu_ps(e.as_mut_ptr().add(i), value);
                        let total = &mut totals[i / VECTOR % 2];
                        *total = _mm512_add_ps(*total, value);
                    }
                }
            }
            if row + 1 < rows {
                let x = &x[(row + 1) * n + at..][..STEP];
                stream::expect(x.as_ptr().wrapping_add(AHEAD), STEP);
                for i in (0..STEP).step_by(VECTOR) {
                    let top = &mut tops[i / VECTOR % 2];
                    // SAFETY: inside of the step. (The second operand if one is NaN.)
                    *top = unsafe { _mm512_max_ps(_mm512_loadu_ps(x.as_ptr().add(i)), *top) };
                }
            }
        }
        let total = fold(lanes(totals), |a, b| a + b);
        last = if log { top + crate::math::log::log(total * UNLIFT) } else { 1.0 / total };
        top = fold(lanes(tops), above);
    }
    stream::fence();
}

/// The gradient of rows of n elements.
pub(super) struct GradRows<'a, T> {
    pub(super) level: Level,
    pub(super) g: &'a [T],
    pub(super) y: &'a [T],
    pub(super) gx: &'a mut [T],
    pub(super) n: usize,
    pub(super) log: bool,
}

impl<T: Real> Kernel for GradRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let GradRows { level, g, y, gx, n, log } = self;
        let (rows, steps) = (g.len() / n, n / STEP);
        let mut total = T::ZERO;
        let (g, y, gx) = (g.as_chunks::<STEP>().0, y.as_chunks::<STEP>().0, gx.as_chunks_mut::<STEP>().0);
        for row in 0..=rows {
            let mut totals = [T::ZERO; LANES];
            for at in row * steps..(row + 1) * steps {
                if row > 0 {
                    let before = at - steps;
                    let (g, y) = (&g[before], &y[before]);
                    let piece: [T; STEP] = match log {
                        true => std::array::from_fn(|i| g[i] - y[i].exp() * total),
                        false => std::array::from_fn(|i| y[i] * (g[i] - total)),
                    };
                    stream::write(level, &piece, &mut gx[before]);
                }
                if row < rows {
                    let (g, y) = (&g[at], &y[at]);
                    stream::expect(g.as_ptr().wrapping_add(AHEAD), STEP);
                    stream::expect(y.as_ptr().wrapping_add(AHEAD), STEP);
                    for first in (0..STEP).step_by(LANES) {
                        for i in 0..LANES {
                            let (g, y) = (g[first + i], y[first + i]);
                            totals[i] = if log { totals[i] + g } else { g.fma(y, totals[i]) };
                        }
                    }
                }
            }
            total = fold(totals, |a, b| a + b);
        }
        stream::fence();
    }
}

#[cfg(test)]
mod tests {
    use super::super as cached;
    use super::*;

    /// Numbers of both signs, none, some or all of them replaced.
    fn numbers(n: usize, row: usize, with: Option<f32>) -> Vec<f32> {
        (0..n)
            .map(|i| match with {
                Some(x) if row == 1 && i % 7 == 3 || row == 2 => x,
                _ => ((i * 37 + row * 11) % 101) as f32 * 0.3 - 12.0 - if i % 5 == 1 { 90.0 } else { 0.0 },
            })
            .collect()
    }

    /// Bits, of which those of NaN do not matter.
    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| if x.is_nan() { f32::NAN } else { *x }.to_bits()).collect()
    }

    #[repr(align(64))]
    struct Aligned([f32; 4 * 256]);

    #[test]
    fn streamed_rows_have_the_same_bits() {
        let cpu = Cpu::new(1);
        let level = cpu.level();
        let specials = [None, Some(f32::NAN), Some(f32::INFINITY), Some(f32::NEG_INFINITY), Some(-0.0)];
        for (n, rows, with) in [64, 128, 256]
            .into_iter()
            .flat_map(|n| (1..=4).flat_map(move |rows| specials.map(|with| (n, rows, with))))
        {
            let x: Vec<f32> = (0..rows).flat_map(|row| numbers(n, row, with)).collect();
            let g: Vec<f32> = (0..rows).flat_map(|row| numbers(n, row + 3, None)).collect();
            for log in [false, true] {
                let mut expected = vec![0.0; rows * n];
                level.run(cached::Rows { x: &x, y: &mut expected, n, log });
                let mut y = Aligned([0.0; _]);
                let y = &mut y.0[..rows * n];
                if super::rows(&cpu, &x, y, n, log) {
                    assert_eq!(bits(y), bits(&expected), "[{rows}, {n}], {with:?}, log: {log}");
                }
                let y = expected;
                let (mut expected, mut gx) = (vec![0.0; rows * n], Aligned([0.0; _]));
                let gx = &mut gx.0[..rows * n];
                level.run(cached::GradRows { g: &g, y: &y, gx: &mut expected, n, log });
                level.run(GradRows { level, g: &g, y: &y, gx, n, log });
                assert_eq!(bits(gx), bits(&expected), "the gradient of [{rows}, {n}], {with:?}, log: {log}");
            }
        }
    }
}
