//! Reverse-mode differentiation as a backend around a backend.
//!
//! [`Autodiff`] is a backend whose buffers are buffers of an inner device plus the node that made them. Making a
//! tensor a leaf ([`Autograd::requires_grad`]) moves it, at no cost, onto the autodiff device; whatever meets it
//! there is adopted, and every op is passed on to the inner device and recorded. Tensors and backends know nothing
//! of this crate.
//!
//! **Gradients belong to buffers.** A node is made for each executed op. An edge says which output of which node an
//! operand was, and the layout it was read through. Views never run an op, so they have no node and no rule: on the
//! way back the engine inverts the layout once, for all ops alike.
//!
//! **The graph is owned by tensors.** There is no tape and no registry. Saved tensors are freed as backward
//! consumes them, the rest when the last tensor goes; neither recurses. [`graph_stats`] counts what is alive.
//!
//! **No silent cut.** An op is differentiable, a constant by rule (comparisons, indices), or an error when a
//! tracked tensor reaches it. Fused ops whose gradient is itself an op decompose when they are differentiated again.
//!
//! Gradients of gradients ([`Backward::create_graph`], [`grad`], [`hessian`]), accumulation
//! ([`Gradients::accumulate`]), hooks when a leaf's gradient is complete ([`Backward::on_leaf`]), [`checkpoint`],
//! custom functions ([`Function`]) and a search for the op that made a NaN ([`detect_anomaly`]) build on the same engine.
#![forbid(unsafe_code)]

mod anomaly;
mod backend;
mod carry;
mod casts;
mod engine;
mod function;
mod functional;
mod gradients;
mod mode;
mod node;
mod pool;
mod rules;
mod tensor_ext;

pub use anomaly::detect_anomaly;
pub use backend::Autodiff;
pub use casts::LeafCasts;
pub use function::{Function, apply, checkpoint};
pub use functional::{hessian, hvp, jacobian, jvp, vjp};
pub use gradients::Gradients;
pub use mode::{enable_grad, is_grad_enabled, no_grad};
pub use node::{GraphStats, LeafId, Tracked, graph_stats};
pub use tensor_ext::{Autograd, Backward, GradOptions, autodiff, grad, into_value, leaf};
