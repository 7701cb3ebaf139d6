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
        return HostArray::new(held(cpu, &all[range])?, shape);
    }
    let mut packed = cpu.alloc(&Meta::new(shape, T::DTYPE))?;
    let operands = [Operand::output(&mut packed, &Layout::contiguous(shape)), Operand::read(from)];
    // SAFETY: the operands have one shape, the view was checked, the buffer is new.
    unsafe { walk(cpu, 1, operands, |[to, from], n| move_elements(from, to, n * size_of::<T>())) };
    HostArray::new(held(cpu, packed.as_slice::<T>().unwrap_or_default())?, shape)
}

/// A copy in memory of the host, for which the cache is emptied if it does not suffice.
fn held<T: Copy>(cpu: &Cpu, from: &[T]) -> Result<Vec<T>> {
    let mut held = Vec::new();
    if held.try_reserve_exact(from.len()).is_err() {
        cpu.trim();
        held.try_reserve_exact(from.len()).map_err(|_| cpu.exhausted(size_of_val(from)))?;
    }
    held.extend_from_slice(from);
    Ok(held)
}
