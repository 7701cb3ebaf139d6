//! The optimizer and what sets its learning rate.

use std::collections::BTreeMap;

use gradus_autograd::Gradients;
use gradus_nn::{Parameters, StateDict};
use gradus_optim::{Optimizer, OptimizerState, Schedule, clip_grad_norm};
use gradus_tensor_core::Result;
use serde::{Deserialize, Serialize};

/// An optimizer, its schedule and the limit of the gradients' norm.
pub(super) struct Drive {
    pub optimizer: Box<dyn Optimizer>,
    pub schedule: Option<Box<dyn Schedule>>,
    pub clip: Option<f64>,
}

impl Drive {
    /// Takes step `step` (from 0). Returns the learning rate, and the norm of the gradients if they are clipped:
    /// nothing was changed if that is not finite.
    pub fn step(
        &mut self,
        step: u64,
        model: &mut dyn Parameters,
        gradients: &mut Gradients,
    ) -> Result<(f64, Option<f64>)> {
        if let Some(schedule) = &self.schedule {
            self.optimizer.set_learning_rate(schedule.lr(step));
        }
        let rate = self.optimizer.learning_rate();
        let norm = self.clip.map(|max| clip_grad_norm(gradients, max)).transpose()?;
        if norm.is_none_or(f64::is_finite) {
            self.optimizer.step(model, gradients)?;
        }
        Ok((rate, norm))
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
