//! A run as a checkpoint, and back.

use std::collections::BTreeMap;

use gradus_nn::{Parameters, StateDict};
use gradus_tensor_core::io::safetensors;
use serde::{Deserialize, Serialize};

use super::drive::{Numbers, join, split};
use super::output::Output;
use super::state::{Identity, State};
use super::{Place, Trainer};
use crate::checkpoint::{Checkpoint, CheckpointWriter, Latest};
use crate::{Error, Result};

const MODEL: &str = "model";
const OPTIMIZER: &str = "optimizer";
const TRAINER: &str = "trainer";

/// The section of everything but tensors.
#[derive(Serialize, Deserialize)]
struct Saved {
    state: State,
    identity: Identity,
    optimizer: Numbers,
    /// The state of what scales losses, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scaler: Option<BTreeMap<String, f64>>,
}

impl<M: Parameters, B> Trainer<M, B> {
    /// Saves a checkpoint, if the run has a directory.
    pub(super) fn save(&mut self, best: bool) -> Result<()> {
        let (Some(output), Some(identity)) = (&mut self.output, &self.identity) else { return Ok(()) };
        let model = self.model.state_dict();
        let batch = self.state.next_batch.saturating_sub(1);
        let step = self.state.step;
        let place = Place { epoch: self.state.epoch, batch, step: step.saturating_sub(1), evaluating: false };
        if let Some(name) = not_finite(&model)? {
            let what = format!("after the step, `{name}`");
            return Err(Error::NotFinite { place, what, checkpoint: output.last.clone() });
        }
        let (tensors, optimizer) = split(self.drive.optimizer.state_dict());
        let scaler = self.drive.scaler.as_ref().map(|scaler| scaler.state_dict());
        let saved = Saved { state: self.state.clone(), identity: identity.clone(), optimizer, scaler };
        let mut writer = CheckpointWriter::new(step)
            .json(TRAINER, &saved)?
            .section(MODEL, safetensors::to_bytes(model.iter(), &BTreeMap::new())?)
            .section(OPTIMIZER, safetensors::to_bytes(tensors.iter(), &BTreeMap::new())?);
        for (i, callback) in self.callbacks.iter().enumerate() {
            if let Some(state) = callback.state()? {
                writer = writer.section(callback_section(i), state);
            }
        }
        output.save(&writer, best)
    }

    /// Goes on from the newest checkpoint that is whole. Without any, the run begins at its beginning.
    pub(super) fn resume(&mut self, output: &mut Output, identity: &Identity) -> Result<()> {
        let Latest { checkpoint, skipped } = output.checkpoints.latest()?;
        for damaged in &skipped {
            (self.warn)(&format!("{damaged}; going back to an older checkpoint"));
        }
        let Some(mut checkpoint) = checkpoint else {
            // Beginning anew would overwrite what someone may still want to rescue.
            return skipped.into_iter().next().map_or(Ok(()), Err);
        };
        self.load(&mut checkpoint, identity)?;
        output.checkpoints.forget_after(self.state.step)?;
        output.last = Some(checkpoint.path().to_path_buf());
        Ok(())
    }

    /// Takes everything from a checkpoint, after checking that it is this run's.
    fn load(&mut self, checkpoint: &mut Checkpoint, identity: &Identity) -> Result<()> {
        let path = checkpoint.path().to_path_buf();
        let refuse = |message: String| Error::Resume { path: path.clone(), message };
        let saved: Saved = checkpoint.json(TRAINER)?;
        if let Some(difference) = identity.difference(&saved.identity) {
            return Err(refuse(difference));
        }
        let model = self.tensors(checkpoint, MODEL)?;
        let own = self.model.state_dict();
        for (name, tensor) in own.iter() {
            if let Some(saved) = model.get(name).filter(|saved| saved.dtype() != tensor.dtype()) {
                return Err(refuse(format!("{name} was {} then, is {} now", saved.dtype(), tensor.dtype())));
            }
        }
        let mut scaler = self.drive.scaler.clone();
        if let (Some(scaler), Some(saved)) = (&mut scaler, &saved.scaler) {
            scaler
                .load_state_dict(saved)
                .map_err(|e| refuse(format!("the scaler's state is damaged: {e}")))?;
        }
        let optimizer = join(self.tensors(checkpoint, OPTIMIZER)?, saved.optimizer);
        self.model.load_state_dict(&model).map_err(|e| refuse(format!("the model differs: {e}")))?;
        if let Err(e) = self.drive.optimizer.load_state_dict(&optimizer) {
            // A run that is refused has changed nothing.
            self.model.load_state_dict(&own)?;
            return Err(refuse(format!("the optimizer differs: {e}")));
        }
        for (i, callback) in self.callbacks.iter_mut().enumerate() {
            let section = callback_section(i);
            if checkpoint.sections().any(|name| name == section) {
                callback.restore(&checkpoint.section(&section)?)?;
            }
        }
        self.drive.scaler = scaler;
        self.state = saved.state;
        Ok(())
    }

    /// Puts the weights of the best epoch back: from memory, or from the run's directory.
    pub(super) fn restore_best(&mut self) -> Result<()> {
        if let Some(best) = &self.best_model {
            return Ok(self.model.load_state_dict(best)?);
        }
        let best = self.output.as_ref().map_or(Ok(None), |output| output.checkpoints.best())?;
        if let Some(mut checkpoint) = best {
            let model = self.tensors(&mut checkpoint, MODEL)?;
            self.model.load_state_dict(&model)?;
        }
        Ok(())
    }

    fn tensors(&self, checkpoint: &mut Checkpoint, section: &str) -> Result<StateDict> {
        let bytes = checkpoint.section(section)?;
        Ok(StateDict::from(safetensors::from_bytes(&bytes, &self.device)?))
    }
}

/// The section of a callback, known by its place in the list.
fn callback_section(i: usize) -> String {
    format!("callback.{i}")
}

/// The first tensor that holds a NaN or an infinity.
fn not_finite(state: &StateDict) -> Result<Option<String>> {
    for (name, tensor) in state.iter() {
        if tensor.dtype().is_float() && !tensor.isfinite()?.all(..)?.item::<bool>()? {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}
