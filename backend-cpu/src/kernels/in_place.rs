//! Ops that change memory: strided writes and accumulation, element-wise updates.

use gradus_tensor_core::half::{bf16, f16};
use gradus_tensor_core::{BinaryOp, DType, Element, InPlaceOp, Layout, Outcome, Result, View, ViewMut};

use crate::elementwise::{Operand, walk};
use crate::kernels::copy::move_elements;
use crate::kernels::{binary, optimizer, unary};
use crate::math::half::Half;
use crate::{Cpu, CpuBuffer};

/// Changes the targets. They were checked: shapes and dtypes fit the op, views lie in their buffers, and no
/// target names an element twice unless the op accumulates.
pub(crate) fn execute(
    cpu: &Cpu,
    op: &InPlaceOp,
    targets: &mut [ViewMut<'_, CpuBuffer>],
    inputs: &[View<'_, CpuBuffer>],
) -> Result<Outcome<()>> {
    match (op, targets, inputs) {
        (InPlaceOp::Write, [target], [source]) => {
            let size = source.dtype.size();
            let operands = [Operand::overwrite(target), Operand::read(source)];
            // SAFETY: checked by the caller.
            unsafe { walk(cpu, 1, operands, |[to, from], n| move_elements(from, to, n * size)) };
            Ok(Outcome::Done(()))
        }
        (InPlaceOp::Accumulate, [target], [source]) => {
            if target.layout.is_injective() {
                let (dtype, operands) = (source.dtype, [Operand::update(target), Operand::read(source)]);
                // SAFETY: checked by the caller.
                unsafe { binary::apply(cpu, BinaryOp::Add, dtype, operands) }
            } else {
                Ok(overlapping(target, source))
            }
        }
        (InPlaceOp::Unary(op), [target], []) => {
            let (dtype, operands) = (target.dtype, [Operand::update(target)]);
            // SAFETY: checked by the caller.
            Ok(unsafe { unary::apply(cpu, *op, dtype, operands) })
        }
        (InPlaceOp::Binary(op), [target], [source]) => {
            let (dtype, operands) = (target.dtype, [Operand::update(target), Operand::read(source)]);
            // SAFETY: checked by the caller.
            unsafe { binary::apply(cpu, *op, dtype, operands) }
        }
        (InPlaceOp::Sgd(op), targets, [g]) => Ok(optimizer::sgd(cpu, op, targets, g)),
        (InPlaceOp::Adam(op), targets, [g]) => Ok(optimizer::adam(cpu, op, targets, g)),
        _ => Ok(Outcome::Unsupported),
    }
}

/// Accumulates where the target names elements more than once: each mention adds, in order, on one thread.
fn overlapping(target: &mut ViewMut<'_, CpuBuffer>, source: &View<'_, CpuBuffer>) -> Outcome<()> {
    let (to, from) = (target.buffer.bytes_mut(), source.buffer.bytes());
    let layouts = Layout::simplify_together([target.layout, source.layout]);
    macro_rules! with {
        ($t:ty, |$a:ident, $b:ident| $sum:expr) => {
            // SAFETY: the views were checked and have one shape and this type.
            unsafe { add_runs::<$t>(layouts, to.cast(), from.cast(), |$a, $b| $sum) }
        };
    }
    match source.dtype {
        DType::F32 => with!(f32, |a, b| a + b),
        DType::F64 => with!(f64, |a, b| a + b),
        DType::F16 => with!(f16, |a, b| f16::from_single(a.to_single() + b.to_single())),
        DType::BF16 => with!(bf16, |a, b| bf16::from_single(a.to_single() + b.to_single())),
        DType::I64 => with!(i64, |a, b| a.wrapping_add(b)),
        DType::I32 => with!(i32, |a, b| a.wrapping_add(b)),
        DType::I8 => with!(i8, |a, b| a.wrapping_add(b)),
        DType::U8 => with!(u8, |a, b| a.wrapping_add(b)),
        DType::Bool => with!(bool, |a, b| a | b),
        _ => return Outcome::Unsupported,
    }
    Outcome::Done(())
}

/// # Safety
/// Both layouts have one shape and lie in memory of that type.
unsafe fn add_runs<T: Element>(
    [target, source]: [Layout; 2],
    to: *mut T,
    from: *const T,
    sum: impl Fn(T, T) -> T,
) {
    let rank = target.rank();
    let (run, steps) = match rank {
        0 => (1, (0, 0)),
        _ => (target.shape()[rank - 1], (target.strides()[rank - 1], source.strides()[rank - 1])),
    };
    if run == 0 || target.numel() == 0 {
        return;
    }
    // The first element of every innermost run.
    let starts = |layout: &Layout| match rank {
        0 => layout.positions(),
        _ => layout.narrow(rank - 1, 0, 1).map_or_else(|_| layout.positions(), |l| l.positions()),
    };
    for (t, s) in starts(&target).zip(starts(&source)) {
        for i in 0..run as isize {
            // SAFETY: promised by the caller.
            unsafe {
                let to = to.offset(t as isize + i * steps.0);
                *to = sum(*to, *from.offset(s as isize + i * steps.1));
            }
        }
    }
}
