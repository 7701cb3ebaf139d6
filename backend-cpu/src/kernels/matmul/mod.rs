//! Matrix products.
//!
//! Operands are read where they lie, whatever their strides: transposed, batched, broadcast. A batch that
//! shares its right operand is one taller product. [`gemm`] multiplies, [`tiles`] cuts for threads, and
//! [`integer`] is the plain loop for integers.

pub(crate) mod gemm;
mod integer;
pub(crate) mod tiles;

use gradus_tensor_core::{Element as _, DType, Layout, Meta, Outcome, Result, Shape, View};

use self::gemm::{Mat, MatMut, Old, product};
use self::tiles::Tiles;
use super::dense::{Output, Real, copied, tasks, with_real};
use crate::execute::{Done, done};
use crate::{Cpu, CpuBuffer};

/// `Op::MatMul`.
pub(crate) fn matmul(cpu: &Cpu, a: &View<'_, CpuBuffer>, b: &View<'_, CpuBuffer>, out: &Meta) -> Done {
    match a.dtype {
        DType::I64 | DType::I32 | DType::U8 => integer::matmul(cpu, a, b, out),
        DType::Bool => Ok(Outcome::Unsupported),
        dtype => with_real!(dtype, T => {
            let mut y = Output::<T>::new(cpu, out)?;
            with_operand(cpu, a, |a| with_operand(cpu, b, |b| batched::<T>(cpu, y.slice(), a, b)))?;
            done(y.finish(cpu)?)
        }),
    }
}

/// `Op::Linear`: every leading axis of the input is a row; the bias is written before the product is added.
pub(crate) fn linear(cpu: &Cpu, inputs: &[View<'_, CpuBuffer>], out: &Meta) -> Done {
    let (x, w) = (&inputs[0], &inputs[1]);
    with_real!(x.dtype, T => {
        let bias = inputs.get(2).map(|b| super::dense::Dense::<T>::new(cpu, b)).transpose()?;
        let mut y = Output::<T>::new(cpu, out)?;
        let features = *x.layout.shape().last().unwrap_or(&0);
        let rows = x.layout.shape().dims()[..x.layout.rank().saturating_sub(1)].iter().product();
        let flat = Shape::new(&[rows, features])?;
        let folded = x.layout.reshape(flat)?;
        let (copy, folded) = match folded {
            Some(layout) => (None, layout),
            None => (Some(copied::<T>(cpu, x)?), Layout::contiguous(flat)),
        };
        let x = match &copy {
            Some(buffer) => View { buffer, layout: &folded, dtype: T::DTYPE },
            None => View { buffer: x.buffer, layout: &folded, dtype: x.dtype },
        };
        with_operand(cpu, &x, |x| {
            with_operand(cpu, w, |w| parallel(cpu, y.slice(), x.matrix(0), w.matrix(0).t(), bias.as_deref()))
        })?;
        done(y.finish(cpu)?)
    })
}

/// A float operand as a slice and a layout over it.
struct Operand<'a, T> {
    data: &'a [T],
    layout: Layout,
}

/// Calls `body` with the operand where it lies, or with a copy in `T`.
fn with_operand<T: Real>(
    cpu: &Cpu,
    view: &View<'_, CpuBuffer>,
    body: impl FnOnce(Operand<'_, T>) -> Result<()>,
) -> Result<()> {
    if let Some(data) = view.buffer.as_slice() {
        return body(Operand { data, layout: *view.layout });
    }
    let buffer = copied::<T>(cpu, view)?;
    let data = buffer.as_slice().unwrap_or(&[]);
    body(Operand { data, layout: Layout::contiguous(*view.layout.shape()) })
}

impl<'a, T> Operand<'a, T> {
    /// The matrix of the last two axes at a flat index of the others.
    fn matrix(&self, mut batch: usize) -> Mat<'a, T> {
        let (shape, strides) = (self.layout.shape(), self.layout.strides());
        let r = shape.rank() - 2;
        let mut start = self.layout.offset() as isize;
        for d in (0..r).rev() {
            start += (batch % shape[d]) as isize * strides[d];
            batch /= shape[d];
        }
        Mat::strided(self.data, start as usize, [shape[r], shape[r + 1]], [strides[r], strides[r + 1]])
    }
}

fn batched<T: Real>(cpu: &Cpu, y: &mut [T], mut a: Operand<'_, T>, mut b: Operand<'_, T>) -> Result<()> {
    let rank = a.layout.rank();
    let batches: usize = a.layout.shape()[..rank - 2].iter().product();
    let [m, k] = [a.layout.shape()[rank - 2], a.layout.shape()[rank - 1]];
    let n = b.layout.shape()[rank - 1];
    if y.is_empty() {
        return Ok(());
    }
    if batches > 1 {
        let shared = (0..rank - 2).all(|d| b.layout.strides()[d] == 0 || b.layout.shape()[d] == 1);
        if shared && let Some(folded) = a.layout.reshape(Shape::new(&[batches * m, k])?)? {
            a.layout = folded;
            for _ in 0..rank - 2 {
                b.layout = b.layout.select(0, 0)?;
            }
            return parallel(cpu, y, a.matrix(0), b.matrix(0), None);
        }
    } else {
        return parallel(cpu, y, a.matrix(0), b.matrix(0), None);
    }
    let tiles = Tiles::new(m, n, k);
    let all = MatMut::new(y, batches * m, n);
    tasks(cpu, batches * tiles.count(), tiles.cost(), |i| {
        let (batch, [rows, cols]) = (i / tiles.count(), tiles.get(i % tiles.count()));
        // SAFETY: tiles of one matrix are disjoint, and so are matrices of the batch.
        let mut c = unsafe { all.tile(batch * m + rows.start..batch * m + rows.end, cols.clone()) };
        product(&mut c, Old::Ignore, T::ONE, a.matrix(batch).rows(rows), b.matrix(batch).cols(cols));
        Ok(())
    })
}

/// `y = a @ b + bias`, in tiles.
fn parallel<T: Real>(
    cpu: &Cpu,
    y: &mut [T],
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    bias: Option<&[T]>,
) -> Result<()> {
    let tiles = Tiles::new(a.rows, b.cols, a.cols);
    let all = MatMut::new(y, a.rows, b.cols);
    tasks(cpu, tiles.count(), tiles.cost(), |i| {
        let [rows, cols] = tiles.get(i);
        // SAFETY: tiles are disjoint.
        let mut c = unsafe { all.tile(rows.clone(), cols.clone()) };
        let old = match bias {
            Some(bias) => {
                (0..rows.len()).for_each(|r| c.row(r).copy_from_slice(&bias[cols.clone()]));
                Old::Keep
            }
            None => Old::Ignore,
        };
        product(&mut c, old, T::ONE, a.rows(rows), b.cols(cols));
        Ok(())
    })
}
