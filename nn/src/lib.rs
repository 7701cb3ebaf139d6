//! Parameters, modules, layers, losses, initialization and state dicts.
//!
//! Two traits carry everything. [`Parameters`] is a tree of named parameters ([`Param`]), buffers ([`Buffer`])
//! and sub-modules, derived for a struct; optimizers, state dicts, freezing, moving to a device and switching
//! between training and evaluation are walks of that tree. [`Module`] adds a forward pass from one tensor to
//! one tensor; it is object safe, so a model can be put together, and taken apart, at run time.
//!
//! ```
//! use gradus_nn::{BatchNorm2d, Conv2d, Linear, MaxPool2d, Module, Parameters, Relu, Within, chain};
//! use gradus_tensor_core::{Device, Result, Tensor};
//!
//! #[derive(Parameters)]
//! struct Net {
//!     conv: Conv2d,
//!     norm: BatchNorm2d,
//!     pool: MaxPool2d,
//!     head: Linear,
//! }
//!
//! impl Net {
//!     fn new(device: &Device) -> Result<Self> {
//!         Ok(Net {
//!             conv: Conv2d::new(1, 8, 3).padding(1).bias(false).init(device)?,
//!             norm: BatchNorm2d::new(8).init(device)?,
//!             pool: MaxPool2d::new(2),
//!             head: Linear::new(8 * 14 * 14, 10).init(device)?,
//!         })
//!     }
//! }
//!
//! impl Module for Net {
//!     fn forward(&self, x: &Tensor) -> Result<Tensor> {
//!         let x = chain([("conv", &self.conv as &dyn Module), ("norm", &self.norm), ("relu", &Relu)], x)?;
//!         let x = self.pool.forward(&x).within("pool")?;
//!         self.head.forward(&x.flatten(1, -1)?).within("head")
//!     }
//! }
//! ```
//!
//! Names and weight layouts are PyTorch's (`layer1.0.conv1.weight`, `[out, in, kh, kw]`), and so are default
//! initializations and the definitions of losses: a PyTorch state dict in safetensors loads unchanged, with
//! [`StateDict::load`] and [`Parameters::load_state_dict`].
//!
//! For evaluation, switch the mode and record nothing:
//!
//! ```
//! # use gradus_nn::{Module, Parameters};
//! # use gradus_tensor_core::{Result, Tensor};
//! fn predict(model: &mut dyn Module, x: &Tensor) -> Result<Tensor> {
//!     model.set_training(false); // no dropout, running statistics
//!     let classes = gradus_autograd::no_grad(|| model.forward(x)?.argmax(-1));
//!     model.set_training(true);
//!     classes
//! }
//! ```
#![forbid(unsafe_code)]
// `Linear::new(..)` gives the layer's builder, whose `init` gives the layer.
#![allow(clippy::new_ret_no_self)]

mod buffer;
mod containers;
mod fuse;
pub mod init;
mod layers;
pub mod loss;
mod mode;
mod module;
mod param;
mod parameters;
mod stage;
mod state_dict;
mod tree;
mod visitor;
pub mod zoo;

// The derive macro names this crate, also inside it.
extern crate self as gradus_nn;

pub use buffer::Buffer;
pub use fuse::fuse_conv_bn;
pub use gradus_nn_derive::Parameters;
pub use layers::*;
pub use mode::Mode;
pub use module::{Func, Module, Within};
pub use param::Param;
pub use parameters::Parameters;
pub use stage::{Add, BatchNormed, Stage, chain};
pub use state_dict::{LoadReport, StateDict};
pub use tree::matches as matches_name;
pub use visitor::{PathName, Visitor, VisitorMut};
