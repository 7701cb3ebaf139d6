//! What came of a run.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where in a run something happened. Counts start at 1 when shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The batch within the epoch, from 0.
    pub batch: usize,
    /// Optimizer steps done before.
    pub step: u64,
    /// Whether it happened while evaluating.
    pub evaluating: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.evaluating { "evaluation batch" } else { "batch" };
        let (epoch, batch) = (self.epoch.saturating_add(1), self.batch.saturating_add(1));
        if self.evaluating {
            write!(f, "epoch {epoch}, {what} {batch} (after optimizer step {})", self.step)
        } else {
            write!(f, "epoch {epoch}, {what} {batch} (optimizer step {})", self.step.saturating_add(1))
        }
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// All epochs are done.
    Completed,
    /// The monitored value has not improved for too long.
    EarlyStopped,
    /// Its stop flag was raised. It is saved and can be resumed.
    Interrupted,
    /// A callback asked it to stop. It is saved and can be resumed.
    Stopped,
}

/// One value of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Value {
    pub name: String,
    #[serde(with = "crate::float")]
    pub value: f64,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Its number, from 1.
    pub epoch: u64,
    /// Optimizer steps done at its end.
    pub step: u64,
    pub(super) values: Vec<Value>,
    /// Training samples per second, without evaluation; in an epoch that was resumed, of its last part.
    #[serde(with = "crate::float")]
    pub samples_per_second: f64,
}

impl EpochReport {
    /// What was measured, by name: `train_loss`, `valid_loss`, `train_accuracy`, ..., `learning_rate`, and with a
    /// [`GradScaler`](gradus_optim::GradScaler) `loss_scale` and the run's `skipped_steps` so far.
    pub fn values(&self) -> impl Iterator<Item = (&str, f64)> {
        self.values.iter().map(|v| (v.name.as_str(), v.value))
    }

    /// One of the [`values`](Self::values).
    pub fn value(&self, name: &str) -> Option<f64> {
        self.values().find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}

/// The epoch that scored best.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Its number, from 1.
    pub epoch: u64,
    /// The monitored value.
    #[serde(with = "crate::float")]
    pub value: f64,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Why it ended.
    pub outcome: Outcome,
    /// Optimizer steps done, those before it was resumed included.
    pub steps: u64,
    /// How many of them changed nothing, because a gradient was infinite at the loss's scale.
    pub skipped_steps: u64,
    /// Every epoch that was finished, those before it was resumed included.
    pub epochs: Vec<EpochReport>,
    /// The epoch that scored best.
    pub best: Option<Best>,
    /// The run's directory.
    pub dir: Option<PathBuf>,
    /// The newest checkpoint.
    pub checkpoint: Option<PathBuf>,
}

/// What an evaluation found.
#[derive(Clone, Debug)]
pub struct Evaluation {
    pub(super) values: Vec<Value>,
    /// The number of samples.
    pub samples: u64,
}

impl Evaluation {
    /// The mean loss over all samples.
    pub fn loss(&self) -> Option<f64> {
        self.value("loss")
    }

    /// What was measured, by name: `loss`, `accuracy`, ...
    pub fn values(&self) -> impl Iterator<Item = (&str, f64)> {
        self.values.iter().map(|v| (v.name.as_str(), v.value))
    }

    /// One of the [`values`](Self::values).
    pub fn value(&self, name: &str) -> Option<f64> {
        self.values().find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}
