//! The loop over batches.

use gradus_autograd::detect_anomaly;
use gradus_nn::Parameters;

use super::drive::Taken;
use super::evaluate::count;
use super::group::{Group, loss_of};
use super::loader::samples_before;
use super::{Flow, Loader, Outcome, Place, Trainer};
use crate::progress::{EpochProgress, Speed};
use crate::{Error, Result};

/// After so many skipped steps in a row the scale is smaller by 2^-32: it is not the scale.
const MOST_SKIPPED: u64 = 32;

impl<M: Parameters, B> Trainer<M, B> {
    /// Trains on the batches of the epoch that are left. The inner error says why not on all.
    ///
    /// The state changes only when an optimizer step is done, so it is always one to go on from.
    pub(super) fn train_epoch(&mut self, train: &dyn Loader<Batch = B>) -> Result<Result<Speed, Outcome>> {
        let (total, mut next) = (train.batches_per_epoch(), self.state.next_batch);
        let mut progress = self.progress(train, next);
        let mut group = Group::default();
        for batch in train.batches(self.state.epoch, next)? {
            let place =
                Place { epoch: self.state.epoch, batch: next, step: self.state.step, evaluating: false };
            self.backward(&batch?, &mut group, place)?;
            next += 1;
            if group.batches() < self.settings.accumulate && next < total {
                continue;
            }
            self.update(std::mem::take(&mut group), place)?;
            if place.step == 0 {
                self.check_monitor()?;
            }
            let samples = samples_before(train, next) - samples_before(train, self.state.next_batch);
            self.state.next_batch = next;
            self.state.keep_rng();
            progress.advance(samples, &self.state.sums.values());

            let flow = self.each_callback(None, |callback, run| callback.after_step(run))?;
            self.state.keep_rng();
            if self.settings.stop.is_requested() {
                return Ok(Err(Outcome::Interrupted));
            }
            if flow == Flow::Stop {
                return Ok(Err(Outcome::Stopped));
            }
            if self.settings.every_steps.is_some_and(|n| self.state.step.is_multiple_of(n)) {
                self.save(false)?;
            }
        }
        if next != total {
            let message = format!("the epoch ended after {next} batches; it should have {total}");
            return Err(Error::argument("Loader::batches", message));
        }
        Ok(Ok(progress.finish()))
    }

    fn progress(&self, train: &dyn Loader<Batch = B>, next: usize) -> EpochProgress {
        let name = format!("epoch {}/{}", self.state.epoch + 1, self.settings.epochs);
        let done = samples_before(train, next);
        self.settings.progress.epoch_from(&name, done, samples_before(train, train.batches_per_epoch()))
    }

    /// Forward and backward pass of one batch.
    fn backward(&self, batch: &B, group: &mut Group, place: Place) -> Result<()> {
        let mut pass = || {
            let output = (self.step)(&self.model, batch, &self.compute)?;
            let loss = loss_of(&output)?;
            if loss.is_finite() {
                count(&mut group.sums, loss, &output, &self.metrics)?;
                group.add(output, self.drive.scaler.as_ref())?;
            }
            Ok(loss)
        };
        let done = if self.settings.detect_anomaly { detect_anomaly(pass) } else { pass() };
        let loss: f64 = done.map_err(|source| Error::Step { place, source })?;
        if loss.is_finite() { Ok(()) } else { Err(self.diverged(place, format!("the loss ({loss})"))) }
    }

    /// An optimizer step.
    fn update(&mut self, group: Group, place: Place) -> Result<()> {
        let failed = |source| Error::Step { place, source };
        let (gradients, sums) = group.finish().map_err(failed)?;
        let Taken { rate, norm, skipped } =
            self.drive.step(self.state.step, &mut self.model, gradients).map_err(failed)?;
        if let Some(norm) = norm.filter(|norm| !norm.is_finite()) {
            return Err(self.diverged(place, format!("the norm of the gradients ({norm})")));
        }
        let in_a_row = self.drive.scaler.as_ref().map_or(0, |scaler| scaler.skipped_in_a_row());
        if skipped && in_a_row >= MOST_SKIPPED {
            let what = format!("at any scale, a gradient ({in_a_row} steps in a row were skipped)");
            return Err(self.diverged(place, what));
        }
        self.state.step += 1;
        self.state.sums.merge(&sums);
        self.last.loss = sums.loss.value();
        self.last.gradient_norm = norm;
        if let Some(output) = &mut self.output {
            let mut values = vec![
                ("step/loss", self.last.loss),
                ("step/learning_rate", Some(rate)),
                ("step/gradient_norm", norm),
            ];
            let scale = self.drive.scaler.as_ref().map(|scaler| scaler.scale_factor());
            values.extend(scale.map(|scale| ("step/loss_scale", Some(scale))));
            output.record(self.state.step, &values)?;
        }
        Ok(())
    }

    fn diverged(&self, place: Place, what: String) -> Error {
        let checkpoint = self.output.as_ref().and_then(|output| output.last.clone());
        Error::NotFinite { place, what, checkpoint }
    }
}
