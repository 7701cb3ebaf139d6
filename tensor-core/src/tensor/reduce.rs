//! Reductions, scans and sorting.

use crate::op::{ArgReduce, Reduce, ReduceKind, Scan, Sort};
use crate::shape::{Axis, IntoAxes};
use crate::{AxisSet, DType, Error, Op, Result, Tensor};

impl Tensor {
    pub(super) fn reduce(&self, kind: ReduceKind, axes: AxisSet) -> Result<Tensor> {
        Op::Reduce(Reduce { kind, axes }).run1(&[self])
    }

    fn count(&self, axes: AxisSet) -> usize {
        axes.iter().map(|a| self.shape()[a]).product()
    }

    /// The mean over axes, which keep size 1. Integers and bools are averaged as `f32`.
    ///
    /// # Errors
    /// An axis is out of range.
    pub fn mean_keepdim(&self, axes: impl IntoAxes) -> Result<Tensor> {
        let axes = axes.into_axes(self.rank(), "mean")?;
        let x = self.to_float()?;
        // Widened, the sum neither overflows half precision nor is rounded to it.
        let sum = x.widened()?.reduce(ReduceKind::Sum, axes)?;
        sum.mul(1.0 / self.count(axes) as f64)?.cast(x.sums_in(axes))
    }

    /// The dtype in which the device gives sums: this tensor's own, unless the device is of another mind.
    fn sums_in(&self, axes: AxisSet) -> DType {
        let sum = Op::Reduce(Reduce { kind: ReduceKind::Sum, axes });
        let dtypes = self.device().operand_dtypes(&sum, &[self.dtype()]);
        dtypes.and_then(|d| d.first().copied()).unwrap_or(self.dtype())
    }

    /// The mean over axes. Integers and bools are averaged as `f32`; the mean of nothing is NaN.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let x = Tensor::arange(0, 6, DType::F32, &device)?.reshape([2, 3])?;
    /// assert_eq!(x.mean(1)?.to_vec::<f32>()?, [1.0, 4.0]);
    /// assert_eq!(x.mean([0, -1])?.item::<f32>()?, 2.5);
    /// assert_eq!(x.mean_keepdim(0)?.dims(), [1, 3]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// An axis is out of range.
    pub fn mean(&self, axes: impl IntoAxes) -> Result<Tensor> {
        let axes = axes.into_axes(self.rank(), "mean")?;
        self.mean_keepdim(axes)?.squeeze_axes(axes)
    }

    /// The variance over axes, which keep size 1, with `correction` subtracted from the count: 1 for the
    /// unbiased estimate, 0 for the biased one.
    ///
    /// # Errors
    /// An axis is out of range.
    pub fn var_keepdim(&self, axes: impl IntoAxes, correction: usize) -> Result<Tensor> {
        let axes = axes.into_axes(self.rank(), "var")?;
        let dtype = self.to_float()?.sums_in(axes);
        let x = self.cast(dtype.accumulator())?;
        let squares = x.sub(&x.mean_keepdim(axes)?)?.square()?.reduce(ReduceKind::Sum, axes)?;
        squares.mul(1.0 / (self.count(axes) as f64 - correction as f64).max(0.0))?.cast(dtype)
    }

    /// The variance over axes: `correction` 1 for the unbiased estimate, 0 for the biased one.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let x = Tensor::from_vec(vec![1.0f64, 2.0, 3.0], 3, &device)?;
    /// assert_eq!(x.var(0, 1)?.item::<f64>()?, 1.0);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// An axis is out of range.
    pub fn var(&self, axes: impl IntoAxes, correction: usize) -> Result<Tensor> {
        let axes = axes.into_axes(self.rank(), "var")?;
        self.var_keepdim(axes, correction)?.squeeze_axes(axes)
    }

    /// The standard deviation over axes: the root of [`Tensor::var`].
    ///
    /// # Errors
    /// An axis is out of range.
    pub fn std(&self, axes: impl IntoAxes, correction: usize) -> Result<Tensor> {
        self.var(axes, correction)?.sqrt()
    }

    /// The Euclidean norm over axes; its derivative at 0 is 0.
    ///
    /// # Errors
    /// An axis is out of range.
    pub fn norm(&self, axes: impl IntoAxes) -> Result<Tensor> {
        let x = self.to_float()?;
        let squares = x.widened()?.square()?.sum(axes)?;
        // The root's derivative at 0 is infinite, and infinity times 0 is NaN.
        let zero = squares.eq(0.0)?;
        squares.masked_fill(&zero, 1.0)?.sqrt()?.masked_fill(&zero, 0.0)?.cast(x.dtype())
    }

    /// `ln(sum(e^x))` over axes, computed without overflow; of nothing, negative infinity.
    ///
    /// # Errors
    /// An axis is out of range.
    pub fn logsumexp(&self, axes: impl IntoAxes) -> Result<Tensor> {
        let axes = axes.into_axes(self.rank(), "logsumexp")?;
        let x = self.to_float()?;
        let x_wide = x.widened()?;
        if self.count(axes) == 0 {
            return x_wide.reduce(ReduceKind::Sum, axes)?.log()?.squeeze_axes(axes)?.cast(x.dtype());
        }
        // The shift cancels in the result, so it is a constant to differentiation; an infinite one would
        // make NaN of itself.
        let shift = x_wide.innermost()?.reduce(ReduceKind::Max, axes)?;
        let shift = shift.isfinite()?.where_(&shift, &shift.zeros_like()?)?;
        let sum = x_wide.sub(&shift)?.exp()?.reduce(ReduceKind::Sum, axes)?;
        sum.log()?.add(&shift)?.squeeze_axes(axes)?.cast(x.dtype())
    }

    /// Whether any element along axes is true (not 0).
    ///
    /// # Errors
    /// An axis is out of range.
    pub fn any(&self, axes: impl IntoAxes) -> Result<Tensor> {
        self.cast(DType::Bool)?.cast(DType::U8)?.sum(axes)?.gt(0)
    }

    /// Whether all elements along axes are true (not 0).
    ///
    /// # Errors
    /// An axis is out of range.
    pub fn all(&self, axes: impl IntoAxes) -> Result<Tensor> {
        self.cast(DType::Bool)?.logical_not()?.any(axes)?.logical_not()
    }

    fn arg_reduce(&self, largest: bool, axis: impl Axis) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), if largest { "argmax" } else { "argmin" })?;
        Op::ArgReduce(ArgReduce { largest, axis }).run1(&[self])?.squeeze(axis)
    }

    /// The position (`i64`) of the largest element along an axis; the first among equals.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let logits = Tensor::from_vec(vec![0.1f32, 0.7, 0.2, 0.9, 0.0, 0.1], [2, 3], &device)?;
    /// assert_eq!(logits.argmax(-1)?.to_vec::<i64>()?, [1, 0]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The axis is out of range or empty.
    pub fn argmax(&self, axis: impl Axis) -> Result<Tensor> {
        self.arg_reduce(true, axis)
    }

    /// The position (`i64`) of the smallest element along an axis; the first among equals.
    ///
    /// # Errors
    /// The axis is out of range or empty.
    pub fn argmin(&self, axis: impl Axis) -> Result<Tensor> {
        self.arg_reduce(false, axis)
    }

    fn scan(&self, kind: ReduceKind, axis: impl Axis) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), kind.scan_name())?;
        Op::Scan(Scan { kind, axis, reverse: false }).run1(&[self])
    }

    /// Values and positions (`i64`) sorted along an axis, stably; NaN counts as the largest.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let (values, positions) = Tensor::from_vec(vec![3i64, 1, 2], 3, &device)?.sort(0, false)?;
    /// assert_eq!(values.to_vec::<i64>()?, [1, 2, 3]);
    /// assert_eq!(positions.to_vec::<i64>()?, [1, 2, 0]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The axis is out of range.
    pub fn sort(&self, axis: impl Axis, descending: bool) -> Result<(Tensor, Tensor)> {
        let axis = axis.resolve(self.rank(), "sort")?;
        let mut out = Op::Sort(Sort { axis, descending }).run(&[self])?.into_iter();
        match (out.next(), out.next()) {
            (Some(values), Some(positions)) => Ok((values, positions)),
            _ => Err(Error::argument("sort", "the op has too few outputs")),
        }
    }

    /// Positions (`i64`) that sort an axis.
    ///
    /// # Errors
    /// The axis is out of range.
    pub fn argsort(&self, axis: impl Axis, descending: bool) -> Result<Tensor> {
        Ok(self.sort(axis, descending)?.1)
    }

    /// The `k` largest elements along an axis, largest first, or the `k` smallest, smallest first; and their positions
    /// (`i64`).
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let (values, positions) = Tensor::from_vec(vec![3i64, 1, 5, 2], 4, &device)?.topk(2, 0, true)?;
    /// assert_eq!((values.to_vec::<i64>()?, positions.to_vec::<i64>()?), (vec![5, 3], vec![2, 0]));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The axis is out of range or has fewer than `k` elements.
    pub fn topk(&self, k: usize, axis: impl Axis, largest: bool) -> Result<(Tensor, Tensor)> {
        let axis = axis.resolve(self.rank(), "topk")?;
        if k > self.shape()[axis] {
            return Err(Error::argument("topk", format!("k = {k} exceeds axis {axis} of {}", self.shape())));
        }
        let (values, positions) = self.sort(axis, largest)?;
        Ok((values.narrow(axis, 0, k)?, positions.narrow(axis, 0, k)?))
    }
}

macro_rules! reductions {
    ($($name:ident, $keepdim:ident, $all:ident => $kind:ident, $doc:literal;)*) => {
        impl Tensor {$(
            #[doc = concat!($doc, " over axes: one integer, an array of them, or `..`.")]
            ///
            /// # Errors
            /// An axis is out of range or named twice.
            pub fn $name(&self, axes: impl IntoAxes) -> Result<Tensor> {
                let axes = axes.into_axes(self.rank(), ReduceKind::$kind.name())?;
                self.reduce(ReduceKind::$kind, axes)?.squeeze_axes(axes)
            }

            #[doc = concat!($doc, " over axes, which keep size 1.")]
            ///
            /// # Errors
            /// An axis is out of range or named twice.
            pub fn $keepdim(&self, axes: impl IntoAxes) -> Result<Tensor> {
                self.reduce(ReduceKind::$kind, axes.into_axes(self.rank(), ReduceKind::$kind.name())?)
            }

            #[doc = concat!($doc, " of all elements, without axes.")]
            ///
            /// # Errors
            /// The device fails.
            pub fn $all(&self) -> Result<Tensor> {
                self.$name(..)
            }
        )*}
    };
}
reductions! {
    sum, sum_keepdim, sum_all => Sum, "The sum (integers and bools sum to `i64`)";
    prod, prod_keepdim, prod_all => Prod, "The product (integers and bools multiply to `i64`)";
    amax, amax_keepdim, amax_all => Max, "The largest element (NaN if any is NaN; equal maxima share the gradient)";
    amin, amin_keepdim, amin_all => Min, "The smallest element (NaN if any is NaN; equal minima share the gradient)";
}

impl Tensor {
    /// The mean of all elements, without axes.
    ///
    /// # Errors
    /// The device fails.
    pub fn mean_all(&self) -> Result<Tensor> {
        self.mean(..)
    }
}

macro_rules! scans {
    ($($name:ident => $kind:ident, $doc:literal;)*) => {
        impl Tensor {$(
            #[doc = $doc]
            ///
            /// # Errors
            /// The axis is out of range.
            pub fn $name(&self, axis: impl Axis) -> Result<Tensor> {
                self.scan(ReduceKind::$kind, axis)
            }
        )*}
    };
}
scans! {
    cumsum => Sum, "The running sum along an axis.";
    cumprod => Prod, "The running product along an axis.";
    cummax => Max, "The running maximum along an axis.";
    cummin => Min, "The running minimum along an axis.";
}
