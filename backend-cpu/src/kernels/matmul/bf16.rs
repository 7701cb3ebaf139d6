//! Products of `bf16` matrices, where there is an instruction for them.
//!
//! AVX-512's `vdpbf16ps` multiplies pairs: each of 16 sums in `f32` takes two products of neighbouring depths, twice
//! the work of a fused multiply-add on `f32` in the same time. So operands stay `bf16`, two steps of depth side by side
//! in a word: `b` is packed that way, a panel of 48 columns and [`PAIRS`] pairs at a time, and `a` is read where it
//! lies if its depth is contiguous and even, otherwise it is packed too. Micro-tiles are those of
//! [`micro`](super::micro).
//!
//! **What is computed.** A product of two `bf16` numbers is exact in `f32`. Sums are kept in `f32` from the first step
//! to the last, and are rounded to `bf16` once, ties to even; what the result is added to enters before that. The
//! instruction takes subnormal numbers for zero and rounds each of its additions to nearest, so a sum differs from one
//! of fused multiply-adds by the rounding of `f32` sums, far below the rounding of the result. Infinities and NaN come
//! out as they do elsewhere. The order of additions depends on the shape alone: any number of threads gives the same
//! bits.

use gradus_tensor_core::half::bf16;

use super::gemm::Old;
use super::micro::{Multiplied, Product};
use crate::Level;

impl Multiplied for bf16 {
    unsafe fn product(level: Level, product: &Product<Self>) {
        #[cfg(target_arch = "x86_64")]
        if level.has_bf16_dot() {
            // SAFETY: promised by the caller; the machine has the instructions.
            return unsafe { dot::panels(product) };
        }
        let _ = level;
        // SAFETY: promised by the caller.
        unsafe { plain(product) }
    }
}

/// The definition, for where there is no such instruction. (Ops do not come here then: they are computed in `f32`.)
///
/// # Safety
/// As [`Multiplied::product`].
unsafe fn plain(p: &Product<bf16>) {
    let [m, n, depth] = p.shape;
    for i in 0..m {
        for j in 0..n {
            let mut sum = 0.0f32;
            for k in 0..depth {
                let at = |strides: [isize; 2], row: usize, col: usize| {
                    row as isize * strides[0] + col as isize * strides[1]
                };
                // SAFETY: elements of `a` and `b`.
                let (a, b) =
                    unsafe { (*p.a.offset(at(p.a_strides, i, k)), *p.b.offset(at(p.b_strides, k, j))) };
                sum = a.to_f32().mul_add(b.to_f32(), sum);
            }
            // SAFETY: an element of `c`.
            let to = unsafe { &mut *p.c.add(i * p.pitch + j) };
            let old = if p.old == Old::Keep { to.to_f32() } else { 0.0 };
            *to = bf16::from_f32(sum.mul_add(p.scale.to_f32(), old));
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod dot {
    use std::arch::x86_64::*;
    use std::cell::Cell;
    use std::mem::{MaybeUninit, transmute};

    use gradus_tensor_core::half::bf16;

    use super::{Old, Product};
    use crate::kernels::matmul::registers::transpose;

    /// Sums in a register.
    const LANES: usize = 16;
    /// Registers across the widest micro-tile.
    const ACROSS: usize = 3;
    const WIDTH: usize = ACROSS * LANES;
    /// Rows of the highest.
    const ROWS: usize = 8;
    /// Pairs of a panel: 48 KB.
    const PAIRS: usize = 256;

    #[repr(align(64))]
    struct Panel {
        _words: [[u32; WIDTH]; PAIRS],
    }

    thread_local! {
        /// Packed rows and sums of the depths before, kept from one product to the next.
        static MEMORY: Cell<[Vec<u32>; 2]> = const { Cell::new([Vec::new(), Vec::new()]) };
    }

    /// Memory of this thread, which goes back when this is dropped.
    struct Borrowed([Vec<u32>; 2]);

    impl Borrowed {
        fn new() -> Self {
            Borrowed(MEMORY.take())
        }

        /// One of both, with at least so many words of any contents.
        fn words(&mut self, which: usize, len: usize) -> *mut u32 {
            if self.0[which].len() < len {
                self.0[which].resize(len, 0);
            }
            self.0[which].as_mut_ptr()
        }
    }

    impl Drop for Borrowed {
        fn drop(&mut self) {
            MEMORY.set(std::mem::take(&mut self.0));
        }
    }

    /// # Safety
    /// As [`Multiplied::product`]; the machine has the instructions.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma")]
    pub(super) unsafe fn panels(p: &Product<bf16>) {
        let [m, n, depth] = p.shape;
        let mut panel = MaybeUninit::<Panel>::uninit();
        let panel: *mut u32 = panel.as_mut_ptr().cast();
        let mut memory = Borrowed::new();
        // Sums of the depths before, where one panel does not hold all of them.
        let sums: *mut f32 =
            if depth > 2 * PAIRS { memory.words(1, m * n).cast() } else { std::ptr::null_mut() };
        let packs = p.a_strides[1] != 1 || depth % 2 != 0;
        for k in (0..depth).step_by(2 * PAIRS) {
            let len = (depth - k).min(2 * PAIRS);
            let pairs = len.div_ceil(2);
            // From the rows of one micro-tile to those of the next; a little more than they take, so that a pair is
            // not written to addresses that share their place in the cache.
            let pitch = pairs * ROWS + LANES;
            // SAFETY: depth `k` of `a`; the memory holds the packed rows of all micro-tiles and one more.
            let (a, rows_from) = unsafe {
                let a = p.a.offset(k as isize * p.a_strides[1]);
                let packed = if packs {
                    let to = memory.words(0, (m.div_ceil(ROWS) + 1) * pitch);
                    pack_left(a, p.a_strides, [m, len], to, pitch);
                    to
                } else {
                    std::ptr::null_mut()
                };
                (a, packed)
            };
            for j in (0..n).step_by(WIDTH) {
                let cols = WIDTH.min(n - j);
                // SAFETY: rows `k..k + len` and columns `j..j + cols` of `b`; the panel has `PAIRS` rows.
                unsafe {
                    let from = p.b.offset(k as isize * p.b_strides[0] + j as isize * p.b_strides[1]);
                    pack(from, p.b_strides, [len, cols], panel);
                }
                let mut i = 0;
                while i < m {
                    let rows = ROWS.min(m - i);
                    let (a, a_row, a_step) = match packs {
                        true => (rows_from.wrapping_add(i / ROWS * pitch).cast_const().cast(), 2, 2 * ROWS),
                        false => (a.wrapping_offset(i as isize * p.a_strides[0]), p.a_strides[0], 2),
                    };
                    let before = sums.wrapping_add(i * n + j);
                    let tile = Tile {
                        pairs,
                        cols,
                        a,
                        a_row,
                        a_step,
                        b: panel,
                        before: if k > 0 { before } else { std::ptr::null_mut() },
                        after: if k + len < depth { before } else { std::ptr::null_mut() },
                        sums_pitch: n,
                        c: p.c.wrapping_add(i * p.pitch + j),
                        pitch: p.pitch,
                        keep: p.old == Old::Keep,
                        scale: p.scale.to_f32(),
                    };
                    // SAFETY: the tile's rows and columns are those of the matrices.
                    unsafe {
                        match rows {
                            8 if cols <= LANES => tile.sum::<8, 1>(),
                            8 if cols <= 2 * LANES => tile.sum::<8, 2>(),
                            8 => tile.sum::<8, ACROSS>(),
                            7 => tile.sum::<7, ACROSS>(),
                            6 => tile.sum::<6, ACROSS>(),
                            5 => tile.sum::<5, ACROSS>(),
                            4 => tile.sum::<4, ACROSS>(),
                            3 => tile.sum::<3, ACROSS>(),
                            2 => tile.sum::<2, ACROSS>(),
                            _ => tile.sum::<1, ACROSS>(),
                        }
                    }
                    i += rows;
                }
            }
        }
    }

    /// The first `n` of 16 lanes.
    #[inline(always)]
    fn first(n: usize) -> __mmask16 {
        ((1u32 << n.min(LANES)) - 1) as __mmask16
    }

    /// Numbers of two rows side by side, each pair in a word; zeros beyond the mask and for a row that is null.
    ///
    /// # Safety
    /// The numbers may be read; called from a function with the features.
    #[inline(always)]
    unsafe fn zip(upper: *const bf16, lower: *const bf16, mask: __mmask16) -> __m512i {
        // SAFETY: promised by the caller.
        unsafe {
            let x = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, upper.cast()));
            if lower.is_null() {
                return x;
            }
            let y = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, lower.cast()));
            _mm512_or_si512(x, _mm512_slli_epi32::<16>(y))
        }
    }

    /// A pair as a word, of two numbers that are `stride` apart; the second is zero if there is none.
    ///
    /// # Safety
    /// The numbers may be read.
    #[inline(always)]
    unsafe fn pair(at: *const bf16, stride: isize, both: bool) -> u32 {
        // SAFETY: promised by the caller.
        unsafe {
            let second = if both { (*at.offset(stride)).to_bits() as u32 } else { 0 };
            (*at).to_bits() as u32 | second << 16
        }
    }

    /// Copies a part of `b`: a row of the panel has the pairs of one step of 48 columns, with zeros beyond the last
    /// column and depth.
    ///
    /// # Safety
    /// The elements may be read; the panel holds so many rows; called from a function with the features.
    #[inline(always)]
    unsafe fn pack(b: *const bf16, strides: [isize; 2], [len, cols]: [usize; 2], panel: *mut u32) {
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
                        transpose(from.cast(), 2 * strides[1], panel.add(i * WIDTH + j).cast(), WIDTH);
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
    fn lower_at(row: *const bf16, at: usize) -> *const bf16 {
        if row.is_null() { row } else { row.wrapping_add(at) }
    }

    /// Copies columns of `a`, so that the pairs of a micro-tile's rows are side by side, step after step.
    ///
    /// # Safety
    /// The elements may be read; there is room for the rows of all micro-tiles, `pitch` words apart, and one more;
    /// called from a function with the features.
    #[inline(always)]
    unsafe fn pack_left(
        a: *const bf16,
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
            for i in 0..m {
                let from = a.offset(i as isize * strides[0]);
                for k in 0..pairs {
                    let at = from.offset(2 * k as isize * strides[1]);
                    let word = pair(at, strides[1], 2 * k + 1 < len);
                    *to.add(i / ROWS * pitch + k * ROWS + i % ROWS) = word;
                }
            }
        }
    }

    /// A micro-tile of the result.
    struct Tile {
        pairs: usize,
        cols: usize,
        a: *const bf16,
        /// From one row of `a` to the next, and from one pair to the next.
        a_row: isize,
        a_step: usize,
        b: *const u32,
        /// Sums of the depths before, or null; and where to keep those up to here, or null after the last.
        before: *const f32,
        after: *mut f32,
        sums_pitch: usize,
        c: *mut bf16,
        pitch: usize,
        keep: bool,
        scale: f32,
    }

    impl Tile {
        /// # Safety
        /// `N` rows from `a`, `c` and the sums on exist; the panel has `pairs` rows; the tile is as wide as the
        /// columns, or wider; called from a function with the features.
        #[inline(always)]
        unsafe fn sum<const N: usize, const V: usize>(&self) {
            // SAFETY: promised by the caller. Registers of any kind are plain bits.
            unsafe {
                let mut sums = [[_mm512_setzero_ps(); V]; N];
                let (mut a, mut b) = (self.a, self.b);
                for _ in 0..self.pairs {
                    let mut row: [__m512bh; V] = [transmute::<__m512i, __m512bh>(_mm512_setzero_si512()); V];
                    for (v, row) in row.iter_mut().enumerate() {
                        *row = transmute::<__m512i, __m512bh>(_mm512_loadu_si512(b.add(v * LANES).cast()));
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let word = a.offset(r as isize * self.a_row).cast::<i32>().read_unaligned();
                        let x = transmute::<__m512i, __m512bh>(_mm512_set1_epi32(word));
                        for v in 0..V {
                            sums[v] = _mm512_dpbf16_ps(sums[v], x, row[v]);
                        }
                    }
                    a = a.wrapping_add(self.a_step);
                    b = b.wrapping_add(WIDTH);
                }
                // By way of memory: a loop that is not unrolled over registers would keep them there all along.
                let mut tile = MaybeUninit::<[[[f32; LANES]; V]; N]>::uninit();
                let tile: *mut f32 = tile.as_mut_ptr().cast();
                for (r, sums) in sums.iter().enumerate() {
                    for (v, &sum) in sums.iter().enumerate() {
                        _mm512_storeu_ps(tile.add((r * V + v) * LANES), sum);
                    }
                }
                for r in 0..N {
                    for v in 0..V {
                        let mask = first(self.cols.saturating_sub(v * LANES));
                        self.put(_mm512_loadu_ps(tile.add((r * V + v) * LANES)), r, v * LANES, mask);
                    }
                }
            }
        }

        /// Adds sums of the depths before, and keeps or rounds what comes out.
        ///
        /// # Safety
        /// The elements under the mask exist; called from a function with the features.
        #[inline(always)]
        unsafe fn put(&self, mut sum: __m512, row: usize, col: usize, mask: __mmask16) {
            let at = row * self.sums_pitch + col;
            // SAFETY: promised by the caller.
            unsafe {
                if !self.before.is_null() {
                    sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, self.before.wrapping_add(at)));
                }
                if !self.after.is_null() {
                    return _mm512_mask_storeu_ps(self.after.wrapping_add(at), mask, sum);
                }
                let to = self.c.wrapping_add(row * self.pitch + col);
                let old = if self.keep {
                    let old = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, to.cast()));
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(old))
                } else {
                    _mm512_setzero_ps()
                };
                let sum = _mm512_fmadd_ps(sum, _mm512_set1_ps(self.scale), old);
                let rounded = transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(sum));
                _mm256_mask_storeu_epi16(to.cast(), mask, rounded);
            }
        }
    }
}
