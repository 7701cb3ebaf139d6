//! Describing a trainer.

use std::io::Write;
use std::path::PathBuf;

use gradus_data::Batch;
use gradus_nn::{Module, Parameters};
use gradus_optim::{Autocast, GradScaler, Optimizer, Schedule};
use gradus_tensor_core::{DType, Device, Tensor};

use super::callback::{AfterStep, OnEpochEnd};
use super::drive::Drive;
use super::state::State;
use super::step::{Metric, Step, StepOutput, accuracy, supervised};
use super::{Callback, EarlyStopping, Flow, Goal, Last, Run, Settings, Trainer};
use crate::interrupt::StopFlag;
use crate::metrics::Average;
use crate::progress::Progress;
use crate::{Error, Result};

type TensorResult<T> = gradus_tensor_core::Result<T>;

/// Describes a [`Trainer`]. Made by [`Trainer::builder`] and [`Trainer::with_step`].
#[must_use = "call `build`"]
pub struct TrainerBuilder<M, B = Batch> {
    model: M,
    step: Step<M, B>,
    device: Option<Device>,
    optimizer: Option<Box<dyn Optimizer>>,
    schedule: Option<Box<dyn Schedule>>,
    clip: Option<f64>,
    scaler: Option<GradScaler>,
    metrics: Vec<(String, Metric)>,
    callbacks: Vec<Box<dyn Callback<M>>>,
    warn: Box<dyn FnMut(&str)>,
    settings: Settings,
}

impl<M: Module> Trainer<M> {
    /// Trains a model from one tensor to one tensor on batches of inputs and targets. The loss is a function of
    /// predictions and targets, such as [`cross_entropy`](gradus_nn::loss::cross_entropy), and is a mean over
    /// samples.
    pub fn builder(
        model: M,
        loss: impl Fn(&Tensor, &Tensor) -> TensorResult<Tensor> + 'static,
    ) -> TrainerBuilder<M> {
        TrainerBuilder::new(model, supervised(loss))
    }
}

impl<M: Parameters, B> Trainer<M, B> {
    /// Trains any tree of parameters on any batches: `step` computes the loss of a batch, whose arrays it uploads
    /// to the device it is given.
    pub fn with_step(
        model: M,
        step: impl Fn(&M, &B, &Device) -> TensorResult<StepOutput> + 'static,
    ) -> TrainerBuilder<M, B> {
        TrainerBuilder::new(model, Box::new(step))
    }
}

impl<M: Parameters, B> TrainerBuilder<M, B> {
    fn new(model: M, step: Step<M, B>) -> Self {
        Self {
            model,
            step,
            device: None,
            optimizer: None,
            schedule: None,
            clip: None,
            scaler: None,
            metrics: Vec::new(),
            callbacks: Vec::new(),
            // A closed stderr is no reason to end a run.
            warn: Box::new(|warning| {
                let _ = writeln!(std::io::stderr(), "warning: {warning}");
            }),
            settings: Settings::default(),
        }
    }

    /// What changes the parameters. There is no default.
    pub fn optimizer(mut self, optimizer: impl Optimizer + 'static) -> Self {
        self.optimizer = Some(Box::new(optimizer));
        self
    }

    /// The learning rate of each optimizer step, counted from 0. Without one, the optimizer keeps its own.
    pub fn schedule(mut self, schedule: impl Schedule + 'static) -> Self {
        self.schedule = Some(Box::new(schedule));
        self
    }

    /// The number of epochs, by default 1.
    pub fn epochs(mut self, epochs: u64) -> Self {
        self.settings.epochs = epochs;
        self
    }

    /// Scales gradients down so that their norm, over all parameters together, is at most this.
    pub fn clip_grad_norm(mut self, norm: f64) -> Self {
        self.clip = Some(norm);
        self
    }

    /// Computes in mixed precision: batches are uploaded to a device that casts
    /// ([`gradus_optim::autocast`]), parameters stay as they are. With `f16` the loss is scaled by a
    /// [`GradScaler`]. Warns if the device does not compute faster that way.
    pub fn autocast(mut self, dtype: DType) -> Self {
        self.settings.autocast = Some(dtype);
        self
    }

    /// Scales losses by this one: for `f16`, where PyTorch's defaults do not suit. A step whose gradients are not
    /// finite is skipped; it counts as a step for schedules, and as `skipped_steps` of its epoch. Too many in a row
    /// are an error.
    pub fn grad_scaler(mut self, scaler: GradScaler) -> Self {
        self.scaler = Some(scaler);
        self
    }

    /// Takes an optimizer step for each `batches` batches, by the mean gradient over all their samples. The last
    /// batches of an epoch, fewer than that perhaps, make a step of their own.
    pub fn accumulate(mut self, batches: usize) -> Self {
        self.settings.accumulate = batches.max(1);
        self
    }

    /// Where to train: the model is moved there. By default, wherever it is.
    pub fn device(mut self, device: &Device) -> Self {
        self.device = Some(device.clone());
        self
    }

    /// Seeds the calling thread's ambient generator, which dropout draws from, when training begins. The order
    /// of samples follows the loader's seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// Measures [`accuracy`], as `train_accuracy` and `valid_accuracy`.
    pub fn accuracy(self) -> Self {
        self.metric("accuracy", accuracy)
    }

    /// Measures something of predictions and targets, for each batch; the epoch's value is the average by
    /// samples.
    pub fn metric(
        mut self,
        name: impl Into<String>,
        metric: impl Fn(&Tensor, &Tensor) -> TensorResult<Average> + 'static,
    ) -> Self {
        self.metrics.push((name.into(), Box::new(metric)));
        self
    }

    /// Which value says which epoch was best, such as `("valid_accuracy", Goal::Max)`. By default the validation
    /// loss, or the training loss if there is no validation data.
    pub fn monitor(mut self, name: impl Into<String>, goal: Goal) -> Self {
        self.settings.monitor = Some((name.into(), goal));
        self
    }

    /// Ends the run when the [monitored](Self::monitor) value no longer improves.
    pub fn early_stopping(mut self, stopping: EarlyStopping) -> Self {
        self.settings.stopping = Some(stopping);
        self
    }

    /// What names of values measured on validation data begin with, by default `valid`.
    pub fn validation_name(mut self, name: impl Into<String>) -> Self {
        self.settings.valid_name = name.into();
        self
    }

    /// Adds a callback. Callbacks are called in the order in which they were added.
    pub fn callback(mut self, callback: impl Callback<M> + 'static) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// Calls a function after each optimizer step.
    pub fn after_step(self, function: impl FnMut(&mut Run<'_, M>) -> Result<Flow> + 'static) -> Self {
        self.callback(AfterStep(function))
    }

    /// Calls a function at the end of each epoch.
    pub fn on_epoch_end(self, function: impl FnMut(&mut Run<'_, M>) -> Result<Flow> + 'static) -> Self {
        self.callback(OnEpochEnd(function))
    }

    /// Shows progress, such as [`Progress::auto`]. By default nothing is shown.
    pub fn progress(mut self, progress: Progress) -> Self {
        self.settings.progress = progress;
        self
    }

    /// The directory for checkpoints, `metrics.csv` and TensorBoard's events: see [the layout](super#a-runs-directory).
    /// By default nothing is saved.
    pub fn run_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.settings.dir = Some(dir.into());
        self
    }

    /// Whether to go on with the run in the directory, from its newest checkpoint that is whole. If there is none
    /// yet, the run begins. By default a directory that holds a run is refused.
    pub fn resume(mut self, resume: bool) -> Self {
        self.settings.resume = resume;
        self
    }

    /// How many of the newest checkpoints to keep, beside the best one; by default 2.
    pub fn keep_checkpoints(mut self, count: usize) -> Self {
        self.settings.keep = count;
        self
    }

    /// Saves a checkpoint after each `epochs` epochs (by default 1), or with `None` only at the end, when an epoch
    /// is the best so far, and as [`checkpoint_every_steps`](Self::checkpoint_every_steps) says.
    pub fn checkpoint_every_epochs(mut self, epochs: impl Into<Option<u64>>) -> Self {
        self.settings.every_epochs = epochs.into().map(|n| n.max(1));
        self
    }

    /// Also saves a checkpoint after each `steps` optimizer steps.
    pub fn checkpoint_every_steps(mut self, steps: u64) -> Self {
        self.settings.every_steps = Some(steps.max(1));
        self
    }

    /// A flag that ends the run in good order: the step under way is finished, a checkpoint is saved. For Ctrl-C:
    /// [`interrupt::install`](crate::interrupt::install).
    pub fn stop_flag(mut self, flag: &StopFlag) -> Self {
        self.settings.stop = flag.clone();
        self
    }

    /// Looks for the op that first makes a NaN or an infinity: [`gradus_autograd::detect_anomaly`]. Slow.
    pub fn detect_anomaly(mut self, detect: bool) -> Self {
        self.settings.detect_anomaly = detect;
        self
    }

    /// Takes warnings, such as of a damaged checkpoint. By default they are printed to stderr.
    pub fn on_warning(mut self, warn: impl FnMut(&str) + 'static) -> Self {
        self.warn = Box::new(warn);
        self
    }

    /// The trainer. Nothing is written before [`Trainer::fit`].
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no optimizer or nothing to train, [`Error::Tensor`] if the model cannot be
    /// moved to the device, or autocast's dtype is neither `f16` nor `bf16`.
    pub fn build(self) -> Result<Trainer<M, B>> {
        let refuse = |message: &str| Error::argument("Trainer::build", message);
        let Self {
            mut model,
            step,
            device,
            optimizer,
            schedule,
            clip,
            scaler,
            metrics,
            callbacks,
            warn,
            settings,
        } = self;
        let optimizer = optimizer
            .ok_or_else(|| refuse("there is no optimizer; call `optimizer`, as with AdamW::new(1e-3)"))?;
        let mut own = None;
        model.for_each_param(&mut |_, param| {
            own.get_or_insert_with(|| param.tensor().device().clone());
            Ok(())
        })?;
        let Some(own) = own else { return Err(refuse("the model has no parameters to train")) };
        let device = match device {
            Some(device) => {
                model.to_device(&device)?;
                device
            }
            None => own,
        };
        let compute = match settings.autocast {
            Some(dtype) => Autocast::device(&device, dtype)?,
            None => device.clone(),
        };
        let scaler = scaler.or_else(|| (settings.autocast == Some(DType::F16)).then(GradScaler::new));
        Ok(Trainer {
            model,
            step,
            device,
            compute,
            settings,
            drive: Drive { optimizer, schedule, clip, scaler },
            metrics,
            callbacks,
            warn,
            identity: None,
            state: State::default(),
            last: Last::default(),
            output: None,
            best_model: None,
        })
    }
}

impl<M, B> std::fmt::Debug for TrainerBuilder<M, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrainerBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
