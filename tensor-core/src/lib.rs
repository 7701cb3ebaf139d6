//! Tensors, ops as data, and the trait that executes them.
//!
//! **An op is data. A backend is what executes ops. A capability is a backend around a backend.**
//!
//! [`Op`] is a value that says what to compute: it checks its operands, knows its cost and, unless it is a
//! primitive, how to compute itself from simpler ops. [`Backend`] executes ops on memory of its own; about
//! fifteen primitives make a complete one. [`Device`] is a backend with its type erased, so [`Tensor`], models
//! and optimizers have no type parameters and choose where to run at run time. Autograd, profiling, mixed
//! precision and tracing are backends built around another device: they see every op as a value and pass it on.
//!
//! A [`Tensor`] is a buffer on a device read through a [`Layout`]. Views (reshape, permute, narrow, expand, …)
//! only change the layout; no backend implements one. Tensors are values: changing one in place never shows
//! in another.
//!
//! This crate holds no kernels. Pair it with a backend:
//!
//! ```
//! use gradus_tensor_core::{Result, Tensor};
//! # fn main() -> Result<()> {
//! let device = gradus_backend_cpu::Cpu::device();
//! let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2], &device)?;
//! let y = (&x * &x.t()?)?.sum(1)?;
//! assert_eq!(y.to_vec::<f32>()?, [7.0, 22.0]);
//! # Ok(()) }
//! ```
//!
//! Features: `safetensors` and `npy` add readers and writers of those formats.
#![forbid(unsafe_code)]

mod backend;
mod buffers;
mod device;
mod dtype;
mod error;
mod few;
mod host;
#[cfg(any(feature = "safetensors", feature = "npy"))]
pub mod io;
mod layout;
pub mod op;
pub mod rng;
mod scalar;
mod shape;
mod storage;
mod tensor;

pub use backend::{Backend, DTypes, MemoryStats, Outcome, View, ViewMut};
pub use buffers::Buffers;
pub use device::{Device, Tensors};
pub use dtype::{Category, DType, Element};
pub use error::{Error, Meta, OpError, Result};
pub use few::Few;
#[doc(hidden)]
pub use half;
pub use host::{HostArray, HostData, HostElement};
pub use layout::{Layout, Positions, Runs};
pub use op::{BinaryOp, CompareOp, InPlaceOp, Metas, Op, ReduceKind, UnaryOp};
pub use scalar::Scalar;
pub use shape::{Axis, AxisSet, IntoAxes, IntoShape, MAX_RANK, Shape};
pub use storage::{Storage, Storages};
pub use tensor::{AttentionOptions, ConvOptions, Operand, PoolOptions, ReshapeDims, Tensor};
