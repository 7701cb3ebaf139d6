//! Matrix products.

use crate::{Error, Meta, Metas, Result};

/// Batched matrix product: `[.., m, k]` with `[.., k, n]` gives `[.., m, n]`. Leading axes are equal;
/// broadcasting happened before, as a layout. Floats accumulate in `f32` or better, integers wrap.
pub(super) fn infer_matmul(inputs: &[Meta]) -> Result<Metas> {
    let &[a, b] = super::operands("matmul", inputs)?;
    let rank = a.shape.rank();
    if rank < 2 || b.shape.rank() != rank || a.shape[..rank - 2] != b.shape[..rank - 2] {
        return Err(Error::shape(
            "matmul",
            inputs,
            "expects [.., m, k] and [.., k, n] with equal leading axes",
        ));
    }
    if a.shape[rank - 1] != b.shape[rank - 2] {
        return Err(Error::shape(
            "matmul",
            inputs,
            format!(
                "the last axis of the left operand ({}) must equal the second to last of the right ({})",
                a.shape[rank - 1],
                b.shape[rank - 2]
            ),
        ));
    }
    if a.dtype != b.dtype || a.dtype == crate::DType::Bool {
        return Err(Error::dtype("matmul", inputs, "both operands must have one number dtype"));
    }
    Ok(super::one(Meta::new(a.shape.with_dim(rank - 1, b.shape[rank - 1]), a.dtype)))
}

/// The result of a linear layer, if shapes fit: also those of vectors that belong to its outputs.
pub(super) fn linear_output(
    op: &'static str,
    inputs: &[Meta],
    x: Meta,
    w: Meta,
    vectors: &[(&str, Option<Meta>)],
) -> Result<Metas> {
    if x.shape.rank() < 1 || w.shape.rank() != 2 {
        return Err(Error::shape(op, inputs, "expects an input [.., in] and a weight [out, in]"));
    }
    let last = x.shape.rank() - 1;
    if x.shape[last] != w.shape[1] {
        return Err(Error::shape(
            op,
            inputs,
            format!("input has {} features but weight {} expects {}", x.shape[last], w.shape, w.shape[1]),
        ));
    }
    for (name, vector) in vectors {
        if vector.is_some_and(|v| *v.shape != [w.shape[0]]) {
            return Err(Error::shape(op, inputs, format!("{name} must have shape [{}]", w.shape[0])));
        }
    }
    Ok(super::one(Meta::new(x.shape.with_dim(last, w.shape[0]), x.dtype)))
}
