//! Tensors: a buffer on a device, read through a layout.

mod arithmetic;
mod create;
mod fmt;
mod in_place;
mod index;
mod nn;
mod operand;
mod operators;
mod quantized;
mod recurrent;
mod reduce;
mod shape;

pub use nn::{AttentionOptions, ConvOptions, PoolOptions};
pub use operand::Operand;
pub use shape::ReshapeDims;

use crate::{
    DType, Device, Error, HostArray, HostElement, IntoShape, Layout, Meta, Op, Result, Shape, Storage, View,
};

/// An n-dimensional array on a device. Cloning is cheap: clones share the buffer, and changing one in place
/// copies first if the other still needs it, so a tensor behaves as a value.
///
/// Shape, dtype and device are run-time values. Every fallible method returns a [`Result`]; operators on
/// references do too: `(&x * &y)?`.
///
/// ```
/// use gradus_tensor_core::{DType, Result, Tensor};
/// # fn main() -> Result<()> {
/// let device = gradus_backend_cpu::Cpu::device();
/// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3], &device)?;
///
/// // Views share the buffer; nothing is copied.
/// let column = x.narrow(1, 0, 1)?;
/// assert_eq!((column.dims(), column.layout().strides()), (&[2, 1][..], &[3, 1][..]));
///
/// // Arithmetic broadcasts, aligned at the last axis; dtypes promote.
/// let centred = (&x - &x.mean_keepdim(1)?)?;
/// assert_eq!(centred.to_vec::<f32>()?, [-1.0, 0.0, 1.0, -1.0, 0.0, 1.0]);
/// let rows = Tensor::arange(0, 2, DType::I64, &device)?.unsqueeze(1)?;
/// assert_eq!((&x + &rows)?.dtype(), DType::F32);
///
/// // Matrix products, and what networks need.
/// assert_eq!(x.matmul(&x.t()?)?.to_vec::<f32>()?, [14.0, 32.0, 32.0, 77.0]);
/// assert_eq!(x.softmax(-1)?.sum(-1)?.round()?.to_vec::<f32>()?, [1.0, 1.0]);
/// let positive = centred.relu()?;
///
/// // Choosing by a condition, and reducing over one axis, several, or all.
/// let large = x.gt(2.5)?;
/// assert_eq!(large.where_(&x, &positive)?.amax(0)?.to_vec::<f32>()?, [4.0, 5.0, 6.0]);
/// assert_eq!(x.sum(..)?.item::<f32>()?, 21.0);
///
/// // Shapes that do not fit are errors that say so.
/// let error = x.matmul(&x).unwrap_err().to_string();
/// assert!(error.contains("[2, 3]"), "{error}");
///
/// // Printed as NumPy prints.
/// assert_eq!(x.to_string(), "[[1. 2. 3.]\n [4. 5. 6.]]");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Tensor {
    pub(crate) storage: Storage,
    /// Which of the storage's elements, in which order.
    pub(crate) layout: Layout,
}

impl Tensor {
    /// A tensor of these elements in row-major order.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3], &device)?;
    /// assert_eq!((x.dims(), x.dtype()), (&[2, 3][..], DType::F32));
    /// assert!(Tensor::from_vec(vec![1i64, 2, 3], [2, 2], &device).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Their number is not that of the shape, or memory runs out.
    pub fn from_vec<T: HostElement>(data: Vec<T>, shape: impl IntoShape, device: &Device) -> Result<Self> {
        device.upload(&HostArray::new(data, shape.into_shape()?)?)
    }

    /// A tensor of these elements in row-major order.
    ///
    /// # Errors
    /// Their number is not that of the shape, or memory runs out.
    pub fn from_slice<T: HostElement>(data: &[T], shape: impl IntoShape, device: &Device) -> Result<Self> {
        Self::from_vec(data.to_vec(), shape, device)
    }

    /// The sizes of the dimensions.
    #[inline]
    pub fn shape(&self) -> &Shape {
        self.layout.shape()
    }

    /// The sizes of the dimensions, as a slice.
    #[inline]
    pub fn dims(&self) -> &[usize] {
        self.layout.shape().dims()
    }

    /// The size of one dimension; negative axes count from the last.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let x = Tensor::zeros([2, 3], DType::F32, &device)?;
    /// assert_eq!((x.dim(0)?, x.dim(-1)?), (2, 3));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The axis is out of range.
    pub fn dim(&self, axis: impl crate::Axis) -> Result<usize> {
        Ok(self.shape()[axis.resolve(self.rank(), "dim")?])
    }

    /// The number of dimensions.
    #[inline]
    pub fn rank(&self) -> usize {
        self.layout.rank()
    }

    /// The number of elements.
    #[inline]
    pub fn numel(&self) -> usize {
        self.layout.numel()
    }

    /// The element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.storage.dtype
    }

    /// The device the tensor lives on.
    #[inline]
    pub fn device(&self) -> &Device {
        &self.storage.device
    }

    /// Shape and dtype.
    #[inline]
    pub fn meta(&self) -> Meta {
        self.layout.meta(self.storage.dtype)
    }

    /// How the buffer is read.
    #[inline]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The number of elements in the underlying buffer.
    #[inline]
    pub fn buffer_len(&self) -> usize {
        self.storage.len
    }

    /// The buffer, without the way this tensor reads it.
    #[inline]
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The tensor as an operand.
    #[inline]
    pub(crate) fn view(&self) -> View<'_, Storage> {
        self.storage.view(&self.layout)
    }

    /// The storage, if the tensor is the whole of it in row-major order; that of a copy otherwise.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn into_whole(self) -> Result<Storage> {
        if self.layout.covers(self.storage.len) { Ok(self.storage) } else { Ok(self.copy()?.storage) }
    }

    /// Whether this is the only tensor that holds its buffer: in-place ops will not copy.
    pub fn is_unique(&self) -> bool {
        std::sync::Arc::strong_count(&self.storage.buffer) == 1
    }

    /// The buffer as the type of its backend, for backends that are built around other devices.
    pub fn buffer<B: 'static>(&self) -> Option<&B> {
        self.storage.buffer.downcast_ref()
    }

    /// Changes the buffer as the type of its backend, if nobody else holds it.
    pub fn buffer_mut<B: 'static>(&mut self) -> Option<&mut B> {
        std::sync::Arc::get_mut(&mut self.storage.buffer)?.downcast_mut()
    }

    /// The same buffer read through another layout.
    ///
    /// # Errors
    /// The layout reaches beyond the buffer.
    pub fn with_layout(&self, layout: Layout) -> Result<Tensor> {
        self.storage.tensor(layout)
    }

    /// The whole buffer as a vector.
    pub fn flat(&self) -> Tensor {
        self.storage.flat()
    }

    /// The same buffer read through a layout that was derived from this tensor's.
    pub(crate) fn viewed(&self, layout: Layout) -> Tensor {
        debug_assert!(layout.span().end <= self.storage.len);
        Tensor { storage: self.storage.clone(), layout }
    }

    /// This tensor, contiguous: itself if its elements are in row-major order without gaps, a copy otherwise.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let x = Tensor::arange(0, 6, DType::I64, &device)?.reshape([2, 3])?.t()?;
    /// assert!(!x.layout().is_contiguous());
    /// assert!(x.contiguous()?.layout().is_contiguous());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Memory runs out.
    pub fn contiguous(&self) -> Result<Tensor> {
        if self.layout.is_contiguous() { Ok(self.clone()) } else { self.copy() }
    }

    /// A copy in a buffer of its own, contiguous.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn copy(&self) -> Result<Tensor> {
        Op::Copy.run1(&[self])
    }

    /// The tensor in another dtype; itself if it has it already.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let x = Tensor::from_vec(vec![-1.7f32, 0.0, 2.9], 3, &device)?;
    /// assert_eq!(x.cast(DType::I64)?.to_vec::<i64>()?, [-1, 0, 2]);
    /// assert_eq!(x.cast(DType::Bool)?.to_vec::<bool>()?, [true, false, true]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Memory runs out.
    pub fn cast(&self, dtype: DType) -> Result<Tensor> {
        if dtype == self.dtype() { Ok(self.clone()) } else { Op::Cast(dtype).run1(&[self]) }
    }

    /// The tensor on another device; itself if it is there already, or on a device built around it. What
    /// a device adds to its tensors moves along: a tracked tensor stays tracked.
    ///
    /// # Errors
    /// Either device fails.
    pub fn to(&self, device: &Device) -> Result<Tensor> {
        if let Some(tensor) = device.lift(self)? {
            return Ok(tensor);
        }
        match self.device().transfer(self, device)? {
            Some(tensor) => Ok(tensor),
            None => device.upload(&self.to_host()?),
        }
    }

    /// The plain values, on the device that computes: without a graph or whatever else the devices around it
    /// add. To differentiation the result is a constant.
    ///
    /// # Errors
    /// A backend refuses.
    pub fn innermost(&self) -> Result<Tensor> {
        let mut tensor = self.clone();
        while let Some(inner) = tensor.released()? {
            tensor = inner;
        }
        Ok(tensor)
    }

    /// The tensor on the device inside its own, without what its own adds; `None` on a device that computes.
    ///
    /// # Errors
    /// The backend refuses.
    pub fn released(&self) -> Result<Option<Tensor>> {
        self.device().inner().is_some().then(|| self.device().release(self)).transpose()
    }

    /// The elements in host memory.
    ///
    /// # Errors
    /// The device fails.
    pub fn to_host(&self) -> Result<HostArray> {
        self.device().download(self)
    }

    /// The elements in row-major order, converted to `T` if the dtype differs.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let x = Tensor::arange(0, 3, DType::F32, &device)?;
    /// assert_eq!(x.to_vec::<f32>()?, [0.0, 1.0, 2.0]);
    /// assert_eq!(x.to_vec::<i64>()?, [0, 1, 2]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The device fails.
    pub fn to_vec<T: HostElement>(&self) -> Result<Vec<T>> {
        let host = self.to_host()?;
        if host.dtype() == T::DTYPE {
            host.into_vec().ok_or_else(|| Error::argument("to_vec", "the backend returned another dtype"))
        } else {
            Ok(host.convert())
        }
    }

    /// The only element, converted to `T` if the dtype differs.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let loss = Tensor::from_vec(vec![1.0f32, 3.0], 2, &device)?.mean_all()?;
    /// assert_eq!(loss.item::<f32>()?, 2.0);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// There is not exactly one element, or the device fails.
    pub fn item<T: HostElement>(&self) -> Result<T> {
        let wrong = |n: usize| {
            Error::shape("item", &[self.meta()], format!("expects a tensor of exactly one element, got {n}"))
        };
        if self.numel() != 1 {
            return Err(wrong(self.numel()));
        }
        self.to_vec()?.first().copied().ok_or_else(|| wrong(0))
    }
}
