//! Element-wise functions of two tensors, comparisons and selection.

use crate::{Category, DType, Error, Meta, Metas, Result};

/// An element-wise function of two tensors of one shape and dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BinaryOp {
    /// `a + b`; for bool, or.
    Add,
    /// `a - b`
    Sub,
    /// `a * b`; for bool, and.
    Mul,
    /// `a / b`; integers divide towards negative infinity.
    Div,
    /// `a` to the power `b`.
    Pow,
    /// The larger; NaN if either is NaN.
    Maximum,
    /// The smaller; NaN if either is NaN.
    Minimum,
    /// The remainder with the sign of `b`.
    Rem,
    /// The angle of the point (`b`, `a`) in radians.
    Atan2,
    /// Logical exclusive or of bool tensors.
    Xor,
}

impl BinaryOp {
    /// Every binary op.
    pub const ALL: [BinaryOp; 10] = [
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::Div,
        BinaryOp::Pow,
        BinaryOp::Maximum,
        BinaryOp::Minimum,
        BinaryOp::Rem,
        BinaryOp::Atan2,
        BinaryOp::Xor,
    ];

    /// The op's name, PyTorch's where there is one.
    pub const fn name(self) -> &'static str {
        match self {
            BinaryOp::Add => "add",
            BinaryOp::Sub => "sub",
            BinaryOp::Mul => "mul",
            BinaryOp::Div => "div",
            BinaryOp::Pow => "pow",
            BinaryOp::Maximum => "maximum",
            BinaryOp::Minimum => "minimum",
            BinaryOp::Rem => "remainder",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Xor => "logical_xor",
        }
    }

    /// The value in double precision: the definition for floats.
    pub fn eval(self, a: f64, b: f64) -> f64 {
        match self {
            BinaryOp::Add => a + b,
            BinaryOp::Sub => a - b,
            BinaryOp::Mul => a * b,
            BinaryOp::Div => a / b,
            BinaryOp::Pow => a.powf(b),
            BinaryOp::Maximum => {
                if a.is_nan() || a > b {
                    a
                } else {
                    b
                }
            }
            BinaryOp::Minimum => {
                if a.is_nan() || a < b {
                    a
                } else {
                    b
                }
            }
            BinaryOp::Rem => {
                let r = a % b;
                if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
            }
            BinaryOp::Atan2 => a.atan2(b),
            BinaryOp::Xor => ((a != 0.0) != (b != 0.0)) as u8 as f64,
        }
    }

    /// The value for integers, wrapping on overflow. `None` when dividing by zero.
    pub fn eval_int(self, a: i64, b: i64) -> Option<i64> {
        Some(match self {
            BinaryOp::Add => a.wrapping_add(b),
            BinaryOp::Sub => a.wrapping_sub(b),
            BinaryOp::Mul => a.wrapping_mul(b),
            BinaryOp::Div => match b {
                0 => return None,
                -1 => a.wrapping_neg(),
                _ => a.div_euclid(b) - ((b < 0 && a.rem_euclid(b) != 0) as i64),
            },
            BinaryOp::Rem => match b {
                0 => return None,
                -1 => 0,
                _ => {
                    let r = a % b;
                    if r != 0 && (r < 0) != (b < 0) { r + b } else { r }
                }
            },
            BinaryOp::Pow => match u64::try_from(b) {
                Ok(b) => wrapping_pow(a, b),
                // A negative power of an integer: only ±1 have integer ones.
                Err(_) => match a {
                    1 => 1,
                    -1 => {
                        if b % 2 == 0 {
                            1
                        } else {
                            -1
                        }
                    }
                    _ => 0,
                },
            },
            BinaryOp::Maximum => a.max(b),
            BinaryOp::Minimum => a.min(b),
            BinaryOp::Xor => ((a != 0) != (b != 0)) as i64,
            BinaryOp::Atan2 => return None,
        })
    }

    /// Whether tensors of that dtype are accepted.
    pub const fn takes(self, dtype: DType) -> bool {
        match self {
            BinaryOp::Add | BinaryOp::Mul | BinaryOp::Maximum | BinaryOp::Minimum => true,
            BinaryOp::Sub | BinaryOp::Div | BinaryOp::Pow | BinaryOp::Rem => {
                !matches!(dtype.category(), Category::Bool)
            }
            BinaryOp::Atan2 => dtype.is_float(),
            BinaryOp::Xor => matches!(dtype, DType::Bool),
        }
    }

    /// Rough floating-point operations per element.
    pub const fn flops(self) -> u64 {
        match self {
            BinaryOp::Pow | BinaryOp::Atan2 => 30,
            BinaryOp::Rem => 4,
            _ => 1,
        }
    }

    pub(super) fn infer(self, inputs: &[Meta]) -> Result<Metas> {
        let [a, b] = super::operands(self.name(), inputs)?;
        if a.shape != b.shape {
            return Err(Error::shape(self.name(), inputs, "shapes must be equal after broadcasting"));
        }
        if a.dtype != b.dtype {
            return Err(Error::dtype(self.name(), inputs, "dtypes must be equal after promotion"));
        }
        if !self.takes(a.dtype) {
            return Err(Error::dtype(self.name(), inputs, format!("does not take {} tensors", a.dtype)));
        }
        Ok(super::one(Meta::new(a.shape, a.dtype)))
    }
}

/// A power of 64 bits, by squaring: [`i64::wrapping_pow`] takes exponents of 32 bits only.
fn wrapping_pow(mut base: i64, mut exponent: u64) -> i64 {
    let mut power = 1i64;
    while exponent > 0 {
        if exponent % 2 == 1 {
            power = power.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent /= 2;
    }
    power
}

/// A comparison of two tensors of one shape and dtype; the result is bool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `a == b`
    Eq,
    /// `a != b`; true for NaN.
    Ne,
    /// `a < b`
    Lt,
    /// `a <= b`
    Le,
    /// `a > b`
    Gt,
    /// `a >= b`
    Ge,
}

impl CompareOp {
    /// Every comparison.
    pub const ALL: [CompareOp; 6] =
        [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge];

    /// The op's name.
    pub const fn name(self) -> &'static str {
        match self {
            CompareOp::Eq => "eq",
            CompareOp::Ne => "ne",
            CompareOp::Lt => "lt",
            CompareOp::Le => "le",
            CompareOp::Gt => "gt",
            CompareOp::Ge => "ge",
        }
    }

    /// The truth value for two elements.
    #[inline(always)]
    pub fn eval<T: PartialOrd>(self, a: &T, b: &T) -> bool {
        match self {
            CompareOp::Eq => a == b,
            CompareOp::Ne => a != b,
            CompareOp::Lt => a < b,
            CompareOp::Le => a <= b,
            CompareOp::Gt => a > b,
            CompareOp::Ge => a >= b,
        }
    }

    pub(super) fn infer(self, inputs: &[Meta]) -> Result<Metas> {
        let &[a, b] = super::operands(self.name(), inputs)?;
        if a.shape != b.shape {
            return Err(Error::shape(self.name(), inputs, "shapes must be equal after broadcasting"));
        }
        if a.dtype != b.dtype {
            return Err(Error::dtype(self.name(), inputs, "dtypes must be equal after promotion"));
        }
        Ok(super::one(Meta::new(a.shape, DType::Bool)))
    }
}

/// `select(condition, a, b)`: `a` where the condition holds, `b` elsewhere.
pub(super) fn infer_select(inputs: &[Meta]) -> Result<Metas> {
    let &[condition, a, b] = super::operands("where", inputs)?;
    if condition.shape != a.shape || a.shape != b.shape {
        return Err(Error::shape("where", inputs, "shapes must be equal after broadcasting"));
    }
    if condition.dtype != DType::Bool {
        return Err(Error::dtype("where", inputs, "the condition must be bool"));
    }
    if a.dtype != b.dtype {
        return Err(Error::dtype("where", inputs, "both values must have one dtype after promotion"));
    }
    Ok(super::one(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_powers_wrap_for_any_exponent() {
        for (a, b) in [(3i64, 5u32), (-7, 41), (2, 64), (10, 0), (i64::MIN, 3), (-1, u32::MAX)] {
            assert_eq!(BinaryOp::Pow.eval_int(a, i64::from(b)), Some(a.wrapping_pow(b)), "{a}^{b}");
        }
        // The order of 3 modulo 2^64 is 2^62.
        assert_eq!(BinaryOp::Pow.eval_int(3, 1 << 62), Some(1));
        assert_eq!(BinaryOp::Pow.eval_int(3, (1 << 62) + 4), Some(81));
        assert_eq!(BinaryOp::Pow.eval_int(-1, i64::MAX), Some(-1));
    }
}
