//! Products of `f32` matrices in registers, for AVX2 and AVX-512.
//!
//! A micro-tile of the result, 8 x 48 with AVX-512, is summed in registers: each step takes three vectors of a row of
//! `b` and one number from each of eight rows of `a`. Only `b` is packed, a panel of 48 columns and [`DEPTH`] rows at a
//! time, which then stays in the first two caches while all rows of `a` pass; `a` is read where it lies, whatever its
//! strides. A library for large products packs both operands first, which for products that are a few hundred on a
//! side takes as long as the multiplications.
//!
//! Every element is the sum in order of its depth, fused multiply-adds in blocks of [`DEPTH`], wherever it lies in a
//! tile: results do not depend on how a caller cuts a product.

use std::arch::x86_64::*;

use super::gemm::Old;
use crate::Level;

/// Depth of a panel: 48 KB with AVX-512.
const DEPTH: usize = 256;
/// Vectors across a micro-tile.
const VECTORS: usize = 3;

/// `c = scale * a @ b` or `c += scale * a @ b`, as addresses and strides in elements; rows of `c` are contiguous.
#[derive(Clone, Copy)]
pub(super) struct Product {
    pub(super) shape: [usize; 3],
    pub(super) c: *mut f32,
    pub(super) pitch: usize,
    pub(super) old: Old,
    pub(super) scale: f32,
    pub(super) a: *const f32,
    pub(super) a_strides: [isize; 2],
    pub(super) b: *const f32,
    pub(super) b_strides: [isize; 2],
}

/// Whether this machine has a kernel.
pub(super) fn available(level: Level) -> bool {
    level >= Level::Avx2
}

/// Multiplies on the calling thread.
///
/// # Safety
/// The level is [available] and the machine's; all elements of the three matrices may be accessed, and nobody else
/// accesses those of `c`.
pub(super) unsafe fn run(level: Level, product: &Product) {
    // SAFETY: promised by the caller.
    unsafe {
        #[cfg(not(debug_assertions))]
        if level == Level::Avx512 {
            return avx512(product);
        }
        let _ = level;
        avx2(product);
    }
}

#[cfg(not(debug_assertions))]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn avx512(product: &Product) {
    // SAFETY: promised by the caller.
    unsafe { panels::<__m512, 8>(product) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(product: &Product) {
    // SAFETY: promised by the caller.
    unsafe { panels::<__m256, 4>(product) }
}

/// A vector register of `f32`.
///
/// # Safety
/// Methods are called only where the instructions exist, on addresses of as many elements as a vector has.
unsafe trait Vector: Copy {
    const LEN: usize;
    unsafe fn zero() -> Self;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self + a * b`, rounded once.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    unsafe fn mul(self, a: Self) -> Self;
}

macro_rules! vector {
    ($t:ty, $len:literal, $zero:ident, $splat:ident, $load:ident, $store:ident, $fma:ident, $mul:ident) => {
        // SAFETY: one instruction each, of the feature that the caller has found.
        unsafe impl Vector for $t {
            const LEN: usize = $len;
            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: promised by the caller, here and below.
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn splat(x: f32) -> Self {
                // SAFETY: as above.
                unsafe { $splat(x) }
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: as above.
                unsafe { $load(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: as above.
                unsafe { $store(to, self) }
            }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self {
                // SAFETY: as above.
                unsafe { $fma(a, b, self) }
            }
            #[inline(always)]
            unsafe fn mul(self, a: Self) -> Self {
                // SAFETY: as above.
                unsafe { $mul(self, a) }
            }
        }
    };
}
#[cfg(not(debug_assertions))]
vector!(
    __m512,
    16,
    _mm512_setzero_ps,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_fmadd_ps,
    _mm512_mul_ps
);
vector!(
    __m256,
    8,
    _mm256_setzero_ps,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_fmadd_ps,
    _mm256_mul_ps
);

/// Columns of the widest micro-tile.
const WIDEST: usize = VECTORS * 16;
/// Rows of the highest.
const HIGHEST: usize = 8;

#[repr(align(64))]
struct Panel {
    _rows: [f32; DEPTH * WIDEST],
}

/// # Safety
/// As [`run`]; called from a function with the features of `V`.
#[inline(always)]
unsafe fn panels<V: Vector, const ROWS: usize>(p: &Product) {
    let [m, n, depth] = p.shape;
    let width = VECTORS * V::LEN;
    let mut panel = std::mem::MaybeUninit::<Panel>::uninit();
    let panel: *mut f32 = panel.as_mut_ptr().cast();
    for k in (0..depth).step_by(DEPTH) {
        let len = DEPTH.min(depth - k);
        let keep = p.old == Old::Keep || k > 0;
        for j in (0..n).step_by(width) {
            let cols = width.min(n - j);
            // SAFETY: rows `k..k + len` and columns `j..j + cols` of `b`; the panel has `DEPTH` rows of `WIDEST`.
            unsafe {
                let from = p.b.offset(k as isize * p.b_strides[0] + j as isize * p.b_strides[1]);
                pack(from, p.b_strides, [len, cols], width, panel);
            }
            let mut i = 0;
            while i < m {
                let rows = ROWS.min(m - i);
                let tile = Tile {
                    len,
                    cols,
                    // SAFETY: row `i`, at depth `k`, of `a`; row `i`, column `j`, of `c`.
                    a: unsafe { p.a.offset(i as isize * p.a_strides[0] + k as isize * p.a_strides[1]) },
                    a_strides: p.a_strides,
                    b: panel,
                    // SAFETY: as above.
                    c: unsafe { p.c.add(i * p.pitch + j) },
                    pitch: p.pitch,
                    keep,
                    scale: p.scale,
                };
                // SAFETY: the tile's rows and columns are those of the matrices.
                unsafe {
                    match rows {
                        8 => tile.sum::<V, 8>(),
                        7 => tile.sum::<V, 7>(),
                        6 => tile.sum::<V, 6>(),
                        5 => tile.sum::<V, 5>(),
                        4 => tile.sum::<V, 4>(),
                        3 => tile.sum::<V, 3>(),
                        2 => tile.sum::<V, 2>(),
                        _ => tile.sum::<V, 1>(),
                    }
                }
                i += rows;
            }
        }
    }
}

/// Copies a part of `b` so that its rows are `width` apart, with zeros beyond the last column.
///
/// # Safety
/// The elements may be read; the panel holds so many rows.
#[inline(always)]
unsafe fn pack(b: *const f32, strides: [isize; 2], [len, cols]: [usize; 2], width: usize, panel: *mut f32) {
    // SAFETY: promised by the caller.
    unsafe {
        if cols < width {
            panel.write_bytes(0, len * width);
        }
        if strides[1] == 1 {
            for k in 0..len {
                let (from, to) = (b.offset(k as isize * strides[0]), panel.add(k * width));
                if cols == width {
                    // (A width that the compiler knows is copied without a call.)
                    std::ptr::copy_nonoverlapping(from, to, width);
                } else {
                    std::ptr::copy_nonoverlapping(from, to, cols);
                }
            }
        } else {
            let element = |k: usize, j: usize| b.offset(k as isize * strides[0] + j as isize * strides[1]);
            let mut done = [0, 0];
            if strides[0] == 1 {
                done = [len / BLOCK * BLOCK, cols / BLOCK * BLOCK];
                for j in (0..done[1]).step_by(BLOCK) {
                    for k in (0..done[0]).step_by(BLOCK) {
                        transpose(element(k, j), strides[1], panel.add(k * width + j), width);
                    }
                }
            }
            for k in 0..len {
                let from = if k < done[0] { done[1] } else { 0 };
                for j in from..cols {
                    *panel.add(k * width + j) = *element(k, j);
                }
            }
        }
    }
}

/// Rows and columns that are transposed together.
const BLOCK: usize = 8;

/// Copies a block of 8 columns, each of 8 numbers that follow each other, to rows.
///
/// # Safety
/// The block can be read and written; there is AVX2.
#[inline(always)]
unsafe fn transpose(from: *const f32, pitch: isize, to: *mut f32, width: usize) {
    // SAFETY: promised by the caller.
    unsafe {
        let x: [__m256; BLOCK] = std::array::from_fn(|j| _mm256_loadu_ps(from.offset(j as isize * pitch)));
        // Pairs of neighbours, then fours, then both halves.
        let pairs = |a: usize| (_mm256_unpacklo_ps(x[a], x[a + 1]), _mm256_unpackhi_ps(x[a], x[a + 1]));
        let (p, q, r, s) = (pairs(0), pairs(2), pairs(4), pairs(6));
        let fours = |a: __m256, b: __m256| (_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xEE>(a, b));
        let (a0, a1) = fours(p.0, q.0);
        let (a2, a3) = fours(p.1, q.1);
        let (b0, b1) = fours(r.0, s.0);
        let (b2, b3) = fours(r.1, s.1);
        for (k, (a, b)) in [(a0, b0), (a1, b1), (a2, b2), (a3, b3)].into_iter().enumerate() {
            _mm256_storeu_ps(to.add(k * width), _mm256_permute2f128_ps::<0x20>(a, b));
            _mm256_storeu_ps(to.add((k + 4) * width), _mm256_permute2f128_ps::<0x31>(a, b));
        }
    }
}

/// A micro-tile of the result.
struct Tile {
    len: usize,
    cols: usize,
    a: *const f32,
    a_strides: [isize; 2],
    b: *const f32,
    c: *mut f32,
    pitch: usize,
    keep: bool,
    scale: f32,
}

impl Tile {
    /// # Safety
    /// `ROWS` rows from `a` and `c` on exist; the panel has `len` rows.
    #[inline(always)]
    unsafe fn sum<V: Vector, const ROWS: usize>(&self) {
        let width = VECTORS * V::LEN;
        // SAFETY: promised by the caller.
        unsafe {
            let mut sums = [[V::zero(); VECTORS]; ROWS];
            let (mut a, mut b) = (self.a, self.b);
            for _ in 0..self.len {
                let row: [V; VECTORS] = std::array::from_fn(|v| V::load(b.add(v * V::LEN)));
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = V::splat(*a.offset(r as isize * self.a_strides[0]));
                    for v in 0..VECTORS {
                        sums[v] = sums[v].fma(x, row[v]);
                    }
                }
                a = a.wrapping_offset(self.a_strides[1]);
                b = b.add(width);
            }
            let scale = V::splat(self.scale);
            if self.cols == width {
                for (r, sums) in sums.iter().enumerate() {
                    for (v, &sum) in sums.iter().enumerate() {
                        let to = self.c.add(r * self.pitch + v * V::LEN);
                        let new = if self.keep { V::load(to).fma(scale, sum) } else { sum.mul(scale) };
                        new.store(to);
                    }
                }
                return;
            }
            let mut whole = [0.0f32; HIGHEST * WIDEST]; // for the last columns only
            for (r, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    sum.mul(scale).store(whole.as_mut_ptr().add(r * width + v * V::LEN));
                }
                let to = std::slice::from_raw_parts_mut(self.c.add(r * self.pitch), self.cols);
                let from = &whole[r * width..r * width + self.cols];
                if self.keep {
                    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                } else {
                    to.copy_from_slice(from);
                }
            }
        }
    }
}
