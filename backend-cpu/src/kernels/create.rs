//! Tensors made from numbers: fill, arange.

use gradus_tensor_core::op::{Arange, Fill};
use gradus_tensor_core::{Element, Meta, with_dtype};

use crate::Cpu;
use crate::execute::{Done, done};
use crate::parallel::SendPtr;

/// A tensor of one value.
pub(crate) fn fill(cpu: &Cpu, fill: &Fill, out: &Meta) -> Done {
    let mut buffer = cpu.alloc(out)?;
    with_dtype!(out.dtype, T => {
        let value: T = fill.value.to();
        let to = SendPtr(buffer.ptr_mut::<T>());
        cpu.for_chunks(buffer.len(), 1, |range| {
            // SAFETY: ranges are disjoint parts of the buffer.
            range.for_each(|i| unsafe { to.get().add(i).write(value) });
        });
    });
    done(buffer)
}

/// Evenly spaced numbers.
pub(crate) fn arange(cpu: &Cpu, op: &Arange, out: &Meta) -> Done {
    let mut buffer = cpu.alloc(out)?;
    with_dtype!(out.dtype, T => {
        let to = SendPtr(buffer.ptr_mut::<T>());
        cpu.for_chunks(buffer.len(), 4, |range| {
            // SAFETY: ranges are disjoint parts of the buffer.
            range.for_each(|i| unsafe { to.get().add(i).write(T::from_f64(op.eval(i))) });
        });
    });
    done(buffer)
}
