//! Element-wise arithmetic, comparison and selection, with broadcasting and promotion.

use super::Operand;
use crate::op::{BinaryOp, CompareOp, UnaryOp};
use crate::{Category, DType, Error, Meta, Op, Result, Scalar, Shape, Tensor};

/// Both tensors in the promoted dtype and the broadcast shape.
fn meet(op: &'static str, a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor)> {
    let dtype = a.dtype().promote(b.dtype());
    let (a, b) = (a.cast(dtype)?, b.cast(dtype)?);
    let shape = broadcast(op, &[&a, &b])?;
    Ok((a.expand(shape)?, b.expand(shape)?))
}

/// [`meet`] for ops of floats: two tensors that are not floats become `f32`; one takes the other's dtype.
fn meet_as_floats(op: &'static str, a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor)> {
    let (a, b) = meet(op, a, b)?;
    Ok((a.to_float()?, b.to_float()?))
}

pub(super) fn broadcast(op: &'static str, tensors: &[&Tensor]) -> Result<Shape> {
    let mut shape = Shape::SCALAR;
    for t in tensors {
        shape = shape.broadcast(t.shape()).ok_or_else(|| {
            let metas: Vec<Meta> = tensors.iter().map(|t| t.meta()).collect();
            Error::shape(
                op,
                &metas,
                "shapes do not broadcast; sizes must be equal or 1, aligned at the last axis",
            )
        })?;
    }
    Ok(shape)
}

impl Tensor {
    pub(super) fn unary(&self, op: UnaryOp) -> Result<Tensor> {
        Op::Unary(op).run1(&[self])
    }

    fn binary(&self, op: BinaryOp, other: &Tensor) -> Result<Tensor> {
        if self.dtype() == other.dtype() && self.shape() == other.shape() {
            return Op::Binary(op).run1(&[self, other]);
        }
        let (a, b) = meet(op.name(), self, other)?;
        Op::Binary(op).run1(&[&a, &b])
    }

    /// This tensor as a float tensor: integers and bools become `f32`.
    pub(super) fn to_float(&self) -> Result<Tensor> {
        if self.dtype().is_float() { Ok(self.clone()) } else { self.cast(DType::F32) }
    }

    /// This tensor in the dtype that its sums are kept in.
    pub(crate) fn widened(&self) -> Result<Tensor> {
        self.cast(self.dtype().accumulator())
    }

    /// `mul * x + add`, in one op, which takes both numbers as doubles.
    ///
    /// # Errors
    /// The tensor is bool, or the device fails.
    pub fn affine(&self, mul: impl Into<Scalar>, add: impl Into<Scalar>) -> Result<Tensor> {
        let (mul, add) = (mul.into(), add.into());
        let dtype = self.dtype().promote_scalar(mul);
        let dtype = dtype.promote_scalar(add);
        self.cast(dtype)?.unary(UnaryOp::Affine { mul: mul.to_f64(), add: add.to_f64() })
    }

    fn binary_operand(&self, op: BinaryOp, other: Operand<'_>) -> Result<Tensor> {
        match other {
            Operand::Tensor(t) => self.binary(op, t),
            Operand::Scalar(s) => {
                let dtype = self.dtype().promote_scalar(s);
                self.cast(dtype)?.binary(op, &self.filled_like(s, dtype)?)
            }
        }
    }

    /// `self + other`. For bool tensors: or.
    ///
    /// # Errors
    /// Shapes do not broadcast, or devices do not meet.
    pub fn add<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        match other.into() {
            Operand::Scalar(s) if self.rides(s) => self.affine(1, s),
            other => self.binary_operand(BinaryOp::Add, other),
        }
    }

    /// `self - other`.
    ///
    /// # Errors
    /// Shapes do not broadcast, devices do not meet, or both are bool.
    pub fn sub<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        match other.into() {
            Operand::Scalar(Scalar::Float(s)) => self.affine(1, -s),
            Operand::Scalar(Scalar::Int(s)) if self.dtype().is_float() => self.affine(1, -(s as f64)),
            Operand::Scalar(Scalar::Int(s)) if self.rides(Scalar::Int(s)) => self.affine(1, -s),
            other => self.binary_operand(BinaryOp::Sub, other),
        }
    }

    /// `self * other`. For bool tensors: and.
    ///
    /// # Errors
    /// Shapes do not broadcast, or devices do not meet.
    pub fn mul<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        match other.into() {
            Operand::Scalar(s) if self.rides(s) => self.affine(s, 0),
            other => self.binary_operand(BinaryOp::Mul, other),
        }
    }

    /// `self / other`; integers become `f32` first, as in PyTorch. See [`Tensor::floor_div`].
    ///
    /// # Errors
    /// Shapes do not broadcast, or devices do not meet.
    pub fn div<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        let other = other.into();
        match other {
            // Multiplying with the reciprocal is exact for powers of two and within one rounding otherwise.
            Operand::Scalar(s) => {
                let x = self.to_float()?;
                match x.has_reciprocal(s.to_f64()) {
                    true => x.affine(1.0 / s.to_f64(), 0),
                    false => x.binary_operand(BinaryOp::Div, other),
                }
            }
            Operand::Tensor(t) => {
                let (a, b) = meet_as_floats("div", self, t)?;
                a.binary(BinaryOp::Div, &b)
            }
        }
    }

    /// `floor(self / other)`, in the promoted dtype.
    ///
    /// # Errors
    /// Shapes do not broadcast, devices do not meet, or an integer is divided by zero.
    pub fn floor_div<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        let quotient = self.binary_operand(BinaryOp::Div, other.into())?;
        if quotient.dtype().is_float() { quotient.floor() } else { Ok(quotient) }
    }

    /// The remainder with the sign of `other`.
    ///
    /// # Errors
    /// Shapes do not broadcast, devices do not meet, or an integer is divided by zero.
    pub fn remainder<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        self.binary_operand(BinaryOp::Rem, other.into())
    }

    /// `self` to the power `other`.
    ///
    /// # Errors
    /// Shapes do not broadcast, or devices do not meet.
    pub fn pow<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        match other.into() {
            Operand::Scalar(s) if s.to_f64() == 2.0 && self.dtype().promote_scalar(s) == self.dtype() => {
                self.square()
            }
            Operand::Scalar(s) if s.to_f64() == 0.5 => self.sqrt(),
            Operand::Scalar(s) if self.dtype().promote_scalar(s).is_float() => {
                self.to_float()?.unary(UnaryOp::Powf(s.to_f64()))
            }
            other => self.binary_operand(BinaryOp::Pow, other),
        }
    }

    /// The larger of both, element by element; NaN if either is NaN.
    ///
    /// # Errors
    /// Shapes do not broadcast, or devices do not meet.
    pub fn maximum<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        self.binary_operand(BinaryOp::Maximum, other.into())
    }

    /// The smaller of both, element by element; NaN if either is NaN.
    ///
    /// # Errors
    /// Shapes do not broadcast, or devices do not meet.
    pub fn minimum<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        self.binary_operand(BinaryOp::Minimum, other.into())
    }

    /// The angle of the point (`other`, `self`) in radians.
    ///
    /// # Errors
    /// Shapes do not broadcast, or devices do not meet.
    pub fn atan2<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        match other.into() {
            Operand::Tensor(t) => {
                let (a, b) = meet_as_floats("atan2", self, t)?;
                a.binary(BinaryOp::Atan2, &b)
            }
            other => self.to_float()?.binary_operand(BinaryOp::Atan2, other),
        }
    }

    /// `min(max(x, min), max)`; its gradient passes strictly between the limits. Integers with a limit that is a float
    /// become `f32`.
    ///
    /// # Errors
    /// `min` exceeds `max`, or one of them is NaN.
    pub fn clamp(&self, min: impl Into<Scalar>, max: impl Into<Scalar>) -> Result<Tensor> {
        let (low, high) = (min.into(), max.into());
        let (min, max) = (low.to_f64(), high.to_f64());
        if min > max || min.is_nan() || max.is_nan() {
            return Err(Error::argument(
                "clamp",
                format!("min {min} exceeds max {max}, or one is not a number"),
            ));
        }
        let dtype = self.dtype().promote_scalar(low).promote_scalar(high);
        self.cast(dtype)?.unary(UnaryOp::Clamp { min, max })
    }

    /// `x` where positive, `slope * x` elsewhere.
    ///
    /// # Errors
    /// The device fails.
    pub fn leaky_relu(&self, slope: f64) -> Result<Tensor> {
        self.to_float()?.unary(UnaryOp::LeakyRelu(slope))
    }

    /// `x` where positive, `alpha * (e^x - 1)` elsewhere.
    ///
    /// # Errors
    /// The device fails.
    pub fn elu(&self, alpha: f64) -> Result<Tensor> {
        self.to_float()?.unary(UnaryOp::Elu(alpha))
    }

    fn compare(&self, op: CompareOp, other: Operand<'_>) -> Result<Tensor> {
        let other = match other {
            Operand::Tensor(t) => t.clone(),
            Operand::Scalar(s) => self.filled_like(s, self.dtype().promote_scalar(s))?,
        };
        let (a, b) = meet(op.name(), self, &other)?;
        Op::Compare(op).run1(&[&a, &b])
    }

    /// Where both are true; operands that are not bool count as true unless 0.
    ///
    /// # Errors
    /// Shapes do not broadcast, or devices do not meet.
    pub fn logical_and(&self, other: &Tensor) -> Result<Tensor> {
        self.cast(DType::Bool)?.binary(BinaryOp::Mul, &other.cast(DType::Bool)?)
    }

    /// Where at least one is true.
    ///
    /// # Errors
    /// Shapes do not broadcast, or devices do not meet.
    pub fn logical_or(&self, other: &Tensor) -> Result<Tensor> {
        self.cast(DType::Bool)?.binary(BinaryOp::Add, &other.cast(DType::Bool)?)
    }

    /// Where exactly one is true.
    ///
    /// # Errors
    /// Shapes do not broadcast, or devices do not meet.
    pub fn logical_xor(&self, other: &Tensor) -> Result<Tensor> {
        self.cast(DType::Bool)?.binary(BinaryOp::Xor, &other.cast(DType::Bool)?)
    }

    /// Where false.
    ///
    /// # Errors
    /// The device fails.
    pub fn logical_not(&self) -> Result<Tensor> {
        self.cast(DType::Bool)?.unary(UnaryOp::Not)
    }

    /// Where NaN.
    ///
    /// # Errors
    /// The device fails.
    pub fn isnan(&self) -> Result<Tensor> {
        self.ne(self)
    }

    /// Where neither infinite nor NaN.
    ///
    /// # Errors
    /// The device fails.
    pub fn isfinite(&self) -> Result<Tensor> {
        self.to_float()?.abs()?.lt(f64::INFINITY)
    }

    /// `a` where this bool tensor is true, `b` elsewhere; all three broadcast, the values promote.
    ///
    /// # Errors
    /// Shapes do not broadcast, devices do not meet, or this tensor is not bool.
    pub fn where_(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let dtype = a.dtype().promote(b.dtype());
        let shape = broadcast("where", &[self, a, b])?;
        let (a, b) = (a.cast(dtype)?.expand(shape)?, b.cast(dtype)?.expand(shape)?);
        Op::Select.run1(&[&self.expand(shape)?, &a, &b])
    }

    /// This tensor with `value` where the mask is true.
    ///
    /// # Errors
    /// Shapes do not broadcast, devices do not meet, or the mask is not bool.
    pub fn masked_fill(&self, mask: &Tensor, value: impl Into<Scalar>) -> Result<Tensor> {
        let value = value.into();
        mask.where_(&self.filled_like(value, self.dtype())?, self)
    }
}

macro_rules! comparisons {
    ($($name:ident => $op:ident, $doc:literal;)*) => {
        impl Tensor {$(
            #[doc = $doc]
            ///
            /// # Errors
            /// Shapes do not broadcast, or devices do not meet.
            pub fn $name<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
                self.compare(CompareOp::$op, other.into())
            }
        )*}
    };
}
comparisons! {
    eq => Eq, "Where equal, as a bool tensor.";
    ne => Ne, "Where not equal, as a bool tensor; NaN is not equal to itself.";
    lt => Lt, "Where `self < other`, as a bool tensor.";
    le => Le, "Where `self <= other`, as a bool tensor.";
    gt => Gt, "Where `self > other`, as a bool tensor.";
    ge => Ge, "Where `self >= other`, as a bool tensor.";
}

macro_rules! unary_methods {
    ($($name:ident => $op:ident, $doc:literal;)*) => {
        impl Tensor {$(
            #[doc = $doc]
            ///
            /// # Errors
            /// The device fails.
            pub fn $name(&self) -> Result<Tensor> {
                let op = UnaryOp::$op;
                let keeps = self.dtype().category() == Category::Int && op.takes_int();
                if keeps { self.unary(op) } else { self.to_float()?.unary(op) }
            }
        )*}
    };
}
unary_methods! {
    neg => Neg, "`-x`";
    abs => Abs, "`|x|`";
    sign => Sign, "-1, 0 or 1.";
    floor => Floor, "The largest integer not above x.";
    ceil => Ceil, "The smallest integer not below x.";
    round => Round, "The nearest integer, ties to even.";
    trunc => Trunc, "The integer part.";
    square => Square, "`x * x`";
    sqrt => Sqrt, "The square root.";
    rsqrt => Rsqrt, "`1 / sqrt(x)`";
    recip => Recip, "`1 / x`";
    exp => Exp, "`e^x`";
    exp2 => Exp2, "`2^x`";
    expm1 => Expm1, "`e^x - 1`, accurate near 0.";
    log => Log, "The natural logarithm.";
    log1p => Log1p, "`ln(1 + x)`, accurate near 0.";
    log2 => Log2, "The logarithm to base 2.";
    sin => Sin, "The sine.";
    cos => Cos, "The cosine.";
    tan => Tan, "The tangent.";
    asin => Asin, "The inverse sine.";
    acos => Acos, "The inverse cosine.";
    atan => Atan, "The inverse tangent.";
    sinh => Sinh, "The hyperbolic sine.";
    cosh => Cosh, "The hyperbolic cosine.";
    tanh => Tanh, "The hyperbolic tangent.";
    erf => Erf, "The error function.";
    sigmoid => Sigmoid, "`1 / (1 + e^-x)`";
    softplus => Softplus, "`ln(1 + e^x)`";
    relu => Relu, "`max(x, 0)`";
    gelu => Gelu, "`x * Φ(x)`, exact.";
    gelu_tanh => GeluTanh, "The tanh approximation of GELU.";
    silu => Silu, "`x * sigmoid(x)`, also called swish.";
    mish => Mish, "`x * tanh(softplus(x))`";
    hardswish => Hardswish, "`x * min(max(x + 3, 0), 6) / 6`";
    hardsigmoid => Hardsigmoid, "`min(max(x + 3, 0), 6) / 6`";
}
