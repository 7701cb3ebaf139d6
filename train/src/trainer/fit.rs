//! The loop over epochs.

use gradus_nn::Parameters;
use gradus_tensor_core::rng;

use super::output::Output;
use super::report::Value;
use super::state::Identity;
use super::sums::Sums;
use super::{EpochReport, Flow, Goal, Loader, Outcome, Report, Trainer};
use crate::progress::Speed;
use crate::{Error, Result};

impl<M: Parameters, B> Trainer<M, B> {
    /// Trains until all epochs are done, or something ends the run before: early stopping, the stop flag, a
    /// callback. Called again, it goes on where it ended.
    ///
    /// Every layer is put into training mode first; a callback may take some of it back
    /// ([`on_train_start`](super::Callback::on_train_start)). It stays in that mode: before predicting, call
    /// `set_training(false)` on the model.
    ///
    /// # Errors
    /// - Before anything is trained: [`Error::Io`] if the run's directory cannot be written, [`Error::Argument`]
    ///   if a run is in it that is not to be resumed, or if a setting makes no sense, [`Error::Resume`] if the
    ///   checkpoint is another run's, [`Error::Checkpoint`] if there are only damaged ones.
    /// - [`Error::Data`] if a batch cannot be loaded, [`Error::Step`] if the model, the loss or the optimizer
    ///   fails (a parameter without a gradient, say), [`Error::NotFinite`] if the run diverges, [`Error::Io`] if
    ///   something cannot be saved. Checkpoints from before are untouched, and can be resumed.
    pub fn fit(
        &mut self,
        train: &dyn Loader<Batch = B>,
        valid: Option<&dyn Loader<Batch = B>>,
    ) -> Result<Report> {
        self.check(train, valid.is_some())?;
        let identity = Identity::new(self.settings.seed, self.settings.accumulate, train);
        match &self.identity {
            None => self.begin(identity)?,
            Some(begun) => {
                if let Some(difference) = identity.difference(begun) {
                    return Err(Error::argument("Trainer::fit", difference));
                }
            }
        }
        self.model.set_training(true);
        let outcome = self.epochs(train, valid)?;
        self.end(outcome)
    }

    /// Refuses what cannot work, before anything is touched.
    fn check(&self, train: &dyn Loader<Batch = B>, validates: bool) -> Result<()> {
        let refuse = |message: String| Err(Error::argument("Trainer::fit", message));
        if train.batches_per_epoch() == 0 {
            let (samples, batch) = (train.samples_per_epoch(), train.batch_size());
            return refuse(format!(
                "there are no batches to train on ({samples} samples, batch size {batch})"
            ));
        }
        if let Some((name, _)) = &self.settings.monitor
            && !validates
            && name.starts_with(&format!("{}_", self.settings.valid_name))
        {
            return refuse(format!("`{name}` is to be monitored, but there is no validation data"));
        }
        Ok(())
    }

    /// Opens the run's directory, resumes if asked to, and seeds.
    fn begin(&mut self, identity: Identity) -> Result<()> {
        if let Some(dir) = &self.settings.dir {
            let mut output = Output::create(dir, self.settings.keep)?;
            if self.settings.resume {
                self.resume(&mut output, &identity)?;
            } else if output.is_used()? {
                let message = format!(
                    "there is a run in {} already; resume it, remove it or choose another directory",
                    output.dir.display()
                );
                return Err(Error::argument("Trainer::fit", message));
            }
            output.begin(self.state.step)?;
            self.output = Some(output);
        }
        if let Some(dtype) = self.settings.autocast.filter(|dtype| !self.device.accelerates(*dtype)) {
            (self.warn)(&format!(
                "autocast to {dtype} saves memory but no time here: {} computes no faster in {dtype} than in f32",
                self.device.name()
            ));
        }
        if self.state.rng.is_none() {
            if let Some(seed) = self.settings.seed {
                rng::manual_seed(seed);
            }
            self.state.keep_rng();
        }
        self.identity = Some(identity);
        Ok(())
    }

    fn epochs(
        &mut self,
        train: &dyn Loader<Batch = B>,
        valid: Option<&dyn Loader<Batch = B>>,
    ) -> Result<Outcome> {
        let mut flow = self.each_callback(None, |callback, run| callback.on_train_start(run))?;
        self.state.restore_rng();
        loop {
            if self.state.scores.exhausted(self.settings.stopping) {
                return Ok(Outcome::EarlyStopped);
            }
            if self.state.epoch >= self.settings.epochs {
                return Ok(Outcome::Completed);
            }
            if flow == Flow::Stop {
                return Ok(Outcome::Stopped);
            }
            if self.settings.stop.is_requested() {
                return Ok(Outcome::Interrupted);
            }
            match self.epoch(train, valid)? {
                Ok(next) => flow = next,
                Err(outcome) => {
                    self.save(false)?;
                    return Ok(outcome);
                }
            }
        }
    }

    /// One epoch, or what is left of it. The inner error is for an epoch that was not finished.
    fn epoch(
        &mut self,
        train: &dyn Loader<Batch = B>,
        valid: Option<&dyn Loader<Batch = B>>,
    ) -> Result<Result<Flow, Outcome>> {
        let resumed = self.state.next_batch > 0;
        if self.each_callback(None, |callback, run| callback.on_epoch_start(run))? == Flow::Stop {
            return Ok(Err(Outcome::Stopped));
        }
        if resumed {
            self.state.restore_rng();
        }
        let speed = match self.train_epoch(train)? {
            Ok(speed) => speed,
            Err(outcome) => return Ok(Err(outcome)),
        };
        let evaluated = match valid {
            None => None,
            Some(valid) => {
                let flag = self.settings.stop.clone();
                match self.measure(valid, &mut || flag.is_requested())? {
                    Some(sums) => Some(sums),
                    None => return Ok(Err(Outcome::Interrupted)),
                }
            }
        };
        let report = self.report(evaluated, speed);
        let improved_by = self.monitored(&report, valid.is_some())?;
        let flow = self.each_callback(Some(&report), |callback, run| callback.on_epoch_end(run))?;
        self.close_epoch(report, improved_by, flow)?;
        Ok(Ok(flow))
    }

    /// What was measured in the epoch that is ending.
    fn report(&self, evaluated: Option<Sums>, speed: Speed) -> EpochReport {
        let named = |prefix: &str, sums: &Sums| -> Vec<Value> {
            let values = sums.values().into_iter();
            values.map(|(name, value)| Value { name: format!("{prefix}_{name}"), value }).collect()
        };
        let mut values = named("train", &self.state.sums);
        if let Some(sums) = &evaluated {
            values.extend(named(&self.settings.valid_name, sums));
        }
        values.push(Value { name: "learning_rate".into(), value: self.drive.optimizer.learning_rate() });
        values.extend(self.drive.scaling().map(|(name, value)| Value { name: name.into(), value }));
        EpochReport {
            epoch: self.state.epoch + 1,
            step: self.state.step,
            values,
            samples_per_second: speed.samples_per_second(),
        }
    }

    /// The monitored value of an epoch, and which way it gets better.
    fn monitored(&self, report: &EpochReport, validates: bool) -> Result<(f64, Goal)> {
        let set = if validates { self.settings.valid_name.as_str() } else { "train" };
        let default = (format!("{set}_loss"), Goal::Min);
        let (name, goal) = self.settings.monitor.as_ref().unwrap_or(&default);
        match report.value(name) {
            Some(value) => Ok((value, *goal)),
            None => Err(no_such_value(name, report.values().map(|(name, _)| name.to_owned()))),
        }
    }

    /// Refuses to monitor what is not measured. Called after the first step, which says what is.
    pub(super) fn check_monitor(&self) -> Result<()> {
        let Some((name, _)) = &self.settings.monitor else { return Ok(()) };
        let sets = ["train", &self.settings.valid_name];
        let measured = self.state.sums.values();
        let names = || {
            let of = |set: &str| measured.iter().map(|(name, _)| format!("{set}_{name}")).collect::<Vec<_>>();
            let scaling = self.drive.scaling().map(|(name, _)| name.to_owned());
            sets.into_iter().flat_map(of).chain(["learning_rate".to_owned()]).chain(scaling)
        };
        if names().any(|known| known == *name) { Ok(()) } else { Err(no_such_value(name, names())) }
    }

    /// Ends an epoch: what was measured is kept, and a checkpoint saved if one is due.
    fn close_epoch(&mut self, report: EpochReport, (value, goal): (f64, Goal), flow: Flow) -> Result<()> {
        let stopping = self.settings.stopping;
        let min_delta = stopping.map_or(0.0, |s| s.min_delta);
        let improved = self.state.scores.take(report.epoch, value, goal, min_delta);
        self.state.history.push(report.clone());
        self.state.epoch += 1;
        self.state.next_batch = 0;
        self.state.sums = Sums::default();
        self.state.keep_rng();
        if let Some(output) = &mut self.output {
            output.epoch(&report)?;
        }
        let last = self.state.epoch >= self.settings.epochs
            || self.state.scores.exhausted(stopping)
            || flow == Flow::Stop
            || self.settings.stop.is_requested();
        let due = self.settings.every_epochs.is_some_and(|n| self.state.epoch.is_multiple_of(n));
        if improved || last || due {
            self.save(improved)?;
        }
        if improved && self.output.is_none() && stopping.is_some_and(|s| s.restore_best) {
            self.best_model = Some(self.model.state_dict());
        }
        Ok(())
    }

    fn end(&mut self, outcome: Outcome) -> Result<Report> {
        let finished = matches!(outcome, Outcome::Completed | Outcome::EarlyStopped);
        if finished && self.settings.stopping.is_some_and(|s| s.restore_best) {
            self.restore_best()?;
        }
        let _ = self.each_callback(None, |callback, run| {
            callback.on_train_end(run)?;
            Ok(Flow::Continue)
        })?;
        Ok(Report {
            outcome,
            steps: self.state.step,
            skipped_steps: self.drive.scaler.as_ref().map_or(0, |scaler| scaler.skipped_steps()),
            epochs: self.state.history.clone(),
            best: self.state.scores.best,
            dir: self.output.as_ref().map(|output| output.dir.clone()),
            checkpoint: self.output.as_ref().and_then(|output| output.last.clone()),
        })
    }
}

fn no_such_value(name: &str, names: impl Iterator<Item = String>) -> Error {
    let names: Vec<_> = names.collect();
    let message = format!("there is no value `{name}` to monitor; there are {}", names.join(", "));
    Error::argument("Trainer::monitor", message)
}
