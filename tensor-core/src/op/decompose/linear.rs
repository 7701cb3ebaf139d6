//! The two ops of a fully connected layer that are linear in their input: product with a weight, dropout.

use crate::rng::Key;
use crate::{DType, Result, Tensor};

/// `x @ weightᵀ + bias`, with all leading axes of `x` merged into one.
pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (rank, out) = (x.rank(), weight.dims()[0]);
    let rows: usize = x.dims()[..rank - 1].iter().product();
    let mut y = x.widened()?.reshape([rows, weight.dims()[1]])?.matmul(&weight.widened()?.t()?)?;
    if let Some(bias) = bias {
        y = y.add(&bias.widened()?)?;
    }
    y.reshape(x.shape().with_dim(rank - 1, out))?.cast(x.dtype())
}

/// Zeroes what the key says and scales the rest.
pub(super) fn dropout(p: f64, key: Key, x: &Tensor) -> Result<Tensor> {
    if p >= 1.0 {
        return x.zeros_like();
    }
    let dropped = Tensor::bernoulli(p, key, x.shape(), DType::Bool, x.device().innermost())?;
    x.mul(1.0 / (1.0 - p))?.masked_fill(&dropped, 0.0)
}
