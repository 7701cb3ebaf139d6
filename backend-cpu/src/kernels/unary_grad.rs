//! Gradients of the element-wise functions of one operand, in one pass: `g * f'(x)`.

use gradus_tensor_core::half::{bf16, f16};
use gradus_tensor_core::{DType, Outcome, UnaryOp, View};

use crate::elementwise::{Operand, walk};
use crate::execute::{Done, done};
use crate::kernels::map::{Float, Zip};
use crate::math::real::Real;
use crate::{Cpu, CpuBuffer};

/// `g * f'(x)`, where `saved` is x or f(x), whichever [`UnaryOp::needs`] says.
pub(crate) fn unary_grad(
    cpu: &Cpu,
    op: UnaryOp,
    g: &View<'_, CpuBuffer>,
    saved: &View<'_, CpuBuffer>,
) -> Done {
    let mut out = cpu.alloc(&g.meta())?;
    let operands = [Operand::output(&mut out, g.layout), Operand::read(g), Operand::read(saved)];
    // SAFETY: the views were checked and have one shape, the buffer is new.
    let outcome = unsafe {
        match g.dtype {
            DType::F32 => float::<f32>(cpu, op, operands),
            DType::F64 => float::<f64>(cpu, op, operands),
            DType::F16 => float::<f16>(cpu, op, operands),
            DType::BF16 => float::<bf16>(cpu, op, operands),
            _ => Outcome::Unsupported,
        }
    };
    match outcome {
        Outcome::Done(()) => done(out),
        Outcome::Unsupported => Ok(Outcome::Unsupported),
    }
}

/// ln 2, and its inverse.
const LN_2: f64 = std::f64::consts::LN_2;
/// The constants of the tanh approximation of GELU.
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
const GELU_CUBIC: f64 = 0.044715;

macro_rules! gradients {
    ($($name:ident $(($($p:ident),*))?: |$g:ident, $s:ident| $value:expr $(, hard $hard:expr, $exact:expr)?;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name { $($($p: f64),*)? }
        impl<T: Real> Zip<T, T> for $name {
            #[inline(always)]
            fn eval(self, $g: T, $s: T) -> T {
                $($(let $p = T::of(self.$p);)*)?
                $value
            }
            $(#[inline(always)]
            fn hard($s: T) -> bool { $hard }
            fn eval_hard(self, $g: T, $s: T) -> T { $g * T::of($exact) })?
        }
    )*};
}

gradients! {
    Neg: |g, _s| -g;
    Zero: |_g, _s| T::ZERO;
    Affine(mul): |g, _s| g * mul;

    // From y.
    Sqrt: |g, s| g / (s + s);
    Rsqrt: |g, s| T::of(-0.5) * g * (s * s * s);
    Recip: |g, s| -g * (s * s);
    Exp: |g, s| g * s;
    Exp2: |g, s| g * s * T::of(LN_2);
    Expm1: |g, s| g * (s + T::ONE);
    Tanh: |g, s| g * one_minus_square(s);
    Sigmoid: |g, s| g * (s * (T::ONE - s));
    Relu: |g, s| if s <= T::ZERO { T::ZERO } else { g };

    // From x.
    Abs: |g, s| g * if s == T::ZERO || s.is_nan() { s } else { T::ONE.copysign(s) };
    Square: |g, s| g * (s + s);
    Log: |g, s| g / s;
    Log1p: |g, s| g / (s + T::ONE);
    Log2: |g, s| g / (s * T::of(LN_2));
    Sin: |g, s| g * s.cos(), hard s.is_hard_angle(), s.to_f64().cos();
    Cos: |g, s| -g * s.sin(), hard s.is_hard_angle(), -s.to_f64().sin();
    Tan: |g, s| { let t = s.tan(); g * t.fma(t, T::ONE) },
        hard s.is_hard_angle(), 1.0 + s.to_f64().tan().powi(2);
    Asin: |g, s| g / one_minus_square(s).sqrt();
    Acos: |g, s| -g / one_minus_square(s).sqrt();
    Atan: |g, s| g / s.fma(s, T::ONE);
    Sinh: |g, s| g * s.cosh();
    Cosh: |g, s| g * s.sinh();
    Erf: |g, s| g * (T::of(std::f64::consts::FRAC_2_SQRT_PI) * (-s * s).exp());
    Softplus: |g, s| g * s.sigmoid();
    Gelu: |g, s| { let (cdf, density) = s.cdf_and_density(); g * s.fma(density, cdf) };
    GeluTanh: |g, s| {
        let square = s * s;
        // The gate is (1 + tanh u) / 2, so (1 - tanh² u) / 2 is twice the gate times its complement.
        let gate = s.gelu_tanh_gate();
        let slope = square.fma(T::of(3.0 * SQRT_2_OVER_PI * GELU_CUBIC), T::of(SQRT_2_OVER_PI));
        let bend = T::of(2.0) * gate * (T::ONE - gate) * s * slope;
        g * (gate + bend)
    };
    Silu: |g, s| { let p = s.sigmoid(); g * (p * (s * (T::ONE - p)+ T::ONE)) };
    Mish: |g, s| {
        let t = s.tanh_softplus();
        g * (t + s * s.sigmoid() * one_minus_square(t))
    };
    Hardswish: |g, s| {
        let inside = g * s.fma(T::of(1.0 / 3.0), T::of(0.5));
        let inside = if s <= T::of(-3.0) { T::ZERO } else { inside };
        if s >= T::of(3.0) { g } else { inside }
    };
    Hardsigmoid: |g, s| if s > T::of(-3.0) && s < T::of(3.0) { g / T::of(6.0) } else { T::ZERO };
    Clamp(min, max): |g, s| if s > min && s < max { g } else { T::ZERO };
    Powf(exponent, less): |g, s| g * (s.pow(less) * exponent);
    LeakyRelu(slope): |g, s| if s > T::ZERO { g } else { g * slope };
    Elu(alpha): |g, s| if s > T::ZERO { g } else { g * (s.exp() * alpha) };
}

/// `1 - x²`, as a product that does not cancel near 1.
#[inline(always)]
fn one_minus_square<T: Real>(x: T) -> T {
    (T::ONE - x) * (T::ONE + x)
}

/// # Safety
/// As [`walk`].
unsafe fn float<T: Float>(cpu: &Cpu, op: UnaryOp, operands: [Operand; 3]) -> Outcome<()> {
    let (level, cost) = (cpu.level(), op.flops() as usize + 1);
    macro_rules! with {
        ($f:expr) => {{
            let f = $f;
            walk(cpu, cost, operands, |p, n| T::zip(level, f, p[1].cast(), p[2].cast(), p[0].cast(), n))
        }};
    }
    // SAFETY: promised by the caller.
    unsafe {
        match op {
            UnaryOp::Neg => with!(Neg {}),
            UnaryOp::Sign | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc | UnaryOp::Not => {
                with!(Zero {})
            }
            UnaryOp::Affine { mul, .. } => with!(Affine { mul }),
            UnaryOp::Sqrt => with!(Sqrt {}),
            UnaryOp::Rsqrt => with!(Rsqrt {}),
            UnaryOp::Recip => with!(Recip {}),
            UnaryOp::Exp => with!(Exp {}),
            UnaryOp::Exp2 => with!(Exp2 {}),
            UnaryOp::Expm1 => with!(Expm1 {}),
            UnaryOp::Tanh => with!(Tanh {}),
            UnaryOp::Sigmoid => with!(Sigmoid {}),
            UnaryOp::Relu => with!(Relu {}),
            UnaryOp::Abs => with!(Abs {}),
            UnaryOp::Square => with!(Square {}),
            UnaryOp::Log => with!(Log {}),
            UnaryOp::Log1p => with!(Log1p {}),
            UnaryOp::Log2 => with!(Log2 {}),
            UnaryOp::Sin => with!(Sin {}),
            UnaryOp::Cos => with!(Cos {}),
            UnaryOp::Tan => with!(Tan {}),
            UnaryOp::Asin => with!(Asin {}),
            UnaryOp::Acos => with!(Acos {}),
            UnaryOp::Atan => with!(Atan {}),
            UnaryOp::Sinh => with!(Sinh {}),
            UnaryOp::Cosh => with!(Cosh {}),
            UnaryOp::Erf => with!(Erf {}),
            UnaryOp::Softplus => with!(Softplus {}),
            UnaryOp::Gelu => with!(Gelu {}),
            UnaryOp::GeluTanh => with!(GeluTanh {}),
            UnaryOp::Silu => with!(Silu {}),
            UnaryOp::Mish => with!(Mish {}),
            UnaryOp::Hardswish => with!(Hardswish {}),
            UnaryOp::Hardsigmoid => with!(Hardsigmoid {}),
            UnaryOp::Clamp { min, max } => with!(Clamp { min, max }),
            // 0 * 0^-1 would be NaN.
            UnaryOp::Powf(0.0) => with!(Zero {}),
            UnaryOp::Powf(p) => with!(Powf { exponent: p, less: p - 1.0 }),
            UnaryOp::LeakyRelu(slope) => with!(LeakyRelu { slope }),
            UnaryOp::Elu(alpha) => with!(Elu { alpha }),
            _ => return Outcome::Unsupported,
        }
    }
    Outcome::Done(())
}
