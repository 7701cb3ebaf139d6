//! Rows picked by a vector of indices: element-wise indexing with the vector repeated along the other axes.

use crate::{Result, Tensor};

pub(super) fn index_select(axis: usize, x: &Tensor, index: &Tensor) -> Result<Tensor> {
    x.gather(axis, &along(axis, x, index)?)
}

pub(super) fn index_add(axis: usize, x: &Tensor, index: &Tensor, source: &Tensor) -> Result<Tensor> {
    x.scatter_add(axis, &along(axis, x, index)?, source)
}

/// The vector laid along one axis of `x` and repeated along all others.
fn along(axis: usize, x: &Tensor, index: &Tensor) -> Result<Tensor> {
    let mut dims = vec![1; x.rank()];
    dims[axis] = index.numel();
    index.reshape(dims)?.expand(x.shape().with_dim(axis, index.numel()))
}
