//! Rows of bytes times rows of the weight where both lie, without packing.

use std::ops::Range;

use gradus_tensor_core::Result;

use super::Job;
use crate::level::Kernel;

/// Rows of the weight that are multiplied together.
const WIDE: usize = 4;

/// The products of a row of unsigned bytes with [`WIDE`] rows of signed ones.
pub(super) trait Dot {
    /// All rows have the length of `x`.
    fn dot(x: &[u8], weight: [&[i8]; WIDE]) -> [i32; WIDE];
}

/// The rows and columns of one task.
pub(super) fn block<D: Dot>(job: &Job<'_>, rows: Range<usize>, columns: Range<usize>) -> Result<()> {
    let k = job.sizes[2];
    for first in columns.clone().step_by(WIDE) {
        let used = WIDE.min(columns.end - first);
        // Beyond the last row: that one again.
        let weight: [&[i8]; WIDE] =
            std::array::from_fn(|i| &job.weight[(first + i.min(used - 1)) * k..][..k]);
        let sums = weight.map(|w| job.level.run(Sum(w)));
        for r in rows.clone() {
            let products = D::dot(&job.x.row(r)[..k], weight);
            job.finish(r, first, &products[..used], &sums[..used]);
        }
    }
    Ok(())
}

struct Sum<'a>(&'a [i8]);

impl Kernel for Sum<'_> {
    type Output = i32;

    #[inline(always)]
    fn run(self) -> i32 {
        self.0.iter().map(|&w| i32::from(w)).sum()
    }
}

/// One pair after the other.
pub(super) struct Scalar;

impl Dot for Scalar {
    fn dot(x: &[u8], weight: [&[i8]; WIDE]) -> [i32; WIDE] {
        weight.map(|w| x.iter().zip(w).map(|(&x, &w)| i32::from(x) * i32::from(w)).sum())
    }
}

/// Sixteen pairs at once, as numbers of 16 bits: neighbouring products are added in 32 bits. (The instruction for pairs
/// of bytes adds in 16 bits, and saturates.)
pub(super) struct Avx2;

impl Dot for Avx2 {
    fn dot(x: &[u8], weight: [&[i8]; WIDE]) -> [i32; WIDE] {
        #[cfg(target_arch = "x86_64")]
        {
            assert!(weight.iter().all(|w| w.len() == x.len()), "rows of different lengths");
            // SAFETY: this path is taken at levels that have AVX2 only; the lengths are equal.
            unsafe { avx2(x, weight) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Scalar::dot(x, weight)
    }
}

/// # Safety
/// The machine has AVX2; all rows have the length of `x`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn avx2(x: &[u8], weight: [&[i8]; WIDE]) -> [i32; WIDE] {
    use std::arch::x86_64::*;
    const STEP: usize = 16;
    let mut sums = [_mm256_setzero_si256(); WIDE];
    let whole = x.len() / STEP * STEP;
    for at in (0..whole).step_by(STEP) {
        // SAFETY: `STEP` bytes follow `at` in each row.
        unsafe {
            let q = _mm256_cvtepu8_epi16(_mm_loadu_si128(x.as_ptr().add(at).cast()));
            for (sum, w) in sums.iter_mut().zip(weight) {
                let w = _mm256_cvtepi8_epi16(_mm_loadu_si128(w.as_ptr().add(at).cast()));
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(q, w));
            }
        }
    }
    let mut out = Scalar::dot(&x[whole..], weight.map(|w| &w[whole..]));
    for (out, sum) in out.iter_mut().zip(sums) {
        let half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        let quarter = _mm_add_epi32(half, _mm_unpackhi_epi64(half, half));
        *out += _mm_cvtsi128_si32(_mm_add_epi32(quarter, _mm_shuffle_epi32::<1>(quarter)));
    }
    out
}
