//! Trainer, callbacks, metrics, checkpoints, TensorBoard events and reports.
#![forbid(unsafe_code)]

pub mod atomic;
pub mod checkpoint;
mod error;
pub mod metrics;
pub mod plot;
pub mod table;
pub mod tensorboard;

pub use error::{Error, Result};
