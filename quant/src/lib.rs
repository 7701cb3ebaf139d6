//! Models whose weights take 8 bits.
//!
//! A model is trained in floats and quantized after that: each row of a linear layer's weight becomes 8-bit integers and
//! one number that they are multiples of ([`quantize_per_channel`]). A [`QuantizedLinear`] multiplies them with its
//! input in integers, for which each row of the input is quantized too, when it comes, by its own range. Its weight
//! takes a quarter of the memory of `f32`.
//!
//! ```
//! use gradus_nn::{Linear, Module};
//! use gradus_quant::QuantizedLinear;
//! # use gradus_tensor_core::{DType, Result, Tensor};
//! # fn main() -> Result<()> {
//! let device = gradus_backend_cpu::Cpu::device();
//! let linear = Linear::new(256, 64).init(&device)?;
//! let small = QuantizedLinear::from_linear(&linear)?;
//! let x = Tensor::randn([8, 256], DType::F32, &device)?;
//! let (exact, near) = (linear.forward(&x)?.detach()?, small.forward(&x)?);
//! let error = near.sub(&exact)?.square()?.mean_all()?.div(&exact.square()?.mean_all()?)?;
//! assert!(error.sqrt()?.item::<f32>()? < 0.02);
//! # use gradus_autograd::Autograd;
//! # Ok(()) }
//! ```
//!
//! # A whole model
//!
//! The quantized model is another model, with [`QuantizedLinear`] where the first has
//! [`Linear`](gradus_nn::Linear), and the names of its parameters say which is which. So the step between them is one
//! between state dicts, and they may be saved before or after it:
//!
//! ```
//! use gradus_nn::{Linear, Module, Parameters, StateDict};
//! use gradus_quant::{QuantizedLinear, quantize_dynamic};
//! # use gradus_tensor_core::{Device, Result, Tensor};
//!
//! /// A model of either kind of layer.
//! #[derive(Parameters)]
//! struct Net<L> {
//!     up: L,
//!     down: L,
//! }
//!
//! impl<L: Module> Module for Net<L> {
//!     fn forward(&self, x: &Tensor) -> Result<Tensor> {
//!         self.down.forward(&self.up.forward(x)?.relu()?)
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! # let device = gradus_backend_cpu::Cpu::device();
//! let trained = Net { up: Linear::new(8, 32).init(&device)?, down: Linear::new(32, 4).init(&device)? };
//! let mut small = Net {
//!     up: QuantizedLinear::new(8, 32).init(&device)?,
//!     down: QuantizedLinear::new(32, 4).init(&device)?,
//! };
//! let state: StateDict = quantize_dynamic(&trained.state_dict(), &["up", "down"])?;
//! small.load_state_dict(&state)?;
//! # Ok(()) }
//! ```
//!
//! # How accurate it is
//!
//! An integer weight is off by at most half of its row's scale, which is the largest weight of the row divided by
//! 127.5; an input by half a step, which is the range of its row divided by 255. Both are rounding errors of random sign,
//! so with weights and inputs that are normally distributed an output is off by about 0.6 % of the outputs' size (measured
//! over 256 features; PyTorch's `quantize_dynamic`, which has one scale for a whole weight and one range for the whole
//! input, by 1.3 %). Sums are exact, and nothing depends on the machine or the number of threads.
//!
//! # What it is not
//!
//! Quantization after training, of linear layers. Convolutions, embeddings and recurrences stay in floats; there are no
//! 4-bit weights, no calibration and no training that knows of the rounding (gradients do pass through a
//! [`QuantizedLinear`], to what comes before it, as if it rounded nothing).
#![forbid(unsafe_code)]
// `QuantizedLinear::new(..)` gives the layer's builder, whose `init` gives the layer.
#![allow(clippy::new_ret_no_self)]

mod linear;
mod per_channel;
mod state;

pub use linear::{QuantizedLinear, QuantizedLinearBuilder};
pub use per_channel::{Quantized, quantize_per_channel};
pub use state::quantize_dynamic;
