//! Pooling over windows, and its gradient.

use super::conv::windows;
use crate::op::{Conv, Pool, PoolKind, Spatial};
use crate::{DType, Op, Result, Tensor};

/// Positions before and after each spatial axis: the padding, and as much more at the end as a last, partly
/// fitting window needs.
fn pads(op: &Pool, size: &[usize]) -> Result<Vec<(usize, usize)>> {
    let out = op.output_size(size)?;
    Ok((0..size.len())
        .map(|d| {
            let end = (out[d] - 1) * op.stride[d] + op.dilation[d] * (op.kernel[d] - 1) + 1;
            (op.padding[d], op.padding[d].max(end.saturating_sub(size[d] + op.padding[d])))
        })
        .collect())
}

/// All windows, flat: `[N, C, out, kernel]`.
fn flat_windows(op: &Pool, x: &Tensor, padding: f64) -> Result<Tensor> {
    let spatial = x.rank() - 2;
    let kernel = &op.kernel[..spatial];
    let padded = x.pad(&pads(op, &x.dims()[2..])?, padding)?;
    let windows = windows(&padded, kernel, &op.stride, &op.dilation)?;
    let out: usize = windows.dims()[2..2 + spatial].iter().product();
    windows.reshape([x.dims()[0], x.dims()[1], out, kernel.iter().product()])
}

fn output_dims(op: &Pool, x: &Tensor) -> Result<Vec<usize>> {
    let mut dims = x.dims().to_vec();
    let size = op.output_size(&x.dims()[2..])?;
    dims[2..].copy_from_slice(&size[..x.rank() - 2]);
    Ok(dims)
}

pub(super) fn pool(op: &Pool, x: &Tensor) -> Result<Vec<Tensor>> {
    match op.kind {
        PoolKind::Max => max(op, x),
        PoolKind::Average { count_include_pad } => {
            let dims = output_dims(op, x)?;
            let sum = flat_windows(op, &x.widened()?, 0.0)?.sum(-1)?.reshape(dims)?;
            let divisor = divisor(op, &x.dims()[2..], count_include_pad, x)?;
            Ok(vec![sum.div(&divisor)?.cast(x.dtype())?])
        }
    }
}

/// The value that wins is gathered, so that gradients flow to it alone. A window that holds nothing but
/// padding (wide dilation allows one) gives -inf and index -1.
fn max(op: &Pool, x: &Tensor) -> Result<Vec<Tensor>> {
    let dims = output_dims(op, x)?;
    let size = &x.dims()[2..];
    let values = flat_windows(op, x, f64::NEG_INFINITY)?;
    // The same windows over the positions themselves; padding is -1.
    let count: usize = size.iter().product();
    let mut plane = vec![1, 1];
    plane.extend_from_slice(size);
    let positions = Tensor::arange(0, count as i64, DType::I64, x.device().innermost())?.reshape(plane)?;
    let positions = flat_windows(op, &positions, -1.0)?.expand(values.shape())?;
    // The first element that is inside the input and equals the maximum, or is NaN.
    let largest = values.eq(&values.amax_keepdim(-1)?)?.logical_or(&values.isnan()?)?;
    let winner = largest.logical_and(&positions.ge(0)?)?.cast(DType::U8)?.argmax(-1)?.unsqueeze(-1)?;
    let y = values.gather(-1, &winner)?.reshape(&dims)?;
    let index = positions.gather(-1, &winner)?.reshape(&dims)?;
    Ok(vec![y, index])
}

pub(super) fn pool_grad(op: &Pool, size: &Spatial, g: &Tensor, indices: Option<&Tensor>) -> Result<Tensor> {
    let size = &size[..g.rank() - 2];
    let (n, c) = (g.dims()[0], g.dims()[1]);
    let mut dims = vec![n, c];
    dims.extend_from_slice(size);
    let (out, count) = (g.dims()[2..].iter().product(), size.iter().product());
    let wide_g = g.widened()?;
    let gx = match (op.kind, indices) {
        (PoolKind::Average { count_include_pad }, _) => {
            average_grad(op, size, &wide_g, &divisor(op, size, count_include_pad, g)?)?
        }
        (PoolKind::Max, None) => wide_g.zeros_like()?,
        (PoolKind::Max, Some(indices)) => {
            let padding = indices.lt(0)?;
            let g = wide_g.masked_fill(&padding, 0.0)?.reshape([n, c, out])?;
            let index = indices.masked_fill(&padding, 0)?.reshape([n, c, out])?;
            let zeros = Tensor::zeros([n, c, count], g.dtype(), g.device().innermost())?;
            zeros.scatter_add(2, &index, &g)?
        }
    };
    gx.reshape(dims)?.cast(g.dtype())
}

/// Every window spreads its share evenly: the gradient of a convolution with ones, for each channel alone.
fn average_grad(op: &Pool, size: &[usize], g: &Tensor, divisor: &Tensor) -> Result<Tensor> {
    let spatial = size.len();
    let pads = pads(op, size)?;
    let mut padded: Spatial = [1; 3];
    for d in 0..spatial {
        padded[d] = pads[d].0 + size[d] + pads[d].1;
    }
    let mut planes = vec![g.dims()[0] * g.dims()[1], 1];
    planes.extend_from_slice(&g.dims()[2..]);
    let mut filter = vec![1, 1];
    filter.extend_from_slice(&op.kernel[..spatial]);
    let ones = Tensor::ones(filter, g.dtype(), g.device().innermost())?;
    let share = g.div(divisor)?.reshape(planes)?;
    let conv = Conv { stride: op.stride, dilation: op.dilation, ..Conv::default() };
    let gx = Op::ConvBackwardInput { conv, size: padded }.run1(&[&share, &ones])?;
    (0..spatial).try_fold(gx, |gx, d| gx.narrow(d + 2, pads[d].0, size[d]))
}

/// What each window's sum is divided by, `[*out]`: how many of its elements lie in the input, or in the
/// input and its padding. What a partly fitting window has beyond the padding never counts.
fn divisor(op: &Pool, size: &[usize], count_include_pad: bool, like: &Tensor) -> Result<Tensor> {
    let out = op.output_size(size)?;
    let mut counts = vec![1.0f64];
    for d in 0..size.len() {
        let (padding, len) = (op.padding[d], size[d]);
        let inside = if count_include_pad { 0..len + 2 * padding } else { padding..padding + len };
        let along = |window: usize| {
            (0..op.kernel[d])
                .filter(|k| inside.contains(&(window * op.stride[d] + k * op.dilation[d])))
                .count() as f64
        };
        counts = counts
            .iter()
            .flat_map(|&n| (0..out[d]).map(move |w| (n, w)))
            .map(|(n, w)| n * along(w))
            .collect();
    }
    Tensor::from_vec(counts, &out[..size.len()], like.device().innermost())?.cast(like.dtype().accumulator())
}
