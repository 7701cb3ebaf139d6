//! A matrix packed once and multiplied with many times: panels of a few columns, one row after the other, cut where
//! the rows of the other operand no longer fit the first-level cache.

use std::ops::Range;

use gradus_tensor_core::Result;

use super::gemm::MatMut;
pub(crate) use super::lanes::Packed;
use super::lanes::Tile;
use crate::kernels::dense::{Dense, Parts};
use crate::{Cpu, Level};

/// The depth of a block: eight rows of so many `f32` are a quarter of a first-level cache.
const DEPTH: usize = 256;
/// More columns than any panel has.
const WIDEST: usize = 32;
/// Rows that are computed together, so that a panel is read once for them.
const ROWS: usize = 64;

/// What a product is added to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a, T> {
    Zero,
    /// These rows.
    Rows(&'a [T]),
    /// This row, for all.
    Repeated(&'a [T]),
    /// What is there.
    Old,
}

/// A packed matrix `[depth, cols]`. A block of the depth follows the other; in it, panels; in those, rows.
#[derive(Debug)]
pub(crate) struct Panels<T: 'static> {
    data: Dense<'static, T>,
    depth: usize,
    cols: usize,
    width: usize,
    level: Level,
}

impl<T: Packed> Panels<T> {
    /// Packs a matrix whose rows follow each other.
    pub(crate) fn new(cpu: &Cpu, matrix: &[T], depth: usize, cols: usize) -> Result<Self> {
        Self::of_rows(cpu, depth, cols, |k, columns, to| {
            to[..columns.len()].copy_from_slice(&matrix[k * cols..][columns]);
        })
    }

    /// Packs the transpose of a matrix `[cols, depth]` whose rows follow each other.
    pub(crate) fn transposed(cpu: &Cpu, matrix: &[T], depth: usize, cols: usize) -> Result<Self> {
        Self::of_rows(cpu, depth, cols, |k, columns, to| {
            for (to, column) in to.iter_mut().zip(columns) {
                *to = matrix[column * depth + k];
            }
        })
    }

    /// `row(k, columns, to)` writes these columns of row `k`.
    fn of_rows(
        cpu: &Cpu,
        depth: usize,
        cols: usize,
        row: impl Fn(usize, Range<usize>, &mut [T]) + Sync,
    ) -> Result<Self> {
        let (level, width) = (cpu.level(), T::width(cpu.level()));
        let count = cols.div_ceil(width);
        let mut data = cpu.alloc_len(T::DTYPE, depth * count * width)?;
        let parts = Parts::new(data.slice_mut::<T>());
        cpu.for_chunks(count, depth * width * 4, |panels| {
            for p in panels {
                let columns = p * width..((p + 1) * width).min(cols);
                for block in blocks(depth) {
                    let start = (block.start * count + p * block.len()) * width;
                    // SAFETY: panels are disjoint.
                    let panel = unsafe { parts.part(start..start + block.len() * width) };
                    for (k, to) in block.zip(panel.chunks_exact_mut(width)) {
                        row(k, columns.clone(), to);
                        to[columns.len()..].fill(T::ZERO);
                    }
                }
            }
        });
        Ok(Self { data: Dense::Owned(data), depth, cols, width, level })
    }

    /// `to = start + a @ self`, for `a` `[rows, depth]` and `to` `[rows, cols]`, on the calling thread.
    ///
    /// # Panics
    /// The lengths do not fit: a bug in the caller.
    pub(crate) fn multiply(&self, a: &[T], start: Start<'_, T>, to: &mut [T]) {
        let (depth, cols) = (self.depth, self.cols);
        if to.is_empty() {
            return;
        }
        let rows = to.len() / cols;
        assert!(to.len() == rows * cols && a.len() == rows * depth, "operands do not fit the panels");
        assert!(match start {
            Start::Zero | Start::Old => true,
            Start::Rows(from) => from.len() == to.len(),
            Start::Repeated(from) => from.len() == cols,
        });
        for first in (0..rows).step_by(ROWS) {
            let group = first..(first + ROWS).min(rows);
            let left = Left { data: &a[group.start * depth..group.end * depth], pitch: depth };
            let mut to = MatMut::new(&mut to[group.start * cols..group.end * cols], group.len(), cols);
            let start = match start {
                Start::Rows(from) => Start::Rows(&from[group.start * cols..group.end * cols]),
                other => other,
            };
            for block in blocks(depth) {
                let start = if block.start == 0 { start } else { Start::Old };
                let left = Left { data: &left.data[block.start..], ..left };
                for p in 0..self.count() {
                    self.panel(left, start, &mut to, &block, p, p * self.width);
                }
            }
        }
    }

    /// The number of panels.
    fn count(&self) -> usize {
        self.cols.div_ceil(self.width)
    }

    /// The columns of some panels.
    fn columns(&self, panels: &Range<usize>) -> Range<usize> {
        panels.start * self.width..(panels.end * self.width).min(self.cols)
    }

    /// One block of the depth and one panel, whose columns begin at `first` in `to`.
    fn panel(
        &self,
        left: Left<'_, T>,
        start: Start<'_, T>,
        to: &mut MatMut<'_, T>,
        block: &Range<usize>,
        p: usize,
        first: usize,
    ) {
        let (width, rows) = (self.width, to.rows);
        let panel =
            &self.data[(block.start * self.count() + p * block.len()) * width..][..block.len() * width];
        let used = self.columns(&(p..p + 1)).len();
        assert!(first + used <= to.cols && left.holds(rows, block.len()), "operands do not fit the panel");
        let (to, to_pitch) = to.raw();
        let to = to.wrapping_add(first);
        let (from, from_pitch) = match start {
            Start::Zero => (std::ptr::null(), 0),
            Start::Rows(from) => (from[first..].as_ptr(), self.cols),
            Start::Repeated(from) => (from[first..].as_ptr(), 0),
            Start::Old => (to.cast_const(), to_pitch),
        };
        let tile = Tile {
            rows,
            depth: block.len(),
            a: left.data.as_ptr(),
            a_pitch: left.pitch,
            panel: panel.as_ptr(),
            from,
            from_pitch,
            to,
            to_pitch,
        };
        if used == width {
            // SAFETY: the left operand and the columns of `to` were checked here, what is added by `multiply`; this
            // panel is whole.
            unsafe { T::multiply(self.level, tile) };
            return;
        }
        // The last panel is wider than the matrix: by way of rows that are as wide.
        let mut wide = [T::ZERO; ROWS * WIDEST];
        if !from.is_null() {
            for r in 0..rows {
                // SAFETY: so many elements can be read in each of the rows that are added.
                let from = unsafe { std::slice::from_raw_parts(from.add(r * from_pitch), used) };
                wide[r * width..][..used].copy_from_slice(from);
            }
        }
        let by = wide.as_mut_ptr();
        let tile = Tile { from: by.cast_const(), from_pitch: width, to: by, to_pitch: width, ..tile };
        // SAFETY: the left operand was checked; there is room for so many wide rows.
        unsafe { T::multiply(self.level, tile) };
        for r in 0..rows {
            // SAFETY: so many elements of each row belong to `to`, which is exclusively borrowed.
            let to = unsafe { std::slice::from_raw_parts_mut(to.add(r * to_pitch), used) };
            to.copy_from_slice(&wide[r * width..][..used]);
        }
    }
}

/// The left operand of a product: element `k` of row `r` is `data[r * pitch + k]`.
#[derive(Clone, Copy)]
struct Left<'a, T> {
    data: &'a [T],
    pitch: usize,
}

impl<T> Left<'_, T> {
    fn holds(&self, rows: usize, depth: usize) -> bool {
        rows * depth == 0 || (rows - 1) * self.pitch + depth - 1 < self.data.len()
    }
}

/// The depth in blocks.
fn blocks(depth: usize) -> impl Iterator<Item = Range<usize>> {
    (0..depth).step_by(DEPTH).map(move |start| start..(start + DEPTH).min(depth))
}
