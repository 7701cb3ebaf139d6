//! Functions as callbacks.

use gradus_nn::Parameters;

use super::{Callback, Flow, Run};
use crate::Result;

/// A function that runs after each optimizer step.
pub(in crate::trainer) struct AfterStep<F>(pub F);

impl<M: Parameters, F: FnMut(&mut Run<'_, M>) -> Result<Flow>> Callback<M> for AfterStep<F> {
    fn after_step(&mut self, run: &mut Run<'_, M>) -> Result<Flow> {
        (self.0)(run)
    }
}

/// A function that runs at the end of each epoch.
pub(in crate::trainer) struct OnEpochEnd<F>(pub F);

impl<M: Parameters, F: FnMut(&mut Run<'_, M>) -> Result<Flow>> Callback<M> for OnEpochEnd<F> {
    fn on_epoch_end(&mut self, run: &mut Run<'_, M>) -> Result<Flow> {
        (self.0)(run)
    }
}
