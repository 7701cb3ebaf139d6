//! Gradient checking, proptest strategies, a reference backend and a conformance suite for backends.
#![forbid(unsafe_code)]

mod arrange;
pub mod conformance;
mod gradcheck;
mod reference;
pub mod samples;

pub use arrange::Arrangement;
pub use gradcheck::{Entry, Mismatch, Mode, Options, Report, gradcheck, gradgradcheck};
pub use reference::Reference;
