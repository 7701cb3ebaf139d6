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

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};
use std::cell::Cell;
use std::mem::MaybeUninit;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::amx::{self, Instructions};
#[cfg(target_arch = "x86_64")]
use super::bf16;
use super::gemm::Old;
use super::registers::{Lanes, PLAIN};
use crate::kernels::dense::Real;
use crate::math::real::Real as _;
use crate::{Level, Precision};

/// Depth of a panel: 48 KB with AVX-512.
const DEPTH: usize = 256;
/// Vectors across the widest micro-tile.
const VECTORS: usize = 3;
/// Bytes between two columns of `a` from which on it is packed: some lines further, where no prefetcher follows.
const FAR: usize = 512;

/// `c = scale * a @ b` or `c += scale * a @ b`, as addresses and strides in elements; rows of `c` are contiguous.
#[derive(Clone, Copy)]
pub(crate) struct Product<T: Copy> {
    pub(super) shape: [usize; 3],
    pub(super) c: *mut T,
    pub(super) pitch: usize,
    pub(super) old: Old,
    pub(super) scale: T,
    pub(super) a: *const T,
    pub(super) a_strides: [isize; 2],
    pub(super) b: *const T,
    pub(super) b_strides: [isize; 2],
}

/// Elements that products are made of.
pub(crate) trait Multiplied: Copy {
    /// Multiplies on the calling thread.
    ///
    /// # Safety
    /// The level is at most the machine's; all elements of the three matrices may be accessed, and nobody else
    /// accesses those of `c`.
    unsafe fn product(level: Level, precision: Precision, product: &Product<Self>);
}

impl Multiplied for f32 {
    unsafe fn product(level: Level, precision: Precision, product: &Product<f32>) {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if level == Level::Amx && amx::pays(product.shape, amx::parts(precision)) {
            // SAFETY: promised by the caller; machines of that level have the unit.
            return unsafe { amx::floats::<Instructions>(level, precision, product) };
        }
        #[cfg(target_arch = "x86_64")]
        if precision == Precision::Medium && bf16::pays(level, product.shape) {
            // SAFETY: promised by the caller; the machine has the instructions.
            return unsafe { bf16::rounded(product) };
        }
        let _ = precision;
        // SAFETY: promised by the caller.
        unsafe { in_registers_f32(level, product) }
    }
}

impl Multiplied for f64 {
    unsafe fn product(level: Level, _: Precision, product: &Product<f64>) {
        // SAFETY: promised by the caller.
        unsafe { in_registers_f64(level, product) }
    }
}

macro_rules! multiplied {
    ($t:ty, $name:ident, $avx512:ident, $wide:ty, $avx2:ident, $narrow:ty) => {
        /// # Safety
        /// As [`Multiplied::product`].
        pub(super) unsafe fn $name(level: Level, product: &Product<$t>) {
            // SAFETY: promised by the caller.
            unsafe {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 | Level::Amx => $avx512(product),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => $avx2(product),
                    _ => panels::<[$t; PLAIN], 4, 3>(product),
                }
            }
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx2,fma")]
        unsafe fn $avx512(product: &Product<$t>) {
            // SAFETY: promised by the caller.
            unsafe { panels::<$wide, 8, 3>(product) }
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn $avx2(product: &Product<$t>) {
            // SAFETY: promised by the caller.
            unsafe { panels::<$narrow, 6, 2>(product) }
        }
    };
}
multiplied!(f32, in_registers_f32, avx512_f32, __m512, avx2_f32, __m256);
multiplied!(f64, in_registers_f64, avx512_f64, __m512d, avx2_f64, __m256d);

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
/// As [`Multiplied::product`]; called from a function with the features of `V`.
#[inline(always)]
unsafe fn panels<V: Lanes, const ROWS: usize, const ACROSS: usize>(p: &Product<V::Element>) {
    let [m, n, depth] = p.shape;
    let width = ACROSS * V::LANES;
    let mut panel = MaybeUninit::<Rows<DEPTH>>::uninit();
    let panel: *mut V::Element = panel.as_mut_ptr().cast();
    // Micro-tiles that are wider than the columns read rows of the panel beyond its end: they need one that is packed.
    let whole = n == width || n.is_multiple_of(V::LANES) && m.is_multiple_of(ROWS);
    let ready = p.b_strides == [width as isize, 1] && n <= width && whole;
    let far = p.a_strides[1].unsigned_abs() * size_of::<V::Element>() >= FAR;
    let mut left = (p.a_strides[0] == 1 && far && m >= ROWS && n > width).then(Left::<V::Element>::new);
    for k in (0..depth).step_by(DEPTH) {
        let len = DEPTH.min(depth - k);
        let keep = p.old == Old::Keep || k > 0;
        // SAFETY: depth `k` of `a`, of which `m` rows and `len` columns follow.
        let a = unsafe { p.a.offset(k as isize * p.a_strides[1]) };
        if let Some(left) = &mut left {
            // SAFETY: as above; its rows follow each other.
            unsafe { left.pack::<ROWS>(a, p.a_strides[1], [m, len]) }
        }
        for j in (0..n).step_by(width) {
            let cols = width.min(n - j);
            let mut b = panel.cast_const();
            // SAFETY: rows `k..k + len` and columns `j..j + cols` of `b`; the panel has `DEPTH` rows.
            unsafe {
                let from = p.b.offset(k as isize * p.b_strides[0] + j as isize * p.b_strides[1]);
                if ready {
                    b = from;
                } else {
                    pack::<V, ACROSS>(from, p.b_strides, [len, cols], panel);
                }
            }
            let mut i = 0;
            while i < m {
                let rows = ROWS.min(m - i);
                let (a, a_strides) = match &left {
                    Some(left) => (left.rows::<ROWS>(i, len), [1, ROWS as isize]),
                    // SAFETY: row `i` of `a`.
                    None => (unsafe { a.offset(i as isize * p.a_strides[0]) }, p.a_strides),
                };
                let tile = Tile {
                    len,
                    cols,
                    a,
                    a_strides,
                    b,
                    width,
                    // SAFETY: row `i`, column `j`, of `c`.
                    c: unsafe { p.c.add(i * p.pitch + j) },
                    pitch: p.pitch,
                    keep,
                    scale: p.scale,
                };
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

/// Copies a part of `b` so that its rows follow each other, with zeros beyond the last column.
///
/// # Safety
/// The elements may be read; the panel holds so many rows.
#[inline(always)]
unsafe fn pack<V: Lanes, const ACROSS: usize>(
    b: *const V::Element,
    strides: [isize; 2],
    [len, cols]: [usize; 2],
    panel: *mut V::Element,
) {
    let width = ACROSS * V::LANES;
    // SAFETY: promised by the caller.
    unsafe {
        if strides[1] == 1 && cols < width && cols.is_multiple_of(V::LANES) {
            for k in 0..len {
                let (from, to) = (b.offset(k as isize * strides[0]), panel.add(k * width));
                for at in (0..width).step_by(V::LANES) {
                    let row = if at < cols { V::load(from.add(at)) } else { V::splat(V::Element::ZERO) };
                    row.store(to.add(at));
                }
            }
            return;
        }
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
            if strides[0] == 1 && V::BLOCK > 0 {
                done = [len, cols].map(|n| n / V::BLOCK * V::BLOCK);
                for j in (0..done[1]).step_by(V::BLOCK) {
                    for k in (0..done[0]).step_by(V::BLOCK) {
                        V::transpose(element(k, j), strides[1], panel.add(k * width + j), width);
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

thread_local! {
    /// Memory for packed rows, kept from one product to the next.
    static PACKED: Cell<Vec<u64>> = const { Cell::new(Vec::new()) };
}

/// Columns of `a`, laid so that the numbers of a micro-tile's rows are side by side, step after step.
struct Left<T> {
    memory: Vec<u64>,
    start: *mut T,
}

impl<T: Real> Left<T> {
    fn new() -> Self {
        Left { memory: PACKED.take(), start: std::ptr::null_mut() }
    }

    /// From the rows of one micro-tile to those of the next. (A little more than they take, so that a column is not
    /// written to addresses that share their place in the cache.)
    fn pitch<const ROWS: usize>(len: usize) -> usize {
        len * ROWS + 64 / size_of::<T>()
    }

    /// # Safety
    /// From `a` on, `len` columns of `m` elements may be read, `stride` elements apart.
    #[inline(always)]
    unsafe fn pack<const ROWS: usize>(&mut self, a: *const T, stride: isize, [m, len]: [usize; 2]) {
        let pitch = Self::pitch::<ROWS>(len);
        let words = (m.div_ceil(ROWS) * pitch * size_of::<T>()).div_ceil(size_of::<u64>());
        if self.memory.len() < words {
            self.memory.resize(words, 0);
        }
        self.start = self.memory.as_mut_ptr().cast();
        // SAFETY: the memory holds so many rows; the rest is promised by the caller.
        unsafe {
            for k in 0..len {
                let (from, to) = (a.offset(k as isize * stride), self.start.add(k * ROWS));
                for group in 0..m / ROWS {
                    std::ptr::copy_nonoverlapping(from.add(group * ROWS), to.add(group * pitch), ROWS);
                }
                let whole = m / ROWS;
                for i in whole * ROWS..m {
                    *to.add(whole * pitch + i % ROWS) = *from.add(i);
                }
            }
        }
    }

    /// The packed rows from a micro-tile's first on.
    fn rows<const ROWS: usize>(&self, first: usize, len: usize) -> *const T {
        self.start.wrapping_add(first / ROWS * Self::pitch::<ROWS>(len))
    }
}

impl<T> Drop for Left<T> {
    fn drop(&mut self) {
        PACKED.set(std::mem::take(&mut self.memory));
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
    width: usize,
    c: *mut T,
    pitch: usize,
    keep: bool,
    scale: T,
}

impl<T: Real> Tile<T> {
    /// # Safety
    /// `ROWS` rows from `a` and `c` on exist; the panel has `len` rows; the tile is as wide as the columns, or wider.
    #[inline(always)]
    unsafe fn sum<V: Lanes<Element = T>, const ROWS: usize, const ACROSS: usize>(&self) {
        let width = ACROSS * V::LANES;
        // SAFETY: promised by the caller.
        unsafe {
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
                b = b.add(self.width);
            }
            let scale = V::splat(self.scale);
            if self.cols == width {
                for (r, sums) in sums.iter().enumerate() {
                    for (v, &sum) in sums.iter().enumerate() {
                        let to = self.c.add(r * self.pitch + v * V::LANES);
                        let old = if self.keep { V::load(to) } else { V::splat(T::ZERO) };
                        sum.fma(scale, old).store(to);
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
                let to = std::slice::from_raw_parts_mut(self.c.add(r * self.pitch), self.cols);
                let from = std::slice::from_raw_parts(whole.add(r * width), self.cols);
                if self.keep {
                    to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
                } else {
                    to.copy_from_slice(from);
                }
            }
        }
    }
}
