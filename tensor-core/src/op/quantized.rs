//! Products with weights of 8 bits.

use crate::{DType, Error, Meta, Metas, Result};

/// `[.., in]`, `i8 [out, in]`, `f32 [out]` and, optionally, `f32 [out]` give `[.., out]`.
pub(super) fn infer_linear_dynamic(inputs: &[Meta]) -> Result<Metas> {
    let op = "linear_dynamic";
    let (x, w, scale, bias) = match *inputs {
        [x, w, s] => (x, w, s, None),
        [x, w, s, b] => (x, w, s, Some(b)),
        _ => {
            return Err(Error::shape(op, inputs, "expects an input, a weight, a scale and at most a bias"));
        }
    };
    let out = super::matmul::linear_output(op, inputs, x, w, &[("scale", Some(scale)), ("bias", bias)])?;
    let single = |m: Meta| m.dtype == DType::F32;
    if !x.dtype.is_float() || w.dtype != DType::I8 || !single(scale) || !bias.is_none_or(single) {
        return Err(Error::dtype(
            op,
            inputs,
            "expects a float input, an i8 weight, an f32 scale and an f32 bias",
        ));
    }
    Ok(out)
}
