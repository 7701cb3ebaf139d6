#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub use gradus_tensor_core::{
    AttentionOptions, BinaryOp, CompareOp, ConvOptions, DType, Device, Element, Error, HostArray, Layout,
    MemoryStats, Meta, Op, PoolOptions, Result, Scalar, Shape, Tensor, UnaryOp, op, rng,
};

/// Ops as data, the [`Backend`](gradus_tensor_core::Backend) trait, layouts: what backends are written against.
pub use gradus_tensor_core as tensor_core;

/// Gradients: leaves, backward passes, custom functions, checkpoints, derivatives of functions.
pub use gradus_autograd as autograd;

/// The CPU backend.
#[cfg(feature = "cpu")]
pub use gradus_backend_cpu as backend_cpu;

/// Data sets, samplers, loaders, transforms and formats.
#[cfg(feature = "data")]
pub use gradus_data as data;

/// Parameters, modules, layers, losses, initialization and models.
pub use gradus_nn as nn;

/// Optimizers, schedules, clipping, mixed precision.
pub use gradus_optim as optim;

/// Quantization after training: layers whose weights take 8 bits.
#[cfg(feature = "quant")]
pub use gradus_quant as quant;

/// The trainer, its callbacks, metrics, checkpoints and reports.
#[cfg(feature = "train")]
pub use gradus_train as train;

pub mod prelude {
    //! What a training program needs: `use gradus::prelude::*;`

    pub use gradus_autograd::{Autograd, Gradients, no_grad};
    #[cfg(feature = "cpu")]
    pub use gradus_backend_cpu::Cpu;
    pub use gradus_nn::{Module, Parameters, loss};
    pub use gradus_optim::{MixedPrecision, Optimizer};
    pub use gradus_tensor_core::{DType, Device, Result, Tensor};
}
