//! The two ops of a fully connected layer that are linear in their input: product with a weight, dropout.

use crate::op::{Linear, LinearOperands};
use crate::rng::Key;
use crate::{DType, Op, Result, Tensor};

/// `x @ weightᵀ + bias`, with all leading axes of `x` merged into one, and one step after the other, in the accumulator
/// dtype.
pub(super) fn linear(op: &Linear, operands: &LinearOperands<'_, Tensor>) -> Result<Tensor> {
    let LinearOperands { x, weight, bias, residual } = *operands;
    let (rank, out) = (x.rank(), weight.dims()[0]);
    let rows: usize = x.dims()[..rank - 1].iter().product();
    let mut y = x.widened()?.reshape([rows, weight.dims()[1]])?.matmul(&weight.widened()?.t()?)?;
    if let Some(bias) = bias {
        y = y.add(&bias.widened()?)?;
    }
    y = y.reshape(x.shape().with_dim(rank - 1, out))?;
    if let Some(residual) = residual {
        y = y.add(&residual.widened()?)?;
    }
    if let Some(activation) = op.activation {
        y = Op::Unary(activation).run1(&[&y])?;
    }
    y.cast(residual.unwrap_or(x).dtype())
}

/// Zeroes what the key says and scales the rest.
pub(super) fn dropout(p: f64, key: Key, x: &Tensor) -> Result<Tensor> {
    if p >= 1.0 {
        return x.zeros_like();
    }
    let dropped = Tensor::bernoulli(p, key, x.shape(), DType::Bool, x.device().innermost())?;
    x.mul(1.0 / (1.0 - p))?.masked_fill(&dropped, 0.0)
}
