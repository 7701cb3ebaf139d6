//! One file per op family, named as the files of `tensor_core::op`.
//!
//! A kernel takes the backend, the op and checked views, and returns new contiguous buffers. Element-wise
//! families describe a function of elements and leave layouts to [`crate::elementwise`]; a family that cannot
//! execute some case returns `Outcome::Unsupported` and the device decomposes the op.

pub(crate) mod attention;
pub(crate) mod binary;
pub(crate) mod cast;
pub(crate) mod compare;
pub(crate) mod conv;
pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod dense;
pub(crate) mod host;
pub(crate) mod in_place;
pub(crate) mod index;
pub(crate) mod int8;
pub(crate) mod loss;
pub(crate) mod map;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod optimizer;
pub(crate) mod pool;
pub(crate) mod random;
pub(crate) mod real;
pub(crate) mod recurrent;
pub(crate) mod reduce;
pub(crate) mod scan;
pub(crate) mod softmax;
pub(crate) mod sort;
pub(crate) mod transpose;
pub(crate) mod unary;
pub(crate) mod unary_grad;
