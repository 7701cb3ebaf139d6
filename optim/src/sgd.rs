//! Stochastic gradient descent.

use std::collections::BTreeMap;

use gradus_autograd::Gradients;
use gradus_nn::Parameters;
use gradus_tensor_core::op::Sgd as Step;
use gradus_tensor_core::{Error, InPlaceOp, Result, Tensor};

use crate::group::{Groups, Rates, group_methods, not_negative};
use crate::optimizer::update_all;
use crate::state::beside;
use crate::{Optimizer, OptimizerState, StepReport};

/// Stochastic gradient descent, with momentum and Nesterov's variant (Sutskever et al., ICML 2013).
#[derive(Clone, Debug)]
#[must_use = "call `step` with a model and its gradients"]
pub struct Sgd {
    base: Rates,
    momentum: f64,
    dampening: f64,
    nesterov: bool,
    groups: Groups,
    /// By the parameter's name.
    velocities: BTreeMap<String, Tensor>,
}

const VELOCITY: &str = "momentum_buffer";

impl Sgd {
    /// Plain gradient descent with that learning rate.
    pub fn new(lr: f64) -> Self {
        Sgd {
            base: Rates { lr, weight_decay: 0.0 },
            momentum: 0.0,
            dampening: 0.0,
            nesterov: false,
            groups: Groups::default(),
            velocities: BTreeMap::new(),
        }
    }

    /// The share of the velocity that is kept.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// The share of the gradient that does not enter the velocity.
    pub fn dampening(mut self, dampening: f64) -> Self {
        self.dampening = dampening;
        self
    }

    /// Whether to look ahead along the velocity; needs momentum and no dampening.
    pub fn nesterov(mut self, nesterov: bool) -> Self {
        self.nesterov = nesterov;
        self
    }

    group_methods!();

    /// Changes the momentum, as [`crate::OneCycle::momentum`] says.
    pub fn set_momentum(&mut self, momentum: f64) {
        self.momentum = momentum;
    }

    fn check(&self) -> Result<()> {
        self.base.check("sgd")?;
        not_negative("sgd", "momentum", self.momentum)?;
        if !self.dampening.is_finite() {
            return Err(Error::argument("sgd", format!("dampening {} must be finite", self.dampening)));
        }
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            return Err(Error::argument("sgd", "Nesterov's variant needs momentum and no dampening"));
        }
        Ok(())
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, model: &mut dyn Parameters, gradients: &Gradients) -> Result<StepReport> {
        self.check()?;
        let Sgd { base, momentum, dampening, nesterov, groups, velocities } = self;
        let mut update = |name: &str, value: &mut Tensor, gradient: &Tensor, rates: Rates| {
            let mut step = Step {
                lr: rates.lr,
                momentum: *momentum,
                dampening: *dampening,
                weight_decay: rates.weight_decay,
                nesterov: *nesterov,
                first: false,
            };
            if *momentum == 0.0 {
                return InPlaceOp::Sgd(step).run(&mut [value], &[gradient]);
            }
            if let Some(velocity) = velocities.get_mut(name) {
                beside(VELOCITY, velocity, value)?;
                return InPlaceOp::Sgd(step).run(&mut [value, velocity], &[gradient]);
            }
            step.first = true;
            let mut velocity = value.zeros_like()?;
            InPlaceOp::Sgd(step).run(&mut [value, &mut velocity], &[gradient])?;
            velocities.insert(name.to_owned(), velocity);
            Ok(())
        };
        update_all(model, gradients, groups, *base, &mut update)
    }

    fn learning_rate(&self) -> f64 {
        self.base.lr
    }

    fn set_learning_rate(&mut self, lr: f64) {
        self.base.lr = lr;
    }

    fn state_dict(&self) -> OptimizerState {
        let mut state = OptimizerState::new("sgd", self.base.lr);
        for (name, velocity) in &self.velocities {
            state.tensors.insert(format!("{name}.{VELOCITY}"), velocity.clone());
        }
        state
    }

    fn load_state_dict(&mut self, state: &OptimizerState) -> Result<()> {
        state.check_algorithm("sgd")?;
        let lr = state.number("lr")?;
        let velocity = |name: &str| Ok((name.to_owned(), state.tensor(&format!("{name}.{VELOCITY}"))?));
        self.velocities = state.parameters(VELOCITY).map(velocity).collect::<Result<_>>()?;
        self.base.lr = lr;
        Ok(())
    }
}
