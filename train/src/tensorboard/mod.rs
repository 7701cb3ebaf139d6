//! Event files that TensorBoard opens.
//!
//! An event file is a TFRecord file of protobuf `Event` messages. Both are small enough to have here
//! ([`record`] and `proto`), so nothing of TensorFlow is needed to write them.
//!
//! A resumed run writes a new file beside the old one, begun with [`EventWriter::resume`]: TensorBoard
//! then drops what earlier files say of later steps, and the curves do not overlap.
//!
//! ```
//! use gradus_train::tensorboard::EventWriter;
//! # let run = tempfile::tempdir().unwrap();
//! let mut events = EventWriter::create(run.path())?;
//! for step in 0..100 {
//!     events.scalar("loss/train", step, 1.0 / (step + 1) as f64)?;
//! }
//! events.histogram("weights/fc1", 99, [0.1, -0.2, 0.05])?;
//! events.text("configuration", 0, "`lr = 0.1`, batch 128")?;
//! events.flush()?;
//! # Ok::<(), gradus_train::Error>(())
//! ```
//!
//! Then `tensorboard --logdir <the directory>`.

mod histogram;
mod proto;
pub mod record;
mod writer;

pub use writer::EventWriter;
