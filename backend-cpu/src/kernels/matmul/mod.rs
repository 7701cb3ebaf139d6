//! Matrix products.
//!
//! Operands are read where they lie, whatever their strides: transposed, batched, broadcast. A batch that
//! shares its right operand is one taller product. [`gemm`] multiplies, [`tiles`] cuts for threads, [`ready`] packs for all
//! tiles, [`panels`] are matrices packed for many products, [`bf16`] is half precision where the machine has it, [`amx`] are
//! large products where it has tiles, [`integer`] is the plain loop for integers, and [`linear`] does what follows a product.

#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) mod amx;
mod bf16;
pub(crate) mod gemm;
mod integer;
mod lanes;
pub(crate) mod linear;
pub(crate) mod micro;
pub(crate) mod multiplied;
pub(crate) mod operand;
mod pack;
pub(crate) mod panels;
pub(crate) mod ready;
pub(crate) mod registers;
pub(crate) mod tiles;

use std::ops::Range;

use gradus_tensor_core::{DType, Element, Meta, Result, Shape, View, half};

use self::gemm::{Mat, MatMut, Old, Right, product};
use self::multiplied::Multiplied;
use self::operand::Operand;
use self::ready::Packed;
use self::tiles::Tiles;
use super::dense::{Output, tasks, with_real};
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
        let (a, b) = (a.matrix(0), b.matrix(0));
        let all = MatMut::new(y, a.rows, b.cols);
        return in_tiles(cpu, precision, a, b, |[rows, cols], a, b| {
            // SAFETY: tiles are disjoint.
            let mut c = unsafe { all.tile(rows, cols) };
            product(precision, &mut c, Old::Ignore, T::from_f64(1.0), a, b);
            Ok(())
        });
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

/// A product in tiles: `make` makes each from its rows of `a` and its columns of `b`.
fn in_tiles<T: Factor>(
    cpu: &Cpu,
    precision: Precision,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    make: impl Fn([Range<usize>; 2], Mat<'_, T>, Right<'_, T>) -> Result<()> + Sync,
) -> Result<()> {
    if a.rows == 0 || b.cols == 0 {
        return Ok(());
    }
    let tiles = Tiles::new(a.rows, b.cols, a.cols);
    // Tiles that are one above the other multiply with the same columns.
    let packed = match tiles.counts() {
        [1, _] => None,
        _ => Packed::in_parallel(cpu, precision, b, tiles.get(0)[0].len())?,
    };
    let b = Right::new(b, packed.as_ref());
    tasks(cpu, tiles.count(), tiles.cost(), |i| {
        let [rows, cols] = tiles.get(i);
        make([rows.clone(), cols.clone()], a.rows(rows), b.cols(cols))
    })
}
