//! One file per op family, named as the files of `tensor_core::op`.
//!
//! A kernel takes the backend, the op and checked views, and returns new contiguous buffers. Element-wise
//! families describe a function of elements and leave layouts to [`crate::elementwise`]; a family that cannot
//! execute some case returns `Outcome::Unsupported` and the device decomposes the op.

pub(crate) mod binary;
pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod dense;
pub(crate) mod host;
pub(crate) mod map;
pub(crate) mod matmul;
pub(crate) mod real;
pub(crate) mod unary;
