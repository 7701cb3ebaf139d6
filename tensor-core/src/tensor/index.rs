//! Picking, placing and joining elements.

use crate::shape::Axis;
use crate::{DType, Error, Layout, Op, Result, Scalar, Shape, Tensor};

/// The first elements of every axis but one, as many as there are indices.
fn corner(layout: &Layout, axis: usize, index: &Tensor) -> Result<Layout> {
    let sizes = index.dims().iter().zip(layout.shape().to_vec()).enumerate();
    sizes
        .filter(|&(a, (&n, size))| a != axis && n < size)
        .try_fold(*layout, |l, (a, (&n, _))| l.narrow(a, 0, n))
}

impl Tensor {
    /// `out[i][j][k] = self[i][index[i][j][k]][k]` for axis 1. `index` (`i64`) has this tensor's rank and, except
    /// on the axis, at most its size; the result has the shape of `index`.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2], &device)?;
    /// let index = Tensor::from_vec(vec![1i64, 0], [2, 1], &device)?;
    /// assert_eq!(x.gather(1, &index)?.to_vec::<f32>()?, [2.0, 3.0]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes do not fit, the index is not `i64`, or an index is out of range.
    pub fn gather(&self, axis: impl Axis, index: &Tensor) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), "gather")?;
        Op::Gather { axis }.run1(&[&self.viewed(corner(&self.layout, axis, index)?), index])
    }

    /// A copy with `out[i][index[i][j][k]][k] += source[i][j][k]` for axis 1. Repeated indices add up. `index`
    /// (`i64`) and `source` have one shape: this tensor's rank and, except on the axis, at most its size.
    ///
    /// # Errors
    /// Shapes do not fit, the index is not `i64`, or an index is out of range.
    pub fn scatter_add(&self, axis: impl Axis, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), "scatter_add")?;
        let part = self.viewed(corner(&self.layout, axis, index)?);
        let sum = Op::ScatterAdd { axis }.run1(&[&part, index, source])?;
        if part.shape() == self.shape() {
            return Ok(sum);
        }
        let mut out = self.clone();
        out.view_assign(&sum, |layout| corner(layout, axis, index))?;
        Ok(out)
    }

    /// A copy with `out[i][index[i][j][k]][k] = source[i][j][k]` for axis 1. Indices must not repeat along
    /// the axis: which source would win is not defined.
    ///
    /// # Errors
    /// Shapes do not fit, the index is not `i64`, or an index is out of range.
    pub fn scatter(&self, axis: impl Axis, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), "scatter")?;
        let ones = Tensor::ones(index.shape(), DType::U8, index.device().innermost())?;
        let zeros = Tensor::zeros(self.shape(), DType::U8, index.device().innermost())?;
        let hit = zeros.scatter_add(axis, index, &ones)?.gt(0)?;
        let placed = self.zeros_like()?.scatter_add(axis, index, source)?;
        hit.where_(&placed, self)
    }

    /// Positions of an axis picked by a vector of indices (`i64`); an embedding lookup on axis 0.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let x = Tensor::arange(0, 6, DType::I64, &device)?.reshape([3, 2])?;
    /// let rows = Tensor::from_vec(vec![2i64, 0], 2, &device)?;
    /// assert_eq!(x.index_select(0, &rows)?.to_vec::<i64>()?, [4, 5, 0, 1]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The index is not an `i64` vector, or an index is out of range.
    pub fn index_select(&self, axis: impl Axis, index: &Tensor) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), "index_select")?;
        Op::IndexSelect { axis }.run1(&[self, index])
    }

    /// A copy with rows of `source` added along an axis at the positions a vector of indices (`i64`) names.
    ///
    /// # Errors
    /// Shapes do not fit, or an index is out of range.
    pub fn index_add(&self, axis: impl Axis, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), "index_add")?;
        Op::IndexAdd { axis }.run1(&[self, index, source])
    }

    /// Rows of this matrix `[V, D]` for every index (`i64`) of a tensor of any shape: `[.., D]`.
    ///
    /// # Errors
    /// This tensor is not a matrix, or an index is out of range.
    pub fn embedding(&self, index: &Tensor) -> Result<Tensor> {
        if self.rank() != 2 {
            return Err(Error::shape("embedding", &[self.meta(), index.meta()], "the weight must be [V, D]"));
        }
        let mut dims = index.dims().to_vec();
        dims.push(self.dims()[1]);
        self.index_select(0, &index.reshape([-1])?)?.reshape(dims)
    }

    /// For class labels (`i64`) of any shape, vectors of `classes` numbers that are 1 at the label.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let labels = Tensor::from_vec(vec![2i64, 0], 2, &device)?;
    /// assert_eq!(labels.one_hot(3, DType::F32)?.to_vec::<f32>()?, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The labels are not `i64`, or memory runs out. A label out of range gives a vector of zeros.
    pub fn one_hot(&self, classes: usize, dtype: DType) -> Result<Tensor> {
        if self.dtype() != DType::I64 {
            return Err(Error::dtype("one_hot", &[self.meta()], "labels must be i64"));
        }
        let classes = i64::try_from(classes).unwrap_or(i64::MAX);
        let all = Tensor::arange(0, classes, DType::I64, self.device().innermost())?;
        self.unsqueeze(-1)?.eq(&all)?.cast(dtype)
    }

    /// Tensors joined along an existing axis; dtypes promote.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let (a, b) = (Tensor::ones([1, 2], DType::F32, &device)?, Tensor::zeros([2, 2], DType::F32, &device)?);
    /// assert_eq!(Tensor::cat(&[&a, &b], 0)?.to_vec::<f32>()?, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// There are none, or shapes differ on another axis.
    pub fn cat(tensors: &[&Tensor], axis: impl Axis) -> Result<Tensor> {
        let first = tensors.first().ok_or_else(|| Error::argument("cat", "expects at least one tensor"))?;
        let axis = axis.resolve(first.rank(), "cat")?;
        let dtype = tensors.iter().fold(first.dtype(), |d, t| d.promote(t.dtype()));
        let cast: Vec<Tensor> = tensors.iter().map(|t| t.cast(dtype)).collect::<Result<_>>()?;
        Op::Concat { axis }.run1(&cast.iter().collect::<Vec<_>>())
    }

    /// Tensors of one shape joined along a new axis.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let (a, b) = (Tensor::arange(0, 2, DType::I64, &device)?, Tensor::arange(5, 7, DType::I64, &device)?);
    /// assert_eq!(Tensor::stack(&[&a, &b], 1)?.to_string(), "[[0 5]\n [1 6]]");
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// There are none, or shapes differ.
    pub fn stack(tensors: &[&Tensor], axis: impl Axis) -> Result<Tensor> {
        let first = tensors.first().ok_or_else(|| Error::argument("stack", "expects at least one tensor"))?;
        let axis = axis.resolve(first.rank() + 1, "stack")?;
        let lifted: Vec<Tensor> = tensors.iter().map(|t| t.unsqueeze(axis)).collect::<Result<_>>()?;
        Self::cat(&lifted.iter().collect::<Vec<_>>(), axis)
    }

    /// The tensor with `value` before and after it: `pads` gives (before, after) for the last axes, the
    /// first entry for the first of them.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let x = Tensor::arange(1, 4, DType::I64, &device)?;
    /// assert_eq!(x.pad(&[(1, 2)], 0)?.to_vec::<i64>()?, [0, 1, 2, 3, 0, 0]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// There are more entries than axes, or memory runs out.
    pub fn pad(&self, pads: &[(usize, usize)], value: impl Into<Scalar>) -> Result<Tensor> {
        let Some(lead) = self.rank().checked_sub(pads.len()) else {
            return Err(Error::argument(
                "pad",
                format!("{} paddings for a tensor of rank {}", pads.len(), self.rank()),
            ));
        };
        let value = value.into();
        let mut out = self.clone();
        for (axis, &(before, after)) in pads.iter().enumerate().map(|(i, p)| (i + lead, p)) {
            let block = |n: usize, like: &Tensor| -> Result<Tensor> {
                let mut dims = like.dims().to_vec();
                dims[axis] = n;
                Tensor::full(value, (), self.dtype(), self.device().innermost())?.expand(dims)
            };
            let (front, back) = (block(before, &out)?, block(after, &out)?);
            out = match (before, after) {
                (0, 0) => continue,
                (0, _) => Self::cat(&[&out, &back], axis)?,
                (_, 0) => Self::cat(&[&front, &out], axis)?,
                _ => Self::cat(&[&front, &out, &back], axis)?,
            };
        }
        Ok(out)
    }

    /// The tensor repeated `times[i]` times along axis `i`.
    ///
    /// # Errors
    /// There is not one number per axis, or memory runs out.
    pub fn repeat(&self, times: &[usize]) -> Result<Tensor> {
        if times.len() != self.rank() {
            return Err(Error::argument(
                "repeat",
                format!("{} numbers for rank {}", times.len(), self.rank()),
            ));
        }
        let mut out = self.clone();
        for (axis, &n) in times.iter().enumerate() {
            if n != 1 {
                let size = out.shape()[axis];
                let mut dims = out.dims().to_vec();
                dims.insert(axis, n);
                out = out.unsqueeze(axis)?.expand(dims)?.flatten(axis, axis + 1)?;
                debug_assert_eq!(out.shape()[axis], size * n);
            }
        }
        Ok(out)
    }

    /// Elements shifted along an axis; what leaves at one end enters at the other.
    ///
    /// # Errors
    /// The axis is out of range.
    pub fn roll(&self, shift: isize, axis: impl Axis) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), "roll")?;
        let size = self.shape()[axis];
        if size == 0 {
            return Ok(self.clone());
        }
        let cut = size - shift.rem_euclid(size as isize) as usize;
        Self::cat(&[&self.narrow(axis, cut, size - cut)?, &self.narrow(axis, 0, cut)?], axis)
    }

    /// A bool matrix of the last two axes' sizes: where the column is at most the row plus `diagonal`.
    fn lower_triangle(&self, op: &'static str, diagonal: isize) -> Result<Tensor> {
        if self.rank() < 2 {
            return Err(Error::shape(op, &[self.meta()], "expects a tensor of rank 2 or more"));
        }
        let device = self.device().innermost();
        let (rows, cols) = (self.dim(-2)? as i64, self.dim(-1)? as i64);
        // Beyond the corners nothing changes, and sums might not be numbers.
        let diagonal = (diagonal as i64).clamp(-rows, cols);
        let row = Tensor::arange(0, rows, DType::I64, device)?.add(diagonal)?.unsqueeze(1)?;
        Tensor::arange(0, cols, DType::I64, device)?.unsqueeze(0)?.le(&row)
    }

    /// The lower triangle of the last two axes up to a diagonal; zeros above.
    ///
    /// # Errors
    /// The rank is below 2.
    pub fn tril(&self, diagonal: isize) -> Result<Tensor> {
        self.lower_triangle("tril", diagonal)?.where_(self, &self.zeros_like()?)
    }

    /// The upper triangle of the last two axes from a diagonal; zeros below.
    ///
    /// # Errors
    /// The rank is below 2.
    pub fn triu(&self, diagonal: isize) -> Result<Tensor> {
        self.lower_triangle("triu", diagonal.saturating_sub(1))?.where_(&self.zeros_like()?, self)
    }

    /// The elements where a bool mask of the same shape is true, as a vector. Looks at the mask's values, so
    /// it waits for the device.
    ///
    /// # Errors
    /// The mask is not bool or has another shape.
    pub fn masked_select(&self, mask: &Tensor) -> Result<Tensor> {
        if mask.shape() != self.shape() || mask.dtype() != DType::Bool {
            return Err(Error::shape(
                "masked_select",
                &[self.meta(), mask.meta()],
                "expects a bool mask of the same shape",
            ));
        }
        let picked: Vec<i64> =
            mask.to_vec::<bool>()?.iter().enumerate().filter(|(_, m)| **m).map(|(i, _)| i as i64).collect();
        let n = picked.len();
        let index = Tensor::from_vec(picked, n, self.device().innermost())?;
        self.reshape([-1])?.index_select(0, &index)
    }

    /// The positions of the elements that are not 0: `[n, rank]` (`i64`). Waits for the device.
    ///
    /// # Errors
    /// The device fails.
    pub fn nonzero(&self) -> Result<Tensor> {
        let truth = self.cast(DType::Bool)?.to_vec::<bool>()?;
        let strides = self.shape().contiguous_strides();
        let mut out = Vec::new();
        for (flat, _) in truth.iter().enumerate().filter(|(_, t)| **t) {
            out.extend((0..self.rank()).map(|a| (flat / strides[a] as usize % self.dims()[a]) as i64));
        }
        let rows = truth.iter().filter(|t| **t).count();
        Tensor::from_vec(out, Shape::new(&[rows, self.rank()])?, self.device().innermost())
    }
}
