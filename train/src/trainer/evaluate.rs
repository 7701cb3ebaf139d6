//! Evaluation: without gradients, in evaluation mode, and without a trace in the run.

use gradus_autograd::no_grad;
use gradus_nn::{Mode, Parameters, VisitorMut};
use gradus_tensor_core::rng;

use super::group::loss_of;
use super::report::Value;
use super::step::{Metric, StepOutput};
use super::sums::Sums;
use super::{Evaluation, Loader, Place, Trainer};
use crate::{Error, Result};

impl<M: Parameters, B> Trainer<M, B> {
    /// Measures the model on data: the loss and every metric, averaged by samples. Layers are in evaluation mode
    /// meanwhile, no gradients are recorded, and the ambient generator is left as it was.
    ///
    /// # Errors
    /// [`Error::Data`] if a batch cannot be loaded, [`Error::Step`] if the model or the loss fails,
    /// [`Error::Argument`] if there are no batches.
    pub fn evaluate(&mut self, data: &dyn Loader<Batch = B>) -> Result<Evaluation> {
        let sums = self.measure(data, &mut || false)?.unwrap_or_default();
        let values = sums.values().into_iter().map(|(name, value)| Value { name: name.to_owned(), value });
        Ok(Evaluation { values: values.collect(), samples: sums.loss.samples() })
    }

    /// As [`evaluate`](Self::evaluate); `None` if it was told to stop.
    pub(super) fn measure(
        &mut self,
        data: &dyn Loader<Batch = B>,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Sums>> {
        let mut modes = Modes::default();
        self.model.visit_mut(&mut modes);
        self.model.set_training(false);
        let generator = rng::state();
        let sums = no_grad(|| self.measure_batches(data, stop));
        rng::set_state(generator);
        modes.restoring = Some(0);
        self.model.visit_mut(&mut modes);
        sums
    }

    fn measure_batches(
        &self,
        data: &dyn Loader<Batch = B>,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Sums>> {
        let mut sums = Sums::default();
        for (number, batch) in data.batches(0, 0)?.enumerate() {
            if stop() {
                return Ok(None);
            }
            let batch = batch?;
            let place =
                Place { epoch: self.state.epoch, batch: number, step: self.state.step, evaluating: true };
            let failed = |source| Error::Step { place, source };
            let output = (self.step)(&self.model, &batch, &self.compute).map_err(failed)?;
            let loss = loss_of(&output).map_err(failed)?;
            count(&mut sums, loss, &output, &self.metrics).map_err(failed)?;
        }
        if sums.loss.samples() == 0 {
            return Err(Error::argument("Trainer::evaluate", "there are no batches to evaluate on"));
        }
        Ok(Some(sums))
    }
}

/// Adds a batch to the sums.
pub(super) fn count(
    sums: &mut Sums,
    loss: f64,
    output: &StepOutput,
    metrics: &[(String, Metric)],
) -> gradus_tensor_core::Result<()> {
    sums.loss.add(loss, output.samples);
    if let Some((predictions, targets)) = &output.outputs {
        for (name, metric) in metrics {
            sums.add(name, &no_grad(|| metric(predictions, targets))?);
        }
    }
    output.values.iter().for_each(|(name, average)| sums.add(name, average));
    Ok(())
}

/// The modes of all layers, in the order of the walk: a layer that was kept in evaluation mode while training
/// is in evaluation mode afterwards.
#[derive(Default)]
struct Modes {
    modes: Vec<bool>,
    restoring: Option<usize>,
}

impl VisitorMut for Modes {
    fn mode(&mut self, mode: &mut Mode) {
        match &mut self.restoring {
            None => self.modes.push(mode.is_training()),
            Some(at) => {
                if let Some(&training) = self.modes.get(*at) {
                    mode.set_training(training);
                }
                *at += 1;
            }
        }
    }
}
