//! The normalizations and their gradients, all in one shape: `x` viewed so that the elements that share
//! statistics lie along whole axes.

use super::unary_grad::unary_grad;
use crate::op::{BatchNormBlock, Norm, NormKind};
use crate::{AxisSet, Op, Result, Shape, Tensor};

/// `x` after subtracting the mean (except for RMS) and dividing by the deviation, in the shape of
/// [`Norm::view`]; and what it was computed from, with the reduced axes of size 1.
struct Normalized {
    axes: AxisSet,
    x_hat: Tensor,
    mean: Option<Tensor>,
    variance: Tensor,
    /// `1 / sqrt(variance + eps)`
    inverse_deviation: Tensor,
}

fn normalize(op: &Norm, x: &Tensor) -> Result<Normalized> {
    let axes = op.axes(x.shape());
    let x = x.widened()?.reshape(op.view(x.shape())?)?;
    let mean = match op.kind {
        NormKind::Rms { .. } => None,
        NormKind::Layer { .. } | NormKind::Batch | NormKind::Group { .. } => Some(x.mean_keepdim(axes)?),
    };
    let centered = mean.as_ref().map_or_else(|| Ok(x.clone()), |mean| x.sub(mean))?;
    let variance = centered.square()?.mean_keepdim(axes)?;
    let inverse_deviation = variance.add(op.eps)?.rsqrt()?;
    let x_hat = centered.mul(&inverse_deviation)?;
    Ok(Normalized { axes, x_hat, mean, variance, inverse_deviation })
}

/// A weight or bias in a shape that broadcasts against `x`.
fn affine(op: &Norm, x: &Shape, parameter: &Tensor) -> Result<Tensor> {
    let parameter = parameter.widened()?;
    match op.kind {
        NormKind::Layer { .. } | NormKind::Rms { .. } => Ok(parameter),
        NormKind::Batch | NormKind::Group { .. } => parameter.reshape(per_channel(x)),
    }
}

/// `[1, C, 1, ..]`
fn per_channel(x: &Shape) -> Vec<usize> {
    x.iter().enumerate().map(|(axis, &size)| if axis == 1 { size } else { 1 }).collect()
}

pub(super) fn norm(op: &Norm, x: &Tensor, parameters: &[Tensor]) -> Result<Vec<Tensor>> {
    let [y, mean, variance] = wide(op, x, parameters.first(), parameters.get(1))?;
    Ok(vec![y.cast(x.dtype())?, mean, variance])
}

/// The outputs before `y` is rounded.
fn wide(op: &Norm, x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>) -> Result<[Tensor; 3]> {
    let n = normalize(op, x)?;
    let mut y = n.x_hat.reshape(x.shape())?;
    if let Some(weight) = weight {
        y = y.mul(&affine(op, x.shape(), weight)?)?;
    }
    if let Some(bias) = bias {
        y = y.add(&affine(op, x.shape(), bias)?)?;
    }
    let stats = op.stats(x.shape())?;
    let variance = n.variance.innermost()?.reshape(stats)?;
    let mean = match n.mean {
        Some(mean) => mean.innermost()?.reshape(stats)?,
        None => variance.zeros_like()?,
    };
    Ok([y, mean, variance])
}

/// With `h = g * weight` and means over the normalized axes:
/// `gx = (h - mean(h) - x_hat * mean(h * x_hat)) / deviation`, for RMS without `mean(h)`.
pub(super) fn norm_grad(op: &Norm, g: &Tensor, x: &Tensor, weight: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let n = normalize(op, x)?;
    let g = g.widened()?;
    let h = match weight {
        Some(weight) => g.mul(&affine(op, x.shape(), weight)?)?,
        None => g.clone(),
    };
    let h = h.reshape(n.x_hat.shape())?;
    let along = n.x_hat.mul(&h.mul(&n.x_hat)?.mean_keepdim(n.axes)?)?;
    let across = if n.mean.is_some() { h.sub(&h.mean_keepdim(n.axes)?)? } else { h };
    let gx = across.sub(&along)?.mul(&n.inverse_deviation)?;

    let parameter = op.affine(x.shape());
    let shared: AxisSet = match op.kind {
        NormKind::Layer { dims } | NormKind::Rms { dims } => AxisSet::all(x.rank() - dims),
        NormKind::Batch | NormKind::Group { .. } => Norm { kind: NormKind::Batch, ..*op }.axes(x.shape()),
    };
    let total = |t: Tensor| t.sum_keepdim(shared)?.reshape(parameter)?.cast(x.dtype());
    let gweight = total(g.mul(&n.x_hat.reshape(x.shape())?)?)?;
    let gx = gx.reshape(x.shape())?.cast(x.dtype())?;
    Ok(match op.kind {
        NormKind::Rms { .. } => vec![gx, gweight],
        NormKind::Layer { .. } | NormKind::Batch | NormKind::Group { .. } => vec![gx, gweight, total(g)?],
    })
}

/// One step after the other, in the accumulator dtype.
pub(super) fn batch_norm_block(
    op: &BatchNormBlock,
    x: &Tensor,
    [weight, bias]: [&Tensor; 2],
    residual: Option<&Tensor>,
) -> Result<Vec<Tensor>> {
    let [mut y, mean, variance] = wide(&op.norm(), x, Some(weight), Some(bias))?;
    if let Some(residual) = residual {
        y = y.add(&residual.widened()?)?;
    }
    if let Some(activation) = op.activation {
        y = Op::Unary(activation).run1(&[&y])?;
    }
    Ok(vec![y.cast(x.dtype())?, mean, variance])
}

pub(super) fn batch_norm_block_grad(
    op: &BatchNormBlock,
    g: &Tensor,
    y: &Tensor,
    x: &Tensor,
    weight: &Tensor,
) -> Result<Vec<Tensor>> {
    let mut g = g.widened()?;
    if let Some(activation) = op.activation {
        g = unary_grad(activation, &g, y)?;
    }
    let mut all = norm_grad(&op.norm(), &g, x, Some(weight))?;
    if op.residual {
        all.push(g.cast(x.dtype())?);
    }
    Ok(all)
}

/// An affine function per channel.
pub(super) fn batch_norm_eval(
    eps: f64,
    x: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    parameters: &[Tensor],
) -> Result<Tensor> {
    let dtype = x.dtype().accumulator();
    let channels = per_channel(x.shape());
    let vector = |v: &Tensor| v.cast(dtype)?.reshape(&channels);
    let mut scale = vector(variance)?.add(eps)?.rsqrt()?;
    if let Some(weight) = parameters.first() {
        scale = scale.mul(&vector(weight)?)?;
    }
    let mut y = x.widened()?.sub(&vector(mean)?)?.mul(&scale)?;
    if let Some(bias) = parameters.get(1) {
        y = y.add(&vector(bias)?)?;
    }
    y.cast(x.dtype())
}
