//! Element-wise functions of integer tensors.

use super::UnaryOp;

impl UnaryOp {
    /// Below it, a whole number is a double, and so are its neighbours.
    pub(crate) const WHOLE_BELOW: u64 = 9_000_000_000_000_000;

    /// The value for integers, wrapping on overflow: the definition for integer dtypes, whose elements are
    /// widened to `i64` before and wrapped to their own width after. An [`UnaryOp::Affine`] of whole numbers
    /// is exact; parameters with fractions (and everything else) are computed in double precision, truncated
    /// and saturated. Ops that [take no integers](UnaryOp::takes_int) give that too, for casts to come.
    pub fn eval_int(self, x: i64) -> i64 {
        let whole = |v: f64| (v.fract() == 0.0 && v.abs() < Self::WHOLE_BELOW as f64).then_some(v as i64);
        match self {
            UnaryOp::Neg => x.wrapping_neg(),
            UnaryOp::Abs => x.wrapping_abs(),
            UnaryOp::Sign => x.signum(),
            UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc => x,
            UnaryOp::Square => x.wrapping_mul(x),
            UnaryOp::Relu => x.max(0),
            UnaryOp::Affine { mul, add } => match (whole(mul), whole(add)) {
                (Some(mul), Some(add)) => x.wrapping_mul(mul).wrapping_add(add),
                _ => self.eval(x as f64) as i64,
            },
            UnaryOp::Clamp { min, max } if (min as i64..=max as i64).contains(&x) => x,
            _ => self.eval(x as f64) as i64,
        }
    }
}
