//! A matrix packed once and multiplied with many times: panels of a few columns, one row after the other, cut where
//! the rows of the other operand no longer fit the first-level cache.

use std::ops::Range;

use gradus_tensor_core::Result;

use super::lanes::{Recur, Tile};
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
pub(super) enum Start<'a, T> {
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
pub(super) struct Panels<T: 'static> {
    data: Dense<'static, T>,
    depth: usize,
    cols: usize,
    width: usize,
    level: Level,
}

impl<T: Recur> Panels<T> {
    /// Packs a matrix whose rows follow each other.
    pub(super) fn new(cpu: &Cpu, matrix: &[T], depth: usize, cols: usize) -> Result<Self> {
        Self::pack(cpu, depth, cols, |k, columns, to| {
            to[..columns.len()].copy_from_slice(&matrix[k * cols..][columns]);
        })
    }

    /// Packs the transpose of a matrix `[cols, depth]` whose rows follow each other.
    pub(super) fn transposed(cpu: &Cpu, matrix: &[T], depth: usize, cols: usize) -> Result<Self> {
        Self::pack(cpu, depth, cols, |k, columns, to| {
            for (to, column) in to.iter_mut().zip(columns) {
                *to = matrix[column * depth + k];
            }
        })
    }

    /// `row(k, columns, to)` writes these columns of row `k`.
    fn pack(
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
    pub(super) fn multiply(&self, a: &[T], start: Start<'_, T>, to: &mut [T]) {
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
            let a = &a[group.start * depth..group.end * depth];
            let to = &mut to[group.start * cols..group.end * cols];
            let start = match start {
                Start::Rows(from) => Start::Rows(&from[group.start * cols..group.end * cols]),
                other => other,
            };
            for block in blocks(depth) {
                let start = if block.start == 0 { start } else { Start::Old };
                for p in 0..cols.div_ceil(self.width) {
                    self.panel(a, start, to, group.len(), &block, p);
                }
            }
        }
    }

    /// One block of the depth and one panel.
    fn panel(&self, a: &[T], start: Start<'_, T>, to: &mut [T], rows: usize, block: &Range<usize>, p: usize) {
        let (width, cols) = (self.width, self.cols);
        let count = cols.div_ceil(width);
        let panel = &self.data[(block.start * count + p * block.len()) * width..][..block.len() * width];
        let first = p * width;
        let used = width.min(cols - first);
        let (from, from_pitch) = match start {
            Start::Zero => (&[][..], 0),
            Start::Rows(from) => (&from[first..], cols),
            Start::Repeated(from) => (&from[first..], 0),
            Start::Old => (&to[first..], cols),
        };
        let tile = Tile {
            rows,
            depth: block.len(),
            a: a[block.start..].as_ptr(),
            a_pitch: self.depth,
            panel: panel.as_ptr(),
            from: std::ptr::null(),
            from_pitch,
            to: std::ptr::null_mut(),
            to_pitch: cols,
        };
        if used == width {
            let given = if from.is_empty() { std::ptr::null() } else { from.as_ptr() };
            let to = to[first..].as_mut_ptr();
            let from = if matches!(start, Start::Old) { to.cast_const() } else { given };
            // SAFETY: `multiply` has checked the lengths of all operands; this panel is whole.
            unsafe { T::multiply(self.level, Tile { from, to, ..tile }) };
            return;
        }
        // The last panel is wider than the matrix: by way of rows that are as wide.
        let mut wide = [T::ZERO; ROWS * WIDEST];
        if !from.is_empty() {
            for (r, wide) in wide.chunks_exact_mut(width).take(rows).enumerate() {
                wide[..used].copy_from_slice(&from[r * from_pitch..][..used]);
            }
        }
        let to_wide = wide.as_mut_ptr();
        let tile =
            Tile { from: to_wide.cast_const(), from_pitch: width, to: to_wide, to_pitch: width, ..tile };
        // SAFETY: `multiply` has checked the length of `a`; there is room for so many wide rows.
        unsafe { T::multiply(self.level, tile) };
        for (r, wide) in wide.chunks_exact(width).take(rows).enumerate() {
            to[r * cols + first..][..used].copy_from_slice(&wide[..used]);
        }
    }
}

/// The depth in blocks.
fn blocks(depth: usize) -> impl Iterator<Item = Range<usize>> {
    (0..depth).step_by(DEPTH).map(move |start| start..(start + DEPTH).min(depth))
}
