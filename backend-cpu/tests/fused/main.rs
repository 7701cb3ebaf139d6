//! Kernels of composite ops, against the op's decomposition on the reference backend in double precision, with
//! operands of every float dtype and layout, and shapes that reach every way of cutting the work.

mod attention;
mod common;
mod conv;
mod conv_block;
mod int8;
mod linear;
mod matmul;
mod norm;
mod pool;
mod precision;
mod recurrent;
mod softmax;
