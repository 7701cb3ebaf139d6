//! Code of others at the seams of a run.

mod closure;
mod table;

use std::path::Path;

use gradus_nn::Parameters;

use super::EpochReport;
use crate::Result;
use crate::tensorboard::EventWriter;

pub(super) use closure::{AfterStep, OnEpochEnd};
pub use table::EpochTable;

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// It goes on.
    Continue,
    /// It saves a checkpoint and ends.
    Stop,
}

/// What a callback sees of a run, and may change.
#[derive(Debug)]
pub struct Run<'a, M> {
    /// The model. Between steps no graph is alive, so changes are made in place.
    pub model: &'a mut M,
    /// The epoch under way (at its end: the one that just ended), from 0.
    pub epoch: u64,
    /// The number of epochs the run is to have.
    pub epochs: u64,
    /// Optimizer steps done.
    pub step: u64,
    /// The loss of the last optimizer step, over all its batches; `None` before the first step of this process.
    pub loss: Option<f64>,
    /// The norm of all gradients before they were clipped, if they are.
    pub gradient_norm: Option<f64>,
    /// What was measured in the epoch that just ended; `None` within an epoch.
    pub report: Option<&'a EpochReport>,
    /// The run's directory, if it has one.
    pub dir: Option<&'a Path>,
    /// TensorBoard's events, if the run has a directory.
    pub events: Option<&'a mut EventWriter>,
}

/// Code that runs at the seams of a run. All methods do nothing unless they are written.
///
/// ```
/// use gradus_nn::Parameters;
/// use gradus_train::Result;
/// use gradus_train::trainer::{Callback, Flow, Run};
///
/// /// Trains the whole model once its head has settled.
/// struct Unfreeze {
///     epoch: u64,
/// }
///
/// impl<M: Parameters> Callback<M> for Unfreeze {
///     fn on_epoch_start(&mut self, run: &mut Run<'_, M>) -> Result<Flow> {
///         if run.epoch == self.epoch {
///             run.model.unfreeze("*")?;
///         }
///         Ok(Flow::Continue)
///     }
/// }
/// ```
///
/// A callback that remembers something (a moving average of weights, a count) has to [save](Callback::state) it,
/// or a resumed run is another run.
pub trait Callback<M: Parameters> {
    /// Before the first epoch of this process, after resuming.
    ///
    /// # Errors
    /// Any; it ends the run.
    fn on_train_start(&mut self, run: &mut Run<'_, M>) -> Result<Flow> {
        let _ = run;
        Ok(Flow::Continue)
    }

    /// Before the first batch of an epoch. A run that is resumed in the middle of an epoch calls this for that
    /// epoch again, so that what it changed outside the checkpoint (such as what is frozen) is changed again.
    ///
    /// # Errors
    /// Any; it ends the run.
    fn on_epoch_start(&mut self, run: &mut Run<'_, M>) -> Result<Flow> {
        let _ = run;
        Ok(Flow::Continue)
    }

    /// After each optimizer step.
    ///
    /// # Errors
    /// Any; it ends the run.
    fn after_step(&mut self, run: &mut Run<'_, M>) -> Result<Flow> {
        let _ = run;
        Ok(Flow::Continue)
    }

    /// After the last step of an epoch and its evaluation, before its checkpoint.
    ///
    /// # Errors
    /// Any; it ends the run.
    fn on_epoch_end(&mut self, run: &mut Run<'_, M>) -> Result<Flow> {
        let _ = run;
        Ok(Flow::Continue)
    }

    /// When the run ends without an error, for whatever reason.
    ///
    /// # Errors
    /// Any.
    fn on_train_end(&mut self, run: &mut Run<'_, M>) -> Result<()> {
        let _ = run;
        Ok(())
    }

    /// What to keep in checkpoints, if anything.
    ///
    /// # Errors
    /// Any; the checkpoint is then not written, and the run ends.
    fn state(&self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// Takes up a state that [`state`](Callback::state) returned. Called when a run is resumed, before
    /// [`on_train_start`](Callback::on_train_start).
    ///
    /// # Errors
    /// Any; the run is then not resumed.
    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let _ = state;
        Ok(())
    }
}
