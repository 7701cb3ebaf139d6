//! Copies into contiguous memory.

use gradus_tensor_core::View;

use crate::elementwise::{Operand, walk};
use crate::execute::{Done, done};
use crate::{Cpu, CpuBuffer};

/// The operand, contiguous in memory of its own.
pub(crate) fn copy(cpu: &Cpu, x: &View<'_, CpuBuffer>) -> Done {
    let mut out = cpu.alloc(&x.meta())?;
    let size = x.dtype.size();
    let operands = [Operand::output(&mut out, x.layout), Operand::read(x)];
    // SAFETY: the operands have one shape, the view was checked, the buffer is new.
    unsafe { walk(cpu, 1, operands, |[to, from], n| move_elements(from, to, n * size)) };
    done(out)
}

/// Copies bytes between two places; for use in a walk.
#[inline]
pub(crate) fn move_elements(from: *const u8, to: *mut u8, bytes: usize) {
    // SAFETY: a walk hands out addresses of that many bytes; a target never overlaps a source, since it is
    // exclusively borrowed.
    unsafe { std::ptr::copy_nonoverlapping(from, to, bytes) };
}
