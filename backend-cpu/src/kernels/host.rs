//! Transfers between host arrays and buffers.

use gradus_tensor_core::{HostArray, HostElement, Layout, Meta, Result, View, with_dtype};

use crate::elementwise::{Operand, walk};
use crate::kernels::copy::move_elements;
use crate::{Cpu, CpuBuffer};

/// Copies an array from the host into a new buffer.
pub(crate) fn upload(cpu: &Cpu, host: &HostArray) -> Result<CpuBuffer> {
    with_dtype!(host.dtype(), T => {
        let mut out = cpu.alloc(&host.meta())?;
        if let Some(source) = host.as_slice::<T>() {
            let n = source.len().min(out.len());
            // SAFETY: both hold `n` elements of `T`.
            unsafe { std::ptr::copy_nonoverlapping(source.as_ptr(), out.ptr_mut::<T>(), n) };
        }
        Ok(out)
    })
}

/// Copies the viewed elements, in row-major order, to the host.
pub(crate) fn download(cpu: &Cpu, from: &View<'_, CpuBuffer>) -> Result<HostArray> {
    with_dtype!(from.dtype, T => download_as::<T>(cpu, from))
}

fn download_as<T: HostElement>(cpu: &Cpu, from: &View<'_, CpuBuffer>) -> Result<HostArray> {
    let shape = *from.layout.shape();
    if let (Some(all), Some(range)) = (from.buffer.as_slice::<T>(), from.layout.contiguous_range()) {
        return HostArray::new(all[range].to_vec(), shape);
    }
    let mut packed = cpu.alloc(&Meta::new(shape, T::DTYPE))?;
    let operands = [Operand::output(&mut packed, &Layout::contiguous(shape)), Operand::read(from)];
    // SAFETY: the operands have one shape, the view was checked, the buffer is new.
    unsafe { walk(cpu, 1, operands, |[to, from], n| move_elements(from, to, n * size_of::<T>())) };
    HostArray::new(packed.as_slice::<T>().unwrap_or_default().to_vec(), shape)
}
