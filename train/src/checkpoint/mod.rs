//! One file that holds everything a run needs to go on, and that is whole or refused.
//!
//! A checkpoint is a list of named sections of bytes: the model and the optimizer as safetensors, the
//! rest of the training state as JSON. What the bytes mean is the writer's affair; this module answers
//! for their integrity:
//!
//! - **Nothing partial under a final name.** [`CheckpointWriter::save`] writes a temporary file,
//!   synchronizes it and renames it ([`atomic`](gradus_tensor_core::io::atomic)). A full disk, a kill or a power cut leaves what
//!   was there before.
//! - **Nothing damaged is read.** [`Checkpoint::open`] verifies every byte before it returns, and says
//!   in [`Damage`] whether the file is cut, changed (and in which section), newer than this program, or
//!   not a checkpoint at all.
//! - **There is one to fall back to.** [`CheckpointDir`] keeps the newest few and the best one;
//!   [`CheckpointDir::latest`] passes over damaged files and says which.
//!
//! # The format, version 1
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | magic `\x89GRADUS\n` (the first byte is not ASCII and the last one is a line feed, so transfers in text mode show) |
//! | 4 | version |
//! | 4 | length of the header |
//! | 8 | length of the file: a cut file is known as such whatever its last bytes are |
//! | 4 | CRC-32C of the header |
//! | 4 | CRC-32C of the 28 bytes above |
//! | … | header: JSON with the step and, for each section, name, offset, length and CRC-32C |
//! | … | the sections, in the header's order, without gaps |
//! | 4 | CRC-32C of everything above |
//!
//! Numbers are little-endian. The first 32 bytes keep their meaning in every later version, so an old
//! program can tell a newer file from a damaged one. Unknown keys of the header are ignored.
//!
//! ```
//! use gradus_train::checkpoint::{Checkpoint, CheckpointWriter};
//! # let dir = tempfile::tempdir().unwrap();
//! let path = dir.path().join("run.ckpt");
//! CheckpointWriter::new(940).section("model", b"weights".as_slice()).json("trainer", &("epoch", 10))?.save(&path)?;
//!
//! let mut checkpoint = Checkpoint::open(&path)?;
//! assert_eq!(checkpoint.step(), 940);
//! assert_eq!(checkpoint.section("model")?, b"weights");
//! assert_eq!(checkpoint.json::<(String, u32)>("trainer")?, ("epoch".into(), 10));
//! # Ok::<(), gradus_train::Error>(())
//! ```

mod damage;
mod dir;
mod format;
mod reader;
mod writer;

pub use damage::Damage;
pub use dir::{CheckpointDir, Latest};
pub use format::VERSION;
pub use reader::Checkpoint;
pub use writer::CheckpointWriter;

#[cfg(test)]
mod tests;
