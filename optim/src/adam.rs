//! Adam and AdamW.

use std::collections::BTreeMap;

use gradus_autograd::Gradients;
use gradus_nn::Parameters;
use gradus_tensor_core::op::Adam as Step;
use gradus_tensor_core::{Error, InPlaceOp, Result, Tensor};

use crate::group::{Groups, Rates, group_methods, not_negative};
use crate::state::beside;
use crate::step::{Rule, step_all};
use crate::{Optimizer, OptimizerState, StepReport};

/// Adam (Kingma and Ba, arXiv:1412.6980), or AdamW: see [`AdamW`].
#[derive(Clone, Debug)]
#[must_use = "call `step` with a model and its gradients"]
pub struct Adam {
    base: Rates,
    moments: Moments,
    groups: Groups,
    /// By the parameter's name.
    slots: BTreeMap<String, Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Moments {
    betas: (f64, f64),
    eps: f64,
    decoupled: bool,
    amsgrad: bool,
}

/// Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101).
#[derive(Clone, Copy, Debug)]
pub enum AdamW {}

/// What is remembered of a parameter.
#[derive(Clone, Debug)]
struct Slot {
    first: Tensor,
    second: Tensor,
    largest: Option<Tensor>,
    step: u64,
}

const FIRST: &str = "exp_avg";
const SECOND: &str = "exp_avg_sq";
const LARGEST: &str = "max_exp_avg_sq";
const STEP: &str = "step";

impl AdamW {
    /// AdamW with that learning rate, betas 0.9 and 0.999, `eps` 1e-8 and a weight decay of 0.01.
    #[expect(clippy::new_ret_no_self, reason = "AdamW is Adam with another default and another decay")]
    pub fn new(lr: f64) -> Adam {
        let mut adam = Adam::new(lr).weight_decay(0.01);
        adam.moments.decoupled = true;
        adam
    }
}

impl Adam {
    /// Adam with that learning rate, betas 0.9 and 0.999, `eps` 1e-8 and no weight decay.
    pub fn new(lr: f64) -> Self {
        Adam {
            base: Rates { lr, weight_decay: 0.0 },
            moments: Moments { betas: (0.9, 0.999), eps: 1e-8, decoupled: false, amsgrad: false },
            groups: Groups::default(),
            slots: BTreeMap::new(),
        }
    }

    /// The decay rates of the moments, in `0..1`.
    pub fn betas(mut self, first: f64, second: f64) -> Self {
        self.moments.betas = (first, second);
        self
    }

    /// What is added to the denominator.
    pub fn eps(mut self, eps: f64) -> Self {
        self.moments.eps = eps;
        self
    }

    /// Whether to divide by the largest second moment so far (Reddi et al., ICLR 2018).
    pub fn amsgrad(mut self, amsgrad: bool) -> Self {
        self.moments.amsgrad = amsgrad;
        self
    }

    group_methods!();

    /// Changes the decay rate of the first moment, as [`crate::OneCycle::momentum`] says.
    pub fn set_momentum(&mut self, momentum: f64) {
        self.moments.betas.0 = momentum;
    }

    fn algorithm(&self) -> &'static str {
        if self.moments.decoupled { "adamw" } else { "adam" }
    }

    fn check(&self) -> Result<()> {
        let op = self.algorithm();
        self.base.check(op)?;
        not_negative(op, "eps", self.moments.eps)?;
        let (first, second) = self.moments.betas;
        if [first, second].iter().any(|beta| !(0.0..1.0).contains(beta)) {
            return Err(Error::argument(op, format!("betas ({first}, {second}) must be in 0..1")));
        }
        Ok(())
    }
}

impl Optimizer for Adam {
    fn step(&mut self, model: &mut dyn Parameters, gradients: &Gradients) -> Result<StepReport> {
        self.check()?;
        step_all(&self.moments, &mut self.slots, model, gradients, &mut self.groups, self.base)
    }

    fn learning_rate(&self) -> f64 {
        self.base.lr
    }

    fn set_learning_rate(&mut self, lr: f64) {
        self.base.lr = lr;
    }

    fn state_dict(&self) -> OptimizerState {
        let mut state = OptimizerState::new(self.algorithm(), self.base.lr);
        for (name, slot) in self.slots.iter().filter(|(_, slot)| Moments::began(slot)) {
            state.tensors.insert(format!("{name}.{FIRST}"), slot.first.clone());
            state.tensors.insert(format!("{name}.{SECOND}"), slot.second.clone());
            if let Some(largest) = &slot.largest {
                state.tensors.insert(format!("{name}.{LARGEST}"), largest.clone());
            }
            state.numbers.insert(format!("{name}.{STEP}"), slot.step as f64);
        }
        state
    }

    fn load_state_dict(&mut self, state: &OptimizerState) -> Result<()> {
        state.check_algorithm(self.algorithm())?;
        let lr = state.number("lr")?;
        let slot = |name: &str| -> Result<(String, Slot)> {
            let tensor = |kind: &str| state.tensor(&format!("{name}.{kind}"));
            let slot = Slot {
                first: tensor(FIRST)?,
                second: tensor(SECOND)?,
                largest: if self.moments.amsgrad { Some(tensor(LARGEST)?) } else { None },
                step: state.count(&format!("{name}.{STEP}"))?,
            };
            Ok((name.to_owned(), slot))
        };
        self.slots = state.parameters(FIRST).map(slot).collect::<Result<_>>()?;
        self.base.lr = lr;
        Ok(())
    }
}

impl Rule for Moments {
    type State = Slot;

    fn start(&self, value: &Tensor) -> Result<Option<Slot>> {
        Ok(Some(Slot {
            first: value.zeros_like()?,
            second: value.zeros_like()?,
            largest: self.amsgrad.then(|| value.zeros_like()).transpose()?,
            step: 0,
        }))
    }

    fn began(slot: &Slot) -> bool {
        slot.step > 0
    }

    fn fit(&self, slot: &mut Slot, value: &Tensor) -> Result<()> {
        beside(FIRST, &mut slot.first, value)?;
        beside(SECOND, &mut slot.second, value)?;
        match &mut slot.largest {
            Some(largest) => beside(LARGEST, largest, value),
            // Switched on after steps were taken: the largest so far is the one there is.
            None if self.amsgrad => {
                slot.largest = Some(slot.second.clone());
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn step(
        &self,
        rates: Rates,
        value: &mut Tensor,
        slot: Option<&mut Slot>,
        gradient: &Tensor,
    ) -> Result<()> {
        let Slot { first, second, largest, step } =
            slot.ok_or_else(|| Error::argument("adam", "a slot was lost"))?;
        let op = InPlaceOp::Adam(Step {
            lr: rates.lr,
            betas: self.betas,
            eps: self.eps,
            weight_decay: rates.weight_decay,
            decoupled: self.decoupled,
            amsgrad: self.amsgrad,
            step: *step + 1,
        });
        match largest {
            Some(largest) if self.amsgrad => op.run(&mut [value, first, second, largest], &[gradient])?,
            _ => op.run(&mut [value, first, second], &[gradient])?,
        }
        *step += 1;
        Ok(())
    }
}
