//! View operations: no data moves, no op runs (except where a reshape cannot be expressed by strides).

use crate::shape::{Axis, IntoAxes, IntoShape};
use crate::{AxisSet, Error, Result, Shape, Tensor};

/// Dimensions for [`Tensor::reshape`]: at most one may be -1, which is computed from the others.
pub trait ReshapeDims {
    /// The shape, for a tensor of `numel` elements.
    fn resolve(self, numel: usize) -> Result<Shape>;
}

impl ReshapeDims for Shape {
    fn resolve(self, _: usize) -> Result<Shape> {
        Ok(self)
    }
}
impl ReshapeDims for &Shape {
    fn resolve(self, _: usize) -> Result<Shape> {
        Ok(*self)
    }
}
impl ReshapeDims for () {
    fn resolve(self, _: usize) -> Result<Shape> {
        Ok(Shape::SCALAR)
    }
}
impl ReshapeDims for Vec<usize> {
    fn resolve(self, _: usize) -> Result<Shape> {
        Shape::new(&self)
    }
}
impl ReshapeDims for &Vec<usize> {
    fn resolve(self, _: usize) -> Result<Shape> {
        Shape::new(self)
    }
}
impl ReshapeDims for &[usize] {
    fn resolve(self, _: usize) -> Result<Shape> {
        Shape::new(self)
    }
}
impl<const N: usize> ReshapeDims for [usize; N] {
    fn resolve(self, _: usize) -> Result<Shape> {
        Shape::new(&self)
    }
}

fn resolve_signed(dims: &[isize], numel: usize) -> Result<Shape> {
    let known = dims.iter().filter(|&&d| d != -1).fold(1usize, |n, &d| n.saturating_mul(d.max(0) as usize));
    let unknown = dims.iter().filter(|&&d| d == -1).count();
    let bad = dims.iter().any(|&d| d < -1) || unknown > 1;
    if bad || (unknown == 1 && (known == 0 || !numel.is_multiple_of(known))) {
        return Err(Error::argument("reshape", format!("cannot shape {numel} elements as {dims:?}")));
    }
    let dims: Vec<usize> = dims.iter().map(|&d| if d == -1 { numel / known } else { d as usize }).collect();
    Shape::new(&dims)
}

macro_rules! signed_dims {
    ($($t:ty),*) => {$(
        impl<const N: usize> ReshapeDims for [$t; N] {
            fn resolve(self, numel: usize) -> Result<Shape> {
                resolve_signed(&self.map(|d| d as isize), numel)
            }
        }
    )*};
}
signed_dims!(i32, i64, isize);

impl Tensor {
    /// The same elements in the same order under another shape. One dimension may be -1. A view where
    /// strides can express it, a copy otherwise.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let x = Tensor::arange(0, 12, DType::I64, &device)?;
    /// assert_eq!(x.reshape([3, 4])?.dims(), [3, 4]);
    /// assert_eq!(x.reshape([2, -1, 2])?.dims(), [2, 3, 2]);
    /// assert!(x.reshape([5, -1]).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The number of elements differs.
    pub fn reshape(&self, dims: impl ReshapeDims) -> Result<Tensor> {
        let shape = dims.resolve(self.numel())?;
        match self.layout.reshape(shape)? {
            Some(layout) => Ok(self.viewed(layout)),
            None => {
                let copy = self.copy()?;
                Ok(copy.viewed(crate::Layout::contiguous(shape)))
            }
        }
    }

    /// Merges axes `start..=end` into one.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let images = Tensor::zeros([8, 3, 4, 4], DType::F32, &device)?;
    /// assert_eq!(images.flatten(1, -1)?.dims(), [8, 48]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// An axis is out of range or `start` lies after `end`.
    pub fn flatten(&self, start: impl Axis, end: impl Axis) -> Result<Tensor> {
        if self.rank() == 0 {
            return self.reshape([1usize]);
        }
        let (start, end) = (start.resolve(self.rank(), "flatten")?, end.resolve(self.rank(), "flatten")?);
        if start > end {
            return Err(Error::argument("flatten", format!("axis {start} lies after axis {end}")));
        }
        let mut dims = self.dims()[..start].to_vec();
        dims.push(self.dims()[start..=end].iter().product());
        dims.extend_from_slice(&self.dims()[end + 1..]);
        self.reshape(dims)
    }

    /// Splits one axis into several, whose sizes multiply to its size.
    ///
    /// # Errors
    /// The axis is out of range or the sizes do not multiply to its size.
    pub fn unflatten(&self, axis: impl Axis, sizes: &[usize]) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), "unflatten")?;
        let mut dims = self.dims()[..axis].to_vec();
        dims.extend_from_slice(sizes);
        dims.extend_from_slice(&self.dims()[axis + 1..]);
        self.reshape(dims)
    }

    /// Axis `i` of the result is axis `order[i]` of this tensor.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let image = Tensor::zeros([3, 28, 32], DType::F32, &device)?;
    /// assert_eq!(image.permute([1, 2, 0])?.dims(), [28, 32, 3]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `order` is not a permutation of all axes.
    pub fn permute<A: Axis>(&self, order: impl AsRef<[A]>) -> Result<Tensor> {
        let order: Vec<usize> =
            order.as_ref().iter().map(|a| a.resolve(self.rank(), "permute")).collect::<Result<_>>()?;
        Ok(self.viewed(self.layout.permute(&order)?))
    }

    /// Swaps two axes.
    ///
    /// # Errors
    /// An axis is out of range.
    pub fn transpose(&self, a: impl Axis, b: impl Axis) -> Result<Tensor> {
        let (a, b) = (a.resolve(self.rank(), "transpose")?, b.resolve(self.rank(), "transpose")?);
        Ok(self.viewed(self.layout.transpose(a, b)?))
    }

    /// Swaps the last two axes: the transposed matrix.
    ///
    /// # Errors
    /// The rank is below 2.
    pub fn t(&self) -> Result<Tensor> {
        self.transpose(-2, -1)
    }

    /// Repeats axes of size 1, and new leading axes, up to a shape; no data is copied.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let row = Tensor::from_vec(vec![1i64, 2], [1, 2], &device)?;
    /// assert_eq!(row.expand([3, 2])?.to_vec::<i64>()?, [1, 2, 1, 2, 1, 2]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// An axis has another size than 1 and the one asked for.
    pub fn expand(&self, shape: impl IntoShape) -> Result<Tensor> {
        Ok(self.viewed(self.layout.expand(shape.into_shape()?)?))
    }

    /// `len` positions of an axis from `start`.
    ///
    /// # Errors
    /// The axis or the range is out of range.
    pub fn narrow(&self, axis: impl Axis, start: usize, len: usize) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), "narrow")?;
        Ok(self.viewed(self.layout.narrow(axis, start, len)?))
    }

    /// Every `step`-th position of an axis from `start` up to, not including, `end`.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let x = Tensor::arange(0, 10, DType::I64, &device)?;
    /// assert_eq!(x.slice(0, 1, 8, 3)?.to_vec::<i64>()?, [1, 4, 7]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The axis or the range is out of range, or `step` is 0.
    pub fn slice(&self, axis: impl Axis, start: usize, end: usize, step: usize) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), "slice")?;
        Ok(self.viewed(self.layout.slice(axis, start, end, step)?))
    }

    /// One position of an axis, which disappears.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let x = Tensor::arange(0, 6, DType::I64, &device)?.reshape([2, 3])?;
    /// assert_eq!(x.select(0, 1)?.to_vec::<i64>()?, [3, 4, 5]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The axis or the index is out of range.
    pub fn select(&self, axis: impl Axis, index: usize) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), "select")?;
        Ok(self.viewed(self.layout.select(axis, index)?))
    }

    /// Reverses axes.
    ///
    /// # Errors
    /// An axis is out of range.
    pub fn flip(&self, axes: impl IntoAxes) -> Result<Tensor> {
        let mut layout = self.layout;
        for axis in axes.into_axes(self.rank(), "flip")?.iter() {
            layout = layout.flip(axis)?;
        }
        Ok(self.viewed(layout))
    }

    /// Sliding windows: `axis` becomes the number of windows, and a new last axis of `size` walks inside
    /// one. Windows start every `step`.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let x = Tensor::arange(0, 5, DType::I64, &device)?;
    /// assert_eq!(x.unfold(0, 3, 1)?.to_string(), "[[0 1 2]\n [1 2 3]\n [2 3 4]]");
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The axis is out of range, `size` or `step` is 0, or no window fits.
    pub fn unfold(&self, axis: impl Axis, size: usize, step: usize) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), "unfold")?;
        Ok(self.viewed(self.layout.unfold(axis, size, step, 1)?))
    }

    /// [`Tensor::unfold`] with the elements of a window `dilation` apart.
    ///
    /// # Errors
    /// As [`Tensor::unfold`].
    pub fn unfold_dilated(
        &self,
        axis: impl Axis,
        size: usize,
        step: usize,
        dilation: usize,
    ) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), "unfold")?;
        Ok(self.viewed(self.layout.unfold(axis, size, step, dilation)?))
    }

    /// The diagonal of two axes, which disappear; it becomes the last axis. Positive offsets lie above the
    /// main diagonal.
    ///
    /// # Errors
    /// An axis is out of range, or both are the same.
    pub fn diagonal(&self, offset: isize, a: impl Axis, b: impl Axis) -> Result<Tensor> {
        let (a, b) = (a.resolve(self.rank(), "diagonal")?, b.resolve(self.rank(), "diagonal")?);
        Ok(self.viewed(self.layout.diagonal(offset, a, b)?))
    }

    /// Removes an axis of size 1.
    ///
    /// # Errors
    /// The axis is out of range or its size is not 1.
    pub fn squeeze(&self, axis: impl Axis) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), "squeeze")?;
        Ok(self.viewed(self.layout.squeeze(axis)?))
    }

    /// Inserts an axis of size 1; -1 is a new last axis.
    ///
    /// # Errors
    /// The axis is out of range or the rank would exceed the maximum.
    pub fn unsqueeze(&self, axis: impl Axis) -> Result<Tensor> {
        let axis = axis.resolve(self.rank() + 1, "unsqueeze")?;
        Ok(self.viewed(self.layout.unsqueeze(axis)?))
    }

    /// Removes axes of size 1 that a reduction left.
    pub(crate) fn squeeze_axes(&self, axes: AxisSet) -> Result<Tensor> {
        let mut layout = self.layout;
        for axis in axes.iter().rev() {
            layout = layout.squeeze(axis)?;
        }
        Ok(self.viewed(layout))
    }

    /// The tensor cut along an axis into pieces of `size`; the last may be smaller.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let parts = Tensor::arange(0, 5, DType::I64, &device)?.split(2, 0)?;
    /// assert_eq!(parts.iter().map(Tensor::numel).collect::<Vec<_>>(), [2, 2, 1]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The axis is out of range or `size` is 0.
    pub fn split(&self, size: usize, axis: impl Axis) -> Result<Vec<Tensor>> {
        let axis = axis.resolve(self.rank(), "split")?;
        let len = self.shape()[axis];
        if size == 0 {
            return Err(Error::argument("split", "the size of a piece must be at least 1"));
        }
        (0..len.div_ceil(size)).map(|i| self.narrow(axis, i * size, size.min(len - i * size))).collect()
    }

    /// The tensor cut along an axis into `n` pieces of equal size; the last may be smaller.
    ///
    /// # Errors
    /// The axis is out of range or `n` is 0.
    pub fn chunk(&self, n: usize, axis: impl Axis) -> Result<Vec<Tensor>> {
        if n == 0 {
            return Err(Error::argument("chunk", "the number of pieces must be at least 1"));
        }
        let len = self.dim(axis)?;
        self.split(len.div_ceil(n).max(1), axis)
    }
}
