//! Derivatives of the element-wise functions of one operand.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LN_2};

use crate::op::unary::{GELU_CUBIC, SQRT_2_OVER_PI};
use crate::{Result, Tensor, UnaryOp};

/// `1 / sqrt(2 * pi)`: the standard normal density at 0.
const NORMAL_PEAK: f64 = 0.398_942_280_401_432_7;

/// `g * f'(x)`, from what [`UnaryOp::needs`] says: `x`, or `y = f(x)`.
pub(super) fn unary_grad(op: UnaryOp, g: &Tensor, saved: &Tensor) -> Result<Tensor> {
    derivative(op, &g.widened()?, &saved.widened()?)?.cast(g.dtype())
}

/// Here `s` is `x` or `y`, whichever the op saved.
fn derivative(op: UnaryOp, g: &Tensor, s: &Tensor) -> Result<Tensor> {
    use UnaryOp::*;
    match op {
        Neg => g.neg(),
        Affine { mul, .. } => g.mul(mul),
        Sign | Floor | Ceil | Round | Trunc | Not => g.zeros_like(),

        // From y.
        Sqrt => g.div(&s.mul(2.0)?),
        Rsqrt => g.mul(-0.5)?.mul(&s.square()?.mul(s)?),
        Recip => g.neg()?.mul(&s.square()?),
        Exp => g.mul(s),
        Exp2 => g.mul(s)?.mul(LN_2),
        Expm1 => g.mul(&s.add(1.0)?),
        Tanh => g.mul(&one_minus_square(s)?),
        Sigmoid => g.mul(&s.mul(&s.affine(-1.0, 1.0)?)?),
        Relu => g.masked_fill(&s.le(0.0)?, 0.0),

        // From x.
        Abs => g.mul(&s.sign()?),
        Square => g.mul(s)?.mul(2.0),
        Log => g.div(s),
        Log1p => g.div(&s.add(1.0)?),
        Log2 => g.div(&s.mul(LN_2)?),
        Sin => g.mul(&s.cos()?),
        Cos => g.neg()?.mul(&s.sin()?),
        Tan => g.mul(&s.tan()?.square()?.add(1.0)?),
        Asin => g.mul(&one_minus_square(s)?.rsqrt()?),
        Acos => g.neg()?.mul(&one_minus_square(s)?.rsqrt()?),
        Atan => g.div(&s.square()?.add(1.0)?),
        Sinh => g.mul(&s.cosh()?),
        Cosh => g.mul(&s.sinh()?),
        Erf => g.mul(&s.square()?.neg()?.exp()?.mul(FRAC_2_SQRT_PI)?),
        Softplus => g.mul(&s.sigmoid()?),
        Gelu => {
            let cdf = s.mul(FRAC_1_SQRT_2)?.erf()?.affine(0.5, 0.5)?;
            let density = s.square()?.mul(-0.5)?.exp()?.mul(NORMAL_PEAK)?;
            g.mul(&cdf.add(&s.mul(&density)?)?)
        }
        GeluTanh => {
            let square = s.square()?;
            let inner = s.mul(&square.affine(SQRT_2_OVER_PI * GELU_CUBIC, SQRT_2_OVER_PI)?)?;
            let slope = square.affine(3.0 * SQRT_2_OVER_PI * GELU_CUBIC, SQRT_2_OVER_PI)?;
            let t = inner.tanh()?;
            let bend = s.mul(&one_minus_square(&t)?)?.mul(&slope)?.mul(0.5)?;
            g.mul(&t.affine(0.5, 0.5)?.add(&bend)?)
        }
        Silu => {
            let p = s.sigmoid()?;
            g.mul(&p.mul(&s.mul(&p.affine(-1.0, 1.0)?)?.add(1.0)?)?)
        }
        Mish => {
            let t = s.softplus()?.tanh()?;
            g.mul(&t.add(&s.mul(&s.sigmoid()?)?.mul(&one_minus_square(&t)?)?)?)
        }
        Hardswish => {
            let inside = g.mul(&s.affine(1.0 / 3.0, 0.5)?)?;
            s.ge(3.0)?.where_(g, &inside.masked_fill(&s.le(-3.0)?, 0.0)?)
        }
        Hardsigmoid => g.div(6.0)?.masked_fill(&between(s, -3.0, 3.0)?.logical_not()?, 0.0),
        Clamp { min, max } => g.masked_fill(&between(s, min, max)?.logical_not()?, 0.0),
        // 0 * 0^-1 would be NaN.
        Powf(0.0) => g.zeros_like(),
        Powf(p) => g.mul(&s.pow(p - 1.0)?.mul(p)?),
        LeakyRelu(slope) => s.gt(0.0)?.where_(g, &g.mul(slope)?),
        Elu(alpha) => {
            let positive = s.gt(0.0)?;
            // Without the mask, e^x overflows where it is not used.
            let below = s.masked_fill(&positive, 0.0)?;
            positive.where_(g, &g.mul(&below.exp()?.mul(alpha)?)?)
        }
    }
}

/// `1 - x^2`, as a product that does not cancel near 1.
fn one_minus_square(x: &Tensor) -> Result<Tensor> {
    x.affine(-1.0, 1.0)?.mul(&x.add(1.0)?)
}

/// Where `min < x < max`.
fn between(x: &Tensor, min: f64, max: f64) -> Result<Tensor> {
    x.gt(min)?.logical_and(&x.lt(max)?)
}
