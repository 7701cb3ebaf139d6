//! The training loop, and everything around it: progress, metrics, checkpoints, TensorBoard events and pictures.
//!
//! A training loop is short. What surrounds it decides whether a run of a week is worth something: that it
//! goes on after a power cut, that it says what it did, and that its files are what they claim to be. Each
//! module here is one of those things, and none needs another to be of use:
//!
//! | module | what |
//! | --- | --- |
//! | [`trainer`] | the loop: a [`Trainer`] fits a model to data, and goes on where it was stopped |
//! | [`checkpoint`] | one file with everything a run needs to go on; whole, or refused |
//! | [`metrics`] | averages, accuracy, confusion, and `metrics.csv` |
//! | [`tensorboard`] | event files that TensorBoard opens |
//! | [`plot`] | curves and sheets of images as PNG |
//! | [`progress`] | a bar for each epoch |
//! | [`table`] | plain-text tables |
//! | [`interrupt`] | Ctrl-C: stop in good order, or at once |
//!
//! # What holds for a run's directory
//!
//! A run can end at any moment: it finishes, it is interrupted, it is killed, the disk is full. Three kinds of
//! files outlive that, each in its own way:
//!
//! - Files that are replaced (checkpoints, pictures) are written under another name and renamed
//!   ([`atomic`](gradus_tensor_core::io::atomic)): a reader finds the old one or the new one.
//! - Files that grow by rows (`metrics.csv`) may lack a part of their last row. When the run is resumed, that
//!   part, and the rows after the step it resumes from, are removed: a resumed run's file is an uninterrupted
//!   run's file.
//! - Event files are never changed. A resumed run writes another one, which voids the later steps of those
//!   before it.
//!
//! # Errors
//!
//! Every error is an [`Error`] that names the file. A failure to write is an error and not a warning: a run
//! that cannot save should not go on for a week.
#![forbid(unsafe_code)]

pub mod checkpoint;
mod error;
mod float;
pub mod interrupt;
pub mod metrics;
pub mod plot;
pub mod progress;
pub mod table;
pub mod tensorboard;
pub mod trainer;

pub use error::{Error, Result};
pub use trainer::Trainer;
