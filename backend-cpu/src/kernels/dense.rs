//! What the heavier kernels share: the type they compute in, operands and outputs as slices of it, and tasks.
//!
//! These kernels (products, convolutions, normalizations, losses, attention) are written once over [`Real`],
//! `f32` or `f64`, and contiguous slices. [`Dense`] brings an operand there: borrowed if it is so already,
//! otherwise copied or widened; [`Output`] narrows a result on its way out. So `f16` and `bf16` are computed in
//! `f32` and rounded once.

use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::sync::{Mutex, PoisonError};

use gradus_tensor_core::half::{bf16, f16};
use gradus_tensor_core::{Backend, Buffers, Element, Error, Meta, Op, Outcome, Result, UnaryOp, View};

use crate::math::half::Half;
use crate::parallel::SendPtr;
use crate::{Cpu, CpuBuffer, Level};

pub(crate) use super::real::Real;

/// Runs a block with a type name bound to what a float dtype is computed in; leaves the function with
/// `Unsupported` for any other dtype.
macro_rules! with_real {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            gradus_tensor_core::DType::F64 => {
                type $t = f64;
                $body
            }
            gradus_tensor_core::DType::F32
            | gradus_tensor_core::DType::F16
            | gradus_tensor_core::DType::BF16 => {
                type $t = f32;
                $body
            }
            _ => Ok(gradus_tensor_core::Outcome::Unsupported),
        }
    };
}
pub(crate) use with_real;

/// Runs a block with a type name bound to the element of a float dtype; leaves the function with `Unsupported` for any
/// other dtype.
macro_rules! with_stored {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            gradus_tensor_core::DType::F64 => {
                type $t = f64;
                $body
            }
            gradus_tensor_core::DType::F32 => {
                type $t = f32;
                $body
            }
            gradus_tensor_core::DType::F16 => {
                type $t = gradus_tensor_core::half::f16;
                $body
            }
            gradus_tensor_core::DType::BF16 => {
                type $t = gradus_tensor_core::half::bf16;
                $body
            }
            _ => Ok(gradus_tensor_core::Outcome::Unsupported),
        }
    };
}
pub(crate) use with_stored;

/// A float as memory holds it: for kernels that widen and narrow what they work on themselves, while a cache holds it.
pub(crate) trait Stored: Element + bytemuck::Pod {
    /// What it is computed in.
    type Computed: Real;
    /// Whether that is the type itself.
    const SAME: bool;

    /// As what is computed with.
    fn wide(self) -> Self::Computed;
    /// The nearest to what was computed.
    fn rounded(computed: Self::Computed) -> Self;
    /// Elements as what is computed with, if they are that.
    fn computed(slice: &[Self]) -> Option<&[Self::Computed]>;
    /// The same for a slice that is written.
    fn computed_mut(slice: &mut [Self]) -> Option<&mut [Self::Computed]>;
    /// The same for a slice that tasks write.
    fn computed_parts<'a, 'b>(parts: &'b Parts<'a, Self>) -> Option<&'b Parts<'a, Self::Computed>>;
    /// Copies as many elements as `to` has.
    fn widen(level: Level, from: &[Self], to: &mut [Self::Computed]);
    /// Copies as many elements as `to` has, rounded.
    fn narrow(level: Level, from: &[Self::Computed], to: &mut [Self]);
}

macro_rules! stored {
    (same: $($t:ty)*) => {$(
        impl Stored for $t {
            type Computed = $t;
            const SAME: bool = true;

            #[inline(always)]
            fn wide(self) -> Self {
                self
            }
            #[inline(always)]
            fn rounded(computed: Self) -> Self {
                computed
            }
            #[inline(always)]
            fn computed(slice: &[Self]) -> Option<&[Self]> {
                Some(slice)
            }
            fn computed_mut(slice: &mut [Self]) -> Option<&mut [Self]> {
                Some(slice)
            }
            fn computed_parts<'a, 'b>(parts: &'b Parts<'a, Self>) -> Option<&'b Parts<'a, Self>> {
                Some(parts)
            }
            fn widen(_: Level, from: &[Self], to: &mut [Self]) {
                to.copy_from_slice(&from[..to.len()]);
            }
            fn narrow(_: Level, from: &[Self], to: &mut [Self]) {
                to.copy_from_slice(&from[..to.len()]);
            }
        }
    )*};
    (half: $($t:ty)*) => {$(
        impl Stored for $t {
            type Computed = f32;
            const SAME: bool = false;

            #[inline(always)]
            fn wide(self) -> f32 {
                self.to_single()
            }
            #[inline(always)]
            fn rounded(computed: f32) -> Self {
                Self::from_single(computed)
            }
            #[inline(always)]
            fn computed(_: &[Self]) -> Option<&[f32]> {
                None
            }
            fn computed_mut(_: &mut [Self]) -> Option<&mut [f32]> {
                None
            }
            fn computed_parts<'a, 'b>(_: &'b Parts<'a, Self>) -> Option<&'b Parts<'a, f32>> {
                None
            }
            fn widen(level: Level, from: &[Self], to: &mut [f32]) {
                assert!(from.len() >= to.len(), "too few elements");
                // SAFETY: both hold as many elements as `to` has.
                unsafe { <$t as Half>::widen(level, from.as_ptr(), to.as_mut_ptr(), to.len()) }
            }
            fn narrow(level: Level, from: &[f32], to: &mut [Self]) {
                assert!(from.len() >= to.len(), "too few elements");
                // SAFETY: both hold as many elements as `to` has.
                unsafe { <$t as Half>::narrow(level, from.as_ptr(), to.as_mut_ptr(), to.len()) }
            }
        }
    )*};
}
stored!(same: f32 f64);
stored!(half: f16 bf16);

/// Room for elements as what is computed with, on the stack: loops over it are those of the type itself.
pub(crate) struct Room<T, const N: usize>([T; N]);

impl<T: Real, const N: usize> Room<T, N> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self([T::ZERO; N])
    }

    /// Parts of so many elements fit, or may be of any size since they need no room.
    pub(crate) const fn most<S: Stored>() -> usize {
        if S::SAME { usize::MAX } else { N }
    }

    /// The elements where they lie, if they are what is computed with, otherwise here.
    #[inline(always)]
    pub(crate) fn wide<'a, S: Stored<Computed = T>>(&'a mut self, from: &'a [S]) -> &'a [T] {
        match S::computed(from) {
            Some(same) => same,
            None => self.fill(from, from, |x, _| x.wide()),
        }
    }

    /// What is made of pairs of elements, as many as there are of the first.
    #[inline(always)]
    pub(crate) fn fill<A: Copy, B: Copy>(&mut self, a: &[A], b: &[B], make: impl Fn(A, B) -> T) -> &[T] {
        let room = &mut self.0[..a.len()];
        for ((to, &a), &b) in room.iter_mut().zip(a).zip(b) {
            *to = make(a, b);
        }
        room
    }
}

/// An operand as a contiguous slice.
#[derive(Debug)]
pub(crate) enum Dense<'a, T> {
    Borrowed(&'a [T]),
    Owned(CpuBuffer),
}

impl<'a, T: Element> Dense<'a, T> {
    /// The operand where it lies if that is contiguous memory of `T`, otherwise a copy.
    pub(crate) fn new(cpu: &Cpu, view: &View<'a, CpuBuffer>) -> Result<Self> {
        if view.dtype == T::DTYPE {
            let slice = view.buffer.as_slice().zip(view.layout.contiguous_range());
            if let Some(found) = slice.and_then(|(all, range)| all.get(range)) {
                return Ok(Dense::Borrowed(found));
            }
        }
        copied::<T>(cpu, view).map(Dense::Owned)
    }
}

impl<T: Element> Deref for Dense<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Dense::Borrowed(slice) => slice,
            Dense::Owned(buffer) => buffer.as_slice().unwrap_or(&[]),
        }
    }
}

/// The viewed elements as a contiguous buffer of `T`.
pub(crate) fn copied<T: Element>(cpu: &Cpu, view: &View<'_, CpuBuffer>) -> Result<CpuBuffer> {
    let op = if view.dtype == T::DTYPE { Op::Copy } else { Op::Cast(T::DTYPE) };
    execute1(cpu, &op, view, Meta::new(*view.layout.shape(), T::DTYPE))
}

fn execute1(cpu: &Cpu, op: &Op, view: &View<'_, CpuBuffer>, out: Meta) -> Result<CpuBuffer> {
    match cpu.execute(op, &[*view], &[out])? {
        Outcome::Done(buffers) => buffers.into_iter().next(),
        Outcome::Unsupported => None,
    }
    .ok_or_else(|| Error::Unsupported {
        op: op.name(),
        backend: cpu.name(),
        operands: vec![view.meta()],
    })
}

/// An output that is computed in `T`.
#[derive(Debug)]
pub(crate) struct Output<T> {
    buffer: CpuBuffer,
    meta: Meta,
    computed: PhantomData<T>,
}

impl<T: Element + bytemuck::Pod> Output<T> {
    pub(crate) fn new(cpu: &Cpu, meta: &Meta) -> Result<Self> {
        let buffer = cpu.alloc_len(T::DTYPE, meta.shape.numel())?;
        Ok(Self { buffer, meta: *meta, computed: PhantomData })
    }

    /// The elements, of arbitrary old contents: the kernel writes every one.
    pub(crate) fn slice(&mut self) -> &mut [T] {
        self.buffer.slice_mut()
    }

    /// The function of every element, as it was computed.
    pub(crate) fn then(self, cpu: &Cpu, op: UnaryOp) -> Result<Self> {
        let layout = gradus_tensor_core::Layout::contiguous(self.meta.shape);
        let view = View { buffer: &self.buffer, layout: &layout, dtype: T::DTYPE };
        let buffer = execute1(cpu, &Op::Unary(op), &view, Meta::new(self.meta.shape, T::DTYPE))?;
        Ok(Self { buffer, ..self })
    }

    /// The buffer in the dtype that was asked for.
    pub(crate) fn finish(self, cpu: &Cpu) -> Result<CpuBuffer> {
        if self.meta.dtype == T::DTYPE {
            return Ok(self.buffer);
        }
        let layout = gradus_tensor_core::Layout::contiguous(self.meta.shape);
        let view = View { buffer: &self.buffer, layout: &layout, dtype: T::DTYPE };
        execute1(cpu, &Op::Cast(self.meta.dtype), &view, self.meta)
    }
}

/// The result of an op of several outputs.
pub(crate) fn finished<const N: usize>(buffers: [CpuBuffer; N]) -> crate::execute::Done {
    Ok(Outcome::Done(Buffers::from_iter(buffers)))
}

/// Memory for the time of one task.
#[derive(Debug)]
pub(crate) struct Scratch<T>(CpuBuffer, PhantomData<T>);

impl<T: Element + bytemuck::Pod> Scratch<T> {
    /// So many elements of arbitrary old contents.
    pub(crate) fn new(cpu: &Cpu, len: usize) -> Result<Self> {
        Ok(Self(cpu.alloc_len(T::DTYPE, len)?, PhantomData))
    }

    pub(crate) fn slice(&mut self) -> &mut [T] {
        self.0.slice_mut()
    }

    /// The same, to be read.
    pub(crate) fn as_slice(&self) -> &[T] {
        self.0.as_slice().unwrap_or(&[])
    }
}

/// A slice of which tasks write disjoint parts at the same time.
#[derive(Debug)]
pub(crate) struct Parts<'a, T> {
    start: SendPtr<T>,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

impl<'a, T: Send> Parts<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: SendPtr(slice.as_mut_ptr()), len: slice.len(), slice: PhantomData }
    }

    /// The elements in a range, which is checked.
    ///
    /// # Safety
    /// No other part that is alive at the same time overlaps this one.
    #[inline]
    #[allow(clippy::mut_from_ref)] // disjointness is the caller's promise
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "a part lies outside its slice");
        // SAFETY: the range lies in the slice, which is exclusively borrowed; disjointness is promised.
        unsafe { std::slice::from_raw_parts_mut(self.start.get().add(range.start), range.len()) }
    }
}

/// Calls `body(0)` … `body(n - 1)` on the backend's threads; each is work of `cost` as [`Cpu::for_blocks`]
/// counts it. Of several errors the one of the first task is returned.
pub(crate) fn tasks(
    cpu: &Cpu,
    n: usize,
    cost: usize,
    body: impl Fn(usize) -> Result<()> + Sync,
) -> Result<()> {
    let failed: Mutex<Option<(usize, Error)>> = Mutex::new(None);
    cpu.for_blocks(n, 1, cost, |i, _| {
        if let Err(error) = body(i) {
            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
            if failed.as_ref().is_none_or(|(first, _)| i < *first) {
                *failed = Some((i, error));
            }
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}
