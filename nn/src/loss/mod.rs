//! Losses, with PyTorch's definitions and reductions.
//!
//! Each loss is a function of prediction and target with PyTorch's defaults; a second one, whose name ends in
//! `_with`, takes options.

mod binary;
mod cross_entropy;
mod divergence;
mod regression;

pub use binary::{BceOptions, bce, bce_with, bce_with_logits, bce_with_logits_with};
pub use cross_entropy::{CrossEntropyOptions, cross_entropy, cross_entropy_with, nll_loss, nll_loss_with};
pub use divergence::{KlDivOptions, kl_div, kl_div_with};
pub use regression::{
    huber, huber_with, l1_loss, l1_loss_with, mse_loss, mse_loss_with, smooth_l1, smooth_l1_with,
};

use gradus_tensor_core::{Error, Result, Tensor};

/// What becomes of the losses of all elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// Their sum divided by the size of the first axis.
    BatchMean,
    /// Nothing.
    None,
}

impl Reduction {
    fn apply(self, loss: &Tensor) -> Result<Tensor> {
        match self {
            Reduction::Mean => loss.mean_all(),
            _ => self.sum(loss),
        }
    }

    /// This reduction when it is not the mean.
    fn sum(self, loss: &Tensor) -> Result<Tensor> {
        match self {
            Reduction::None => Ok(loss.clone()),
            Reduction::BatchMean => {
                loss.sum_all()?.mul(1.0 / loss.dims().first().copied().unwrap_or(1) as f64)
            }
            Reduction::Sum | Reduction::Mean => loss.sum_all(),
        }
    }
}

/// Broadcasting a prediction of shape `[N, 1]` with a target of shape `[N]` is a mistake that trains.
fn same_shape(op: &'static str, input: &Tensor, target: &Tensor) -> Result<()> {
    if input.shape() == target.shape() {
        return Ok(());
    }
    Err(Error::shape(
        op,
        &[input.meta(), target.meta()],
        "prediction and target must have one shape; reshape or expand one of them",
    ))
}
