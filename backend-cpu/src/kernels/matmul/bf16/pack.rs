//! Operands brought into pairs: numbers of neighbouring depths side by side in a word.

use std::arch::x86_64::*;
use std::mem::transmute;

use gradus_tensor_core::half::bf16;

use super::dot::{ACROSS, LANES, ROWS, WIDTH};
use crate::kernels::matmul::multiplied::Single;
use crate::kernels::matmul::pack::{AHEAD, LINE};
use crate::kernels::matmul::registers::transpose;
use crate::math::half::Half;

/// Elements of the matrices: `bf16`, or `f32` that are rounded to it. Everything is called from functions with the
/// features.
pub(in super::super) trait Source: Single {
    /// Whether pairs in memory are words already.
    const IS_READY: bool;

    /// As the bits of a `bf16`.
    fn bits(self) -> u32;

    /// Those of sixteen numbers, each in a word; zeros beyond the mask.
    ///
    /// # Safety
    /// The numbers may be read.
    unsafe fn words(at: *const Self, mask: __mmask16) -> __m512i;

    /// Copies a block: eight lines, `stride` apart, of eight pairs, to eight rows, `width` words apart, with a line in each
    /// column.
    ///
    /// # Safety
    /// The block may be read and written.
    unsafe fn block(at: *const Self, stride: isize, to: *mut u32, width: usize);

    /// What is in memory as `f32`.
    ///
    /// # Safety
    /// The numbers under the mask may be read.
    unsafe fn old(at: *const Self, mask: __mmask16) -> __m512;

    /// Writes sums.
    ///
    /// # Safety
    /// The numbers under the mask may be written.
    unsafe fn put(at: *mut Self, mask: __mmask16, sums: __m512);
}

impl Source for bf16 {
    const IS_READY: bool = true;

    #[inline(always)]
    fn bits(self) -> u32 {
        self.to_bits() as u32
    }

    #[inline(always)]
    unsafe fn words(at: *const bf16, mask: __mmask16) -> __m512i {
        // SAFETY: promised by the caller.
        unsafe { _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, at.cast())) }
    }

    #[inline(always)]
    unsafe fn block(at: *const bf16, stride: isize, to: *mut u32, width: usize) {
        // SAFETY: promised by the caller.
        unsafe { transpose(at.cast(), 2 * stride, to.cast(), width) }
    }

    #[inline(always)]
    unsafe fn old(at: *const bf16, mask: __mmask16) -> __m512 {
        // SAFETY: promised by the caller.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(Self::words(at, mask))) }
    }

    #[inline(always)]
    unsafe fn put(at: *mut bf16, mask: __mmask16, sums: __m512) {
        // SAFETY: promised by the caller.
        unsafe {
            let rounded = transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(sums));
            _mm256_mask_storeu_epi16(at.cast(), mask, rounded);
        }
    }
}

impl Source for f32 {
    const IS_READY: bool = false;

    #[inline(always)]
    fn bits(self) -> u32 {
        let rounded = bf16::from_single(self);
        // (Cut, rather than rounded to infinity.)
        let cut = rounded.is_infinite() && self.is_finite();
        if cut { self.to_bits() >> 16 } else { rounded.to_bits() as u32 }
    }

    #[inline(always)]
    unsafe fn words(at: *const f32, mask: __mmask16) -> __m512i {
        // SAFETY: promised by the caller.
        unsafe { _mm512_cvtepu16_epi32(rounded(_mm512_maskz_loadu_ps(mask, at))) }
    }

    #[inline(always)]
    unsafe fn block(at: *const f32, stride: isize, to: *mut u32, width: usize) {
        let mut lines = [[0u32; 8]; 8];
        // SAFETY: promised by the caller.
        unsafe {
            for (i, line) in lines.iter_mut().enumerate() {
                let numbers = _mm512_loadu_ps(at.offset(i as isize * stride));
                _mm256_storeu_si256(line.as_mut_ptr().cast(), rounded(numbers));
            }
            transpose(lines.as_ptr().cast(), size_of_val(&lines[0]) as isize, to.cast(), width);
        }
    }

    #[inline(always)]
    unsafe fn old(at: *const f32, mask: __mmask16) -> __m512 {
        // SAFETY: promised by the caller.
        unsafe { _mm512_maskz_loadu_ps(mask, at) }
    }

    #[inline(always)]
    unsafe fn put(at: *mut f32, mask: __mmask16, sums: __m512) {
        // SAFETY: promised by the caller.
        unsafe { _mm512_mask_storeu_ps(at, mask, sums) }
    }
}

/// Sixteen numbers rounded to `bf16`: to nearest, but cut where that would be infinity.
///
/// # Safety
/// Called from a function with the features.
#[inline(always)]
unsafe fn rounded(x: __m512) -> __m256i {
    /// Twice the bits of the smallest number that rounds to infinity, and from there to infinity.
    const NEARLY: [u32; 2] = [0xfeff_0000, 0x0001_0000];
    // SAFETY: promised by the caller.
    unsafe {
        let bits = _mm512_castps_si512(x);
        let above = _mm512_sub_epi32(_mm512_slli_epi32::<1>(bits), _mm512_set1_epi32(NEARLY[0] as i32));
        let cut = _mm512_cmplt_epu32_mask(above, _mm512_set1_epi32(NEARLY[1] as i32));
        let bits = _mm512_mask_and_epi32(bits, cut, bits, _mm512_set1_epi32(0xffff_0000u32 as i32));
        transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(_mm512_castsi512_ps(bits)))
    }
}

/// Says that a line will be read soon, wherever that is.
#[inline(always)]
fn expect<S>(at: *const S) {
    // SAFETY: a hint reads nothing.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

/// The first `n` of 16 lanes.
#[inline(always)]
pub(super) fn first(n: usize) -> __mmask16 {
    ((1u32 << n.min(LANES)) - 1) as __mmask16
}

/// Numbers of two rows side by side, each pair in a word; zeros beyond the mask and for a row that is null.
///
/// # Safety
/// The numbers may be read; called from a function with the features.
#[inline(always)]
unsafe fn zip<S: Source>(upper: *const S, lower: *const S, mask: __mmask16) -> __m512i {
    // SAFETY: promised by the caller.
    unsafe {
        let x = S::words(upper, mask);
        if lower.is_null() {
            return x;
        }
        let y = S::words(lower, mask);
        _mm512_or_si512(x, _mm512_slli_epi32::<16>(y))
    }
}

/// A pair as a word, of two numbers that are `stride` apart; the second is zero if there is none.
///
/// # Safety
/// The numbers may be read.
#[inline(always)]
unsafe fn pair<S: Source>(at: *const S, stride: isize, both: bool) -> u32 {
    // SAFETY: promised by the caller.
    unsafe {
        let second = if both { (*at.offset(stride)).bits() } else { 0 };
        (*at).bits() | second << 16
    }
}

/// Copies a part of `b`: a row of the panel has the pairs of one step of 48 columns, with zeros beyond the last
/// column and depth.
///
/// # Safety
/// The elements may be read; the panel holds so many rows; called from a function with the features.
#[inline(always)]
pub(super) unsafe fn panel<S: Source>(
    b: *const S,
    strides: [isize; 2],
    [len, cols]: [usize; 2],
    panel: *mut u32,
) {
    let pairs = len.div_ceil(2);
    // SAFETY: promised by the caller.
    unsafe {
        if strides[1] == 1 {
            for i in 0..pairs {
                let upper = b.offset(2 * i as isize * strides[0]);
                let lower = if 2 * i + 1 < len { upper.offset(strides[0]) } else { std::ptr::null() };
                for v in 0..ACROSS {
                    let mask = first(cols.saturating_sub(v * LANES));
                    let words = zip(upper.wrapping_add(v * LANES), lower_at(lower, v * LANES), mask);
                    _mm512_storeu_si512(panel.add(i * WIDTH + v * LANES).cast(), words);
                }
            }
            return;
        }
        if cols < WIDTH {
            panel.write_bytes(0, pairs * WIDTH);
        }
        let mut done = [0, 0];
        if strides[0] == 1 {
            // Pairs lie side by side already: words are transposed, 8 x 8 at a time.
            done = [len / 2, cols].map(|n| n / 8 * 8);
            for j in (0..done[1]).step_by(8) {
                for i in (0..done[0]).step_by(8) {
                    let from = b.offset(2 * i as isize + j as isize * strides[1]);
                    // Columns begin where no prefetcher looks.
                    (8..16).for_each(|c| expect(from.wrapping_offset(c * strides[1])));
                    S::block(from, strides[1], panel.add(i * WIDTH + j), WIDTH);
                }
            }
        }
        for i in 0..pairs {
            for j in if i < done[0] { done[1] } else { 0 }..cols {
                let at = b.offset(2 * i as isize * strides[0] + j as isize * strides[1]);
                *panel.add(i * WIDTH + j) = pair(at, strides[0], 2 * i + 1 < len);
            }
        }
    }
}

/// An element of a row that may be null.
#[inline(always)]
fn lower_at<S>(row: *const S, at: usize) -> *const S {
    if row.is_null() { row } else { row.wrapping_add(at) }
}

/// Copies columns of `a`, so that the pairs of a micro-tile's rows are side by side, step after step.
///
/// # Safety
/// The elements may be read; there is room for the rows of all micro-tiles, `pitch` words apart, and one more;
/// called from a function with the features.
#[inline(always)]
pub(super) unsafe fn left<S: Source>(
    a: *const S,
    strides: [isize; 2],
    [m, len]: [usize; 2],
    to: *mut u32,
    pitch: usize,
) {
    let pairs = len.div_ceil(2);
    // SAFETY: promised by the caller.
    unsafe {
        if strides[0] == 1 {
            for k in 0..pairs {
                let upper = a.offset(2 * k as isize * strides[1]);
                for step in [AHEAD, AHEAD + 1] {
                    let ahead = upper.wrapping_offset(step * strides[1]);
                    (0..m).step_by(LINE / size_of::<S>()).for_each(|i| expect(ahead.wrapping_add(i)));
                }
                let lower = if 2 * k + 1 < len { upper.offset(strides[1]) } else { std::ptr::null() };
                for i in (0..m).step_by(LANES) {
                    let words = zip(upper.wrapping_add(i), lower_at(lower, i), first(m - i));
                    let at = to.add(i / ROWS * pitch + k * ROWS);
                    _mm256_storeu_si256(at.cast(), _mm512_castsi512_si256(words));
                    _mm256_storeu_si256(at.add(pitch).cast(), _mm512_extracti64x4_epi64::<1>(words));
                }
            }
            return;
        }
        let mut done = [0, 0];
        if strides[1] == 1 {
            // A block has the rows of a micro-tile.
            done = [m, len / 2].map(|n| n / ROWS * ROWS);
            for i in (0..done[0]).step_by(ROWS) {
                for k in (0..done[1]).step_by(ROWS) {
                    let from = a.offset(i as isize * strides[0] + 2 * k as isize);
                    S::block(from, strides[0], to.add(i / ROWS * pitch + k * ROWS), ROWS);
                }
            }
        }
        for i in 0..m {
            let from = a.offset(i as isize * strides[0]);
            for k in if i < done[0] { done[1] } else { 0 }..pairs {
                let at = from.offset(2 * k as isize * strides[1]);
                let word = pair(at, strides[1], 2 * k + 1 < len);
                *to.add(i / ROWS * pitch + k * ROWS + i % ROWS) = word;
            }
        }
    }
}
