//! A step: all parameters are looked at, then all are changed.
//!
//! Whatever can be known to be wrong is found in the first walk, which also makes the state that is missing: then
//! nothing was changed. What can go wrong in the second is the device; its error says how far the step came.

use std::borrow::Cow;
use std::collections::BTreeMap;

use gradus_autograd::{Autograd, Gradients};
use gradus_nn::Parameters;
use gradus_tensor_core::{Error, Result, Tensor};

use crate::StepReport;
use crate::group::{Groups, Rates};

/// What optimizers differ in.
pub(crate) trait Rule {
    /// What is remembered of a parameter.
    type State;

    /// The state of a parameter that took no step. `None` if nothing is remembered.
    fn start(&self, value: &Tensor) -> Result<Option<Self::State>>;

    /// Whether the state is of a parameter that took a step.
    fn began(state: &Self::State) -> bool;

    /// Makes sure that the state is where and what the parameter is.
    fn fit(&self, state: &mut Self::State, value: &Tensor) -> Result<()>;

    /// Takes a step: changes the parameter and its state. If it fails, the state has not taken it.
    fn step(
        &self,
        rates: Rates,
        value: &mut Tensor,
        state: Option<&mut Self::State>,
        gradient: &Tensor,
    ) -> Result<()>;
}

/// Takes a step with every trained parameter that has a gradient. States are by the parameters' names.
pub(crate) fn step_all<R: Rule>(
    rule: &R,
    states: &mut BTreeMap<String, R::State>,
    model: &mut dyn Parameters,
    gradients: &Gradients,
    groups: &mut Groups,
    base: Rates,
) -> Result<StepReport> {
    let missing = check(rule, states, model, gradients, groups)?;
    let mut updated = 0;
    model.for_each_param_mut(&mut |name, param| {
        let Some(gradient) = gradients.get_id(param.id()).filter(|_| param.requires_grad()) else {
            return Ok(());
        };
        let rates = groups.rates(name, param.tensor().rank(), base);
        let step = |value: &mut Tensor| {
            let gradient = plain(gradient, value)?;
            rule.step(rates, value, states.get_mut(name), &gradient)
        };
        param.update(step).map_err(|error| {
            let after = match updated {
                0 => String::new(),
                n => format!(", after {n} parameters were changed"),
            };
            error.context(format!("optimizer step of {name}{after}"))
        })?;
        updated += 1;
        Ok(())
    })?;
    Ok(StepReport { updated, missing })
}

/// The gradient as a parameter is: without a graph, and of its dtype.
fn plain<'a>(gradient: &'a Tensor, value: &Tensor) -> Result<Cow<'a, Tensor>> {
    if gradient.device() == value.device() && gradient.dtype() == value.dtype() {
        return Ok(Cow::Borrowed(gradient));
    }
    Ok(Cow::Owned(gradient.detach()?.cast(value.dtype())?))
}

/// Makes sure that the step can be taken, and that every parameter it changes has state that fits. Returns the names of
/// trained parameters without a gradient, if that is allowed.
fn check<R: Rule>(
    rule: &R,
    states: &mut BTreeMap<String, R::State>,
    model: &dyn Parameters,
    gradients: &Gradients,
    groups: &mut Groups,
) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    let mut trained = 0;
    let mut names = std::collections::BTreeSet::new();
    model.for_each_param(&mut |name, param| {
        let value = param.tensor();
        groups.see(name, value.rank());
        if !groups.checked && !names.insert(name.to_owned()) {
            let message = format!("two parameters are named {name}: they would share one state");
            return Err(Error::argument("optimizer", message));
        }
        if !param.requires_grad() {
            return Ok(());
        }
        trained += 1;
        match gradients.get_id(param.id()) {
            Some(gradient) if gradient.shape() != value.shape() => Err(Error::shape(
                "optimizer",
                &[value.meta(), gradient.meta()],
                format!("the gradient of {name} has another shape than the parameter"),
            )),
            Some(_) => {
                let fitted = match states.get_mut(name).filter(|state| R::began(state)) {
                    Some(state) => rule.fit(state, value),
                    None => rule.start(value).map(|state| states.extend(state.map(|s| (name.to_owned(), s)))),
                };
                fitted.map_err(|error| error.context(format!("optimizer step of {name}")))
            }
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
