//! Products of a transposed matrix with another, both much taller than wide: gradients of weights.
//!
//! The rows of such a product are columns of what lies in memory, so its left operand must be copied whatever the
//! kernel, and a product that is cut into tiles copies it once for each tile of a row. Here the right operand is
//! packed once for all, and a task copies its own columns of the left one, block by block.

use gradus_tensor_core::Result;

use super::gemm::{Mat, MatMut};
use super::panels::{DEPTH, Packed, Panels, ROWS, blocks};
use crate::kernels::dense::{Scratch, tasks};
use crate::{Cpu, Level};

/// Products of fewer steps are left to tiles.
const LEAST_DEPTH: usize = 512;
/// So are those with fewer columns than a wide panel.
const LEAST_COLS: usize = 32;
/// Panels for which a task copies its columns once.
const TOGETHER: usize = 8;

/// Whether [`product`] is for these operands.
pub(super) fn suits<T: Packed>(cpu: &Cpu, a: &Mat<'_, T>, b: &Mat<'_, T>) -> bool {
    T::HAS_REGISTERS
        && cpu.level() > Level::Scalar
        && a.rows >= ROWS
        && b.cols >= LEAST_COLS
        && a.cols >= LEAST_DEPTH
        && a.t().has_contiguous_rows()
        && b.has_contiguous_rows()
}

/// `y = a @ b`, for operands that [`suits`] has approved.
pub(super) fn product<T: Packed>(cpu: &Cpu, y: &mut [T], a: Mat<'_, T>, b: Mat<'_, T>) -> Result<()> {
    let (rows, depth, cols) = (a.rows, a.cols, b.cols);
    let (a, b) = (a.t(), &b);
    let panels = Panels::of_rows(cpu, depth, cols, |k, columns, to| b.read_row(k, columns, to))?;
    let groups = rows.div_ceil(ROWS);
    let chunks = panels.count().div_ceil(TOGETHER);
    let all = MatMut::new(y, rows, cols);
    let cost = ROWS * depth * (cols / chunks).max(1) / 4;
    tasks(cpu, groups * chunks, cost, |i| {
        let (group, chunk) = (i / chunks, i % chunks);
        let range = group * ROWS..((group + 1) * ROWS).min(rows);
        let some = chunk * TOGETHER..((chunk + 1) * TOGETHER).min(panels.count());
        let columns = panels.columns(&some);
        // SAFETY: row groups are disjoint, and so are chunks of panels.
        let mut to = unsafe { all.tile(range.clone(), columns) };
        let mut copy = Scratch::new(cpu, DEPTH * ROWS)?;
        for block in blocks(depth) {
            let copy = &mut copy.slice()[..block.len() * range.len()];
            for (k, to) in block.clone().zip(copy.chunks_exact_mut(range.len())) {
                a.read_row(k, range.clone(), to);
            }
            panels.add_block(copy, &mut to, &block, &some);
        }
        Ok(())
    })
}
