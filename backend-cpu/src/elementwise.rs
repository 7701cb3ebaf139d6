//! The walk that brings operands of any layout to kernels that only know contiguous memory.
//!
//! All operands of an element-wise op have one shape. Their layouts are simplified together; if every one is
//! contiguous, the kernel runs over all of it, in parallel chunks. Otherwise the elements are visited in
//! pieces of at most [`PIECE`]: an operand that happens to be contiguous inside a piece is used where it lies
//! (a row added to every row of a matrix is never copied), any other is gathered into a scratch array on the
//! stack, and results for a strided target are scattered from one. Moving elements needs only their size, so
//! this code is compiled once for all ops and dtypes.

use std::mem::MaybeUninit;

use gradus_tensor_core::{DType, Layout, MAX_RANK, View, ViewMut};

use crate::kernels::transpose::Transposed;
use crate::parallel::SendPtr;
use crate::{Cpu, CpuBuffer, stream};

/// Elements per piece: small enough that all scratch stays in the first-level cache.
pub(crate) const PIECE: usize = 512;
/// Innermost runs at least this long are walked one by one; shorter ones are gathered together.
const LONG_RUN: usize = 64;

/// Operands of at least this many elements do not fit the first-level cache.
const LARGE: usize = 1 << 14;

/// What a kernel does with an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    ReadWrite,
}

/// An operand of an element-wise op, without its type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    base: SendPtr<u8>,
    /// Bytes per element.
    size: usize,
    layout: Layout,
    access: Access,
}

impl Operand {
    /// An operand that is only read.
    #[inline]
    pub(crate) fn read(view: &View<'_, CpuBuffer>) -> Self {
        Self {
            base: SendPtr(view.buffer.bytes().cast_mut()),
            size: view.dtype.size(),
            layout: *view.layout,
            access: Access::Read,
        }
    }

    /// A new buffer that is filled, in row-major order of the shape of `like`.
    #[inline]
    pub(crate) fn output(buffer: &mut CpuBuffer, like: &Layout) -> Self {
        Self::output_at(buffer, Layout::contiguous(*like.shape()))
    }

    /// A part of a new buffer that is filled.
    #[inline]
    pub(crate) fn output_at(buffer: &mut CpuBuffer, layout: Layout) -> Self {
        Self { size: buffer.dtype().size(), base: SendPtr(buffer.bytes_mut()), layout, access: Access::Write }
    }

    /// A target that is overwritten. Its layout names no element twice.
    pub(crate) fn overwrite(view: &mut ViewMut<'_, CpuBuffer>) -> Self {
        Self { access: Access::Write, ..Self::update(view) }
    }

    /// A target that is read and written. Its layout names no element twice.
    pub(crate) fn update(view: &mut ViewMut<'_, CpuBuffer>) -> Self {
        Self {
            base: SendPtr(view.buffer.bytes_mut()),
            size: view.dtype.size(),
            layout: *view.layout,
            access: Access::ReadWrite,
        }
    }
}

/// Calls `kernel` on runs of elements that together cover every element once: for each operand the address of
/// the first element of the run, and the number of elements. `cost` is the work per element as
/// [`Cpu::for_chunks`] counts it.
///
/// # Safety
/// The operands have one shape; every position a layout names lies in its buffer; buffers that are written
/// are exclusively borrowed.
#[inline]
pub(crate) unsafe fn walk<const N: usize>(
    cpu: &Cpu,
    cost: usize,
    operands: [Operand; N],
    kernel: impl Fn([*mut u8; N], usize) + Sync,
) {
    if operands.iter().all(|o| o.layout.is_contiguous()) {
        let n = operands[0].layout.numel();
        let streamed =
            operands[0].access == Access::Write && stream::pays(cpu.level(), n * operands[0].size, cost);
        cpu.for_chunks(n, cost, |range| {
            let start = |o: &Operand, first: usize| {
                // SAFETY: element `first` of a contiguous layout lies in its buffer.
                unsafe { o.base.get().add((o.layout.offset() + first) * o.size) }
            };
            if streamed {
                let to = &operands[0];
                // SAFETY: chunks of the output are disjoint, and a kernel writes all of a target it does not read.
                unsafe {
                    stream::pieces(start(to, range.start), to.size, range.len(), |first, scratch, n| {
                        let mut starts = operands.each_ref().map(|o| start(o, range.start + first));
                        starts[0] = scratch;
                        kernel(starts, n);
                    });
                }
            } else {
                kernel(operands.each_ref().map(|o| start(o, range.start)), range.len());
            }
        });
    } else {
        // SAFETY: promised by the caller.
        unsafe { walk_strided(cpu, cost, operands, &kernel) }
    }
}

/// # Safety
/// As [`walk`].
#[inline(never)]
unsafe fn walk_strided<const N: usize>(
    cpu: &Cpu,
    cost: usize,
    mut operands: [Operand; N],
    kernel: &(dyn Fn([*mut u8; N], usize) + Sync),
) {
    // Large transposed matrices are copied first: the walk would meet another cache line at every element.
    let mut packed: [Option<CpuBuffer>; N] = [const { None }; N];
    if operands[0].layout.numel() >= LARGE {
        for (operand, buffer) in operands.iter_mut().zip(&mut packed) {
            // SAFETY: promised by the caller.
            *buffer = unsafe { operand.packed(cpu) };
            if let Some(buffer) = buffer {
                operand.base = SendPtr(buffer.bytes_mut());
                operand.layout = Layout::contiguous(*operand.layout.shape());
            }
        }
    }
    let layouts = Layout::simplify_together(operands.each_ref().map(|o| &o.layout));
    for (operand, layout) in operands.iter_mut().zip(layouts) {
        operand.layout = layout;
    }
    // Moving strided elements costs several times a contiguous one.
    cpu.for_chunks(layouts[0].numel(), cost + 4, |range| {
        let mut scratch = [[MaybeUninit::<u64>::uninit(); PIECE]; N];
        let shape = *layouts[0].shape();
        let run = shape.last().copied().unwrap_or(1);
        let mut flat = range.start;
        while flat < range.end {
            let mut len = (range.end - flat).min(PIECE);
            if run >= LONG_RUN {
                len = len.min(run - flat % run);
            }
            let mut starts = [std::ptr::null_mut(); N];
            for k in 0..N {
                // SAFETY: `flat..flat + len` are elements of the operand; scratch holds `PIECE` of any size.
                starts[k] = unsafe { operands[k].bring(flat, len, scratch[k].as_mut_ptr().cast()) };
            }
            kernel(starts, len);
            for k in 0..N {
                if operands[k].access != Access::Read {
                    // SAFETY: as above; the kernel wrote `len` elements at `starts[k]`.
                    unsafe { operands[k].put_back(flat, len, starts[k]) };
                }
            }
            flat += len;
        }
    });
}

impl Operand {
    /// A contiguous copy, if the operand is only read and is a transposed matrix or a stack of them. `None`
    /// also if memory runs out: a copy is only faster.
    ///
    /// # Safety
    /// The layout lies in the operand's buffer.
    unsafe fn packed(&self, cpu: &Cpu) -> Option<CpuBuffer> {
        let matrices = match self.access {
            Access::Read => Transposed::of(&self.layout)?,
            Access::Write | Access::ReadWrite => return None,
        };
        let bytes = self.layout.numel().checked_mul(self.size)?;
        let mut buffer = cpu.alloc_len(DType::U8, bytes).ok()?;
        // SAFETY: promised by the caller; the buffer is new and has room.
        unsafe { matrices.copy(cpu, self.base, SendPtr(buffer.bytes_mut()), self.size) };
        Some(buffer)
    }

    /// The address of the elements `flat..flat + len`, gathered into `scratch` if they are not adjacent.
    ///
    /// # Safety
    /// The elements exist; scratch has room for them.
    unsafe fn bring(&self, flat: usize, len: usize, scratch: *mut u8) -> *mut u8 {
        if let Some(start) = self.adjacent(flat, len) {
            return start;
        }
        if self.access != Access::Write {
            // SAFETY: promised by the caller.
            unsafe {
                match self.size {
                    1 => gather::<u8>(self, flat, len, scratch),
                    2 => gather::<u16>(self, flat, len, scratch),
                    4 => gather::<u32>(self, flat, len, scratch),
                    _ => gather::<u64>(self, flat, len, scratch),
                }
            }
        }
        scratch
    }

    /// Scatters a piece that was computed in scratch to where it belongs.
    ///
    /// # Safety
    /// The elements exist; `from` holds `len` of them.
    unsafe fn put_back(&self, flat: usize, len: usize, from: *mut u8) {
        if self.adjacent(flat, len).is_some() {
            return;
        }
        // SAFETY: promised by the caller.
        unsafe {
            match self.size {
                1 => scatter::<u8>(self, flat, len, from),
                2 => scatter::<u16>(self, flat, len, from),
                4 => scatter::<u32>(self, flat, len, from),
                _ => scatter::<u64>(self, flat, len, from),
            }
        }
    }

    /// The address of the elements if they follow each other in memory.
    fn adjacent(&self, flat: usize, len: usize) -> Option<*mut u8> {
        let layout = &self.layout;
        let position = if layout.is_contiguous() {
            layout.offset() + flat
        } else {
            let (&run, &stride) = (layout.shape().last()?, layout.strides().last()?);
            if stride != 1 || flat % run + len > run {
                return None;
            }
            layout.position(flat)
        };
        // SAFETY: the position of an element lies in the buffer.
        Some(unsafe { self.base.get().add(position * self.size) })
    }
}

/// Calls `each(position, stride, elements)` for the parts of `flat..flat + len` that lie in one innermost run.
#[inline(always)]
fn for_runs(layout: &Layout, flat: usize, len: usize, mut each: impl FnMut(usize, isize, usize)) {
    let (shape, strides, rank) = (layout.shape(), layout.strides(), layout.rank());
    if rank == 0 || len == 0 {
        return (0..len).for_each(|_| each(layout.offset(), 1, 1));
    }
    let mut index = [0usize; MAX_RANK];
    let mut rest = flat;
    for axis in (0..rank).rev() {
        index[axis] = rest % shape[axis];
        rest /= shape[axis];
    }
    let (run, stride) = (shape[rank - 1], strides[rank - 1]);
    let mut position = layout.position(flat) as isize;
    let mut left = len;
    loop {
        let here = (run - index[rank - 1]).min(left);
        each(position as usize, stride, here);
        left -= here;
        if left == 0 {
            return;
        }
        // To the first element of the next run.
        position -= index[rank - 1] as isize * stride;
        index[rank - 1] = 0;
        for axis in (0..rank - 1).rev() {
            index[axis] += 1;
            position += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            position -= strides[axis] * shape[axis] as isize;
            index[axis] = 0;
        }
    }
}

/// # Safety
/// Elements are as large as `T`, the range exists, and `to` has room for it.
unsafe fn gather<T: Copy>(from: &Operand, flat: usize, len: usize, to: *mut u8) {
    let base = from.base.get().cast::<T>();
    let mut to = to.cast::<T>();
    for_runs(&from.layout, flat, len, |position, stride, n| {
        // SAFETY: positions of elements lie in the buffer; the runs add up to `len`.
        unsafe {
            let start = base.add(position);
            match stride {
                0 => std::slice::from_raw_parts_mut(to.cast::<MaybeUninit<T>>(), n)
                    .fill(MaybeUninit::new(*start)),
                1 => std::ptr::copy_nonoverlapping(start, to, n),
                _ => (0..n).for_each(|i| *to.add(i) = *start.offset(i as isize * stride)),
            }
            to = to.add(n);
        }
    });
}

/// # Safety
/// Elements are as large as `T`, the range exists, and `from` holds it.
unsafe fn scatter<T: Copy>(to: &Operand, flat: usize, len: usize, from: *mut u8) {
    let base = to.base.get().cast::<T>();
    let mut from = from.cast::<T>();
    for_runs(&to.layout, flat, len, |position, stride, n| {
        // SAFETY: positions of elements lie in the buffer; the runs add up to `len`.
        unsafe {
            match stride {
                1 => std::ptr::copy_nonoverlapping(from, base.add(position), n),
                _ => {
                    (0..n).for_each(|i| *base.offset(position as isize + i as isize * stride) = *from.add(i))
                }
            }
            from = from.add(n);
        }
    });
}
