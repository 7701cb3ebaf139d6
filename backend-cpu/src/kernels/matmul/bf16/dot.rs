//! Micro-tiles of pairs, in registers.

use std::arch::x86_64::*;
use std::cell::Cell;
use std::mem::{MaybeUninit, transmute};

use gradus_tensor_core::half::bf16;

use super::pack::{Source, first, left, panel};
use super::{Given, Old, Product};
use crate::kernels::matmul::pack::LINE;

/// Sums in a register.
pub(super) const LANES: usize = 16;
/// Registers across the widest micro-tile.
pub(super) const ACROSS: usize = 3;
/// Columns of it.
pub(in super::super) const WIDTH: usize = ACROSS * LANES;
/// Rows of the highest.
pub(super) const ROWS: usize = 8;
/// Pairs of a panel: 48 KB.
const PAIRS: usize = 256;
/// Its steps of depth.
pub(in super::super) const DEPTH: usize = 2 * PAIRS;

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
/// As [`Multiplied::product`](super::Multiplied::product), and the machine has the instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma")]
pub(super) unsafe fn panels<S: Source, C: Source>(p: &Product<S, C>, given: Given<C>) {
    let [m, n, depth] = p.shape;
    let mut pairs_of_b = MaybeUninit::<Panel>::uninit();
    let pairs_of_b: *mut u32 = pairs_of_b.as_mut_ptr().cast();
    let mut memory = Borrowed::new();
    // Sums of the depths before, where one panel does not hold all of them.
    let sums: *mut f32 = if depth > DEPTH { memory.words(1, m * n).cast() } else { std::ptr::null_mut() };
    let packs = !S::IS_READY || p.a_strides[1] != 1 || depth % 2 != 0;
    for k in (0..depth).step_by(DEPTH) {
        let len = (depth - k).min(DEPTH);
        let pairs = len.div_ceil(2);
        // From the rows of one micro-tile to those of the next; a little more than they take, so that a pair is
        // not written to addresses that share their place in the cache.
        let pitch = pairs * ROWS + LANES;
        // SAFETY: depth `k` of `a`; the memory holds the packed rows of all micro-tiles and one more.
        let (a, rows_from) = unsafe {
            let a = p.a.offset(k as isize * p.a_strides[1]);
            let packed = if packs {
                let to = memory.words(0, (m.div_ceil(ROWS) + 1) * pitch);
                left(a, p.a_strides, [m, len], to, pitch);
                to
            } else {
                std::ptr::null_mut()
            };
            (a, packed)
        };
        for j in (0..n).step_by(WIDTH) {
            let cols = WIDTH.min(n - j);
            let b = match given.ready {
                Some(ready) => ready.block(k, j / WIDTH).cast(),
                // SAFETY: rows `k..k + len` and columns `j..j + cols` of `b`; the panel has `PAIRS` rows.
                None => unsafe {
                    let from = p.b.offset(k as isize * p.b_strides[0] + j as isize * p.b_strides[1]);
                    panel(from, p.b_strides, [len, cols], pairs_of_b);
                    pairs_of_b.cast_const()
                },
            };
            // The next panel, of which each micro-tile expects a part.
            let (next, share) = match given.ready {
                Some(ready) if j + WIDTH < n => (
                    ready.block(k, j / WIDTH + 1),
                    (pairs * WIDTH * size_of::<u32>()).div_ceil(m.div_ceil(ROWS)),
                ),
                _ => (std::ptr::null(), 0),
            };
            let mut i = 0;
            while i < m {
                let rows = ROWS.min(m - i);
                for at in (0..share).step_by(LINE) {
                    _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add(i / ROWS * share + at).cast());
                }
                let (a, a_row, a_step) = match packs {
                    true => (rows_from.wrapping_add(i / ROWS * pitch).cast_const().cast(), 2, 2 * ROWS),
                    false => (a.wrapping_offset(i as isize * p.a_strides[0]).cast(), p.a_strides[0], 2),
                };
                let before = sums.wrapping_add(i * n + j);
                let c = p.c.wrapping_add(i * p.pitch + j);
                let (old, old_pitch) = match p.old {
                    _ if !given.row.is_null() => (given.row.wrapping_add(j), 0),
                    Old::Keep => (c.cast_const(), p.pitch),
                    Old::Ignore => (std::ptr::null(), 0),
                };
                let tile = Tile {
                    pairs,
                    cols,
                    a,
                    a_row,
                    a_step,
                    b,
                    before: if k > 0 { before } else { std::ptr::null_mut() },
                    after: if k + len < depth { before } else { std::ptr::null_mut() },
                    sums_pitch: n,
                    c,
                    pitch: p.pitch,
                    old,
                    old_pitch,
                    scale: p.scale.single(),
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

/// Packs a block of a panel.
///
/// # Safety
/// As [`Multiplied::pack`](super::Multiplied::pack), and the machine has the instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma")]
pub(in super::super) unsafe fn pack<S: Source>(
    b: *const S,
    strides: [isize; 2],
    block: [usize; 2],
    to: *mut u8,
) {
    // SAFETY: promised by the caller.
    unsafe { panel(b, strides, block, to.cast()) }
}

/// A micro-tile of the result.
struct Tile<C> {
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
    c: *mut C,
    pitch: usize,
    /// What is added, or null.
    old: *const C,
    old_pitch: usize,
    scale: f32,
}

impl<C: Source> Tile<C> {
    /// # Safety
    /// `N` rows from `a`, `c` and the sums on exist; the panel has `pairs` rows; the tile is as wide as the
    /// columns, or wider; called from a function with the features.
    #[inline(always)]
    unsafe fn sum<const N: usize, const V: usize>(&self) {
        // SAFETY: promised by the caller. Registers of any kind are plain bits.
        unsafe {
            for r in 0..N {
                // Rows are too far apart for the machine to guess.
                let to = self.c.wrapping_add(r * self.pitch);
                for at in (0..V * LANES).step_by(LINE / size_of::<C>()) {
                    _mm_prefetch::<_MM_HINT_T0>(to.wrapping_add(at).cast());
                }
                _mm_prefetch::<_MM_HINT_T0>(to.wrapping_add(V * LANES - 1).cast());
            }
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
            let old = if self.old.is_null() {
                _mm512_setzero_ps()
            } else {
                C::old(self.old.wrapping_add(row * self.old_pitch + col), mask)
            };
            C::put(to, mask, _mm512_fmadd_ps(sum, _mm512_set1_ps(self.scale), old));
        }
    }
}
