//! Normalizations that are computed into the weights before them.

use gradus_tensor_core::{Error, Result};

use crate::{BatchNorm, Conv, Param};

/// A convolution that computes what `conv` and `norm` after it do in evaluation: PyTorch's `fuse_conv_bn_eval`. For
/// weights that are to be exported or quantized; a [`chain`](crate::chain) of both layers is as fast as it is.
///
/// # Errors
/// `norm` has no running statistics, or not as many channels as `conv` has outputs.
pub fn fuse_conv_bn<const D: usize>(conv: &Conv<D>, norm: &BatchNorm<D>) -> Result<Conv<D>> {
    let op = "fuse_conv_bn";
    let (Some(mean), Some(variance)) = (&norm.running_mean, &norm.running_var) else {
        return Err(Error::argument(op, "the normalization has no running statistics"));
    };
    let (mean, variance) = (mean.value(), variance.value());
    let weight = conv.weight.tensor();
    let Some(&outputs) = weight.dims().first() else {
        return Err(Error::argument(op, "the convolution's weight has no axes"));
    };
    if mean.dims() != [outputs] {
        let text = format!("the normalization of {} channels follows {outputs} outputs", mean.numel());
        return Err(Error::argument(op, text));
    }
    let mut scale = variance.add(norm.eps)?.rsqrt()?;
    if let Some(factor) = &norm.weight {
        scale = scale.mul(factor.tensor())?;
    }
    let start = match &conv.bias {
        Some(bias) => bias.tensor().sub(&mean)?,
        None => mean.neg()?,
    };
    let mut bias = start.mul(&scale)?;
    if let Some(shift) = &norm.bias {
        bias = bias.add(shift.tensor())?;
    }
    let mut dims = vec![1; weight.rank()];
    dims[0] = outputs;
    let fused = weight.mul(&scale.reshape(dims)?)?.cast(weight.dtype())?;
    let bias = bias.cast(weight.dtype())?;
    Ok(Conv { weight: Param::new(fused)?, bias: Some(Param::new(bias)?), options: conv.options })
}
