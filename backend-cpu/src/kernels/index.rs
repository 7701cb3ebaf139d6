//! Ops that move elements by index.
//!
//! Indices are checked before anything is moved. Additions to one element happen in the order of the indices
//! whatever the number of threads: work is cut across columns and batches, never along the axis.

use gradus_tensor_core::half::{bf16, f16};
use gradus_tensor_core::{DType, Element, Error, Meta, Outcome, Result, View};

use crate::execute::{Done, done};
use crate::kernels::copy::{Along, Packed, packed};
use crate::kernels::dense::copied;
use crate::math::half::Half;
use crate::parallel::SendPtr;
use crate::{Cpu, CpuBuffer};

/// Work per element, as [`Cpu::for_chunks`] counts it.
const COST: usize = 8;
/// Adjacent columns that one task adds.
const COLUMNS: usize = 64;

/// That every index lies in `0..size`.
fn check(op: &'static str, index: &[i64], size: usize) -> Result<()> {
    match index.iter().find(|&&k| k < 0 || k as usize >= size) {
        Some(&index) => Err(Error::Index { op, index, size }),
        None => Ok(()),
    }
}

/// One index for each element of the output.
pub(crate) fn gather(
    cpu: &Cpu,
    axis: usize,
    x: &View<'_, CpuBuffer>,
    index: &View<'_, CpuBuffer>,
    out: &Meta,
) -> Done {
    let (x, index) = (packed(cpu, x)?, packed(cpu, index)?);
    let along = Along::new(&x.meta().shape, axis);
    check("gather", index.as_slice(), along.n)?;
    let mut buffer = cpu.alloc(out)?;
    // SAFETY: the indices are in range, and elements are as large as the type.
    unsafe {
        match out.dtype.size() {
            1 => gather_bits::<u8>(cpu, along, &x, index.as_slice(), &mut buffer),
            2 => gather_bits::<u16>(cpu, along, &x, index.as_slice(), &mut buffer),
            4 => gather_bits::<u32>(cpu, along, &x, index.as_slice(), &mut buffer),
            _ => gather_bits::<u64>(cpu, along, &x, index.as_slice(), &mut buffer),
        }
    }
    done(buffer)
}

/// # Safety
/// Indices are below `along.n`; elements are as large as `T`.
unsafe fn gather_bits<T: Copy>(cpu: &Cpu, along: Along, x: &Packed<'_>, index: &[i64], out: &mut CpuBuffer) {
    let Along { outer, n, inner } = along;
    let rows = index.len() / (outer * inner).max(1);
    let from = SendPtr(x.bytes().cast_mut().cast::<T>());
    let to = SendPtr(out.bytes_mut().cast::<T>());
    cpu.for_chunks(index.len(), COST, |range| {
        for i in range {
            let (o, column) = (i / (rows * inner), i % inner);
            // SAFETY: promised by the caller.
            unsafe { *to.get().add(i) = *from.get().add((o * n + index[i] as usize) * inner + column) };
        }
    });
}

/// Rows along an axis, picked by a vector of indices.
pub(crate) fn index_select(
    cpu: &Cpu,
    axis: usize,
    x: &View<'_, CpuBuffer>,
    index: &View<'_, CpuBuffer>,
    out: &Meta,
) -> Done {
    let (x, index) = (packed(cpu, x)?, packed(cpu, index)?);
    let index = index.as_slice::<i64>();
    let Along { n, inner, .. } = Along::new(&x.meta().shape, axis);
    check("index_select", index, n)?;
    let mut buffer = cpu.alloc(out)?;
    let bytes = inner * out.dtype.size();
    let outer = if bytes == 0 { 0 } else { buffer.len() / (index.len() * inner).max(1) };
    let (from, to) = (SendPtr(x.bytes().cast_mut()), SendPtr(buffer.bytes_mut()));
    cpu.for_chunks(outer * index.len(), inner + COST, |range| {
        for row in range {
            let (o, k) = (row / index.len(), row % index.len());
            let source = (o * n + index[k] as usize) * bytes;
            // SAFETY: the index is in range; rows of the output are disjoint and elsewhere.
            unsafe {
                std::ptr::copy_nonoverlapping(from.get().add(source), to.get().add(row * bytes), bytes);
            }
        }
    });
    done(buffer)
}

/// A copy of `x` with the source added at one index for each of its elements.
pub(crate) fn scatter_add(cpu: &Cpu, axis: usize, inputs: [&View<'_, CpuBuffer>; 3]) -> Done {
    let shape = inputs[1].layout.shape();
    let inner: usize = shape[axis + 1..].iter().product();
    let rows = shape[axis];
    // Element (o, row, column) of the index.
    add("scatter_add", cpu, axis, rows, inputs, |o, row, column| (o * rows + row) * inner + column)
}

/// A copy of `x` with rows of the source added along an axis, at a vector of indices.
pub(crate) fn index_add(cpu: &Cpu, axis: usize, inputs: [&View<'_, CpuBuffer>; 3]) -> Done {
    let rows = inputs[1].layout.numel();
    add("index_add", cpu, axis, rows, inputs, |_, row, _| row)
}

/// Adds element `(o, row, column)` of the source at the index that stands at `place(o, row, column)`.
fn add(
    op: &'static str,
    cpu: &Cpu,
    axis: usize,
    rows: usize,
    [x, index, source]: [&View<'_, CpuBuffer>; 3],
    place: impl Fn(usize, usize, usize) -> usize + Sync + Copy,
) -> Done {
    let (index, source) = (packed(cpu, index)?, packed(cpu, source)?);
    let index = index.as_slice::<i64>();
    let along = Along::new(x.layout.shape(), axis);
    check(op, index, along.n)?;
    let job = Job { cpu, along, rows, index, place };
    macro_rules! with {
        ($t:ty, |$a:ident, $b:ident| $sum:expr) => {{
            let mut sums = copied::<$t>(cpu, x)?;
            job.run::<$t>(source.as_slice(), sums.ptr_mut(), |$a, $b| $sum);
            done(sums)
        }};
    }
    match x.dtype {
        DType::F32 => with!(f32, |a, b| a + b),
        DType::F64 => with!(f64, |a, b| a + b),
        DType::I64 => with!(i64, |a, b| a.wrapping_add(b)),
        DType::I32 => with!(i32, |a, b| a.wrapping_add(b)),
        DType::I8 => with!(i8, |a, b| a.wrapping_add(b)),
        DType::U8 => with!(u8, |a, b| a.wrapping_add(b)),
        DType::Bool => with!(bool, |a, b| a | b),
        DType::F16 => done(job.halves::<f16>(x, &source)?),
        DType::BF16 => done(job.halves::<bf16>(x, &source)?),
        _ => Ok(Outcome::Unsupported),
    }
}

struct Job<'a, P> {
    cpu: &'a Cpu,
    along: Along,
    rows: usize,
    index: &'a [i64],
    place: P,
}

impl<P: Fn(usize, usize, usize) -> usize + Sync> Job<'_, P> {
    fn run<T: Element>(&self, source: &[T], out: *mut T, sum: impl Fn(T, T) -> T + Sync) {
        if source.is_empty() {
            return;
        }
        let Along { outer, n, inner } = self.along;
        let (strips, to) = (inner.div_ceil(COLUMNS), SendPtr(out));
        let cost = self.rows * inner.min(COLUMNS) * 2;
        self.cpu.for_chunks(outer * strips, cost, |range| {
            for t in range {
                let (o, first) = (t / strips, (t % strips) * COLUMNS);
                let last = (first + COLUMNS).min(inner);
                for row in 0..self.rows {
                    for column in first..last {
                        let k = self.index[(self.place)(o, row, column)] as usize;
                        let value = source[(o * self.rows + row) * inner + column];
                        // SAFETY: the index was checked; a task owns its columns.
                        unsafe {
                            let to = to.get().add((o * n + k) * inner + column);
                            *to = sum(*to, value);
                        }
                    }
                }
            }
        });
    }

    /// Half precision adds up in `f32` and is rounded once.
    fn halves<H: Half>(&self, x: &View<'_, CpuBuffer>, source: &Packed<'_>) -> Result<CpuBuffer> {
        let (cpu, level) = (self.cpu, self.cpu.level());
        let x = packed(cpu, x)?;
        let (from, add) = (x.as_slice::<H>(), source.as_slice::<H>());
        let mut wide = cpu.alloc_len(DType::F32, from.len())?;
        let mut wide_add = cpu.alloc_len(DType::F32, add.len())?;
        let mut out = cpu.alloc(&x.meta())?;
        // SAFETY: each pair holds one number of elements.
        unsafe {
            H::widen(level, from.as_ptr(), wide.ptr_mut(), from.len());
            H::widen(level, add.as_ptr(), wide_add.ptr_mut(), add.len());
            self.run::<f32>(wide_add.slice_mut(), wide.ptr_mut(), |a, b| a + b);
            H::narrow(level, wide.ptr(), out.ptr_mut(), from.len());
        }
        Ok(out)
    }
}
