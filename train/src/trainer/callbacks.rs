//! Calling the callbacks.

use gradus_nn::Parameters;

use super::{Callback, EpochReport, Flow, Run, Trainer};
use crate::Result;

impl<M: Parameters, B> Trainer<M, B> {
    /// Calls every callback, and says whether one of them asked to stop.
    pub(super) fn each_callback(
        &mut self,
        report: Option<&EpochReport>,
        mut call: impl FnMut(&mut dyn Callback<M>, &mut Run<'_, M>) -> Result<Flow>,
    ) -> Result<Flow> {
        let mut flow = Flow::Continue;
        for callback in &mut self.callbacks {
            let (dir, events) = match &mut self.output {
                Some(output) => (Some(output.dir.as_path()), output.events.as_mut()),
                None => (None, None),
            };
            let mut run = Run {
                model: &mut self.model,
                epoch: self.state.epoch,
                epochs: self.settings.epochs,
                step: self.state.step,
                loss: self.last.loss,
                gradient_norm: self.last.gradient_norm,
                report,
                dir,
                events,
            };
            if call(callback.as_mut(), &mut run)? == Flow::Stop {
                flow = Flow::Stop;
            }
        }
        Ok(flow)
    }
}
