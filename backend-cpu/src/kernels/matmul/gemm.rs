//! The one door to matrix multiplication: views of matrices, and their product on the calling thread.
//!
//! Everything that multiplies matrices (matmul, linear, convolution, attention) comes through [`product`], so
//! this is the place to pack operands in advance or to exchange the kernel ([`micro`](super::micro)). It runs here on
//! one thread at a time: callers cut products into tiles of sizes that depend on shapes alone, and so get the same bits
//! from any number of threads.

use std::marker::PhantomData;
use std::ops::Range;

use gradus_tensor_core::Element;

use super::micro::{Multiplied, Product};
use crate::{Level, Precision};

/// A matrix to read: elements `start + i * row_stride + j * col_stride` of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mat<'a, T> {
    start: *const T,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    row_stride: isize,
    col_stride: isize,
    slice: PhantomData<&'a [T]>,
}

// SAFETY: a `Mat` only reads, like the slice it was made from.
unsafe impl<T: Sync> Send for Mat<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Mat<'_, T> {}

impl<'a, T> Mat<'a, T> {
    /// A matrix with rows of `cols` elements that follow each other.
    pub(crate) fn new(slice: &'a [T], rows: usize, cols: usize) -> Self {
        Self::strided(slice, 0, [rows, cols], [cols as isize, 1])
    }

    /// A matrix whose rows begin `pitch` elements apart.
    pub(crate) fn pitched(slice: &'a [T], rows: usize, cols: usize, pitch: usize) -> Self {
        Self::strided(slice, 0, [rows, cols], [pitch as isize, 1])
    }

    /// A matrix with any strides.
    ///
    /// # Panics
    /// An element lies outside of the slice: a bug in the caller, since layouts are checked at the door.
    pub(crate) fn strided(slice: &'a [T], start: usize, shape: [usize; 2], strides: [isize; 2]) -> Self {
        let [rows, cols] = shape;
        let mut base = slice.as_ptr();
        if rows > 0 && cols > 0 {
            let (mut low, mut high) = (start as isize, start as isize);
            for d in 0..2 {
                let reach = strides[d] * (shape[d] as isize - 1);
                if reach < 0 { low += reach } else { high += reach }
            }
            assert!(low >= 0 && (high as usize) < slice.len(), "a matrix lies outside its slice");
            // SAFETY: `start` is an element's position, between `low` and `high`.
            base = unsafe { base.add(start) };
        }
        Self { start: base, rows, cols, row_stride: strides[0], col_stride: strides[1], slice: PhantomData }
    }

    /// Rows and columns exchanged.
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// Some of the rows.
    ///
    /// # Panics
    /// The range is no range of rows.
    pub(crate) fn rows(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.rows);
        let start = self.start.wrapping_offset(range.start as isize * self.row_stride);
        Self { start, rows: range.len(), ..self }
    }

    /// Some of the columns.
    ///
    /// # Panics
    /// The range is no range of columns.
    pub(crate) fn cols(self, range: Range<usize>) -> Self {
        self.t().rows(range).t()
    }
}

/// A matrix to write, with contiguous rows.
#[derive(Debug)]
pub(crate) struct MatMut<'a, T> {
    start: *mut T,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pitch: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: a `MatMut` is an exclusive borrow of elements that can be sent.
unsafe impl<T: Send> Send for MatMut<'_, T> {}
// SAFETY: through a shared reference only `tile` does anything, whose caller promises disjointness.
unsafe impl<T: Send> Sync for MatMut<'_, T> {}

impl<'a, T> MatMut<'a, T> {
    /// A matrix whose rows follow each other.
    pub(crate) fn new(slice: &'a mut [T], rows: usize, cols: usize) -> Self {
        Self::pitched(slice, rows, cols, cols)
    }

    /// A matrix whose rows begin `pitch` elements apart.
    ///
    /// # Panics
    /// An element lies outside of the slice, or rows overlap.
    pub(crate) fn pitched(slice: &'a mut [T], rows: usize, cols: usize, pitch: usize) -> Self {
        if rows > 0 && cols > 0 {
            assert!((rows - 1) * pitch + cols <= slice.len(), "a matrix lies outside its slice");
            assert!(cols <= pitch || rows == 1, "rows overlap");
        }
        Self { start: slice.as_mut_ptr(), rows, cols, pitch, slice: PhantomData }
    }

    /// The part where these rows and columns meet.
    ///
    /// # Safety
    /// No other tile that is alive at the same time shares an element with it.
    pub(crate) unsafe fn tile(&self, rows: Range<usize>, cols: Range<usize>) -> MatMut<'_, T> {
        assert!(rows.start <= rows.end && rows.end <= self.rows);
        assert!(cols.start <= cols.end && cols.end <= self.cols);
        let start = self.start.wrapping_add(rows.start * self.pitch + cols.start);
        MatMut { start, rows: rows.len(), cols: cols.len(), pitch: self.pitch, slice: PhantomData }
    }

    /// The first element, and from one row to the next: for kernels that write all of the matrix.
    pub(super) fn raw(&mut self) -> (*mut T, usize) {
        (self.start, self.pitch)
    }

    /// One row.
    pub(crate) fn row(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.rows);
        // SAFETY: row `i` lies in the slice, as checked when the matrix was made.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(i * self.pitch), self.cols) }
    }
}

/// What becomes of the elements that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Old {
    /// They are overwritten.
    Ignore,
    /// The product is added to them.
    Keep,
}

/// `c = scale * a @ b`, or `c += scale * a @ b`, on the calling thread; operands of `f32` with that precision.
///
/// # Panics
/// The shapes do not fit: a bug in the caller.
pub(crate) fn product<T: Element + Multiplied>(
    precision: Precision,
    c: &mut MatMut<'_, T>,
    old: Old,
    scale: T,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
) {
    assert!(a.cols == b.rows && a.rows == c.rows && b.cols == c.cols, "matrices that do not fit");
    if c.rows == 0 || c.cols == 0 {
        return;
    }
    if a.cols == 0 {
        if old == Old::Ignore {
            (0..c.rows).for_each(|i| c.row(i).fill(T::default()));
        }
        return;
    }
    let product = Product {
        shape: [c.rows, c.cols, a.cols],
        c: c.start,
        pitch: c.pitch,
        old,
        scale,
        a: a.start,
        a_strides: [a.row_stride, a.col_stride],
        b: b.start,
        b_strides: [b.row_stride, b.col_stride],
    };
    // SAFETY: the matrices lie in their slices, as checked when they were made; `c` is exclusively borrowed, so it
    // overlaps neither `a` nor `b`; the level is what the machine was found to have.
    unsafe { T::product(Level::detect(), precision, &product) }
}
