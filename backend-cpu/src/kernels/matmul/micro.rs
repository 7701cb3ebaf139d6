//! Products of matrices in registers.
//!
//! A micro-tile of the result, 8 x 48 with AVX-512, is summed in registers: each step takes three vectors of a row of
//! `b` and one number from each of eight rows of `a`. `b` is packed, a panel of 48 columns and [`DEPTH`] rows at a time,
//! which then stays in the first two caches while all rows of `a` pass; one that lies as a packed panel already
//! ([`panel_width`]) is read in place. `a` is read where it lies, unless it is a large
//! transposed matrix: then each step would touch a page of its own, and eight numbers of eight rows are laid side by
//! side first. A library for large products packs both operands always, which for products that are a few hundred on
//! a side takes as long as the multiplications. Where the last panel is narrow, so is its micro-tile.
//!
//! Every element is the sum in order of its depth, in blocks of [`DEPTH`], wherever it lies in a tile; multiply-adds are
//! fused where there is an instruction for it. So with a scale of 1 results do not depend on how a caller cuts a product.

use std::mem::MaybeUninit;

use super::gemm::Old;
use super::multiplied::Given;
use super::pack::{LINE, Left, pack};
use super::registers::{Lanes, PLAIN};
use crate::Level;
use crate::kernels::dense::Real;
use crate::math::real::Real as _;

/// Depth of a panel: 48 KB with AVX-512.
pub(super) const DEPTH: usize = 256;
/// Vectors across the widest micro-tile.
const VECTORS: usize = 3;
/// Bytes between two columns of `a` from which on it is packed: some lines further, where no prefetcher follows.
const FAR: usize = 512;

/// `c = scale * a @ b` or `c += scale * a @ b`, as addresses and strides in elements; rows of `c` are contiguous. `C` is
/// what comes out, if that is another type.
#[derive(Clone, Copy)]
pub(crate) struct Product<T: Copy, C: Copy = T> {
    pub(super) shape: [usize; 3],
    pub(super) c: *mut C,
    pub(super) pitch: usize,
    pub(super) old: Old,
    pub(super) scale: C,
    pub(super) a: *const T,
    pub(super) a_strides: [isize; 2],
    pub(super) b: *const T,
    pub(super) b_strides: [isize; 2],
}

impl<T: Copy, C: Copy> Product<T, C> {
    /// The product that adds to what is there, after the row that is given was written there.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(super) fn after(&self, given: Given<C>) -> Self {
        if given.row.is_null() {
            return *self;
        }
        for i in 0..self.shape[0] {
            // SAFETY: whoever made the product promised that its rows may be written; the row that is given is as long.
            unsafe { std::ptr::copy_nonoverlapping(given.row, self.c.add(i * self.pitch), self.shape[1]) }
        }
        Product { old: Old::Keep, ..*self }
    }
}

/// The columns of a panel of these elements: a right operand of at most so many, whose rows lie so far apart, is not packed.
pub(crate) fn panel_width<T>(level: Level) -> usize {
    match level {
        Level::Avx512 | Level::Amx => VECTORS * 64 / size_of::<T>(),
        Level::Avx2 => 2 * 32 / size_of::<T>(),
        _ => VECTORS * PLAIN,
    }
}

/// Bytes of a row of the widest micro-tile.
const WIDEST: usize = VECTORS * 64;
/// Rows of the highest.
const HIGHEST: usize = 8;

/// Memory for rows of micro-tiles, of any element.
#[repr(align(64))]
struct Rows<const N: usize> {
    _bytes: [[u8; WIDEST]; N],
}

/// # Safety
/// As [`Multiplied::product`](super::multiplied::Multiplied::product); called from a function with the features of `V`.
#[inline(always)]
pub(super) unsafe fn panels<V: Lanes, const ROWS: usize, const ACROSS: usize>(
    p: &Product<V::Element>,
    given: Given<V::Element>,
) {
    let [m, n, depth] = p.shape;
    let width = ACROSS * V::LANES;
    let mut panel = MaybeUninit::<Rows<DEPTH>>::uninit();
    let panel: *mut V::Element = panel.as_mut_ptr().cast();
    // Micro-tiles that are wider than the columns read rows of the panel beyond its end: they need one that is packed.
    let whole = n == width || n.is_multiple_of(V::LANES) && m.is_multiple_of(ROWS);
    let in_place = p.b_strides == [width as isize, 1] && n <= width && whole;
    // A panel that one micro-tile reads is read where it lies, if its rows do.
    let once = m <= ROWS && p.b_strides[1] == 1 && p.b_strides[0] >= 0;
    let far = p.a_strides[1].unsigned_abs() * size_of::<V::Element>() >= FAR;
    let mut left = (p.a_strides[0] == 1 && far && m >= ROWS && n > width).then(Left::<V::Element>::new);
    for k in (0..depth).step_by(DEPTH) {
        let len = DEPTH.min(depth - k);
        // SAFETY: depth `k` of `a`, of which `m` rows and `len` columns follow.
        let a = unsafe { p.a.offset(k as isize * p.a_strides[1]) };
        if let Some(left) = &mut left {
            // SAFETY: as above; its rows follow each other.
            unsafe { left.pack::<V, ROWS>(a, p.a_strides[1], [m, len]) }
        }
        for j in (0..n).step_by(width) {
            let cols = width.min(n - j);
            let (b, b_pitch) = match given.ready {
                Some(ready) => (ready.block(k, j / width).cast(), width),
                // SAFETY: rows `k..k + len` and columns `j..j + cols` of `b`; the panel has `DEPTH` rows.
                None => unsafe {
                    let from = p.b.offset(k as isize * p.b_strides[0] + j as isize * p.b_strides[1]);
                    if in_place {
                        (from, width)
                    } else if once && cols == width {
                        (from, p.b_strides[0].unsigned_abs())
                    } else {
                        pack::<V, ACROSS>(from, p.b_strides, [len, cols], panel);
                        (panel.cast_const(), width)
                    }
                },
            };
            // The next panel, of which each micro-tile expects a part.
            let (next, share) = match given.ready {
                Some(ready) if j + width < n => (
                    ready.block(k, j / width + 1).cast::<V::Element>(),
                    (len * width).div_ceil(m.div_ceil(ROWS)),
                ),
                _ => (std::ptr::null(), 0),
            };
            let mut i = 0;
            while i < m {
                let rows = ROWS.min(m - i);
                for at in (0..share).step_by(LINE / size_of::<V::Element>()) {
                    V::expect_later(next.wrapping_add(i / ROWS * share + at));
                }
                let (a, a_strides) = match &left {
                    Some(left) => (left.rows::<ROWS>(i, len), [1, ROWS as isize]),
                    // SAFETY: row `i` of `a`.
                    None => (unsafe { a.offset(i as isize * p.a_strides[0]) }, p.a_strides),
                };
                // SAFETY: row `i`, column `j`, of `c`.
                let c = unsafe { p.c.add(i * p.pitch + j) };
                let (old, old_pitch) = match p.old {
                    _ if k > 0 => (c.cast_const(), p.pitch),
                    _ if !given.row.is_null() => (given.row.wrapping_add(j), 0),
                    Old::Keep => (c.cast_const(), p.pitch),
                    Old::Ignore => (std::ptr::null(), 0),
                };
                let scale = p.scale;
                let tile =
                    Tile { len, cols, a, a_strides, b, b_pitch, c, pitch: p.pitch, old, old_pitch, scale };
                // SAFETY: the tile's rows and columns are those of the matrices.
                unsafe {
                    match rows {
                        _ if rows == ROWS && cols <= V::LANES => tile.sum::<V, ROWS, 1>(),
                        _ if rows == ROWS && cols <= 2 * V::LANES && ACROSS > 2 => tile.sum::<V, ROWS, 2>(),
                        8 => tile.sum::<V, 8, ACROSS>(),
                        7 => tile.sum::<V, 7, ACROSS>(),
                        6 => tile.sum::<V, 6, ACROSS>(),
                        5 => tile.sum::<V, 5, ACROSS>(),
                        4 => tile.sum::<V, 4, ACROSS>(),
                        3 => tile.sum::<V, 3, ACROSS>(),
                        2 => tile.sum::<V, 2, ACROSS>(),
                        _ => tile.sum::<V, 1, ACROSS>(),
                    }
                }
                i += rows;
            }
        }
    }
}

/// The most rows, and the largest depth, of a product that is too small to be cut.
const SMALL: [usize; 2] = [16, 64];

/// Whether [`small`] is to multiply: setting up micro-tiles takes longer than such a product does.
#[inline(always)]
pub(super) fn is_small<V: Lanes>([m, n, depth]: [usize; 3]) -> bool {
    m <= SMALL[0] && n <= V::LANES && depth <= SMALL[1]
}

/// A product of which [`is_small`] is true: a register for each row.
///
/// # Safety
/// As [`panels`].
#[inline(always)]
pub(super) unsafe fn small<V: Lanes>(p: &Product<V::Element>, row: *const V::Element) {
    /// Rows that are summed at once.
    const ROWS: usize = 4;
    let [m, n, depth] = p.shape;
    let mut right = MaybeUninit::<Rows<{ SMALL[1] }>>::uninit();
    let right: *mut V::Element = right.as_mut_ptr().cast();
    let mut sum = MaybeUninit::<Rows<1>>::uninit();
    let sum: *mut V::Element = sum.as_mut_ptr().cast();
    // SAFETY: rows and columns of the matrices; a register has at most the bytes of a row of `Rows`.
    unsafe {
        right.write_bytes(0, depth * V::LANES);
        for k in 0..depth {
            let from = p.b.offset(k as isize * p.b_strides[0]);
            for j in 0..n {
                *right.add(k * V::LANES + j) = *from.offset(j as isize * p.b_strides[1]);
            }
        }
        for i in (0..m).step_by(ROWS) {
            // (Rows that are not there are the last one again.)
            let rows: [_; ROWS] =
                std::array::from_fn(|r| p.a.offset((i + r).min(m - 1) as isize * p.a_strides[0]));
            let mut sums = [V::splat(V::Element::ZERO); ROWS];
            for k in 0..depth {
                let b = V::load(right.add(k * V::LANES));
                for (sum, row) in sums.iter_mut().zip(rows) {
                    *sum = V::splat(*row.offset(k as isize * p.a_strides[1])).fma(b, *sum);
                }
            }
            for (r, sums) in sums.iter().enumerate().take(m - i) {
                sums.fma(V::splat(p.scale), V::splat(V::Element::ZERO)).store(sum);
                let c = p.c.add((i + r) * p.pitch);
                let old = match p.old {
                    _ if !row.is_null() => row,
                    Old::Keep => c.cast_const(),
                    Old::Ignore => std::ptr::null(),
                };
                for j in 0..n {
                    let sum = *sum.add(j);
                    *c.add(j) = if old.is_null() { sum } else { sum + *old.add(j) };
                }
            }
        }
    }
}

/// A micro-tile of the result.
struct Tile<T> {
    len: usize,
    cols: usize,
    a: *const T,
    a_strides: [isize; 2],
    b: *const T,
    /// From one row of the panel to the next.
    b_pitch: usize,
    c: *mut T,
    pitch: usize,
    /// What is added, or null.
    old: *const T,
    old_pitch: usize,
    scale: T,
}

impl<T: Real> Tile<T> {
    /// # Safety
    /// `ROWS` rows from `a`, `c` and what is added on exist; the panel has `len` rows; the tile is as wide as the columns, or wider.
    #[inline(always)]
    unsafe fn sum<V: Lanes<Element = T>, const ROWS: usize, const ACROSS: usize>(&self) {
        let width = ACROSS * V::LANES;
        // SAFETY: promised by the caller.
        unsafe {
            for r in 0..ROWS {
                // Rows are too far apart for the machine to guess.
                let to = self.c.wrapping_add(r * self.pitch).cast_const();
                (0..ACROSS).for_each(|v| V::expect(to.wrapping_add(v * V::LANES)));
            }
            let mut sums = [[V::splat(T::ZERO); ACROSS]; ROWS];
            let (mut a, mut b) = (self.a, self.b);
            for _ in 0..self.len {
                let row: [V; ACROSS] = std::array::from_fn(|v| V::load(b.add(v * V::LANES)));
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = V::splat(*a.offset(r as isize * self.a_strides[0]));
                    for v in 0..ACROSS {
                        sums[v] = x.fma(row[v], sums[v]);
                    }
                }
                a = a.wrapping_offset(self.a_strides[1]);
                b = b.wrapping_add(self.b_pitch);
            }
            let scale = V::splat(self.scale);
            if self.cols == width {
                for (r, sums) in sums.iter().enumerate() {
                    for (v, &sum) in sums.iter().enumerate() {
                        let at = v * V::LANES;
                        let old = if self.old.is_null() {
                            V::splat(T::ZERO)
                        } else {
                            V::load(self.old.add(r * self.old_pitch + at))
                        };
                        sum.fma(scale, old).store(self.c.add(r * self.pitch + at));
                    }
                }
                return;
            }
            // The last columns: by way of whole rows.
            let mut whole = MaybeUninit::<Rows<HIGHEST>>::uninit();
            let whole: *mut T = whole.as_mut_ptr().cast();
            for (r, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    sum.fma(scale, V::splat(T::ZERO)).store(whole.add(r * width + v * V::LANES));
                }
                for j in 0..self.cols {
                    let sum = *whole.add(r * width + j);
                    let old = self.old.wrapping_add(r * self.old_pitch + j);
                    *self.c.add(r * self.pitch + j) = if self.old.is_null() { sum } else { sum + *old };
                }
            }
        }
    }
}
