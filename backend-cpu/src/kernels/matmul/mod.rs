//! Matrix products.
//!
//! Operands are read where they lie, whatever their strides: transposed, batched, broadcast. A batch that
//! shares its right operand is one taller product. [`gemm`] multiplies, [`tiles`] cuts for threads, [`ready`] packs for all
//! tiles, [`panels`] are matrices packed for many products, [`bf16`] is half precision where the machine has it, [`amx`] are
//! large products where it has tiles, and [`integer`] is the plain loop for integers.

#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) mod amx;
mod bf16;
pub(crate) mod gemm;
mod integer;
mod lanes;
pub(crate) mod micro;
pub(crate) mod multiplied;
pub(crate) mod operand;
mod pack;
pub(crate) mod panels;
pub(crate) mod ready;
pub(crate) mod registers;
pub(crate) mod tiles;

use gradus_tensor_core::{DType, Element, Meta, Result, Shape, View, half};

use self::gemm::{Mat, MatMut, Old, Right, product, product_and_row};
use self::multiplied::Multiplied;
use self::operand::Operand;
use self::ready::Packed;
use self::tiles::Tiles;
use super::dense::{Dense, Output, tasks, with_real};
use crate::execute::{Done, done};
use crate::{Cpu, CpuBuffer, Precision};

/// `Op::MatMul`.
pub(crate) fn matmul(cpu: &Cpu, a: &View<'_, CpuBuffer>, b: &View<'_, CpuBuffer>, out: &Meta) -> Done {
    match a.dtype {
        DType::I64 | DType::I32 | DType::I8 | DType::U8 => integer::matmul(cpu, a, b, out),
        DType::BF16 if cpu.level().has_bf16_dot() => batched::<half::bf16>(cpu, a, b, out),
        dtype => with_real!(dtype, T => batched::<T>(cpu, a, b, out)),
    }
}

/// `Op::Linear`: every index of the leading axes is a row; the bias is what the product is added to.
pub(crate) fn linear(cpu: &Cpu, inputs: &[View<'_, CpuBuffer>], out: &Meta) -> Done {
    match out.dtype {
        DType::BF16 if cpu.level().has_bf16_dot() => rows::<half::bf16>(cpu, inputs, out),
        dtype => with_real!(dtype, T => rows::<T>(cpu, inputs, out)),
    }
}

fn rows<T: Factor>(cpu: &Cpu, inputs: &[View<'_, CpuBuffer>], out: &Meta) -> Done {
    let bias = inputs.get(2).map(|b| Dense::<T>::new(cpu, b)).transpose()?;
    let (x, w) = (Operand::<T>::rows(cpu, &inputs[0])?, Operand::<T>::new(cpu, &inputs[1])?);
    let precision = cpu.precision_of(inputs[0].dtype);
    let mut y = Output::<T>::new(cpu, out)?;
    if !y.slice().is_empty() {
        parallel(cpu, precision, y.slice(), x.matrix(0), w.matrix(0).t(), bias.as_deref())?;
    }
    done(y.finish(cpu)?)
}

/// Elements that matrices of any layout are multiplied in.
trait Factor: Element + bytemuck::Pod + Multiplied {}
impl<T: Element + bytemuck::Pod + Multiplied> Factor for T {}

fn batched<T: Factor>(cpu: &Cpu, a: &View<'_, CpuBuffer>, b: &View<'_, CpuBuffer>, out: &Meta) -> Done {
    let mut y = Output::<T>::new(cpu, out)?;
    multiply(cpu, cpu.precision_of(a.dtype), y.slice(), Operand::new(cpu, a)?, Operand::new(cpu, b)?)?;
    done(y.finish(cpu)?)
}

fn multiply<T: Factor>(
    cpu: &Cpu,
    precision: Precision,
    y: &mut [T],
    mut a: Operand<'_, T>,
    b: Operand<'_, T>,
) -> Result<()> {
    if y.is_empty() {
        return Ok(());
    }
    let rank = a.shape().rank();
    let batches: usize = a.shape()[..rank - 2].iter().product();
    let [m, k, n] = [a.shape()[rank - 2], a.shape()[rank - 1], b.shape()[rank - 1]];
    // Matrices with one right operand in common are one taller matrix.
    if batches == 1 || b.is_shared() && a.fold(Shape::new(&[batches * m, k])?)? {
        return parallel(cpu, precision, y, a.matrix(0), b.matrix(0), None);
    }
    let tiles = Tiles::batched(batches, m, n, k);
    let all = MatMut::new(y, batches * m, n);
    tasks(cpu, batches * tiles.count(), tiles.cost(), |i| {
        let (batch, [rows, cols]) = (i / tiles.count(), tiles.get(i % tiles.count()));
        // SAFETY: tiles of one matrix are disjoint, and so are matrices of the batch.
        let mut c = unsafe { all.tile(batch * m + rows.start..batch * m + rows.end, cols.clone()) };
        product(
            precision,
            &mut c,
            Old::Ignore,
            T::from_f64(1.0),
            a.matrix(batch).rows(rows),
            b.matrix(batch).cols(cols),
        );
        Ok(())
    })
}

/// `y = a @ b + bias`, in tiles.
fn parallel<T: Factor>(
    cpu: &Cpu,
    precision: Precision,
    y: &mut [T],
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    bias: Option<&[T]>,
) -> Result<()> {
    let shape = [a.rows, b.cols];
    let tiles = Tiles::new(a.rows, b.cols, a.cols);
    // Tiles that are one above the other multiply with the same columns.
    let packed = match tiles.counts() {
        [1, _] => None,
        _ => Packed::in_parallel(cpu, precision, b, tiles.get(0)[0].len())?,
    };
    let b = Right::new(b, packed.as_ref());
    let all = MatMut::new(y, shape[0], shape[1]);
    tasks(cpu, tiles.count(), tiles.cost(), |i| {
        let [rows, cols] = tiles.get(i);
        // SAFETY: tiles are disjoint.
        let mut c = unsafe { all.tile(rows.clone(), cols.clone()) };
        let bias = bias.map(|bias| &bias[cols.clone()]);
        product_and_row(precision, &mut c, bias, a.rows(rows), b.cols(cols));
        Ok(())
    })
}
