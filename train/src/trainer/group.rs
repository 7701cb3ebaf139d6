//! Gradients of one optimizer step, from one or more batches.
//!
//! The mean over all samples of a group is not the mean of the batches' means unless all batches are equally
//! large. So batch *i*, of *n* samples, enters with weight *n / n₀*, where *n₀* is the size of the first, and the
//! sum is multiplied with *n₀ / N* in the end. Equal batches, the usual case, are added without any multiplication,
//! and a group of one batch is exactly that batch.

use gradus_autograd::{Autograd, Backward, Gradients};
use gradus_optim::{GradScaler, ScaledGradients};
use gradus_tensor_core::{Error, Result, Tensor};

use super::step::StepOutput;
use super::sums::Sums;

/// Gradients that were added up.
#[derive(Debug)]
pub(super) enum Pile {
    Plain(Gradients),
    Scaled(ScaledGradients),
}

impl Default for Pile {
    fn default() -> Self {
        Pile::Plain(Gradients::new())
    }
}

/// The batches of one optimizer step.
#[derive(Debug, Default)]
pub(super) struct Group {
    gradients: Pile,
    batches: usize,
    /// Samples in the first batch.
    first: usize,
    samples: usize,
    pub sums: Sums,
}

impl Group {
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// Runs a batch's backward pass, which consumes its graph.
    pub fn add(&mut self, output: StepOutput, scaler: Option<&GradScaler>) -> Result<()> {
        let StepOutput { loss, samples, .. } = output;
        if self.batches == 0 {
            self.first = samples;
        }
        let mut backward = Backward::new();
        if samples != self.first {
            let weight = samples as f64 / self.first as f64;
            let device = loss.detach()?.device().clone();
            let dtype = if scaler.is_some() { loss.dtype().accumulator() } else { loss.dtype() };
            backward = backward.gradient(Tensor::full(weight, *loss.shape(), dtype, &device)?);
        }
        match (&mut self.gradients, scaler) {
            (Pile::Plain(sum), None) => sum.accumulate(backward.run(&loss)?)?,
            (sum @ Pile::Plain(_), Some(scaler)) => {
                *sum = Pile::Scaled(scaler.scale(&loss)?.backward_with(backward)?);
            }
            (Pile::Scaled(sum), Some(scaler)) => {
                sum.accumulate(scaler.scale(&loss)?.backward_with(backward)?)?;
            }
            (Pile::Scaled(_), None) => {
                return Err(Error::argument("Trainer", "a batch was not scaled as those before it"));
            }
        }
        self.batches += 1;
        self.samples = self.samples.saturating_add(samples);
        Ok(())
    }

    /// The gradients of the mean loss over all samples of the group, and its sums.
    pub fn finish(self) -> Result<(Pile, Sums)> {
        let Self { mut gradients, first, samples, sums, .. } = self;
        if samples != first {
            let factor = first as f64 / samples as f64;
            match &mut gradients {
                Pile::Plain(sum) => sum.scale(factor)?,
                Pile::Scaled(sum) => sum.multiply(factor)?,
            }
        }
        Ok((gradients, sums))
    }
}

/// The value of a step's loss, after checks that hold for training and evaluation.
pub(super) fn loss_of(output: &StepOutput) -> Result<f64> {
    if output.loss.numel() != 1 {
        let rule = "the loss must have one element: the mean over the batch's samples";
        return Err(Error::shape("step", &[output.loss.meta()], rule));
    }
    if output.samples == 0 {
        return Err(Error::argument("step", "the loss is over 0 samples; it must be over at least 1"));
    }
    output.loss.detach()?.item::<f64>()
}
