//! Products with weights of 8 bits.
//!
//! Sums of products are exact: they are taken in 64 bits.

use crate::{DType, Result, Tensor};

/// The largest number of levels above the lowest.
const LEVELS: f64 = 255.0;

/// See [`Op::LinearDynamic`](crate::Op::LinearDynamic), which names every rounding.
pub(super) fn linear_dynamic(
    x: &Tensor,
    weight: &Tensor,
    scale: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let (rank, [n, k]) = (x.rank(), [weight.dims()[0], weight.dims()[1]]);
    let rows: usize = x.dims()[..rank - 1].iter().product();
    let wide = x.cast(DType::F32)?.reshape([rows, k])?;

    // With a column of zeros 0 is among the numbers of every row, also if there are no others.
    let column = Tensor::zeros([rows, 1], DType::F32, x.device().innermost())?;
    let numbers = Tensor::cat(&[&wide, &column], 1)?;
    let (low, high) = (numbers.amin_keepdim(1)?, numbers.amax_keepdim(1)?);
    let levels = column.add(LEVELS)?;
    let step = high.div(&levels)?.sub(&low.div(&levels)?)?.maximum(f64::from(f32::MIN_POSITIVE))?;
    let inverse = step.recip()?;
    let zero = low.mul(&inverse)?.round()?.neg()?;

    let whole = wide.mul(&inverse)?.round()?.maximum(&zero.neg()?)?.minimum(&levels.sub(&zero)?)?;
    let sums = whole.cast(DType::I64)?.matmul(&weight.cast(DType::I64)?.t()?)?.cast(DType::F32)?;

    // NaN if the step is not finite.
    let step = step.add(&step.sub(&step)?)?;
    let mut y = sums.mul(&step.mul(&scale.reshape([1, n])?)?)?;
    if let Some(bias) = bias {
        y = y.add(bias)?;
    }
    y.reshape(x.shape().with_dim(rank - 1, n))?.cast(x.dtype())
}
