//! Tensors from numbers.

use gradus_tensor_core::op::{Arange, Distribution, Fill, Random};
use gradus_tensor_core::{DType, Scalar};

use super::Values;

pub(super) fn fill(op: &Fill) -> Values {
    let n = op.out.shape.numel();
    match op.value {
        Scalar::Float(x) => Values::from_f64(vec![x; n], op.out.dtype),
        other => Values::from_i64(vec![other.to_i64(); n], op.out.dtype),
    }
}

pub(super) fn arange(op: &Arange) -> Values {
    Values::from_f64((0..op.out.shape.numel()).map(|i| op.eval(i)).collect(), op.out.dtype)
}

/// Element `i` is a pure function of the key and `i`. 64-bit floats are drawn from 64 bits, everything
/// else from 32.
pub(super) fn random(op: &Random) -> Values {
    let (key, dtype, indices) = (op.key, op.out.dtype, 0..op.out.shape.numel() as u64);
    let wide = dtype == DType::F64;
    match op.distribution {
        Distribution::Uniform { low, high } => {
            let unit = |i| if wide { key.uniform64(i) } else { key.uniform32(i) as f64 };
            let largest = Distribution::largest(low, high, dtype);
            Values::from_f64(indices.map(|i| (low + (high - low) * unit(i)).min(largest)).collect(), dtype)
        }
        Distribution::Normal { mean, std } => {
            let normal = |i| if wide { key.normal64(i) } else { key.normal32(i) };
            Values::from_f64(indices.map(|i| mean + std * normal(i)).collect(), dtype)
        }
        Distribution::Bernoulli { p } => {
            Values::from_i64(indices.map(|i| ((key.uniform32(i) as f64) < p) as i64).collect(), dtype)
        }
        Distribution::Integer { low, high } => {
            let span = high.wrapping_sub(low) as u64;
            Values::from_i64(indices.map(|i| low.wrapping_add(key.below(i, span) as i64)).collect(), dtype)
        }
        other => unreachable!("{other:?} is not a distribution that this crate was built with"),
    }
}
