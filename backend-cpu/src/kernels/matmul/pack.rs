//! Operands copied to where a product reads them in order.

use std::cell::Cell;

use super::registers::Lanes;
use crate::kernels::dense::Real;
use crate::math::real::Real as _;

/// Bytes that come into the cache together.
pub(super) const LINE: usize = 64;
/// Rows or columns that are expected ahead of the one that is copied: they are too far apart for the machine to guess.
pub(super) const AHEAD: isize = 8;

/// Copies a part of `b` so that its rows follow each other, with zeros beyond the last column.
///
/// # Safety
/// The elements may be read; the panel holds so many rows.
#[inline(always)]
pub(super) unsafe fn pack<V: Lanes, const ACROSS: usize>(
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
                let ahead = from.wrapping_offset(AHEAD * strides[0]);
                (0..width).step_by(V::LANES).for_each(|at| V::expect(ahead.wrapping_add(at)));
                if cols == width {
                    // (A width that the compiler knows is copied without a call.)
                    std::ptr::copy_nonoverlapping(from, to, width);
                } else {
                    std::ptr::copy_nonoverlapping(from, to, cols);
                }
            }
        } else {
            let element =
                |k: usize, j: usize| b.wrapping_offset(k as isize * strides[0] + j as isize * strides[1]);
            let line = LINE / size_of::<V::Element>();
            let mut done = [0, 0];
            if strides[0] == 1 && V::BLOCK > 0 {
                done = [len, cols].map(|n| n / V::BLOCK * V::BLOCK);
                for j in (0..done[1]).step_by(V::BLOCK) {
                    for k in (0..done[0]).step_by(V::BLOCK) {
                        if k % line == 0 {
                            // Columns begin where no prefetcher looks.
                            (0..V::BLOCK).for_each(|c| V::expect(element(k, j + V::BLOCK + c)));
                        }
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
pub(super) struct Left<T> {
    memory: Vec<u64>,
    start: *mut T,
}

impl<T: Real> Left<T> {
    pub(super) fn new() -> Self {
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
    pub(super) unsafe fn pack<V: Lanes<Element = T>, const ROWS: usize>(
        &mut self,
        a: *const T,
        stride: isize,
        [m, len]: [usize; 2],
    ) {
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
                let ahead = from.wrapping_offset(AHEAD * stride);
                (0..m).step_by(LINE / size_of::<T>()).for_each(|at| V::expect(ahead.wrapping_add(at)));
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
    pub(super) fn rows<const ROWS: usize>(&self, first: usize, len: usize) -> *const T {
        self.start.wrapping_add(first / ROWS * Self::pitch::<ROWS>(len))
    }
}

impl<T> Drop for Left<T> {
    fn drop(&mut self) {
        PACKED.set(std::mem::take(&mut self.memory));
    }
}
