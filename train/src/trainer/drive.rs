//! The optimizer and what sets its learning rate.

use std::collections::BTreeMap;

use gradus_nn::{Parameters, StateDict};
use gradus_optim::{GradScaler, Optimizer, OptimizerState, Schedule, clip_grad_norm};
use gradus_tensor_core::Result;
use serde::{Deserialize, Serialize};

use super::group::Pile;

/// An optimizer, its schedule, the limit of the gradients' norm, and what scales losses.
pub(super) struct Drive {
    pub optimizer: Box<dyn Optimizer>,
    pub schedule: Option<Box<dyn Schedule>>,
    pub clip: Option<f64>,
    pub scaler: Option<GradScaler>,
}

/// What an optimizer step did.
pub(super) struct Taken {
    pub rate: f64,
    /// The norm of the gradients if they are clipped: nothing was changed if that is not finite.
    pub norm: Option<f64>,
    /// Whether a scaled gradient was not finite, so that nothing was changed.
    pub skipped: bool,
}

impl Drive {
    /// Takes step `step` (from 0).
    pub fn step(&mut self, step: u64, model: &mut dyn Parameters, gradients: Pile) -> Result<Taken> {
        if let Some(schedule) = &self.schedule {
            self.optimizer.set_learning_rate(schedule.lr(step));
        }
        let rate = self.optimizer.learning_rate();
        match (gradients, &mut self.scaler) {
            (Pile::Scaled(gradients), Some(scaler)) => {
                let mut gradients = scaler.unscale(gradients)?;
                let clip = self.clip.filter(|_| gradients.is_finite());
                let norm = clip.map(|max| gradients.clip_grad_norm(max)).transpose()?;
                if norm.is_some_and(|norm| !norm.is_finite()) {
                    return Ok(Taken { rate, norm, skipped: false });
                }
                let skipped = scaler.step(&mut *self.optimizer, model, gradients)?.is_none();
                Ok(Taken { rate, norm, skipped })
            }
            (Pile::Plain(mut gradients), _) => {
                let norm = self.clip.map(|max| clip_grad_norm(&mut gradients, max)).transpose()?;
                if norm.is_none_or(f64::is_finite) {
                    self.optimizer.step(model, &gradients)?;
                }
                Ok(Taken { rate, norm, skipped: false })
            }
            (Pile::Scaled(_), None) => {
                Err(gradus_tensor_core::Error::argument("Trainer", "scaled gradients without a scaler"))
            }
        }
    }

    /// What the scaler is at, by name.
    pub fn scaling(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let of =
            |s: &GradScaler| [("loss_scale", s.scale_factor()), ("skipped_steps", s.skipped_steps() as f64)];
        self.scaler.as_ref().map(of).into_iter().flatten()
    }
}

/// An optimizer's state, apart from its tensors.
#[derive(Serialize, Deserialize)]
pub(super) struct Numbers {
    algorithm: String,
    numbers: BTreeMap<String, f64>,
}

/// Takes an optimizer's state apart: tensors and everything else.
pub(super) fn split(state: OptimizerState) -> (StateDict, Numbers) {
    let OptimizerState { algorithm, tensors, numbers } = state;
    (tensors, Numbers { algorithm, numbers })
}

/// The inverse of [`split`].
pub(super) fn join(tensors: StateDict, Numbers { algorithm, numbers }: Numbers) -> OptimizerState {
    OptimizerState { algorithm, tensors, numbers }
}
