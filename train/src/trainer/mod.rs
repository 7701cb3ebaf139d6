//! The training loop, and what makes a run one that can be stopped anywhere.
//!
//! ```
//! use gradus_data::{DataLoader, Dataset, InMemory, Sample};
//! use gradus_nn::{Dropout, Linear, Relu, Sequential, loss};
//! use gradus_optim::{AdamW, OneCycle};
//! use gradus_train::Trainer;
//! use gradus_train::trainer::{EarlyStopping, Goal, Outcome};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runs = tempfile::tempdir()?;
//! // Points in a square; the class says in which half they are.
//! let point = |i: i64| vec![(i * 37 % 101) as f32 / 50.0 - 1.0, (i * 53 % 97) as f32 / 48.0 - 1.0];
//! let samples: Vec<_> = (0..300).map(|i| Sample { target: i64::from(point(i)[0] > 0.0), input: point(i) }).collect();
//! let (train, test) = samples.split_at(240);
//! let train = DataLoader::builder(InMemory::new(train)).batch_size(16).shuffle().seed(1).workers(2).build()?;
//! let test = DataLoader::builder(InMemory::new(test)).batch_size(60).build()?;
//!
//! let device = gradus_backend_cpu::Cpu::device();
//! let model = Sequential::new()
//!     .then(Linear::new(2, 16).init(&device)?)
//!     .then(Relu)
//!     .then(Dropout::new(0.1)?)
//!     .then(Linear::new(16, 2).init(&device)?);
//!
//! let epochs = 6;
//! let steps = epochs * train.batches_per_epoch() as u64;
//! let mut trainer = Trainer::builder(model, loss::cross_entropy)
//!     .optimizer(AdamW::new(0.01))
//!     .schedule(OneCycle::new(0.05, steps))
//!     .clip_grad_norm(1.0)
//!     .epochs(epochs)
//!     .seed(42)
//!     .accuracy()
//!     .monitor("valid_accuracy", Goal::Max)
//!     .early_stopping(EarlyStopping::patience(4).restore_best())
//!     .run_dir(runs.path().join("points"))
//!     .resume(true)
//!     .build()?;
//! let report = trainer.fit(&train, Some(&test))?;
//!
//! assert!(matches!(report.outcome, Outcome::Completed | Outcome::EarlyStopped));
//! assert!(report.best.unwrap().value > 0.8);
//! assert!(trainer.evaluate(&test)?.value("accuracy").unwrap() > 0.8);
//! # Ok(())
//! # }
//! ```
//!
//! A model with another signature, batches of another kind, or a loss of several parts are written as a function
//! from model and batch to [`StepOutput`]: [`Trainer::with_step`].
//!
//! # What a resumed run promises
//!
//! **The same weights, to the bit, as if it had never been stopped.** Wherever it was stopped (at the end of an
//! epoch, in its middle, by Ctrl-C, by `kill -9`), it goes on from its newest checkpoint with the same
//! parameters and buffers, optimizer state, learning rates, batches, dropout masks, sums of the epoch's metrics,
//! best score and early-stopping count. Two ideas make that small enough to be right:
//!
//! - **A run's state changes only between optimizer steps.** A group of accumulated batches is never saved half:
//!   it is done again.
//! - **What can be computed is not saved.** A batch is a pure function of (seed, epoch, number), a learning rate of
//!   the step, a dropout mask of (seed, stream). So a few numbers are enough, and nothing is replayed.
//!
//! A checkpoint belongs to its run: if the number of samples, the batch size, a seed, or a parameter's name, shape
//! or dtype differs, it is refused with a message that says what was and what is. The learning rate, the number of
//! epochs and whatever callbacks do may be changed. What is frozen is not saved: freeze before, or in a callback.
//!
//! # A run's directory
//!
//! | file | what |
//! | --- | --- |
//! | `checkpoints/step-000000940.ckpt` | the newest few: sections `model` and `optimizer` (safetensors), `trainer` (JSON), and those of callbacks |
//! | `checkpoints/best.ckpt` | the one whose monitored value was best |
//! | `metrics.csv` | a row for each epoch; a resumed run's file is an uninterrupted run's file |
//! | `tensorboard/` | event files: each step's loss and learning rate, each epoch's values |
//!
//! # When a run ends with an error
//!
//! The checkpoints that it had saved are whole and stay. A model that holds a NaN is never saved: a diverged run
//! ends with [`Error::NotFinite`](crate::Error::NotFinite), which names the newest checkpoint to go on from.

mod builder;
mod callback;
mod callbacks;
mod drive;
mod epoch;
mod evaluate;
mod fit;
mod group;
mod loader;
mod monitor;
mod output;
mod report;
mod snapshot;
mod state;
mod step;
mod sums;

use std::path::PathBuf;

use gradus_data::Batch;
use gradus_nn::StateDict;
use gradus_tensor_core::{DType, Device};

pub use builder::TrainerBuilder;
pub use callback::{Callback, EpochTable, Flow, Run};
pub use loader::{BoxedBatches, Loader};
pub use monitor::{EarlyStopping, Goal};
pub use report::{Best, EpochReport, Evaluation, Outcome, Place, Report};
pub use step::{StepOutput, accuracy};

use crate::interrupt::StopFlag;
use crate::progress::Progress;
use drive::Drive;
use output::Output;
use state::{Identity, State};
use step::{Metric, Step};

/// Trains a model. See [the module](self) for what holds, and [`TrainerBuilder`] for what can be set.
pub struct Trainer<M, B = Batch> {
    model: M,
    step: Step<M, B>,
    device: Device,
    /// Where batches are uploaded to: the device, or mixed precision around it.
    compute: Device,
    settings: Settings,
    drive: Drive,
    metrics: Vec<(String, Metric)>,
    callbacks: Vec<Box<dyn Callback<M>>>,
    warn: Box<dyn FnMut(&str)>,
    /// Of the run that has begun.
    identity: Option<Identity>,
    state: State,
    last: Last,
    output: Option<Output>,
    /// The weights of the best epoch, for a run without a directory.
    best_model: Option<StateDict>,
}

/// What is set once, and is not part of a run's state.
#[derive(Debug)]
struct Settings {
    epochs: u64,
    accumulate: usize,
    autocast: Option<DType>,
    seed: Option<u64>,
    monitor: Option<(String, Goal)>,
    stopping: Option<EarlyStopping>,
    valid_name: String,
    dir: Option<PathBuf>,
    resume: bool,
    keep: usize,
    every_epochs: Option<u64>,
    every_steps: Option<u64>,
    stop: StopFlag,
    progress: Progress,
    detect_anomaly: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 1,
            accumulate: 1,
            autocast: None,
            seed: None,
            monitor: None,
            stopping: None,
            valid_name: "valid".into(),
            dir: None,
            resume: false,
            keep: 2,
            every_epochs: Some(1),
            every_steps: None,
            stop: StopFlag::new(),
            progress: Progress::hidden(),
            detect_anomaly: false,
        }
    }
}

/// What callbacks are told of the last step.
#[derive(Debug, Default)]
struct Last {
    loss: Option<f64>,
    gradient_norm: Option<f64>,
}

impl<M, B> Trainer<M, B> {
    /// The model.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The model, to be changed.
    pub fn model_mut(&mut self) -> &mut M {
        &mut self.model
    }

    /// The model alone.
    pub fn into_model(self) -> M {
        self.model
    }

    /// Where the model is trained.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Optimizer steps done.
    pub fn steps(&self) -> u64 {
        self.state.step
    }
}

impl<M, B> std::fmt::Debug for Trainer<M, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer")
            .field("device", &self.device)
            .field("settings", &self.settings)
            .field("epoch", &self.state.epoch)
            .field("step", &self.state.step)
            .finish_non_exhaustive()
    }
}
