//! Tensors made from numbers: fill, arange.

use gradus_tensor_core::op::Fill;
use gradus_tensor_core::{Meta, with_dtype};

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
