//! Runs of columns moved under masks, with AVX-512: most are shorter than a register, and every other element of one
//! is a permutation.

use std::arch::x86_64::*;

use gradus_tensor_core::Element;

use super::columns::Columns;
use crate::Level;

/// `f32` in a register.
const LANES: usize = 16;

/// Whether runs of elements of that size are moved here.
pub(super) fn suits(level: Level, stride: usize, size: usize) -> bool {
    level >= Level::Avx512 && stride <= 2 && matches!(size, 2 | 4)
}

/// [`Columns::gather`], for columns that are `STRIDE` apart.
///
/// # Safety
/// The machine has AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
pub(super) unsafe fn gather<T: Element, const STRIDE: usize>(
    columns: &Columns,
    image: &[T],
    to: &mut [T],
    pitch: usize,
) {
    // SAFETY: both runs are as long as each other, in columns.
    columns.each_run(image, to, pitch, |to, from| unsafe {
        let (to, from, len) = (to.as_mut_ptr(), from.as_ptr(), to.len());
        match size_of::<T>() {
            2 => (0..len).step_by(2 * LANES / STRIDE).for_each(|i| {
                halves::<STRIDE>(from.add(STRIDE * i).cast(), to.add(i).cast(), len - i);
            }),
            _ => (0..len).step_by(LANES).for_each(|i| {
                words::<STRIDE>(from.add(STRIDE * i).cast(), to.add(i).cast(), len - i);
            }),
        }
    });
}

/// [`Columns::scatter`].
///
/// # Safety
/// The machine has AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
pub(super) unsafe fn scatter<const STRIDE: usize>(
    columns: &Columns,
    from: &[f32],
    pitch: usize,
    channel: &mut [f32],
) {
    // SAFETY: both runs are as long as each other, in columns.
    columns.each_sum(from, pitch, channel, |to, from| unsafe {
        let (to, from, len) = (to.as_mut_ptr(), from.as_ptr(), from.len());
        for i in (0..len).step_by(LANES) {
            let columns = (len - i).min(LANES);
            let x = _mm512_maskz_loadu_ps(first(columns) as __mmask16, from.add(i));
            let to = to.add(STRIDE * i);
            if STRIDE == 1 {
                add(to, first(columns), x);
                continue;
            }
            // Every other element: zeros are added in between.
            let low = _mm512_setr_epi32(0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0);
            let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
            let mask = first(2 * columns - 1);
            add(to, mask, _mm512_maskz_permutexvar_ps(0x5555, low, x));
            if columns > LANES / 2 {
                let x = _mm512_maskz_permutexvar_ps(0x5555, high, x);
                add(to.add(LANES), mask >> LANES, x);
            }
        }
    });
}

/// The first so many lanes, of 32.
#[inline(always)]
fn first(n: usize) -> __mmask32 {
    ((1u64 << n.min(2 * LANES)) - 1) as __mmask32
}

/// # Safety
/// Called from a function with the features; the elements under the mask may be written.
#[inline(always)]
unsafe fn add(to: *mut f32, mask: __mmask32, x: __m512) {
    // SAFETY: promised by the caller.
    unsafe {
        let mask = mask as __mmask16;
        let old = _mm512_maskz_loadu_ps(mask, to);
        _mm512_mask_storeu_ps(to, mask, _mm512_add_ps(old, x));
    }
}

/// Copies at most a register of elements of two bytes.
///
/// # Safety
/// Called from a function with the features; the elements may be read and written, of which there are more than none.
#[inline(always)]
unsafe fn halves<const STRIDE: usize>(from: *const i16, to: *mut i16, columns: usize) {
    // SAFETY: promised by the caller.
    unsafe {
        if STRIDE == 1 {
            let mask = first(columns);
            _mm512_mask_storeu_epi16(to, mask, _mm512_maskz_loadu_epi16(mask, from));
        } else {
            let columns = columns.min(LANES);
            let x = _mm512_maskz_loadu_epi16(first(2 * columns - 1), from);
            _mm256_mask_storeu_epi16(to, first(columns) as __mmask16, _mm512_cvtepi32_epi16(x));
        }
    }
}

/// The same for elements of four bytes.
///
/// # Safety
/// As [`halves`].
#[inline(always)]
unsafe fn words<const STRIDE: usize>(from: *const i32, to: *mut i32, columns: usize) {
    let columns = columns.min(LANES);
    // SAFETY: promised by the caller.
    unsafe {
        let x = if STRIDE == 1 {
            _mm512_maskz_loadu_epi32(first(columns) as __mmask16, from)
        } else {
            let mask = first(2 * columns - 1);
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let low = _mm512_maskz_loadu_epi32(mask as __mmask16, from);
            let high = _mm512_maskz_loadu_epi32((mask >> LANES) as __mmask16, from.wrapping_add(LANES));
            _mm512_permutex2var_epi32(low, even, high)
        };
        _mm512_mask_storeu_epi32(to, first(columns) as __mmask16, x);
    }
}
