//! The trait that a backend implements.

use std::fmt::Debug;

use smallvec::SmallVec;

use crate::{Buffers, DType, Device, Error, HostArray, InPlaceOp, Layout, Meta, Op, Result, Storage, Tensor};

/// Executes ops on memory of its own.
///
/// The primitives of [`Op`] make a complete backend; everything else decomposes into them. A backend works
/// with its own `Buffer` type: [`Device::new`] erases it, so tensors, models and optimizers have no type
/// parameter and any crate can bring a backend. Prove one with `gradus_testkit::conformance!`.
///
/// What a backend may rely on: operands passed [`Op::infer`] (shapes, dtypes and axes are right), every
/// buffer in a [`View`] was made by a backend of this type that is [equal](Backend::equals) to this one,
/// and every position a layout names lies in its buffer. All that holds for tensors. A backend around this one may
/// pass on whatever it likes ([`Device::execute_views`]), so one whose memory depends on it checks it once more.
/// Values are unchecked: an index in a tensor may be out of range and must give [`Error::Index`].
pub trait Backend: Debug + Send + Sync + Sized + 'static {
    /// Memory of this backend: a flat run of elements of one dtype. Dropping it frees the memory.
    type Buffer: Send + Sync + 'static;

    /// A name for people: `cpu (avx2, 2 threads)`.
    fn name(&self) -> String;

    /// Copies an array from the host into a new buffer.
    ///
    /// # Errors
    /// Memory runs out.
    fn upload(&self, host: &HostArray) -> Result<Self::Buffer>;

    /// Copies the viewed elements, in row-major order, to the host.
    ///
    /// # Errors
    /// Memory runs out, or the device failed.
    fn download(&self, from: View<'_, Self::Buffer>) -> Result<HostArray>;

    /// Executes one op. Output `i` is a new buffer that holds exactly the elements of `outputs[i]`,
    /// contiguous. [`Outcome::Unsupported`] asks the caller to decompose.
    ///
    /// # Errors
    /// Memory runs out, an index is out of range, or the device failed.
    fn execute(
        &self,
        op: &Op,
        inputs: &[View<'_, Self::Buffer>],
        outputs: &[Meta],
    ) -> Result<Outcome<Buffers<Self::Buffer>>>;

    /// Executes an op that changes its targets. Target layouts name no element twice, except for
    /// [`InPlaceOp::Accumulate`]. [`InPlaceOp::Write`] and [`InPlaceOp::Accumulate`] are required;
    /// [`Outcome::Unsupported`] asks the caller to compute the new values and write them.
    ///
    /// # Errors
    /// Memory runs out, or the device failed.
    fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [ViewMut<'_, Self::Buffer>],
        inputs: &[View<'_, Self::Buffer>],
    ) -> Result<Outcome<()>>;

    /// Waits until everything executed so far is done.
    ///
    /// # Errors
    /// The device failed.
    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    /// Memory in use.
    fn memory(&self) -> MemoryStats {
        MemoryStats::default()
    }

    /// Whether buffers of the other backend can be used here. By default only if both are the same value.
    fn equals(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }

    /// The device that this backend is built around, if it is a backend around a backend.
    fn inner(&self) -> Option<&Device> {
        None
    }

    /// Takes over a storage of the [inner](Backend::inner) device: a buffer here that has the same element at
    /// every position. So tensors of the inner device can be mixed with tensors of this one.
    ///
    /// # Errors
    /// This backend has no inner device.
    fn adopt(&self, storage: Storage) -> Result<Self::Buffer> {
        Err(Error::Device { op: "adopt", left: self.name(), right: storage.device().name() })
    }

    /// The reverse of [`Backend::adopt`]: the tensor of the inner device behind an operand, without whatever
    /// this backend adds to it (for autograd: without its graph).
    ///
    /// # Errors
    /// This backend has no inner device.
    fn release(&self, tensor: View<'_, Self::Buffer>) -> Result<Tensor> {
        let _ = tensor;
        Err(Error::argument("release", format!("{} has no inner device", self.name())))
    }

    /// The dtypes in which this backend wants operands that have these, asked before they are checked: the device
    /// casts what has another one. `None` takes them as they are. Mixed precision is this method; a backend
    /// around another asks the one inside, so that both see the same operands.
    fn operand_dtypes(&self, op: &Op, inputs: &[DType]) -> Option<DTypes> {
        self.inner()?.operand_dtypes(op, inputs)
    }

    /// Whether matrix products of this dtype are at least as fast here as those of `f32`: what decides whether
    /// mixed precision saves time, or memory only.
    fn accelerates(&self, dtype: DType) -> bool {
        self.inner().is_none_or(|inner| inner.accelerates(dtype))
    }

    /// Moves an operand to a device that is not built around this one, if what this backend adds must move
    /// along (for autograd: the graph). `None` copies the plain values through the host.
    ///
    /// # Errors
    /// Either device fails.
    fn transfer(&self, tensor: View<'_, Self::Buffer>, to: &Device) -> Result<Option<Tensor>> {
        let _ = (tensor, to);
        Ok(None)
    }
}

/// The result of asking a backend to execute an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It did.
    Done(T),
    /// It does not know this op for these operands: decompose it.
    Unsupported,
}

/// A dtype for each operand of an op.
pub type DTypes = SmallVec<[DType; 4]>;

/// An operand: a buffer and how to read it.
#[derive(Debug)]
pub struct View<'a, B> {
    /// The buffer.
    pub buffer: &'a B,
    /// Which positions, in which order.
    pub layout: &'a Layout,
    /// The element type.
    pub dtype: DType,
}

impl<B> Clone for View<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for View<'_, B> {}

impl<B> View<'_, B> {
    /// Shape and dtype of the operand.
    pub fn meta(&self) -> Meta {
        self.layout.meta(self.dtype)
    }
}

/// An operand that is changed.
#[derive(Debug)]
pub struct ViewMut<'a, B> {
    /// The buffer, which nobody else holds.
    pub buffer: &'a mut B,
    /// Which positions, in which order.
    pub layout: &'a Layout,
    /// The element type.
    pub dtype: DType,
}

impl<B> ViewMut<'_, B> {
    /// Shape and dtype of the operand.
    pub fn meta(&self) -> Meta {
        self.layout.meta(self.dtype)
    }
}

/// Memory of a backend, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// In live buffers.
    pub allocated: usize,
    /// The most that was ever in live buffers at once.
    pub peak: usize,
    /// Kept by the allocator for reuse.
    pub cached: usize,
    /// Number of live buffers.
    pub buffers: usize,
}
