//! From products to planes of `bf16`.

use std::arch::x86_64::*;

use super::{Grid, IN, LANES, OUT};
use crate::kernels::conv::winograd::four::Four;
use crate::kernels::conv::winograd::planes::Products;
use crate::kernels::conv::winograd::tile::{MOST, Output, Transform, add};
use crate::kernels::dense::{Parts, Stored};

/// Numbers rounded to the upper half of their words, ties to even; NaN stays NaN. The lower halves are anything.
///
/// # Safety
/// The machine has AVX-512; called from a function with it.
#[inline(always)]
unsafe fn rounded(x: __m512) -> __m512i {
    // SAFETY: promised by the caller.
    unsafe {
        let bits = _mm512_castps_si512(x);
        let last = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), last);
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
        _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x40_0000))
    }
}

/// Where the rows that tiles write begin in the first image's plane, and the distance to those of the next.
pub(in super::super) struct Target<'a, 'b, S> {
    pub(in super::super) planes: &'a Parts<'b, S>,
    pub(in super::super) first: usize,
    pub(in super::super) pitch: usize,
    /// Images, rows that are written, and their length.
    pub(in super::super) images: usize,
    pub(in super::super) rows: usize,
    pub(in super::super) len: usize,
}

/// Transforms the products of one output channel into rounded planes: what lies at `from`, tile after tile.
///
/// # Panics
/// There is too little scratch memory, or planes lie outside their slice: bugs in the caller.
///
/// # Safety
/// The machine has AVX-512; 36 values of all tiles can be read, and no other call accesses the rows that are written.
pub(in super::super) unsafe fn scatter<S: Stored>(
    target: &Target<'_, '_, S>,
    grid: Grid,
    from: Products<f32>,
    bias: f32,
    scratch: &mut [f32],
) {
    let line = grid.line();
    assert!(size_of::<S>() == size_of::<u16>(), "planes of another type");
    assert!(
        2 * scratch.len() >= OUT * line && target.len <= OUT * grid.columns,
        "too little memory for lines"
    );
    assert!(
        target.images * grid.columns <= grid.row && target.rows <= OUT * grid.rows,
        "tiles beyond their row"
    );
    let lines = scratch.as_mut_ptr().cast::<u16>();
    for r in 0..grid.rows {
        // SAFETY: the lines hold the rows of a tile row; the rest is promised by the caller.
        unsafe {
            let from = Products { start: from.start.add(r * grid.row), ..from };
            scatter_row(grid, from, bias, lines);
            for a in 0..OUT.min(target.rows - (r * OUT).min(target.rows)) {
                let (from, at) = (lines.add(a * line), target.first + (r * OUT + a) * target.len);
                match target.len {
                    4 => target.copy::<4>(from, at, grid),
                    8 => target.copy::<8>(from, at, grid),
                    16 => target.copy::<16>(from, at, grid),
                    32 => target.copy::<32>(from, at, grid),
                    _ => target.copy::<0>(from, at, grid),
                }
            }
        }
    }
}

/// # Safety
/// As [`scatter`], for one row of tiles; called by it, which has checked the rest.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
unsafe fn scatter_row(grid: Grid, from: Products<f32>, bias: f32, lines: *mut u16) {
    // SAFETY: promised by the caller.
    unsafe {
        let (bias, low) = (_mm512_set1_ps(bias), _mm512_set1_epi32(0xffff));
        let first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let second = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        for p in (0..grid.row).step_by(LANES) {
            let mut columns = [[_mm512_setzero_ps(); MOST]; IN];
            for (k, column) in columns.iter_mut().enumerate() {
                let mut values = [_mm512_setzero_ps(); MOST];
                for (i, value) in values.iter_mut().enumerate() {
                    *value = _mm512_loadu_ps(from.start.add((i * IN + k) * from.stride + p));
                }
                *column = <Output as Transform<Four>>::apply(values);
            }
            for a in 0..OUT {
                let mut values = [_mm512_setzero_ps(); MOST];
                for (value, column) in values.iter_mut().zip(&columns) {
                    *value = column[a];
                }
                let [y0, y1, y2, y3, ..] = <Output as Transform<Four>>::apply(values);
                let word = |x: __m512, y: __m512| {
                    let (x, y) = (rounded(add(x, bias)), rounded(add(y, bias)));
                    // The lower half from the first, the upper from the second.
                    _mm512_ternarylogic_epi32::<0xca>(low, _mm512_srli_epi32::<16>(x), y)
                };
                let (x, y) = (word(y0, y1), word(y2, y3));
                let to = lines.add(a * grid.line() + OUT * p);
                _mm512_storeu_si512(to.cast(), _mm512_permutex2var_epi32(x, first, y));
                _mm512_storeu_si512(to.add(2 * LANES).cast(), _mm512_permutex2var_epi32(x, second, y));
            }
        }
    }
}

impl<S: Stored> Target<'_, '_, S> {
    /// Copies a row to all images, of a length that is known unless `N` is 0.
    ///
    /// # Safety
    /// The line holds the rows of all images; no other call accesses what is written.
    #[inline(always)]
    unsafe fn copy<const N: usize>(&self, from: *const u16, at: usize, grid: Grid) {
        let len = if N > 0 { N } else { self.len };
        for i in 0..self.images {
            // SAFETY: promised by the caller; the part is checked.
            unsafe {
                let to = self.planes.part(at + i * self.pitch..at + i * self.pitch + len);
                let from = from.add(i * OUT * grid.columns);
                std::ptr::copy_nonoverlapping(from, to.as_mut_ptr().cast::<u16>(), len);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gradus_tensor_core::half::bf16;

    use super::*;
    use crate::Level;
    use crate::math::half::Half;

    #[target_feature(enable = "avx512f")]
    fn upper(x: [f32; LANES]) -> [u16; LANES] {
        let mut words = [0u32; LANES];
        // SAFETY: that feature; so many words lie there.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), rounded(_mm512_loadu_ps(x.as_ptr()))) };
        words.map(|word| (word >> 16) as u16)
    }

    #[test]
    fn numbers_are_rounded_as_elsewhere() {
        if Level::detect() < Level::Avx512 {
            return;
        }
        let low = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x1234, 0xfedc];
        for high in (0..=u16::MAX).step_by(2) {
            let x: [f32; LANES] =
                std::array::from_fn(|i| f32::from_bits(((high as u32 + i as u32 / 8) << 16) + low[i % 8]));
            // SAFETY: the machine has AVX-512.
            let got = unsafe { upper(x) };
            for (x, got) in x.into_iter().zip(got) {
                let want = bf16::from_single(x);
                assert!(got == want.to_bits() || want.is_nan() && bf16::from_bits(got).is_nan(), "{x:e}");
            }
        }
    }
}
