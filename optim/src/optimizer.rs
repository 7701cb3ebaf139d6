//! What every optimizer is.

use gradus_autograd::Gradients;
use gradus_nn::Parameters;
use gradus_tensor_core::Result;

use crate::OptimizerState;

/// Changes a model's parameters by their gradients.
pub trait Optimizer: Send {
    /// Takes one step. Frozen parameters stay as they are.
    ///
    /// # Errors
    /// A trained parameter has no gradient (unless that is allowed) or one of another shape, an option is out
    /// of its domain, a group matches nothing, state does not fit, or memory for it runs out: then nothing was
    /// changed. Or the device fails: then the parameters before the one that the error names were changed, each with
    /// its state, and the error says how many.
    fn step(&mut self, model: &mut dyn Parameters, gradients: &Gradients) -> Result<StepReport>;

    /// The learning rate of parameters whose group does not scale it.
    fn learning_rate(&self) -> f64;

    /// Changes the learning rate, as a schedule says.
    fn set_learning_rate(&mut self, lr: f64);

    /// Everything that the next step depends on, apart from the options the optimizer is made with.
    fn state_dict(&self) -> OptimizerState;

    /// Goes on where a saved state was.
    ///
    /// # Errors
    /// The state is another algorithm's, is not complete, or has a number of steps that is none; then nothing was
    /// changed.
    fn load_state_dict(&mut self, state: &OptimizerState) -> Result<()>;
}

impl<O: Optimizer + ?Sized> Optimizer for Box<O> {
    fn step(&mut self, model: &mut dyn Parameters, gradients: &Gradients) -> Result<StepReport> {
        (**self).step(model, gradients)
    }
    fn learning_rate(&self) -> f64 {
        (**self).learning_rate()
    }
    fn set_learning_rate(&mut self, lr: f64) {
        (**self).set_learning_rate(lr);
    }
    fn state_dict(&self) -> OptimizerState {
        (**self).state_dict()
    }
    fn load_state_dict(&mut self, state: &OptimizerState) -> Result<()> {
        (**self).load_state_dict(state)
    }
}

/// What a step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepReport {
    /// How many parameters were changed.
    pub updated: usize,
    /// The names of trained parameters that got no gradient, where that is allowed.
    pub missing: Vec<String>,
}
