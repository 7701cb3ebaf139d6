//! The right-hand side of arithmetic: a tensor, or a number that rides in the op.

use crate::op::{Fill, UnaryOp};
use crate::{Category, DType, Meta, Op, Result, Scalar, Shape, Tensor};

/// The right-hand side of an arithmetic method: a tensor or a plain number.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    /// A tensor; broadcast and promoted.
    Tensor(&'a Tensor),
    /// A number; it rides in the op and never widens the tensor's dtype.
    Scalar(Scalar),
}

impl<'a> From<&'a Tensor> for Operand<'a> {
    fn from(t: &'a Tensor) -> Self {
        Operand::Tensor(t)
    }
}
impl<S: Into<Scalar>> From<S> for Operand<'_> {
    fn from(s: S) -> Self {
        Operand::Scalar(s.into())
    }
}

impl Tensor {
    /// Whether a number can ride in an affine op, whose numbers are doubles: one that is added to integers, or
    /// multiplied with them, must be one exactly. Bool tensors have no affine op.
    pub(super) fn rides(&self, s: Scalar) -> bool {
        match self.dtype().category() {
            Category::Bool => false,
            Category::Int => !matches!(s, Scalar::Int(n) if n.unsigned_abs() >= UnaryOp::WHOLE_BELOW),
            Category::Float => true,
        }
    }

    /// Whether the reciprocal of a number has as many digits as the number, in the dtype that this tensor of floats is
    /// computed in. That of 0 or of an infinity is exact.
    pub(super) fn has_reciprocal(&self, s: f64) -> bool {
        let reciprocal = s.recip();
        let normal = match self.dtype().accumulator() {
            DType::F32 => (reciprocal as f32).is_normal(),
            _ => reciprocal.is_normal(),
        };
        normal || s == 0.0 || !s.is_finite()
    }

    /// A tensor of one number on this tensor's device, expanded to its shape.
    pub(super) fn filled_like(&self, value: Scalar, dtype: DType) -> Result<Tensor> {
        let fill = Fill { value, out: Meta::new(Shape::SCALAR, dtype) };
        let device = self.device().innermost();
        device.execute_first(&Op::Fill(fill), &[])?.expand(self.shape())
    }
}
