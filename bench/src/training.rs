//! One training step: forward, loss, backward, update.

use gradus_autograd::Autograd;
use gradus_nn::Module;
use gradus_nn::loss::cross_entropy;
use gradus_optim::Optimizer;
use gradus_tensor_core::{Result, Tensor};

use crate::cases::Step;

/// A step of a classifier; sequences are flattened to one prediction a row.
pub fn training(
    mut model: impl Module + 'static,
    mut optimizer: impl Optimizer + 'static,
    x: Tensor,
    y: Tensor,
) -> Result<Step> {
    model.set_training(true);
    let y = y.reshape([-1])?;
    Ok(Box::new(move || {
        let out = model.forward(&x)?;
        let classes = out.dim(-1)?;
        let gradients = cross_entropy(&out.reshape([out.numel() / classes, classes])?, &y)?.backward()?;
        optimizer.step(&mut model, &gradients).map(drop)
    }))
}
