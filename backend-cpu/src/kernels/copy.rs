//! Copies into contiguous memory.

use gradus_tensor_core::{DType, Element, Layout, Meta, Result, View};

use crate::elementwise::{Operand, walk};
use crate::execute::{Done, done};
use crate::kernels::transpose::Transposed;
use crate::parallel::SendPtr;
use crate::{Cpu, CpuBuffer};

/// The operand, contiguous in memory of its own.
pub(crate) fn copy(cpu: &Cpu, x: &View<'_, CpuBuffer>) -> Done {
    done(copied(cpu, x)?)
}

fn copied(cpu: &Cpu, x: &View<'_, CpuBuffer>) -> Result<CpuBuffer> {
    let mut out = cpu.alloc(&x.meta())?;
    let size = x.dtype.size();
    if let Some(matrices) = Transposed::of(x.layout) {
        let (from, to) = (SendPtr(x.buffer.bytes().cast_mut()), SendPtr(out.bytes_mut()));
        // SAFETY: the view was checked, the buffer is new and has its size.
        unsafe { matrices.copy(cpu, from, to, size) };
        return Ok(out);
    }
    let operands = [Operand::output(&mut out, x.layout), Operand::read(x)];
    // SAFETY: the operands have one shape, the view was checked, the buffer is new.
    unsafe { walk(cpu, 1, operands, |[to, from], n| move_elements(from, to, n * size)) };
    Ok(out)
}

/// Copies bytes between two places; for use in a walk.
#[inline]
pub(crate) fn move_elements(from: *const u8, to: *mut u8, bytes: usize) {
    // SAFETY: a walk hands out addresses of that many bytes; a target never overlaps a source, since it is
    // exclusively borrowed.
    unsafe { std::ptr::copy_nonoverlapping(from, to, bytes) };
}

/// The elements of a view, contiguous: where they lie if they are, else in a copy.
pub(crate) fn packed<'a>(cpu: &Cpu, x: &View<'a, CpuBuffer>) -> Result<Packed<'a>> {
    let meta = x.meta();
    Ok(match x.layout.contiguous_range() {
        Some(range) => Packed { meta, start: range.start, memory: Memory::Borrowed(x.buffer) },
        None => Packed { meta, start: 0, memory: Memory::Owned(copied(cpu, x)?) },
    })
}

/// A contiguous run of elements; see [`packed`].
#[derive(Debug)]
pub(crate) struct Packed<'a> {
    meta: Meta,
    start: usize,
    memory: Memory<'a>,
}

#[derive(Debug)]
enum Memory<'a> {
    Borrowed(&'a CpuBuffer),
    Owned(CpuBuffer),
}

impl Packed<'_> {
    /// Shape and dtype.
    pub(crate) fn meta(&self) -> Meta {
        self.meta
    }

    /// The element type.
    pub(crate) fn dtype(&self) -> DType {
        self.meta.dtype
    }

    fn buffer(&self) -> &CpuBuffer {
        match &self.memory {
            Memory::Borrowed(buffer) => buffer,
            Memory::Owned(buffer) => buffer,
        }
    }

    /// The elements in row-major order.
    ///
    /// # Panics
    /// As [`CpuBuffer::ptr`].
    pub(crate) fn as_slice<T: Element>(&self) -> &[T] {
        // SAFETY: a checked contiguous view of `T` lies inside its buffer.
        unsafe {
            std::slice::from_raw_parts(self.buffer().ptr::<T>().add(self.start), self.meta.shape.numel())
        }
    }

    /// The address of the first element.
    pub(crate) fn bytes(&self) -> *const u8 {
        // SAFETY: the start lies inside the buffer.
        unsafe { self.buffer().bytes().add(self.start * self.meta.dtype.size()) }
    }
}

/// A contiguous array seen along one axis: `outer * n * inner` elements, of which those that differ only in their
/// index along the axis are `inner` apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Along {
    /// The product of the axes before.
    pub(crate) outer: usize,
    /// The size of the axis.
    pub(crate) n: usize,
    /// The product of the axes after.
    pub(crate) inner: usize,
}

impl Along {
    /// That view of a shape.
    pub(crate) fn new(dims: &[usize], axis: usize) -> Self {
        Self { outer: dims[..axis].iter().product(), n: dims[axis], inner: dims[axis + 1..].iter().product() }
    }
}

/// Operands joined along an axis.
pub(crate) fn concat(cpu: &Cpu, axis: usize, inputs: &[View<'_, CpuBuffer>], out: &Meta) -> Done {
    let mut buffer = cpu.alloc(out)?;
    let (whole, size) = (Layout::contiguous(out.shape), out.dtype.size());
    let mut start = 0;
    for x in inputs {
        let n = x.layout.shape()[axis];
        let operands = [Operand::output_at(&mut buffer, whole.narrow(axis, start, n)?), Operand::read(x)];
        // SAFETY: the view was checked, its place in the new buffer has its shape and overlaps no other.
        unsafe { walk(cpu, 1, operands, |[to, from], n| move_elements(from, to, n * size)) };
        start += n;
    }
    done(buffer)
}
