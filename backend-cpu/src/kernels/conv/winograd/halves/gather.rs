//! From planes of `bf16` to what the products take.

use std::arch::x86_64::*;

use super::{Grid, IN, LANES, OUT};
use crate::kernels::conv::winograd::four::Four;
use crate::kernels::conv::winograd::planes::{Laid, Products};
use crate::kernels::conv::winograd::tile::{MOST, Transform};
use crate::kernels::dense::Stored;

/// Elements in a register.
const REGISTER: usize = 2 * LANES;

/// One channel of some images: row `r` of image `i` at `i * pitch + r * size[1]`.
#[derive(Clone, Copy)]
pub(in super::super) struct Planes<'a, S> {
    pub(in super::super) data: &'a [S],
    pub(in super::super) images: usize,
    pub(in super::super) pitch: usize,
    pub(in super::super) size: [usize; 2],
    /// The row and column where the first tile begins.
    pub(in super::super) first: [isize; 2],
}

/// Transforms planes into what the products take.
///
/// # Panics
/// The planes lie outside their slice, or there is too little scratch memory: bugs in the caller.
///
/// # Safety
/// The machine has AVX-512; all tiles have room for 36 values of theirs.
pub(in super::super) unsafe fn gather<S: Stored, X: Transform<Four>>(
    planes: Planes<'_, S>,
    grid: Grid,
    scratch: &mut [f32],
    to: Products<f32>,
    laid: Laid,
) {
    let Planes { data, images, pitch, size, .. } = planes;
    assert!(size_of::<S>() == size_of::<u16>(), "planes of another type");
    assert!(
        images > 0 && data.len() >= (images - 1) * pitch + size[0] * size[1],
        "planes outside their slice"
    );
    assert!(grid.columns * images <= grid.row, "tiles beyond their row");
    assert!(scratch.len() >= grid.gathers(X::SIZES[0]) && X::SIZES[1] == IN, "too little memory for lines");
    // SAFETY: just checked, and promised by the caller.
    unsafe { gather_lines::<S, X>(planes, grid, scratch.as_mut_ptr(), to, laid) }
}

/// # Safety
/// As [`gather`], which has checked the rest.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
unsafe fn gather_lines<S: Stored, X: Transform<Four>>(
    planes: Planes<'_, S>,
    grid: Grid,
    scratch: *mut f32,
    to: Products<f32>,
    laid: Laid,
) {
    let inputs = X::SIZES[0];
    let (width, line, lines) = (grid.width(), grid.line(), grid.rows * OUT + inputs - OUT);
    // SAFETY: the scratch memory holds so many lines of values, and two of elements for each of them.
    unsafe {
        let near = scratch.add(lines * IN * width).cast::<u16>();
        let further = inputs > OUT;
        // Of images whose rows are a register each, words are read where they lie. Of others all elements are copied first:
        // words that were just written in several parts are slow to read.
        let whole = OUT * grid.columns == REGISTER;
        match OUT * grid.columns {
            _ if whole => {}
            4 => planes.copy::<4>(grid, lines, further, near),
            8 => planes.copy::<8>(grid, lines, further, near),
            16 => planes.copy::<16>(grid, lines, further, near),
            _ => planes.copy::<32>(grid, lines, further, near),
        }
        let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
        let mut done = 0;
        for r in 0..grid.rows {
            for h in done..r * OUT + inputs {
                let values_to = scratch.add(h * IN * width);
                if planes.row(h).is_none() {
                    values_to.write_bytes(0, IN * width);
                    continue;
                }
                let near = near.add(2 * h * line);
                for p in (0..grid.row).step_by(LANES) {
                    let words = |further: usize| {
                        if whole {
                            let image = p / grid.columns;
                            return [planes.line(h, image, further), planes.line(h, image + 1, further)];
                        }
                        let at = near.add(further / OUT * line + OUT * p);
                        [_mm512_loadu_si512(at.cast()), _mm512_loadu_si512(at.add(REGISTER).cast())]
                    };
                    let mut values = [_mm512_setzero_ps(); MOST];
                    let [a, b] = words(0);
                    [values[0], values[1]] = widened(_mm512_permutex2var_epi32(a, even, b));
                    [values[2], values[3]] = widened(_mm512_permutex2var_epi32(a, odd, b));
                    if further {
                        let [a, b] = words(OUT);
                        [values[4], values[5]] = widened(_mm512_permutex2var_epi32(a, even, b));
                    }
                    for (k, value) in X::apply(values).into_iter().enumerate() {
                        _mm512_storeu_ps(values_to.add(k * width + p), value);
                    }
                }
            }
            done = r * OUT + inputs;
            for p in (0..grid.row).step_by(LANES) {
                let to_tiles = to.start.add(laid.at(r * grid.row + p));
                for k in 0..IN {
                    let mut values = [_mm512_setzero_ps(); MOST];
                    for (i, value) in values.iter_mut().take(inputs).enumerate() {
                        *value = _mm512_loadu_ps(scratch.add(((r * OUT + i) * IN + k) * width + p));
                    }
                    for (i, value) in X::apply(values).into_iter().enumerate() {
                        let to = to_tiles.add((i * IN + k) * to.stride);
                        _mm512_storeu_ps(to, value);
                        // The next channel's, which no prefetcher expects: more streams than it follows.
                        _mm_prefetch::<_MM_HINT_ET0>(to.wrapping_add(laid.channel).cast());
                    }
                }
            }
        }
    }
}

impl<S: Stored> Planes<'_, S> {
    /// The row of the images that is line `h` of the tiles.
    #[inline(always)]
    fn row(&self, h: usize) -> Option<usize> {
        let row = self.first[0] + h as isize;
        (row >= 0 && row < self.size[0] as isize).then_some(row as usize)
    }

    /// Which of the `N` elements from that one of a row on lie in the row.
    #[inline(always)]
    fn mask<const N: usize>(&self, at: isize) -> u32 {
        let clamp = |x: isize| x.clamp(0, N as isize) as u32;
        (((1u64 << clamp(self.size[1] as isize - at)) - 1) & !((1u64 << clamp(-at)) - 1)) as u32
    }

    /// Line `h` of that image, from `further` elements behind the first tile's column on: zeros outside of it, and of all
    /// behind the last one.
    ///
    /// # Safety
    /// The line is a row of the images. Called from a function with AVX-512.
    #[inline(always)]
    unsafe fn line(&self, h: usize, image: usize, further: usize) -> __m512i {
        let at = self.first[1] + further as isize;
        let mask = if image < self.images { self.mask::<REGISTER>(at) } else { 0 };
        let row = image * self.pitch + self.row(h).unwrap_or(0) * self.size[1];
        let from = self.data.as_ptr().cast::<u16>().wrapping_add(row).wrapping_offset(at);
        // SAFETY: what is under the mask lies in a row, which lies in the slice. A hint reads nothing.
        unsafe {
            // The next channel's.
            _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(self.size[0] * self.size[1]).cast());
            _mm512_maskz_loadu_epi16(mask, from.cast())
        }
    }

    /// Copies the lines of all images, from the first tile's column on: of each image as many elements as all of its tiles
    /// have columns, zeros outside of it and behind the last image; and the same from the first column of the second tile
    /// on, if that is wanted. `N` elements at a time; image by image, since there are caches that hold but a few planes of
    /// one channel, a power of two apart.
    ///
    /// # Safety
    /// There is room for two lines each. Called from a function with AVX-512.
    #[inline(always)]
    unsafe fn copy<const N: usize>(&self, grid: Grid, lines: usize, further: bool, to: *mut u16) {
        let (each, line) = (OUT * grid.columns, grid.line());
        let [first, second] = [0, OUT as isize].map(|further| self.first[1] + further);
        // SAFETY: what is read lies in a row, which lies in the slice; what is written behind an image belongs to the next
        // one, or is less than what there is room for behind the line. A hint reads nothing.
        unsafe {
            for i in 0..self.images {
                let plane = self.data.as_ptr().cast::<u16>().wrapping_add(i * self.pitch);
                for h in 0..lines {
                    let Some(row) = self.row(h) else { continue };
                    let (from, to) =
                        (plane.wrapping_add(row * self.size[1]), to.add(2 * h * line + i * each));
                    // The next channel's.
                    _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(self.size[0] * self.size[1]).cast());
                    for t in (0..each).step_by(N) {
                        let from = from.wrapping_add(t);
                        let at = first + t as isize;
                        copied::<N>(self.mask::<N>(at), from.wrapping_offset(first), to.add(t));
                        if further {
                            let at = second + t as isize;
                            copied::<N>(self.mask::<N>(at), from.wrapping_offset(second), to.add(line + t));
                        }
                    }
                }
            }
            let used = self.images * each;
            if used < OUT * grid.row {
                (0..2 * lines).for_each(|l| to.add(l * line + used).write_bytes(0, OUT * grid.row - used));
            }
        }
    }
}

/// Copies `N` elements, which are a register: those under the mask, and zeros.
///
/// # Safety
/// Those under the mask can be read, and all of them written; called from a function with AVX-512.
#[inline(always)]
unsafe fn copied<const N: usize>(mask: u32, from: *const u16, to: *mut u16) {
    // SAFETY: promised by the caller.
    unsafe {
        let (from, to) = (from.cast(), to.cast::<u8>());
        match N {
            4 => _mm_storel_epi64(to.cast(), _mm_maskz_loadu_epi16(mask as u8, from)),
            8 => _mm_storeu_si128(to.cast(), _mm_maskz_loadu_epi16(mask as u8, from)),
            16 => _mm256_storeu_si256(to.cast(), _mm256_maskz_loadu_epi16(mask as u16, from)),
            _ => _mm512_storeu_si512(to.cast(), _mm512_maskz_loadu_epi16(mask, from)),
        }
    }
}

/// Both elements of all words.
///
/// # Safety
/// The machine has AVX-512; called from a function with it.
#[inline(always)]
unsafe fn widened(words: __m512i) -> [__m512; 2] {
    // SAFETY: promised by the caller.
    unsafe {
        let high = _mm512_and_si512(words, _mm512_set1_epi32(0xffff_0000u32 as i32));
        [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(words)), _mm512_castsi512_ps(high)]
    }
}
