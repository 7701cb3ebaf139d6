//! What every optimizer does.

use gradus_autograd::{Autograd, Gradients};
use gradus_nn::Parameters;
use gradus_tensor_core::{Error, Result, Tensor};

use crate::OptimizerState;
use crate::group::{Groups, Rates};

/// Changes a model's parameters by their gradients.
pub trait Optimizer: Send {
    /// Takes one step. Frozen parameters stay as they are.
    ///
    /// # Errors
    /// A trained parameter has no gradient (unless that is allowed) or one of another shape, an option is out
    /// of its domain, or a group matches nothing: then nothing was changed. Or the device fails.
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

/// Calls `update` with name, values, gradient and rates of every trained parameter that has a gradient, after
/// checking all of them.
pub(crate) fn update_all(
    model: &mut dyn Parameters,
    gradients: &Gradients,
    groups: &mut Groups,
    base: Rates,
    update: &mut dyn FnMut(&str, &mut Tensor, &Tensor, Rates) -> Result<()>,
) -> Result<StepReport> {
    let missing = check(model, gradients, groups)?;
    let mut updated = 0;
    model.for_each_param_mut(&mut |name, param| {
        let Some(gradient) = gradients.get_id(param.id()).filter(|_| param.requires_grad()) else {
            return Ok(());
        };
        let rates = groups.rates(name, param.tensor().rank(), base);
        let gradient = gradient.detach()?.cast(param.tensor().dtype())?;
        param
            .update(|value| update(name, value, &gradient, rates))
            .map_err(|error| error.context(format!("optimizer step of {name}")))?;
        updated += 1;
        Ok(())
    })?;
    Ok(StepReport { updated, missing })
}

/// The names of trained parameters without a gradient, if that is allowed.
fn check(model: &dyn Parameters, gradients: &Gradients, groups: &mut Groups) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    let mut trained = 0;
    let mut names = std::collections::BTreeSet::new();
    model.for_each_param(&mut |name, param| {
        groups.see(name, param.tensor().rank());
        if !groups.checked && !names.insert(name.to_owned()) {
            let message = format!("two parameters are named {name}: they would share one state");
            return Err(Error::argument("optimizer", message));
        }
        if !param.requires_grad() {
            return Ok(());
        }
        trained += 1;
        match gradients.get_id(param.id()) {
            Some(gradient) if gradient.shape() != param.tensor().shape() => Err(Error::shape(
                "optimizer",
                &[param.tensor().meta(), gradient.meta()],
                format!("the gradient of {name} has another shape than the parameter"),
            )),
            Some(_) => Ok(()),
            None => {
                missing.push(name.to_owned());
                Ok(())
            }
        }
    })?;
    groups.check_seen()?;
    groups.checked = true;
    if missing.is_empty() || groups.allow_missing {
        return Ok(missing);
    }
    const LISTED: usize = 12;
    let mut listed = missing.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if missing.len() > LISTED {
        listed.push_str(&format!(" and {} more", missing.len() - LISTED));
    }
    Err(Error::argument(
        "optimizer",
        format!(
            "{} of {trained} trained parameters got no gradient: {listed}; the loss does not depend on them, or \
             they were used outside the graph. Freeze them, or call `allow_missing(true)`",
            missing.len()
        ),
    ))
}
