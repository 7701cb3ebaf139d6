//! Softmax and the normalizations, with their gradients.

use crate::{AxisSet, Error, Meta, Metas, Result, Shape};

/// `softmax` or `log_softmax` along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax {
    /// Along which axis.
    pub axis: usize,
    /// Logarithms of the probabilities instead of the probabilities.
    pub log: bool,
}

impl Softmax {
    /// `softmax` or `log_softmax`.
    pub const fn name(&self) -> &'static str {
        if self.log { "log_softmax" } else { "softmax" }
    }

    pub(super) fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let &[x] = super::operands(self.name(), inputs)?;
        super::check_axis(self.name(), self.axis, x)?;
        super::same_float(self.name(), inputs)?;
        Ok(super::one(x))
    }

    /// Operands: the gradient of the output, and the output.
    pub(super) fn infer_grad(&self, inputs: &[Meta]) -> Result<Metas> {
        let &[g, y] = super::operands("softmax_grad", inputs)?;
        super::check_axis("softmax_grad", self.axis, y)?;
        super::same_float("softmax_grad", inputs)?;
        super::same_shape("softmax_grad", &[g, y])?;
        Ok(super::one(y))
    }
}

/// Over which elements mean and variance are taken, and along which axes weight and bias lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Over the last `dims` axes; weight and bias have their shape.
    Layer {
        /// How many axes.
        dims: usize,
    },
    /// Over the last `dims` axes, by the root of the mean square, without subtracting the mean; a weight
    /// of their shape and no bias.
    Rms {
        /// How many axes.
        dims: usize,
    },
    /// Over all axes but axis 1 (the channels), by the statistics of this batch; weight and bias `[C]`.
    Batch,
    /// Over groups of channels and all later axes, for each sample; weight and bias `[C]`.
    Group {
        /// How many groups; a divisor of the number of channels.
        groups: usize,
    },
}

/// `(x - mean) / sqrt(variance + eps) * weight + bias`.
///
/// Operands: `x`, then optionally a weight, then optionally a bias. Outputs: `y`; the mean (all zero for
/// [`NormKind::Rms`]) and the biased variance (the mean square for RMS), both of shape
/// [`Norm::stats`] and dtype [`crate::DType::accumulator`]. The statistics are constants to
/// differentiation: gradients flow through `y`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Which normalization.
    pub kind: NormKind,
    /// Added to the variance.
    pub eps: f64,
}

impl Norm {
    /// The op's name.
    pub const fn name(&self) -> &'static str {
        match self.kind {
            NormKind::Layer { .. } => "layer_norm",
            NormKind::Rms { .. } => "rms_norm",
            NormKind::Batch => "batch_norm",
            NormKind::Group { .. } => "group_norm",
        }
    }

    /// The shape in which `x` is normalized: `x`'s own, or with its channels split into groups.
    pub fn view(&self, x: &Shape) -> Result<Shape> {
        match self.kind {
            NormKind::Group { groups } => {
                let mut dims = x.to_vec();
                dims[1] /= groups.max(1);
                dims.insert(1, groups);
                Shape::new(&dims)
            }
            _ => Ok(*x),
        }
    }

    /// The axes of [`Norm::view`] over which statistics are taken.
    pub fn axes(&self, x: &Shape) -> AxisSet {
        let rank = x.rank();
        match self.kind {
            NormKind::Layer { dims } | NormKind::Rms { dims } => {
                (rank.saturating_sub(dims)..rank).map(AxisSet::single).fold(AxisSet::EMPTY, AxisSet::union)
            }
            NormKind::Batch => {
                (0..rank).filter(|&a| a != 1).map(AxisSet::single).fold(AxisSet::EMPTY, AxisSet::union)
            }
            NormKind::Group { .. } => (2..rank + 1).map(AxisSet::single).fold(AxisSet::EMPTY, AxisSet::union),
        }
    }

    /// The shape of mean and variance: without the reduced axes, e.g. `[N, T]` for layer norm over the
    /// last axis of `[N, T, D]`, `[C]` for batch norm, `[N, groups]` for group norm.
    pub fn stats(&self, x: &Shape) -> Result<Shape> {
        let view = self.view(x)?;
        let axes = self.axes(x);
        let dims: Vec<usize> = (0..view.rank()).filter(|&a| !axes.contains(a)).map(|a| view[a]).collect();
        Shape::new(&dims)
    }

    /// The shape of weight and bias.
    pub fn affine(&self, x: &Shape) -> Shape {
        match self.kind {
            NormKind::Layer { dims } | NormKind::Rms { dims } => {
                Shape::trusted(&x[x.rank().saturating_sub(dims)..])
            }
            NormKind::Batch | NormKind::Group { .. } => Shape::trusted(&x[1..2]),
        }
    }

    fn check(&self, op: &'static str, x: Meta, affine: &[Meta], inputs: &[Meta]) -> Result<()> {
        let fits = match self.kind {
            NormKind::Layer { dims } | NormKind::Rms { dims } => dims >= 1 && dims <= x.shape.rank(),
            NormKind::Batch => x.shape.rank() >= 2,
            NormKind::Group { groups } => {
                (2..crate::MAX_RANK).contains(&x.shape.rank())
                    && groups > 0
                    && x.shape[1].is_multiple_of(groups)
            }
        };
        if !fits {
            return Err(Error::shape(op, inputs, format!("{:?} does not fit input {}", self.kind, x.shape)));
        }
        let most = if matches!(self.kind, NormKind::Rms { .. }) { 1 } else { 2 };
        if affine.len() > most {
            return Err(Error::shape(op, inputs, format!("expects at most {most} operands after the input")));
        }
        let want = self.affine(&x.shape);
        if affine.iter().any(|a| a.shape != want) {
            return Err(Error::shape(op, inputs, format!("weight and bias must have shape {want}")));
        }
        super::same_float(op, inputs)
    }

    pub(super) fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let Some((&x, affine)) = inputs.split_first() else {
            return Err(Error::shape(self.name(), inputs, "expects an input"));
        };
        self.check(self.name(), x, affine, inputs)?;
        let stats = Meta::new(self.stats(&x.shape)?, x.dtype.accumulator());
        Ok(Metas::from_slice(&[x, stats, stats]))
    }

    /// Operands: gradient of `y`, `x`, mean, variance, then optionally the weight. Outputs: gradients of
    /// `x` and, as if present, of weight and bias (RMS: weight only).
    pub(super) fn infer_grad(&self, inputs: &[Meta]) -> Result<Metas> {
        let op = "norm_grad";
        let [g, x, mean, variance, ref affine @ ..] = *inputs else {
            return Err(Error::shape(op, inputs, "expects gradient, input, mean and variance"));
        };
        self.check(op, x, affine, &[x])?;
        super::same_shape(op, &[g, x])?;
        let stats = Meta::new(self.stats(&x.shape)?, x.dtype.accumulator());
        if mean != stats || variance != stats || g.dtype != x.dtype {
            return Err(Error::shape(op, inputs, format!("mean and variance must be {stats}")));
        }
        let affine = Meta::new(self.affine(&x.shape), x.dtype);
        Ok(match self.kind {
            NormKind::Rms { .. } => Metas::from_slice(&[x, affine]),
            _ => Metas::from_slice(&[x, affine, affine]),
        })
    }
}

/// Operands: `x`, mean, variance, then optionally a weight, then optionally a bias, all but `x` of shape `[C]`.
pub(super) fn infer_batch_norm_eval(inputs: &[Meta]) -> Result<Metas> {
    let op = "batch_norm";
    let (Some((&x, vectors)), 3..=5) = (inputs.split_first(), inputs.len()) else {
        return Err(Error::shape(op, inputs, "expects input, mean, variance and optionally weight and bias"));
    };
    if x.shape.rank() < 2 {
        return Err(Error::shape(op, inputs, "expects [N, C, ..]"));
    }
    if vectors.iter().any(|v| v.shape[..] != x.shape[1..2]) {
        return Err(Error::shape(op, inputs, format!("all but the input must have shape [{}]", x.shape[1])));
    }
    if inputs.iter().any(|m| !m.dtype.is_float()) {
        return Err(Error::dtype(op, inputs, "expects operands of float dtypes"));
    }
    Ok(super::one(x))
}
