//! One training step: forward, loss, backward, update.

use gradus_autograd::Autograd;
use gradus_nn::Module;
use gradus_nn::loss::cross_entropy;
use gradus_optim::{MixedPrecision, Optimizer};
use gradus_tensor_core::{DType, Result, Tensor};

use crate::cases::Step;

/// A step of a classifier; sequences are flattened to one prediction a row.
pub fn training(
    model: impl Module + 'static,
    optimizer: impl Optimizer + 'static,
    x: Tensor,
    y: Tensor,
) -> Result<Step> {
    training_with(None, model, optimizer, x, y)
}

/// [`training`], in mixed precision if a dtype is given; the loss is `f32`.
pub fn training_with(
    autocast: Option<DType>,
    mut model: impl Module + 'static,
    mut optimizer: impl Optimizer + 'static,
    x: Tensor,
    y: Tensor,
) -> Result<Step> {
    model.set_training(true);
    let y = y.reshape([-1])?;
    Ok(Box::new(move || {
        let out = match autocast {
            Some(dtype) => model.forward(&x.autocast(dtype)?)?.cast(DType::F32)?,
            None => model.forward(&x)?,
        };
        let classes = out.dim(-1)?;
        let gradients = cross_entropy(&out.reshape([out.numel() / classes, classes])?, &y)?.backward()?;
        optimizer.step(&mut model, &gradients).map(drop)
    }))
}
