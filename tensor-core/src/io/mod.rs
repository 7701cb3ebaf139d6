//! Readers and writers of outside formats, each a feature of its own, and what they write with.
//!
//! | module | feature | for |
//! | --- | --- | --- |
//! | [`atomic`] | | files that are never partial |
//! | `safetensors` | `safetensors` | named tensors: weights, state dicts, PyTorch's and ours |
//! | `npy` | `npy` | NumPy arrays: `.npy` (one) and `.npz` (named) |
//!
//! Files are written whole or not at all: under a temporary name in the same directory, synchronized to the
//! disk, then renamed. Readers take nothing on trust: a file that is truncated, or whose header lies, is an
//! [`Error::Format`](crate::Error::Format) that names the file, before memory is reserved for what it claims.

pub mod atomic;
mod bytes;
#[cfg(feature = "npy")]
pub mod npy;
#[cfg(feature = "safetensors")]
pub mod safetensors;
