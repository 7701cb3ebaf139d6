//! Optimizers, learning-rate schedules, gradient clipping, and mixed precision.
//!
//! An [`Optimizer`] changes a model's parameters in place by the gradients of a backward pass:
//!
//! ```
//! use gradus_autograd::Autograd;
//! use gradus_nn::{Module, loss};
//! use gradus_optim::{Optimizer, Schedule, clip_grad_norm};
//! use gradus_tensor_core::{Result, Tensor};
//!
//! fn train_step(
//!     model: &mut dyn Module,
//!     optimizer: &mut dyn Optimizer,
//!     schedule: &dyn Schedule,
//!     step: u64,
//!     (images, labels): (&Tensor, &Tensor),
//! ) -> Result<f64> {
//!     let loss = loss::cross_entropy(&model.forward(images)?, labels)?;
//!     let mut gradients = loss.backward()?;
//!     clip_grad_norm(&mut gradients, 1.0)?;
//!     optimizer.set_learning_rate(schedule.lr(step));
//!     optimizer.step(model, &gradients)?;
//!     loss.item()
//! }
//! ```
//!
//! There is no `zero_grad`: each backward pass returns gradients of its own. State is kept under the names of
//! parameters, so it can be saved, loaded and looked at. A [`Schedule`] is a pure function of the step, so a
//! resumed run needs nothing but the number of steps done. Definitions are PyTorch's.
//!
//! Mixed precision is [`Autocast`], a backend around a backend that reads operands in the precision that a [`Policy`]
//! names: see [`autocast`]. For `f16`, a [`GradScaler`] keeps gradients from vanishing.
#![forbid(unsafe_code)]

mod adam;
pub mod autocast;
mod clip;
mod group;
mod optimizer;
mod scaler;
mod schedule;
mod sgd;
mod state;
mod step;

pub use adam::{Adam, AdamW};
pub use autocast::{Autocast, MixedPrecision, Policy, Precision};
pub use clip::{ClipOptions, clip_grad_norm, clip_grad_norm_with, clip_grad_value, grad_norm};
pub use group::Group;
pub use optimizer::{Optimizer, StepReport};
pub use scaler::{GradScaler, Scaled, ScaledGradients, Unscaled};
pub use schedule::{
    Annealing, Chain, Constant, Cosine, CosineWarmRestarts, Exponential, Linear, MultiStep, OneCycle,
    Polynomial, Schedule, StepDecay,
};
pub use sgd::Sgd;
pub use state::OptimizerState;
