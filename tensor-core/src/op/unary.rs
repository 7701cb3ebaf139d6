//! Element-wise functions of one tensor: the table everything else reads.
//!
//! A unary op's data says its name, its exact value in double precision, where it is defined and where
//! its derivative jumps, what its gradient needs and what it costs. The reference backend, the gradient
//! check's sampling, the profiler and the documentation all read it here.

use crate::{DType, Error, Meta, Metas, Result};

/// An element-wise function of one tensor. Parameters ride in the op.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum UnaryOp {
    /// `-x`
    Neg,
    /// `|x|`; derivative 0 at 0.
    Abs,
    /// -1, 0 or 1; NaN stays NaN.
    Sign,
    /// Largest integer not above x.
    Floor,
    /// Smallest integer not below x.
    Ceil,
    /// Nearest integer, ties to even.
    Round,
    /// Integer part.
    Trunc,
    /// `x * x`
    Square,
    /// Square root.
    Sqrt,
    /// `1 / sqrt(x)`
    Rsqrt,
    /// `1 / x`
    Recip,
    /// `e^x`
    Exp,
    /// `2^x`
    Exp2,
    /// `e^x - 1`, accurate near 0.
    Expm1,
    /// Natural logarithm.
    Log,
    /// `ln(1 + x)`, accurate near 0.
    Log1p,
    /// Logarithm to base 2.
    Log2,
    /// Sine of x radians.
    Sin,
    /// Cosine of x radians.
    Cos,
    /// Tangent of x radians.
    Tan,
    /// Inverse sine.
    Asin,
    /// Inverse cosine.
    Acos,
    /// Inverse tangent.
    Atan,
    /// Hyperbolic sine.
    Sinh,
    /// Hyperbolic cosine.
    Cosh,
    /// Hyperbolic tangent.
    Tanh,
    /// The error function.
    Erf,
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `ln(1 + e^x)`
    Softplus,
    /// `max(x, 0)`; derivative 0 at 0.
    Relu,
    /// `x * Φ(x)`, exact (with the error function).
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// `x * tanh(softplus(x))`
    Mish,
    /// `x * min(max(x + 3, 0), 6) / 6`
    Hardswish,
    /// `min(max(x + 3, 0), 6) / 6`
    Hardsigmoid,
    /// Logical negation of a bool tensor.
    Not,
    /// `mul * x + add`
    Affine {
        /// The factor.
        mul: f64,
        /// The summand.
        add: f64,
    },
    /// `x^exponent`
    Powf(f64),
    /// `min(max(x, min), max)`; derivative 0 at and beyond the limits.
    Clamp {
        /// The smallest result.
        min: f64,
        /// The largest result.
        max: f64,
    },
    /// `x` if positive, `slope * x` otherwise.
    LeakyRelu(f64),
    /// `x` if positive, `alpha * (e^x - 1)` otherwise.
    Elu(f64),
}

/// What the gradient of a unary op is computed from, besides the incoming gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: the derivative is constant.
    Nothing,
    /// The op's input.
    Input,
    /// The op's output: the input need not stay alive.
    Output,
}

pub(super) const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
/// The cubic coefficient of the tanh approximation of GELU (Hendrycks and Gimpel, arXiv:1606.08415).
pub(super) const GELU_CUBIC: f64 = 0.044715;

impl UnaryOp {
    /// One of each, with typical parameters: what sweeps and documentation iterate over.
    pub const ALL: [UnaryOp; 42] = [
        UnaryOp::Neg,
        UnaryOp::Abs,
        UnaryOp::Sign,
        UnaryOp::Floor,
        UnaryOp::Ceil,
        UnaryOp::Round,
        UnaryOp::Trunc,
        UnaryOp::Square,
        UnaryOp::Sqrt,
        UnaryOp::Rsqrt,
        UnaryOp::Recip,
        UnaryOp::Exp,
        UnaryOp::Exp2,
        UnaryOp::Expm1,
        UnaryOp::Log,
        UnaryOp::Log1p,
        UnaryOp::Log2,
        UnaryOp::Sin,
        UnaryOp::Cos,
        UnaryOp::Tan,
        UnaryOp::Asin,
        UnaryOp::Acos,
        UnaryOp::Atan,
        UnaryOp::Sinh,
        UnaryOp::Cosh,
        UnaryOp::Tanh,
        UnaryOp::Erf,
        UnaryOp::Sigmoid,
        UnaryOp::Softplus,
        UnaryOp::Relu,
        UnaryOp::Gelu,
        UnaryOp::GeluTanh,
        UnaryOp::Silu,
        UnaryOp::Mish,
        UnaryOp::Hardswish,
        UnaryOp::Hardsigmoid,
        UnaryOp::Not,
        UnaryOp::Affine { mul: -1.5, add: 0.25 },
        UnaryOp::Powf(2.5),
        UnaryOp::Clamp { min: -0.5, max: 0.75 },
        UnaryOp::LeakyRelu(0.1),
        UnaryOp::Elu(1.25),
    ];

    /// The op's name, PyTorch's where there is one.
    pub const fn name(self) -> &'static str {
        use UnaryOp::*;
        match self {
            Neg => "neg",
            Abs => "abs",
            Sign => "sign",
            Floor => "floor",
            Ceil => "ceil",
            Round => "round",
            Trunc => "trunc",
            Square => "square",
            Sqrt => "sqrt",
            Rsqrt => "rsqrt",
            Recip => "reciprocal",
            Exp => "exp",
            Exp2 => "exp2",
            Expm1 => "expm1",
            Log => "log",
            Log1p => "log1p",
            Log2 => "log2",
            Sin => "sin",
            Cos => "cos",
            Tan => "tan",
            Asin => "asin",
            Acos => "acos",
            Atan => "atan",
            Sinh => "sinh",
            Cosh => "cosh",
            Tanh => "tanh",
            Erf => "erf",
            Sigmoid => "sigmoid",
            Softplus => "softplus",
            Relu => "relu",
            Gelu => "gelu",
            GeluTanh => "gelu_tanh",
            Silu => "silu",
            Mish => "mish",
            Hardswish => "hardswish",
            Hardsigmoid => "hardsigmoid",
            Not => "logical_not",
            Affine { .. } => "affine",
            Powf(_) => "pow",
            Clamp { .. } => "clamp",
            LeakyRelu(_) => "leaky_relu",
            Elu(_) => "elu",
        }
    }

    /// The value at `x` in double precision: the definition every backend is measured against.
    pub fn eval(self, x: f64) -> f64 {
        use UnaryOp::*;
        let sigmoid = |x: f64| if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) };
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        match self {
            Neg => -x,
            Abs => x.abs(),
            Sign => {
                if x == 0.0 || x.is_nan() {
                    x
                } else {
                    x.signum()
                }
            }
            Floor => x.floor(),
            Ceil => x.ceil(),
            Round => x.round_ties_even(),
            Trunc => x.trunc(),
            Square => x * x,
            Sqrt => x.sqrt(),
            Rsqrt => x.sqrt().recip(),
            Recip => x.recip(),
            Exp => x.exp(),
            Exp2 => x.exp2(),
            Expm1 => x.exp_m1(),
            Log => x.ln(),
            Log1p => x.ln_1p(),
            Log2 => x.log2(),
            Sin => x.sin(),
            Cos => x.cos(),
            Tan => x.tan(),
            Asin => x.asin(),
            Acos => x.acos(),
            Atan => x.atan(),
            Sinh => x.sinh(),
            Cosh => x.cosh(),
            Tanh => x.tanh(),
            Erf => libm::erf(x),
            Sigmoid => sigmoid(x),
            Softplus => softplus(x),
            Relu => {
                if x > 0.0 || x.is_nan() {
                    x
                } else {
                    0.0
                }
            }
            // erfc keeps the relative accuracy of the negative tail, where 1 + erf cancels.
            Gelu => 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
            GeluTanh => 0.5 * x * (1.0 + (SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x)).tanh()),
            Silu => x * sigmoid(x),
            Mish => x * softplus(x).tanh(),
            Hardswish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Hardsigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Not => (x == 0.0) as u8 as f64,
            Affine { mul, add } => mul * x + add,
            Powf(p) => x.powf(p),
            Clamp { min, max } => {
                if x.is_nan() {
                    x
                } else {
                    x.max(min).min(max)
                }
            }
            LeakyRelu(slope) => {
                if x > 0.0 {
                    x
                } else {
                    slope * x
                }
            }
            Elu(alpha) => {
                if x > 0.0 {
                    x
                } else {
                    alpha * x.exp_m1()
                }
            }
        }
    }

    /// What the gradient is computed from.
    pub const fn needs(self) -> Needs {
        use UnaryOp::*;
        match self {
            Neg | Sign | Floor | Ceil | Round | Trunc | Not | Affine { .. } => Needs::Nothing,
            Sqrt | Rsqrt | Recip | Exp | Exp2 | Expm1 | Tanh | Sigmoid | Relu => Needs::Output,
            Abs
            | Square
            | Log
            | Log1p
            | Log2
            | Sin
            | Cos
            | Tan
            | Asin
            | Acos
            | Atan
            | Sinh
            | Cosh
            | Erf
            | Softplus
            | Gelu
            | GeluTanh
            | Silu
            | Mish
            | Hardswish
            | Hardsigmoid
            | Powf(_)
            | Clamp { .. }
            | LeakyRelu(_)
            | Elu(_) => Needs::Input,
        }
    }

    /// The open interval where the function and its derivative are finite and well conditioned enough to
    /// be checked by finite differences.
    pub const fn domain(self) -> (f64, f64) {
        use UnaryOp::*;
        match self {
            Sqrt | Rsqrt | Recip | Log | Log2 | Powf(_) => (0.1, 4.0),
            Log1p => (-0.8, 4.0),
            Asin | Acos => (-0.9, 0.9),
            Tan => (-1.2, 1.2),
            _ => (-4.0, 4.0),
        }
    }

    /// The points where the derivative jumps, which finite differences must keep away from; the steps of
    /// the rounding functions are not listed: see [`UnaryOp::is_step`].
    pub fn kinks(self) -> Vec<f64> {
        use UnaryOp::*;
        match self {
            Abs | Sign | Relu | LeakyRelu(_) | Elu(_) => vec![0.0],
            Hardswish | Hardsigmoid => vec![-3.0, 3.0],
            Clamp { min, max } => vec![min, max],
            _ => Vec::new(),
        }
    }

    /// Whether the function is piecewise constant: its derivative is 0 wherever it exists.
    pub const fn is_step(self) -> bool {
        use UnaryOp::*;
        matches!(self, Sign | Floor | Ceil | Round | Trunc)
    }

    /// Whether integer tensors are accepted (and stay integer).
    pub const fn takes_int(self) -> bool {
        use UnaryOp::*;
        matches!(
            self,
            Neg | Abs | Sign | Floor | Ceil | Round | Trunc | Square | Relu | Affine { .. } | Clamp { .. }
        )
    }

    /// Rough floating-point operations per element, for the profiler's roofline.
    pub const fn flops(self) -> u64 {
        use UnaryOp::*;
        match self {
            Neg | Abs | Sign | Floor | Ceil | Round | Trunc | Square | Relu | Not | Recip => 1,
            Affine { .. } | Clamp { .. } | LeakyRelu(_) | Sqrt => 2,
            Hardswish | Hardsigmoid => 4,
            Rsqrt => 3,
            Powf(_) | Mish => 30,
            _ => 15,
        }
    }

    pub(super) fn infer(self, inputs: &[Meta]) -> Result<Metas> {
        let &[x] = super::operands(self.name(), inputs)?;
        let ok = match self {
            UnaryOp::Not => x.dtype == DType::Bool,
            op => x.dtype.is_float() || (x.dtype.is_int() && op.takes_int()),
        };
        if !ok {
            let wants = match self {
                UnaryOp::Not => "a bool tensor",
                op if op.takes_int() => "a float or integer tensor",
                _ => "a float tensor; cast it first",
            };
            return Err(Error::dtype(self.name(), inputs, format!("expects {wants}, got {}", x.dtype)));
        }
        Ok(super::one(x))
    }
}
