//! Ops that move elements by index, and concatenation.

use crate::{DType, Error, Meta, Metas, Result};

fn check_index(op: &'static str, index: Meta, inputs: &[Meta]) -> Result<()> {
    if index.dtype != DType::I64 {
        return Err(Error::dtype(op, inputs, format!("indices must be i64, not {}", index.dtype)));
    }
    Ok(())
}

/// `out[i][j][k] = x[i][index[i][j][k]][k]` for axis 1. `index` has the rank of `x` and, on every other
/// axis, its size. An index outside `0..size` is an error.
pub(super) fn infer_gather(axis: usize, inputs: &[Meta]) -> Result<Metas> {
    let &[x, index] = super::operands("gather", inputs)?;
    super::check_axis("gather", axis, x)?;
    check_index("gather", index, inputs)?;
    if index.shape.rank() != x.shape.rank() || index.shape.with_dim(axis, x.shape[axis]) != x.shape {
        return Err(Error::shape(
            "gather",
            inputs,
            format!("the index must have the shape of the input except on axis {axis}"),
        ));
    }
    Ok(super::one(Meta::new(index.shape, x.dtype)))
}

/// A copy of `x` with `x[i][index[i][j][k]][k] += source[i][j][k]` for axis 1. `index` and `source` have
/// one shape: that of `x` except on the axis. Repeated indices add up in order.
pub(super) fn infer_scatter_add(axis: usize, inputs: &[Meta]) -> Result<Metas> {
    let op = "scatter_add";
    let &[x, index, source] = super::operands(op, inputs)?;
    super::check_axis(op, axis, x)?;
    check_index(op, index, inputs)?;
    if index.shape != source.shape
        || index.shape.rank() != x.shape.rank()
        || index.shape.with_dim(axis, x.shape[axis]) != x.shape
    {
        return Err(Error::shape(
            op,
            inputs,
            format!("index and source must have one shape: that of the input except on axis {axis}"),
        ));
    }
    if source.dtype != x.dtype {
        return Err(Error::dtype(op, inputs, "the source must have the dtype of the input"));
    }
    Ok(super::one(x))
}

/// Rows of `x` along an axis, picked by a vector of indices; an embedding lookup on axis 0.
pub(super) fn infer_index_select(axis: usize, inputs: &[Meta]) -> Result<Metas> {
    let op = "index_select";
    let &[x, index] = super::operands(op, inputs)?;
    super::check_axis(op, axis, x)?;
    check_index(op, index, inputs)?;
    if index.shape.rank() != 1 {
        return Err(Error::shape(op, inputs, "the index must be a vector"));
    }
    Ok(super::one(Meta::new(x.shape.with_dim(axis, index.shape[0]), x.dtype)))
}

/// A copy of `x` with rows of `source` added along an axis at the positions a vector of indices names.
pub(super) fn infer_index_add(axis: usize, inputs: &[Meta]) -> Result<Metas> {
    let op = "index_add";
    let &[x, index, source] = super::operands(op, inputs)?;
    super::check_axis(op, axis, x)?;
    check_index(op, index, inputs)?;
    if index.shape.rank() != 1 || source.shape != x.shape.with_dim(axis, index.shape[0]) {
        return Err(Error::shape(
            op,
            inputs,
            format!("the index must be a vector and the source must have its length on axis {axis}"),
        ));
    }
    if source.dtype != x.dtype {
        return Err(Error::dtype(op, inputs, "the source must have the dtype of the input"));
    }
    Ok(super::one(x))
}

/// Tensors joined along an axis; every other axis is equal.
pub(super) fn infer_concat(axis: usize, inputs: &[Meta]) -> Result<Metas> {
    let Some(&first) = inputs.first() else {
        return Err(Error::argument("cat", "expects at least one tensor"));
    };
    super::check_axis("cat", axis, first)?;
    let mut size: usize = 0;
    for x in inputs {
        if x.shape.rank() != first.shape.rank() || x.shape.with_dim(axis, 0) != first.shape.with_dim(axis, 0)
        {
            return Err(Error::shape("cat", inputs, format!("shapes must be equal except on axis {axis}")));
        }
        if x.dtype != first.dtype {
            return Err(Error::dtype("cat", inputs, "dtypes must be equal after promotion"));
        }
        // What does not fit is refused below.
        size = size.saturating_add(x.shape[axis]);
    }
    let mut dims = first.shape.to_vec();
    dims[axis] = size;
    Ok(super::one(Meta::new(crate::Shape::new(&dims)?, first.dtype)))
}
