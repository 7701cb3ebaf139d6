//! Gradient checking, proptest strategies, a reference backend and a conformance suite for backends.
//!
//! For users of the framework:
//!
//! - [`gradcheck`] and [`gradgradcheck`] compare the gradients of a function (a custom one, a layer, a loss) with
//!   finite differences in double precision and say which elements are wrong and by how much.
//! - [`strategies`] are [`proptest`](mod@proptest) strategies for shapes, tensors in any memory layout, and parameters of ops.
//! - [`devices`] are devices around devices: one that fails at the n-th op, one that counts, one that compares
//!   every op with a second device.
//!
//! For authors of backends:
//!
//! - [`Reference`] defines every primitive, naively; its [module](mod@reference) is the tutorial.
//! - [`conformance!`] makes the tests that a backend has to pass.
//! - [`samples`] are the calls it is made of: at least one for every op, as data.
//!
//! The truth comes from outside of what is tested: definitions in double precision, finite differences, and, in
//! `tests/golden`, numbers from PyTorch.
#![forbid(unsafe_code)]

mod arrange;
pub mod conformance;
pub mod devices;
mod gradcheck;
pub mod reference;
pub mod samples;
pub mod strategies;

pub use arrange::Arrangement;
pub use gradcheck::{Entry, Mismatch, Mode, Options, Report, gradcheck, gradgradcheck};
pub use reference::Reference;
