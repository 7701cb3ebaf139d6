//! How PyTorch's ops are called here, by family.

mod elementwise;
mod index;
mod nn;
mod reduce;

use gradus_tensor_core::{Result, Tensor};

use super::cases::Params;

/// The outputs of an op; `None` if no family knows it for these operands.
pub fn run(op: &str, p: &Params, x: &[Tensor]) -> Option<Result<Vec<Tensor>>> {
    let one = |y: Result<Tensor>| y.map(|y| vec![y]);
    elementwise::unary(op, p, x)
        .or_else(|| elementwise::binary(op, p, x))
        .or_else(|| index::run(op, p, x))
        .map(one)
        .or_else(|| reduce::run(op, p, x))
        .or_else(|| nn::run(op, p, x))
}
