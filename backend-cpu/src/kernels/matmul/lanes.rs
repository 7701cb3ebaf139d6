//! The inner loop of a product with a packed matrix: a tile of few rows and two registers of columns.
//!
//! Every element is a chain of multiply-adds in the order of the depth, whatever the tile.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m512};

use super::registers::{Lanes, PLAIN};
use crate::Level;
use crate::kernels::dense::Real;
use crate::math::real::Real as _;

/// A tile's operands: `to = from + a @ panel` for `rows` rows and one panel's columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile<T> {
    pub(super) rows: usize,
    pub(super) depth: usize,
    /// The first row's first element, and from one row to the next; the elements of a row follow each other.
    pub(super) a: *const T,
    pub(super) a_pitch: usize,
    /// `depth` times [`Packed::width`] elements.
    pub(super) panel: *const T,
    /// Null for zeros.
    pub(super) from: *const T,
    pub(super) from_pitch: usize,
    pub(super) to: *mut T,
    pub(super) to_pitch: usize,
}

/// An element of packed matrices.
pub(crate) trait Packed: Real {
    /// The columns of a panel.
    fn width(level: Level) -> usize;

    /// Computes a tile of any number of rows.
    ///
    /// # Safety
    /// Every row named lies in memory, `depth` elements of `a` and [`Packed::width`] of `from` and `to`; `to` belongs
    /// to the caller alone and overlaps neither `a` nor the panel.
    unsafe fn multiply(level: Level, tile: Tile<Self>);
}

impl Packed for f32 {
    fn width(level: Level) -> usize {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 | Level::Amx => 2 * __m512::LANES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => 2 * __m256::LANES,
            _ => 2 * <[f32; PLAIN]>::LANES,
        }
    }

    unsafe fn multiply(level: Level, tile: Tile<f32>) {
        match level {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is only ever at most what the machine was found to have; the rest is promised.
            Level::Avx512 | Level::Amx => unsafe { avx512(tile) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx2 => unsafe { avx2(tile) },
            // SAFETY: promised by the caller.
            _ => unsafe { all_rows::<[f32; PLAIN]>(tile) },
        }
    }
}

impl Packed for f64 {
    fn width(_: Level) -> usize {
        2 * <[f64; PLAIN]>::LANES
    }

    unsafe fn multiply(_: Level, tile: Tile<f64>) {
        // SAFETY: promised by the caller.
        unsafe { all_rows::<[f64; PLAIN]>(tile) }
    }
}

/// # Safety
/// As [`Packed::multiply`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(tile: Tile<f32>) {
    // SAFETY: promised by the caller.
    unsafe { all_rows::<__m512>(tile) }
}

/// # Safety
/// As [`Packed::multiply`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(tile: Tile<f32>) {
    // SAFETY: promised by the caller.
    unsafe { all_rows::<__m256>(tile) }
}

/// # Safety
/// As [`Packed::multiply`], and the machine has the registers.
#[inline(always)]
unsafe fn all_rows<V: Lanes>(tile: Tile<V::Element>) {
    let mut at = 0;
    while at < tile.rows {
        let rows = (tile.rows - at).min(V::ROWS);
        // SAFETY: `at` is a row of the tile.
        let part = unsafe {
            Tile {
                a: tile.a.add(at * tile.a_pitch),
                from: if tile.from.is_null() { tile.from } else { tile.from.add(at * tile.from_pitch) },
                to: tile.to.add(at * tile.to_pitch),
                ..tile
            }
        };
        // SAFETY: the part has so many rows.
        unsafe {
            match rows {
                8 => some_rows::<V, 8>(part),
                7 => some_rows::<V, 7>(part),
                6 => some_rows::<V, 6>(part),
                5 => some_rows::<V, 5>(part),
                4 => some_rows::<V, 4>(part),
                3 => some_rows::<V, 3>(part),
                2 => some_rows::<V, 2>(part),
                _ => some_rows::<V, 1>(part),
            }
        }
        at += rows;
    }
}

/// # Safety
/// As [`all_rows`]; the tile has at least `R` rows.
#[inline(always)]
unsafe fn some_rows<V: Lanes, const R: usize>(tile: Tile<V::Element>) {
    // SAFETY: the pointers stay in the rows and the panel that the caller promised.
    unsafe {
        let mut sums = [[V::splat(V::Element::ZERO); 2]; R];
        if !tile.from.is_null() {
            for r in 0..R {
                // Rows are too far apart for the machine to guess.
                let from = tile.from.add(r * tile.from_pitch);
                V::expect(from);
                V::expect(from.add(V::LANES));
            }
        }
        for k in 0..tile.depth {
            let b = tile.panel.add(k * 2 * V::LANES);
            let b = [V::load(b), V::load(b.add(V::LANES))];
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = V::splat(*tile.a.add(r * tile.a_pitch + k));
                *sums = [a.fma(b[0], sums[0]), a.fma(b[1], sums[1])];
            }
        }
        // What is added comes last, so that a long sum is one of partial sums.
        if !tile.from.is_null() {
            let one = V::splat(V::Element::ONE);
            for (r, sums) in sums.iter_mut().enumerate() {
                let from = tile.from.add(r * tile.from_pitch);
                *sums = [one.fma(sums[0], V::load(from)), one.fma(sums[1], V::load(from.add(V::LANES)))];
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let to = tile.to.add(r * tile.to_pitch);
            sums[0].store(to);
            sums[1].store(to.add(V::LANES));
        }
    }
}
