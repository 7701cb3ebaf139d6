//! Stochastic gradient descent.

use std::collections::BTreeMap;

use gradus_autograd::Gradients;
use gradus_nn::Parameters;
use gradus_tensor_core::op::Sgd as Step;
use gradus_tensor_core::{Error, InPlaceOp, Result, Tensor};

use crate::group::{Groups, Rates, group_methods, not_negative};
use crate::state::beside;
use crate::step::{Rule, step_all};
use crate::{Optimizer, OptimizerState, StepReport};

/// Stochastic gradient descent, with momentum and Nesterov's variant (Sutskever et al., ICML 2013).
#[derive(Clone, Debug)]
#[must_use = "call `step` with a model and its gradients"]
pub struct Sgd {
    base: Rates,
    momentum: Momentum,
    groups: Groups,
    /// By the parameter's name.
    velocities: BTreeMap<String, Velocity>,
}

#[derive(Clone, Copy, Debug)]
struct Momentum {
    kept: f64,
    dampening: f64,
    nesterov: bool,
}

#[derive(Clone, Debug)]
struct Velocity {
    tensor: Tensor,
    /// Whether it starts with the next step.
    first: bool,
}

const VELOCITY: &str = "momentum_buffer";

impl Sgd {
    /// Plain gradient descent with that learning rate.
    pub fn new(lr: f64) -> Self {
        Sgd {
            base: Rates { lr, weight_decay: 0.0 },
            momentum: Momentum { kept: 0.0, dampening: 0.0, nesterov: false },
            groups: Groups::default(),
            velocities: BTreeMap::new(),
        }
    }

    /// The share of the velocity that is kept.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum.kept = momentum;
        self
    }

    /// The share of the gradient that does not enter the velocity.
    pub fn dampening(mut self, dampening: f64) -> Self {
        self.momentum.dampening = dampening;
        self
    }

    /// Whether to look ahead along the velocity; needs momentum and no dampening.
    pub fn nesterov(mut self, nesterov: bool) -> Self {
        self.momentum.nesterov = nesterov;
        self
    }

    group_methods!();

    /// Changes the momentum, as [`crate::OneCycle::momentum`] says.
    pub fn set_momentum(&mut self, momentum: f64) {
        self.momentum.kept = momentum;
    }

    fn check(&self) -> Result<()> {
        self.base.check("sgd")?;
        let Momentum { kept, dampening, nesterov } = self.momentum;
        not_negative("sgd", "momentum", kept)?;
        if !dampening.is_finite() {
            return Err(Error::argument("sgd", format!("dampening {dampening} must be finite")));
        }
        if nesterov && (kept == 0.0 || dampening != 0.0) {
            return Err(Error::argument("sgd", "Nesterov's variant needs momentum and no dampening"));
        }
        Ok(())
    }
}

impl Rule for Momentum {
    type State = Velocity;

    fn start(&self, value: &Tensor) -> Result<Option<Velocity>> {
        let velocity = || Ok(Velocity { tensor: value.zeros_like()?, first: true });
        (self.kept != 0.0).then(velocity).transpose()
    }

    fn began(velocity: &Velocity) -> bool {
        !velocity.first
    }

    fn fit(&self, velocity: &mut Velocity, value: &Tensor) -> Result<()> {
        if self.kept == 0.0 { Ok(()) } else { beside(VELOCITY, &mut velocity.tensor, value) }
    }

    fn step(
        &self,
        rates: Rates,
        value: &mut Tensor,
        velocity: Option<&mut Velocity>,
        gradient: &Tensor,
    ) -> Result<()> {
        let velocity = velocity.filter(|_| self.kept != 0.0);
        let step = InPlaceOp::Sgd(Step {
            lr: rates.lr,
            momentum: self.kept,
            dampening: self.dampening,
            weight_decay: rates.weight_decay,
            nesterov: self.nesterov,
            first: velocity.as_ref().is_some_and(|velocity| velocity.first),
        });
        let Some(velocity) = velocity else { return step.run(&mut [value], &[gradient]) };
        step.run(&mut [value, &mut velocity.tensor], &[gradient])?;
        velocity.first = false;
        Ok(())
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, model: &mut dyn Parameters, gradients: &Gradients) -> Result<StepReport> {
        self.check()?;
        step_all(&self.momentum, &mut self.velocities, model, gradients, &mut self.groups, self.base)
    }

    fn learning_rate(&self) -> f64 {
        self.base.lr
    }

    fn set_learning_rate(&mut self, lr: f64) {
        self.base.lr = lr;
    }

    fn state_dict(&self) -> OptimizerState {
        let mut state = OptimizerState::new("sgd", self.base.lr);
        for (name, velocity) in self.velocities.iter().filter(|(_, velocity)| Momentum::began(velocity)) {
            state.tensors.insert(format!("{name}.{VELOCITY}"), velocity.tensor.clone());
        }
        state
    }

    fn load_state_dict(&mut self, state: &OptimizerState) -> Result<()> {
        state.check_algorithm("sgd")?;
        let lr = state.number("lr")?;
        let velocity = |name: &str| -> Result<(String, Velocity)> {
            let tensor = state.tensor(&format!("{name}.{VELOCITY}"))?;
            Ok((name.to_owned(), Velocity { tensor, first: false }))
        };
        self.velocities = state.parameters(VELOCITY).map(velocity).collect::<Result<_>>()?;
        self.base.lr = lr;
        Ok(())
    }
}
