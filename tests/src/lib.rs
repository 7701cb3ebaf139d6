//! Gradient checking, proptest strategies, a reference backend and a conformance suite for backends.
#![forbid(unsafe_code)]

mod reference;

pub use reference::Reference;
