//! Linear layers: products in tiles, each of which is completed by the task that made it.
//!
//! What follows the product, a residual and an activation, needs one value of it and nothing around that. A tile is at most
//! half a megabyte, which the second-level cache of the core that made it still holds: it is gone over again there, where an
//! op of its own would read and write all of memory. The operations and their order are those of such ops, so in `f32` the
//! bits are too. (The bias is what the product is added to, with or without them.)
//!
//! In half precision the sums of a tile stay `f32`, in memory for the time of a task, until they are complete, and are
//! rounded once. A layer without anything after it is rounded in registers where `bf16` is multiplied as it is, and
//! one with a residual of `f32` gives `f32`: nothing is rounded there.

use std::ops::Range;

use gradus_tensor_core::half::bf16;
use gradus_tensor_core::op::{Linear, LinearOperands};
use gradus_tensor_core::{DType, Meta, Outcome, View};

use super::gemm::{MatMut, product_and_row, sums_and_row};
use super::multiplied::Multiplied;
use super::operand::Operand;
use super::{Factor, in_tiles};
use crate::execute::{Done, done};
use crate::kernels::dense::{Dense, Output, Scratch, Stored, with_stored};
use crate::kernels::unary::{Activation, limited};
use crate::level::Kernel;
use crate::math::real::Real as _;
use crate::{Cpu, CpuBuffer, Level};

/// The operands of a layer, whose leading axes are rows.
type Operands<'a> = LinearOperands<'a, View<'a, CpuBuffer>>;

/// `Op::Linear`.
pub(crate) fn linear(cpu: &Cpu, op: &Linear, inputs: &[View<'_, CpuBuffer>], out: &Meta) -> Done {
    let Some(operands) = op.operands(inputs) else { return Ok(Outcome::Unsupported) };
    let dot = operands.x.dtype == DType::BF16 && cpu.level().has_bf16_dot();
    match out.dtype {
        DType::BF16 if dot && *op == Linear::default() => rounded::<bf16>(cpu, &operands, out),
        DType::BF16 if dot => completed::<bf16, bf16>(cpu, op, &operands, out),
        DType::F32 if dot => completed::<f32, bf16>(cpu, op, &operands, out),
        dtype => with_stored!(dtype, S => completed::<S, <S as Stored>::Computed>(cpu, op, &operands, out)),
    }
}

/// The product and a bias, of elements that are what comes out.
fn rounded<T: Factor>(cpu: &Cpu, operands: &Operands<'_>, out: &Meta) -> Done {
    let bias = operands.bias.map(|b| Dense::<T>::new(cpu, b)).transpose()?;
    let (x, w) = (Operand::<T>::rows(cpu, operands.x)?, Operand::<T>::new(cpu, operands.weight)?);
    let mut y = Output::<T>::new(cpu, out)?;
    let (a, b) = (x.matrix(0), w.matrix(0).t());
    let precision = cpu.precision_of(operands.x.dtype);
    let all = MatMut::new(y.slice(), a.rows, b.cols);
    in_tiles(cpu, precision, a, b, |[rows, cols], a, b| {
        // SAFETY: tiles are disjoint.
        let mut y = unsafe { all.tile(rows, cols.clone()) };
        product_and_row(precision, &mut y, bias.as_deref().map(|bias| &bias[cols]), a, b);
        Ok(())
    })?;
    done(y.finish(cpu)?)
}

/// The layer, with products of `T` and outputs of `S`.
fn completed<S: Stored, T: Factor + Multiplied<Sum = S::Computed>>(
    cpu: &Cpu,
    op: &Linear,
    operands: &Operands<'_>,
    out: &Meta,
) -> Done {
    let Some(activation) = Activation::of(op.activation) else { return Ok(Outcome::Unsupported) };
    let bias = operands.bias.map(|b| Dense::<S::Computed>::new(cpu, b)).transpose()?;
    let residual = operands.residual.map(|r| Dense::<S>::new(cpu, r)).transpose()?;
    let (x, w) = (Operand::<T>::rows(cpu, operands.x)?, Operand::<T>::new(cpu, operands.weight)?);
    let mut y = Output::<S>::new(cpu, out)?;
    let (a, b) = (x.matrix(0), w.matrix(0).t());
    let (level, precision, [m, n]) = (cpu.level(), cpu.precision_of(operands.x.dtype), [a.rows, b.cols]);
    let after = After { residual: residual.as_deref(), activation, cols: n };
    let bias = |cols: &Range<usize>| bias.as_deref().map(|bias| &bias[cols.clone()]);
    match S::computed_mut(y.slice()) {
        Some(y) => {
            let all = MatMut::new(y, m, n);
            in_tiles(cpu, precision, a, b, |[rows, cols], a, b| {
                // SAFETY: tiles are disjoint.
                let mut y = unsafe { all.tile(rows.clone(), cols.clone()) };
                sums_and_row(precision, &mut y, bias(&cols), a, b);
                after.complete(level, [rows.start, cols.start], &mut y);
                Ok(())
            })?;
        }
        None => {
            let all = MatMut::new(y.slice(), m, n);
            in_tiles(cpu, precision, a, b, |[rows, cols], a, b| {
                let wide = if level == Level::Amx { cols.len() } else { cols.len().min(WIDE) };
                let mut sums = Scratch::new(cpu, rows.len() * wide)?;
                for first in (0..cols.len()).step_by(wide) {
                    let some = first..(first + wide).min(cols.len());
                    let b = b.cols(some.clone());
                    let cols = cols.start + some.start..cols.start + some.end;
                    let sums = &mut sums.slice()[..rows.len() * cols.len()];
                    let mut c = MatMut::new(sums, rows.len(), cols.len());
                    sums_and_row(precision, &mut c, bias(&cols), a, b);
                    let at = [rows.start, cols.start];
                    // SAFETY: tiles are disjoint.
                    let mut y = unsafe { all.tile(rows.clone(), cols) };
                    after.round(level, at, sums, &mut y);
                }
                Ok(())
            })?;
        }
    }
    done(y.finish(cpu)?)
}

/// What is done to sums.
struct After<'a, S: Stored> {
    /// As the output, row after row.
    residual: Option<&'a [S]>,
    activation: Activation<S::Computed>,
    /// Columns of the output.
    cols: usize,
}

/// Elements that stay in the first-level cache from one step to the next, more than a tile has columns.
const PIECE: usize = 1024;
/// Columns that are summed before they are rounded: some panels, whose sums leave room in the second-level cache. (Tiles of
/// AMX pack the left operand each time, so they take all.)
const WIDE: usize = 192;

impl<S: Stored> After<'_, S> {
    /// Completes the sums of a tile that begins with that row and column.
    fn complete(&self, level: Level, at: [usize; 2], tile: &mut MatMut<'_, S::Computed>) {
        let mut tile = if tile.cols == self.cols { tile.merged() } else { tile.reborrow() };
        for i in 0..tile.rows {
            for (k, sums) in tile.row(i).chunks_mut(PIECE).enumerate() {
                self.add(level, self.position(at, i) + k * PIECE, sums);
                self.activation.apply(level, sums);
            }
        }
    }

    /// Completes the sums of a tile, whose rows follow each other, and writes them rounded.
    fn round(&self, level: Level, at: [usize; 2], sums: &mut [S::Computed], y: &mut MatMut<'_, S>) {
        let cols = y.cols;
        let mut room = [S::Computed::ZERO; PIECE];
        // A loop over several short rows is one.
        let together = (PIECE / cols).max(1);
        for (first, sums) in (0..y.rows).step_by(together).zip(sums.chunks_mut(together * cols)) {
            for (i, sums) in sums.chunks_mut(cols).enumerate() {
                self.add(level, self.position(at, first + i), sums);
            }
            let made = self.activation.applied(level, sums, &mut room);
            for (i, made) in made.chunks(cols).enumerate() {
                S::narrow(level, made, y.row(first + i));
            }
        }
    }

    /// Where in the output row `i` of a tile begins.
    fn position(&self, [row, col]: [usize; 2], i: usize) -> usize {
        (row + i) * self.cols + col
    }

    /// Adds the residual to sums that begin there, and cuts off.
    fn add(&self, level: Level, at: usize, sums: &mut [S::Computed]) {
        let residual = self.residual.map(|all| &all[at..][..sums.len()]);
        if residual.is_some() || self.activation.cuts() {
            level.run(Sum::<S> { sums, residual, limits: self.activation.limits() });
        }
    }
}

/// The sum with a residual, and limits.
struct Sum<'a, S: Stored> {
    sums: &'a mut [S::Computed],
    residual: Option<&'a [S]>,
    limits: [S::Computed; 2],
}

impl<S: Stored> Kernel for Sum<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        match self.residual {
            Some(residual) => {
                for (sum, r) in self.sums.iter_mut().zip(residual) {
                    *sum = limited(*sum + r.wide(), self.limits);
                }
            }
            None => self.sums.iter_mut().for_each(|sum| *sum = limited(*sum, self.limits)),
        }
    }
}
