//! Reductions over any axes.
//!
//! A contiguous operand is cut into alternating groups of kept and reduced axes. From the innermost on, each
//! reduced group is one *stage*: an array `[outer, n, inner]` becomes `[outer, inner]`. A stage combines blocks
//! of a fixed number of elements (see [`fold`]) and repeats on the blocks' results until one is left, so the
//! error of a sum grows with the logarithm of its length, as in pairwise summation, and neither the order nor
//! the number of threads changes a bit. Half precision is accumulated in `f32` through all stages and rounded
//! once.

mod combine;
mod fold;

use gradus_tensor_core::half::{bf16, f16};
use gradus_tensor_core::op::Reduce;
use gradus_tensor_core::{AxisSet, DType, Meta, Outcome, ReduceKind, Result, Shape, View};
use smallvec::SmallVec;

use self::combine::{Accumulator, Load, Max, Min, Prod, Sum};
use self::fold::stage;
use crate::execute::{Done, done};
use crate::kernels::copy::{Along, Packed, packed};
use crate::math::half::Half;
use crate::{Cpu, CpuBuffer};

/// Combines the elements along axes.
pub(crate) fn reduce(cpu: &Cpu, op: &Reduce, x: &View<'_, CpuBuffer>, out: &Meta) -> Done {
    let x = packed(cpu, x)?;
    let buffer = match (x.dtype(), op.kind) {
        (DType::F32, kind) => by_kind::<f32, f32>(cpu, kind, &x, op.axes, out)?,
        (DType::F64, kind) => by_kind::<f64, f64>(cpu, kind, &x, op.axes, out)?,
        (DType::F16, kind) => halves::<f16>(cpu, kind, &x, op.axes, out)?,
        (DType::BF16, kind) => halves::<bf16>(cpu, kind, &x, op.axes, out)?,
        (DType::I64, kind) => by_kind::<i64, i64>(cpu, kind, &x, op.axes, out)?,
        (DType::I32, ReduceKind::Sum | ReduceKind::Prod) => {
            by_kind::<i32, i64>(cpu, op.kind, &x, op.axes, out)?
        }
        (DType::I8, ReduceKind::Sum | ReduceKind::Prod) => {
            by_kind::<i8, i64>(cpu, op.kind, &x, op.axes, out)?
        }
        (DType::U8, ReduceKind::Sum | ReduceKind::Prod) => {
            by_kind::<u8, i64>(cpu, op.kind, &x, op.axes, out)?
        }
        (DType::Bool, ReduceKind::Sum | ReduceKind::Prod) => {
            by_kind::<bool, i64>(cpu, op.kind, &x, op.axes, out)?
        }
        (DType::I32, kind) => by_kind::<i32, i32>(cpu, kind, &x, op.axes, out)?,
        (DType::I8, kind) => by_kind::<i8, i8>(cpu, kind, &x, op.axes, out)?,
        (DType::U8, kind) => by_kind::<u8, u8>(cpu, kind, &x, op.axes, out)?,
        (DType::Bool, kind) => by_kind::<bool, bool>(cpu, kind, &x, op.axes, out)?,
        _ => return Ok(Outcome::Unsupported),
    };
    done(buffer)
}

/// Sums of half precision, rounded once at the end.
fn halves<H: Half + Load<f32>>(
    cpu: &Cpu,
    kind: ReduceKind,
    x: &Packed<'_>,
    axes: AxisSet,
    out: &Meta,
) -> Result<CpuBuffer> {
    let wide = by_kind::<H, f32>(cpu, kind, x, axes, &Meta::new(out.shape, DType::F32))?;
    let mut buffer = cpu.alloc(out)?;
    // SAFETY: both hold the elements of the output.
    unsafe { H::narrow(cpu.level(), wide.ptr(), buffer.ptr_mut(), wide.len()) };
    Ok(buffer)
}

fn by_kind<T: Load<A>, A: Accumulator>(
    cpu: &Cpu,
    kind: ReduceKind,
    x: &Packed<'_>,
    axes: AxisSet,
    out: &Meta,
) -> Result<CpuBuffer> {
    match kind {
        ReduceKind::Sum => stages::<T, A, Sum>(cpu, x, axes, out),
        ReduceKind::Prod => stages::<T, A, Prod>(cpu, x, axes, out),
        ReduceKind::Max => stages::<T, A, Max>(cpu, x, axes, out),
        ReduceKind::Min => stages::<T, A, Min>(cpu, x, axes, out),
    }
}

/// The sizes of the axes, neighbours of one kind merged, and whether each is reduced. Axes of size 1 are neither.
fn groups(shape: &Shape, axes: AxisSet) -> SmallVec<[(usize, bool); 8]> {
    let mut groups = SmallVec::<[(usize, bool); 8]>::new();
    for (axis, &size) in shape.iter().enumerate().filter(|&(_, &size)| size != 1) {
        let reduced = axes.contains(axis);
        match groups.last_mut() {
            Some((merged, kind)) if *kind == reduced => *merged *= size,
            _ => groups.push((size, reduced)),
        }
    }
    groups
}

fn stages<T: Load<A>, A: Accumulator, C: combine::Combine<A>>(
    cpu: &Cpu,
    x: &Packed<'_>,
    axes: AxisSet,
    out: &Meta,
) -> Result<CpuBuffer> {
    let mut groups = groups(&x.meta().shape, axes);
    if x.meta().shape.numel() == 0 {
        let mut buffer = cpu.alloc(out)?;
        let to = buffer.ptr_mut::<A>();
        // SAFETY: the buffer holds that many elements.
        (0..buffer.len()).for_each(|i| unsafe { to.add(i).write(C::identity()) });
        return Ok(buffer);
    }
    let mut partial: Option<CpuBuffer> = None;
    while let Some(at) = groups.iter().rposition(|&(_, reduced)| reduced) {
        let dims: SmallVec<[usize; 8]> = groups.iter().map(|&(size, _)| size).collect();
        let along = Along::new(&dims, at);
        partial = Some(match &partial {
            None => stage::<T, A, C>(cpu, x.as_slice(), along)?,
            // SAFETY: a stage fills its output with elements of `A`.
            Some(p) => stage::<A, A, C>(cpu, unsafe { std::slice::from_raw_parts(p.ptr(), p.len()) }, along)?,
        });
        groups.remove(at);
    }
    match partial {
        Some(buffer) => Ok(buffer),
        // Nothing to combine: one row of everything.
        None => stage::<T, A, C>(cpu, x.as_slice(), Along { outer: 1, n: 1, inner: x.meta().shape.numel() }),
    }
}
