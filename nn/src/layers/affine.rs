//! Weight and bias, as many layers have them.

use gradus_tensor_core::{DType, Device, IntoShape, Result, Tensor};

use crate::Param;
use crate::init::Init;

/// The parameters of a linear map or a convolution: the weight, and a bias of `outputs` numbers in PyTorch's default
/// distribution, if there is to be one.
pub(super) fn weight_and_bias(weight: Tensor, bias: bool, outputs: usize) -> Result<(Param, Option<Param>)> {
    let init = Init::default_bias(weight.shape())?;
    let bias =
        bias.then(|| Param::new(init.tensor(outputs, weight.dtype(), weight.device())?)).transpose()?;
    Ok((Param::new(weight)?, bias))
}

/// The parameters of a normalization: a scale of 1 and a shift of 0, each if there is to be one.
pub(super) fn scale_and_shift(
    shape: impl IntoShape,
    (scale, shift): (bool, bool),
    dtype: DType,
    device: &Device,
) -> Result<(Option<Param>, Option<Param>)> {
    let shape = shape.into_shape()?;
    let param =
        |there: bool, init: Init| there.then(|| Param::new(init.tensor(shape, dtype, device)?)).transpose();
    Ok((param(scale, Init::ONES)?, param(shift, Init::ZEROS)?))
}

/// What an op is given for a parameter that may be absent.
pub(super) fn value(param: &Option<Param>) -> Result<Option<&Tensor>> {
    param.as_ref().map(Param::value).transpose()
}
