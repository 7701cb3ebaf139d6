//! Reductions, arg-reductions, scans and sorting. All keep the rank: a reduced axis has size 1.

use crate::{AxisSet, DType, Error, Meta, Metas, Result};

/// How elements are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceKind {
    /// The sum; bool and integers sum to `i64`.
    Sum,
    /// The product; bool and integers multiply to `i64`.
    Prod,
    /// The largest; NaN if any is NaN.
    Max,
    /// The smallest; NaN if any is NaN.
    Min,
}

impl ReduceKind {
    /// Every kind of reduction.
    pub const ALL: [ReduceKind; 4] = [ReduceKind::Sum, ReduceKind::Prod, ReduceKind::Max, ReduceKind::Min];

    /// The reduction's name.
    pub const fn name(self) -> &'static str {
        match self {
            ReduceKind::Sum => "sum",
            ReduceKind::Prod => "prod",
            ReduceKind::Max => "amax",
            ReduceKind::Min => "amin",
        }
    }

    /// The scan's name.
    pub const fn scan_name(self) -> &'static str {
        match self {
            ReduceKind::Sum => "cumsum",
            ReduceKind::Prod => "cumprod",
            ReduceKind::Max => "cummax",
            ReduceKind::Min => "cummin",
        }
    }

    /// The dtype of the result.
    pub const fn output(self, dtype: DType) -> DType {
        match self {
            ReduceKind::Sum | ReduceKind::Prod if !dtype.is_float() => DType::I64,
            _ => dtype,
        }
    }

    /// Two values combined, in double precision.
    pub fn eval(self, a: f64, b: f64) -> f64 {
        use crate::BinaryOp;
        match self {
            ReduceKind::Sum => a + b,
            ReduceKind::Prod => a * b,
            ReduceKind::Max => BinaryOp::Maximum.eval(a, b),
            ReduceKind::Min => BinaryOp::Minimum.eval(a, b),
        }
    }
}

/// Combines all elements along some axes; they keep size 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduce {
    /// How elements are combined.
    pub kind: ReduceKind,
    /// Which axes.
    pub axes: AxisSet,
}

impl Reduce {
    pub(super) fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let name = self.kind.name();
        let &[x] = super::operands(name, inputs)?;
        if let Some(axis) = self.axes.iter().find(|&a| a >= x.shape.rank()) {
            return Err(Error::Axis { op: name, axis: axis as isize, rank: x.shape.rank() });
        }
        let empty = self.axes.iter().any(|a| x.shape[a] == 0);
        let out = x.shape.reduced(self.axes);
        if empty && out.numel() > 0 && matches!(self.kind, ReduceKind::Max | ReduceKind::Min) {
            return Err(Error::shape(name, inputs, "no largest or smallest of zero elements"));
        }
        Ok(super::one(Meta::new(out, self.kind.output(x.dtype))))
    }
}

/// The position along one axis (`i64`) of the largest or smallest element: the first one among equals, a
/// NaN before any number. The axis keeps size 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgReduce {
    /// The largest if true, the smallest otherwise.
    pub largest: bool,
    /// Along which axis.
    pub axis: usize,
}

impl ArgReduce {
    /// `argmax` or `argmin`.
    pub const fn name(&self) -> &'static str {
        if self.largest { "argmax" } else { "argmin" }
    }

    pub(super) fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let &[x] = super::operands(self.name(), inputs)?;
        super::check_axis(self.name(), self.axis, x)?;
        let out = x.shape.with_dim(self.axis, 1);
        if x.shape[self.axis] == 0 && out.numel() > 0 {
            return Err(Error::shape(self.name(), inputs, "no position among zero elements"));
        }
        Ok(super::one(Meta::new(out, DType::I64)))
    }
}

/// Running combination along one axis: element `i` combines elements `0..=i`, or `i..` if reversed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// How elements are combined.
    pub kind: ReduceKind,
    /// Along which axis.
    pub axis: usize,
    /// From the last element to the first.
    pub reverse: bool,
}

impl Scan {
    pub(super) fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let name = self.kind.scan_name();
        let &[x] = super::operands(name, inputs)?;
        super::check_axis(name, self.axis, x)?;
        Ok(super::one(Meta::new(x.shape, self.kind.output(x.dtype))))
    }
}

/// Sorts along one axis, stably; NaN counts as the largest. Two outputs: the values, and (`i64`) the
/// position each came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// Along which axis.
    pub axis: usize,
    /// Largest first.
    pub descending: bool,
}

impl Sort {
    pub(super) fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let &[x] = super::operands("sort", inputs)?;
        super::check_axis("sort", self.axis, x)?;
        Ok(Metas::from_slice(&[x, Meta::new(x.shape, DType::I64)]))
    }
}
