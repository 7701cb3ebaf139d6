//! What an optimizer remembers between steps.

use std::collections::BTreeMap;

use gradus_nn::StateDict;
use gradus_tensor_core::{Error, Result, Tensor};

/// The state of an optimizer: tensors and numbers under names like `conv1.weight.exp_avg` and
/// `conv1.weight.step`, with PyTorch's words for the last part. Saving it and loading it into an optimizer made
/// with the same options continues a run bit for bit.
#[derive(Clone, Debug, Default)]
pub struct OptimizerState {
    /// Which algorithm's state it is: `sgd`, `adam` or `adamw`.
    pub algorithm: String,
    /// One or more tensors for each parameter.
    pub tensors: StateDict,
    /// The learning rate (`lr`), and a number of steps for each parameter. All are exact in a double.
    pub numbers: BTreeMap<String, f64>,
}

impl OptimizerState {
    pub(crate) fn new(algorithm: &str, lr: f64) -> Self {
        OptimizerState {
            algorithm: algorithm.into(),
            tensors: StateDict::new(),
            numbers: BTreeMap::from([("lr".to_owned(), lr)]),
        }
    }

    pub(crate) fn check_algorithm(&self, own: &str) -> Result<()> {
        if self.algorithm == own {
            return Ok(());
        }
        Err(Error::argument(
            "load_state_dict",
            format!("the state is that of `{}`, this optimizer is `{own}`", self.algorithm),
        ))
    }

    pub(crate) fn number(&self, name: &str) -> Result<f64> {
        self.numbers.get(name).copied().ok_or_else(|| lost(name))
    }

    /// A number of steps.
    pub(crate) fn count(&self, name: &str) -> Result<u64> {
        count(name, self.number(name)?)
    }

    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor> {
        self.tensors.get(name).cloned().ok_or_else(|| lost(name))
    }

    /// The names of parameters that have a tensor of that kind.
    pub(crate) fn parameters<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.tensors.names().filter_map(move |name| name.strip_suffix(kind)?.strip_suffix('.'))
    }
}

/// A number that was saved as a double and counts something.
pub(crate) fn count(name: &str, value: f64) -> Result<u64> {
    if value >= 0.0 && value.fract() == 0.0 && value < 2f64.powi(53) {
        return Ok(value as u64);
    }
    Err(Error::argument("load_state_dict", format!("`{name}` is {value}, not a count")))
}

fn lost(name: &str) -> Error {
    Error::argument("load_state_dict", format!("the state has no `{name}`"))
}

/// A state tensor as it must be beside a parameter: on its device, of its shape and dtype.
pub(crate) fn beside(kind: &str, state: &mut Tensor, value: &Tensor) -> Result<()> {
    if state.meta() != value.meta() {
        return Err(Error::shape(
            "optimizer",
            &[state.meta(), value.meta()],
            format!("the state `{kind}` does not fit the parameter; was the model changed?"),
        ));
    }
    if state.device() != value.device() {
        *state = state.to(value.device())?;
    }
    Ok(())
}
