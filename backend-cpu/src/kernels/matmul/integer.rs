//! Products of integers, which wrap.

use bytemuck::Pod;
use gradus_tensor_core::{DType, Element, Meta, Outcome, View};
use num_traits::{WrappingAdd, WrappingMul};

use crate::execute::{Done, done};
use crate::kernels::dense::{Parts, copied};
use crate::level::Kernel;
use crate::{Cpu, CpuBuffer};

/// `Op::MatMul` of integers.
pub(crate) fn matmul(cpu: &Cpu, a: &View<'_, CpuBuffer>, b: &View<'_, CpuBuffer>, out: &Meta) -> Done {
    match a.dtype {
        DType::I64 => typed::<i64>(cpu, a, b, out),
        DType::I32 => typed::<i32>(cpu, a, b, out),
        DType::I8 => typed::<i8>(cpu, a, b, out),
        DType::U8 => typed::<u8>(cpu, a, b, out),
        _ => Ok(Outcome::Unsupported),
    }
}

trait Int: Element + Pod + WrappingAdd + WrappingMul {}
impl<T: Element + Pod + WrappingAdd + WrappingMul> Int for T {}

fn typed<T: Int>(cpu: &Cpu, a: &View<'_, CpuBuffer>, b: &View<'_, CpuBuffer>, out: &Meta) -> Done {
    let rank = out.shape.rank();
    let [m, n, k] = [out.shape[rank - 2], out.shape[rank - 1], a.layout.shape()[rank - 1]];
    let mut y = cpu.alloc(out)?;
    if out.shape.numel() > 0 {
        let (a, b) = (copied::<T>(cpu, a)?, copied::<T>(cpu, b)?);
        let (a, b) = (a.as_slice::<T>().unwrap_or(&[]), b.as_slice::<T>().unwrap_or(&[]));
        let parts = Parts::new(y.slice_mut::<T>());
        cpu.for_chunks(out.shape.numel() / n, n * k, |rows| {
            for row in rows {
                // SAFETY: rows are disjoint.
                let y = unsafe { parts.part(row * n..(row + 1) * n) };
                let b = &b[row / m * k * n..][..k * n];
                cpu.level().run(Row { y, a: &a[row * k..][..k], b });
            }
        });
    }
    done(y)
}

/// One row of the product: a sum of the right operand's rows.
struct Row<'a, T> {
    y: &'a mut [T],
    a: &'a [T],
    b: &'a [T],
}

impl<T: Int> Kernel for Row<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.y.fill(T::default());
        for (a, b) in self.a.iter().zip(self.b.chunks_exact(self.y.len())) {
            for (y, b) in self.y.iter_mut().zip(b) {
                *y = y.wrapping_add(&a.wrapping_mul(b));
            }
        }
    }
}
