//! Sorting along one axis.

use std::cmp::Ordering;

use gradus_tensor_core::op::Sort;
use gradus_tensor_core::{Buffers, DType, Element, Meta, Outcome, View, with_dtype};

use crate::execute::Done;
use crate::kernels::copy::{Along, packed};
use crate::parallel::SendPtr;
use crate::{Cpu, CpuBuffer};

/// Work per element, as [`Cpu::for_chunks`] counts it.
const COST: usize = 200;

/// Sorted values, and the position each came from. Stable; NaN counts as the largest.
pub(crate) fn sort(cpu: &Cpu, op: &Sort, x: &View<'_, CpuBuffer>) -> Done {
    let x = packed(cpu, x)?;
    let shape = x.meta().shape;
    let mut values = cpu.alloc(&x.meta())?;
    let mut places = cpu.alloc(&Meta::new(shape, DType::I64))?;
    if values.is_empty() {
        // Nothing may be very many lines of no elements.
        return Ok(Outcome::Done(Buffers::from_iter([values, places])));
    }
    let Along { outer, n, inner } = Along::new(&shape, op.axis);
    with_dtype!(x.dtype(), T => {
        let from = x.as_slice::<T>();
        let (to, place) = (SendPtr(values.ptr_mut::<T>()), SendPtr(places.ptr_mut::<i64>()));
        cpu.for_chunks(outer * inner, n * COST, |lines| {
            let mut line: Vec<(T, i64)> = Vec::new();
            for l in lines {
                let start = l / inner * n * inner + l % inner;
                line.clear();
                line.extend((0..n).map(|k| (from[start + k * inner], k as i64)));
                if op.descending {
                    line.sort_by(|a, b| order(b.0, a.0));
                } else {
                    line.sort_by(|a, b| order(a.0, b.0));
                }
                for (k, &(value, from)) in line.iter().enumerate() {
                    // SAFETY: every element belongs to one line.
                    unsafe {
                        to.get().add(start + k * inner).write(value);
                        place.get().add(start + k * inner).write(from);
                    }
                }
            }
        });
    });
    Ok(Outcome::Done(Buffers::from_iter([values, places])))
}

/// NaN is larger than any number and equal to itself.
#[inline]
#[allow(clippy::eq_op)] // only NaN differs from itself
fn order<T: Element>(a: T, b: T) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| (a != a).cmp(&(b != b)))
}
