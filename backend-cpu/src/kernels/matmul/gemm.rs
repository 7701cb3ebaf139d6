//! The one door to matrix multiplication: views of matrices, and their product on the calling thread.
//!
//! Everything that multiplies matrices (matmul, linear, convolution, attention) comes through [`product`] or
//! [`product_and_row`], so this is the place to exchange the kernel ([`micro`](super::micro)). It runs here on
//! one thread at a time: callers cut products into tiles of sizes that depend on shapes alone, and so get the same bits
//! from any number of threads.

use std::marker::PhantomData;
use std::ops::Range;

use gradus_tensor_core::Element;

use super::micro::Product;
use super::multiplied::{Given, Multiplied};
use super::ready::{Packed, Ready};
use crate::kernels::dense::Stored;
use crate::level::Kernel;
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

    /// The first element, and how far it is to the next row and column.
    pub(super) fn raw(self) -> (*const T, [isize; 2]) {
        (self.start, [self.row_stride, self.col_stride])
    }

    /// Copies all elements as what is computed with, row after row.
    ///
    /// # Panics
    /// There is not as much room: a bug in the caller.
    pub(crate) fn widen(self, level: Level, to: &mut [T::Computed])
    where
        T: Stored,
    {
        level.run(Widen { from: self, to });
    }

    /// Some of the columns.
    ///
    /// # Panics
    /// The range is no range of columns.
    pub(crate) fn cols(self, range: Range<usize>) -> Self {
        self.t().rows(range).t()
    }
}

struct Widen<'a, 'b, T: Stored> {
    from: Mat<'a, T>,
    to: &'b mut [T::Computed],
}

impl<T: Stored> Kernel for Widen<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Mat { start, rows, cols, row_stride, col_stride, .. } = self.from;
        assert!(self.to.len() == rows * cols, "no room for the matrix");
        for (i, to) in self.to.chunks_exact_mut(cols.max(1)).enumerate() {
            let row = start.wrapping_offset(i as isize * row_stride);
            if col_stride == 1 {
                // SAFETY: a row of the matrix, whose elements follow each other.
                let row = unsafe { std::slice::from_raw_parts(row, cols) };
                to.iter_mut().zip(row).for_each(|(to, &x)| *to = x.wide());
            } else {
                for (j, to) in to.iter_mut().enumerate() {
                    // SAFETY: an element of the matrix.
                    *to = unsafe { *row.offset(j as isize * col_stride) }.wide();
                }
            }
        }
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

    /// The same matrix, for a shorter time.
    pub(crate) fn reborrow(&mut self) -> MatMut<'_, T> {
        MatMut { slice: PhantomData, ..*self }
    }

    /// The same elements in one row.
    ///
    /// # Panics
    /// Its rows do not follow each other.
    pub(crate) fn merged(&mut self) -> MatMut<'_, T> {
        assert!(self.pitch == self.cols, "rows with something in between");
        MatMut { rows: 1, cols: self.rows * self.cols, ..self.reborrow() }
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

/// A right operand, and its panels where it was packed before ([`Packed`]).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Right<'a, T> {
    matrix: Mat<'a, T>,
    ready: Option<Ready>,
}

impl<'a, T> From<Mat<'a, T>> for Right<'a, T> {
    fn from(matrix: Mat<'a, T>) -> Self {
        Right { matrix, ready: None }
    }
}

impl<'a, T> Right<'a, T> {
    /// A matrix, and what [`Packed`] made of this one.
    ///
    /// # Panics
    /// The shapes differ: a bug in the caller.
    pub(crate) fn new(matrix: Mat<'a, T>, packed: Option<&'a Packed>) -> Self {
        assert!(packed.is_none_or(|p| p.shape() == [matrix.rows, matrix.cols]), "another matrix was packed");
        Right { matrix, ready: packed.map(Packed::ready) }
    }

    /// Some of the columns; of packed ones, from the beginning of a panel on.
    ///
    /// # Panics
    /// The range is none of columns, or begins within a panel.
    pub(crate) fn cols(self, range: Range<usize>) -> Self {
        let ready = self.ready.map(|ready| ready.cols(range.start));
        Right { matrix: self.matrix.cols(range), ready }
    }

    /// The first rows. (An even number of them or all, where pairs are multiplied.)
    ///
    /// # Panics
    /// There are fewer.
    pub(crate) fn first_rows(self, n: usize) -> Self {
        Right { matrix: self.matrix.rows(0..n), ready: self.ready }
    }
}

/// `c = scale * a @ b`, or `c += scale * a @ b`, on the calling thread; operands of `f32` with that precision.
///
/// # Panics
/// The shapes do not fit: a bug in the caller.
pub(crate) fn product<'b, T: Element + Multiplied>(
    precision: Precision,
    c: &mut MatMut<'_, T>,
    old: Old,
    scale: T,
    a: Mat<'_, T>,
    b: impl Into<Right<'b, T>>,
) {
    run(precision, c, old, scale, a, b.into(), std::ptr::null());
}

/// `c = a @ b`, or `c += a @ b`, in what products are summed in, on the calling thread.
///
/// # Panics
/// The shapes do not fit: a bug in the caller.
pub(crate) fn sums<'b, T: Multiplied<Sum: Element> + 'b>(
    precision: Precision,
    c: &mut MatMut<'_, T::Sum>,
    old: Old,
    a: Mat<'_, T>,
    b: impl Into<Right<'b, T>>,
) {
    run_sums(precision, c, old, a, b.into(), std::ptr::null());
}

/// `c = row + a @ b` in what products are summed in, on the calling thread, with the same row for all.
///
/// # Panics
/// The shapes do not fit: a bug in the caller.
pub(crate) fn sums_and_row<T: Multiplied<Sum: Element>>(
    precision: Precision,
    c: &mut MatMut<'_, T::Sum>,
    row: Option<&[T::Sum]>,
    a: Mat<'_, T>,
    b: Right<'_, T>,
) {
    run_sums(precision, c, Old::Ignore, a, b, row_of(c.cols, row));
}

fn run_sums<T: Multiplied<Sum: Element>>(
    precision: Precision,
    c: &mut MatMut<'_, T::Sum>,
    old: Old,
    a: Mat<'_, T>,
    Right { matrix: b, ready }: Right<'_, T>,
    row: *const T::Sum,
) {
    let given = Given { row, ready };
    if let Some(product) = prepared(c, old, T::Sum::from_f64(1.0), a, b, given) {
        // SAFETY: as `run`.
        unsafe { T::sums(Level::detect(), precision, &product, given) }
    }
}

/// A row to be given, or null.
fn row_of<T>(cols: usize, row: Option<&[T]>) -> *const T {
    assert!(row.is_none_or(|row| row.len() == cols), "a row that does not fit");
    row.map_or(std::ptr::null(), <[T]>::as_ptr)
}

/// `c = row + a @ b`, on the calling thread, with the same row for all.
///
/// # Panics
/// The shapes do not fit: a bug in the caller.
pub(crate) fn product_and_row<T: Element + Multiplied>(
    precision: Precision,
    c: &mut MatMut<'_, T>,
    row: Option<&[T]>,
    a: Mat<'_, T>,
    b: Right<'_, T>,
) {
    let row = row_of(c.cols, row);
    run(precision, c, Old::Ignore, T::from_f64(1.0), a, b, row);
}

fn run<T: Element + Multiplied>(
    precision: Precision,
    c: &mut MatMut<'_, T>,
    old: Old,
    scale: T,
    a: Mat<'_, T>,
    Right { matrix: b, ready }: Right<'_, T>,
    row: *const T,
) {
    let given = Given { row, ready };
    if let Some(product) = prepared(c, old, scale, a, b, given) {
        // SAFETY: the matrices lie in their slices, as checked when they were made; `c` is exclusively borrowed, so it
        // overlaps neither `a` nor `b`; what is given is as long, and what is packed was packed from `b`; the level is what
        // the machine was found to have.
        unsafe { T::product(Level::detect(), precision, &product, given) }
    }
}

/// The product of these matrices, if there is anything to multiply; otherwise `c` is what it is to be.
fn prepared<T: Copy, C: Element>(
    c: &mut MatMut<'_, C>,
    old: Old,
    scale: C,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    given: Given<C>,
) -> Option<Product<T, C>> {
    assert!(a.cols == b.rows && a.rows == c.rows && b.cols == c.cols, "matrices that do not fit");
    if c.rows == 0 || c.cols == 0 {
        return None;
    }
    if a.cols == 0 {
        let cols = c.cols;
        for i in 0..c.rows {
            match old {
                // SAFETY: the row is as long as those of `c`.
                _ if !given.row.is_null() => unsafe {
                    c.row(i).copy_from_slice(std::slice::from_raw_parts(given.row, cols));
                },
                Old::Ignore => c.row(i).fill(C::default()),
                Old::Keep => {}
            }
        }
        return None;
    }
    Some(Product {
        shape: [c.rows, c.cols, a.cols],
        c: c.start,
        pitch: c.pitch,
        old,
        scale,
        a: a.start,
        a_strides: [a.row_stride, a.col_stride],
        b: b.start,
        b_strides: [b.row_stride, b.col_stride],
    })
}
