//! Convolution and its two gradients, as matrix products of windows.
//!
//! Windows are views ([`Tensor::unfold_dilated`]): `[N, C, *size]` becomes `[N, C, *out, *kernel]`, at most
//! 2 + 3 + 3 axes. Made contiguous as `[N, groups, C / groups * kernel, out]`, one batched product with the
//! weight is the convolution, and one with the output's gradient is the weight's gradient. The input's
//! gradient is itself a convolution: of the output's gradient, spread out by the stride, with the flipped
//! weight.

use crate::op::{Conv, ConvBlock, ConvBlockOperands, Spatial};
use crate::{ConvOptions, Op, Result, Tensor};

/// Every window of the last axes of `[N, C, *size]` as `[N, C, *out, *kernel]`; a view.
pub(super) fn windows(x: &Tensor, kernel: &[usize], stride: &Spatial, dilation: &Spatial) -> Result<Tensor> {
    kernel
        .iter()
        .enumerate()
        .try_fold(x.clone(), |x, (d, &size)| x.unfold_dilated(d + 2, size, stride[d], dilation[d]))
}

/// The windows of the padded input as columns: `[N, groups, C / groups * kernel, out]`.
fn columns(op: &Conv, x: &Tensor, kernel: &[usize]) -> Result<Tensor> {
    let spatial = kernel.len();
    let pads: Vec<(usize, usize)> = op.padding[..spatial].iter().map(|&p| (p, p)).collect();
    let windows = windows(&x.pad(&pads, 0.0)?, kernel, &op.stride, &op.dilation)?;
    let (n, c) = (x.dims()[0], x.dims()[1]);
    let out: usize = windows.dims()[2..2 + spatial].iter().product();
    let order: Vec<usize> =
        [0, 1].into_iter().chain(2 + spatial..2 + 2 * spatial).chain(2..2 + spatial).collect();
    let rows = c / op.groups * kernel.iter().product::<usize>();
    windows.permute(order)?.reshape([n, op.groups, rows, out])
}

pub(super) fn conv(op: &Conv, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (kernel, o) = (&weight.dims()[2..], weight.dims()[0]);
    let size = op.output_size(&x.dims()[2..], kernel)?;
    let columns = columns(op, &x.widened()?, kernel)?;
    let filters = weight.widened()?.reshape([op.groups, o / op.groups, columns.dims()[2]])?;
    let mut dims = vec![x.dims()[0], o];
    dims.extend_from_slice(&size[..kernel.len()]);
    let mut y = filters.matmul(&columns)?.reshape(dims)?;
    if let Some(bias) = bias {
        let mut dims = vec![1; x.rank()];
        dims[1] = o;
        y = y.add(&bias.widened()?.reshape(dims)?)?;
    }
    y.cast(x.dtype())
}

/// One step after the other, in the accumulator dtype.
pub(super) fn conv_block(op: &ConvBlock, operands: &ConvBlockOperands<'_, Tensor>) -> Result<Tensor> {
    let ConvBlockOperands { x, weight, bias, norm, residual } = *operands;
    let bias = bias.map(Tensor::widened).transpose()?;
    let mut y = x.widened()?.conv(&weight.widened()?, bias.as_ref(), ConvOptions(op.conv))?;
    if let (Some([mean, variance, scale, shift]), Some(eps)) = (norm, op.norm) {
        y = y.batch_norm_eval(mean, variance, Some(scale), Some(shift), eps)?;
    }
    if let Some(residual) = residual {
        y = y.add(&residual.widened()?)?;
    }
    if let Some(activation) = op.activation {
        y = Op::Unary(activation).run1(&[&y])?;
    }
    y.cast(x.dtype())
}

pub(super) fn backward_weight(op: &Conv, kernel: &Spatial, g: &Tensor, x: &Tensor) -> Result<Tensor> {
    let kernel = &kernel[..x.rank() - 2];
    let (n, o, groups) = (g.dims()[0], g.dims()[1], op.groups);
    let columns = columns(op, &x.widened()?, kernel)?;
    let (rows, out) = (columns.dims()[2], columns.dims()[3]);
    // Samples and positions are one axis, so that the product sums over both.
    let columns = columns.permute([1, 0, 3, 2])?.reshape([groups, n * out, rows])?;
    let g = g.widened()?.reshape([n, groups, o / groups, out])?;
    let g = g.permute([1, 2, 0, 3])?.reshape([groups, o / groups, n * out])?;
    let mut dims = vec![o, x.dims()[1] / groups];
    dims.extend_from_slice(kernel);
    g.matmul(&columns)?.reshape(dims)?.cast(x.dtype())
}

pub(super) fn backward_input(op: &Conv, size: &Spatial, g: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let spatial = g.rank() - 2;
    let (o, c, kernel) = (weight.dims()[0], weight.dims()[1], &weight.dims()[2..]);
    let mut spread = g.clone();
    for d in 0..spatial {
        // An empty axis is computed as if it had one element, which is dropped at the end.
        let size = size[d].max(1);
        spread = spread_out(&spread, d + 2, op.stride[d])?;
        // Position 0 of the input meets the last element of the window that ends there.
        let reach = op.dilation[d] * (kernel[d] - 1);
        let before = reach as isize - op.padding[d] as isize;
        let after = (size + op.padding[d]) as isize - spread.dims()[d + 2] as isize;
        spread = extend(&spread, d + 2, before, after)?;
    }
    // Filters from each input channel to the outputs of its group, backwards in space.
    let mut split = vec![op.groups, o / op.groups, c];
    split.extend_from_slice(kernel);
    let mut merged = vec![op.groups * c, o / op.groups];
    merged.extend_from_slice(kernel);
    let axes: Vec<usize> = (2..2 + spatial).collect();
    let flipped = weight.reshape(split)?.transpose(1, 2)?.reshape(merged)?.flip(&axes)?;
    let full = Conv { stride: [1; 3], padding: [0; 3], ..*op };
    let gradient = Op::Conv(full).run1(&[&spread, &flipped])?;
    (0..spatial).filter(|&d| size[d] == 0).try_fold(gradient, |g, d| g.narrow(d + 2, 0, 0))
}

/// Zeros put between the elements of an axis, so that neighbours come to lie `step` apart.
fn spread_out(x: &Tensor, axis: usize, step: usize) -> Result<Tensor> {
    if step == 1 {
        return Ok(x.clone());
    }
    let len = x.dims()[axis];
    let mut pads = vec![(0, 0); x.rank() - axis];
    pads[0] = (0, step - 1);
    x.unsqueeze(axis + 1)?.pad(&pads, 0.0)?.flatten(axis, axis + 1)?.narrow(axis, 0, (len - 1) * step + 1)
}

/// Zeros added before and after an axis; where a number is negative, so many elements are dropped.
fn extend(x: &Tensor, axis: usize, before: isize, after: isize) -> Result<Tensor> {
    let mut pads = vec![(0, 0); x.rank() - axis];
    pads[0] = (before.max(0) as usize, after.max(0) as usize);
    let (front, back) = ((-before).max(0) as usize, (-after).max(0) as usize);
    let padded = x.pad(&pads, 0.0)?;
    padded.narrow(axis, front, padded.dims()[axis] - front - back)
}
