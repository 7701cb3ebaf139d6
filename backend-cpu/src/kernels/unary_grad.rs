//! Gradients of the element-wise functions of one operand, in one pass: `g * f'(x)`.

use gradus_tensor_core::{DType, Outcome, UnaryOp, View};

use crate::elementwise::Operand;
use crate::execute::{Done, done};
use crate::kernels::map::{Loop2, Parameters, Zip, walk2, zip_real};
use crate::math::real::Real;
use crate::{Cpu, CpuBuffer};

/// `g * f'(x)`, where `saved` is x or f(x), whichever [`UnaryOp::needs`] says.
pub(crate) fn unary_grad(
    cpu: &Cpu,
    op: UnaryOp,
    g: &View<'_, CpuBuffer>,
    saved: &View<'_, CpuBuffer>,
) -> Done {
    let mut out = cpu.fresh(g.dtype, g.layout.numel())?;
    let found = match g.dtype {
        DType::F32 | DType::F16 | DType::BF16 => float::<f32>(op),
        DType::F64 => float::<f64>(op),
        _ => None,
    };
    let Some(f) = found else { return Ok(Outcome::Unsupported) };
    let operands = [Operand::output(&mut out, g.layout), Operand::read(g), Operand::read(saved)];
    // SAFETY: the views were checked and have one shape and dtype, the buffer is new.
    unsafe { walk2(cpu, op.flops() as usize + 1, g.dtype, f, operands) };
    done(out)
}

const LN_2: f64 = std::f64::consts::LN_2;
/// The constants of the tanh approximation of GELU.
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
const GELU_CUBIC: f64 = 0.044715;

macro_rules! gradients {
    ($($name:ident $(($p:ident, $q:pat))?: |$g:ident, $s:ident| $value:expr $(, hard $hard:expr, $exact:expr)?;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name<T>(T, T);
        impl<T: Real> Zip<T, T> for $name<T> {
            #[inline(always)]
            fn with([p, q]: Parameters) -> Self { $name(T::of(p), T::of(q)) }
            #[inline(always)]
            fn eval(self, $g: T, $s: T) -> T {
                $(let $name($p, $q) = self;)?
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
    Affine(mul, _): |g, _s| g * mul;

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
    LeakyRelu(slope, _): |g, s| if s > T::ZERO { g } else { g * slope };
    Elu(alpha, _): |g, s| if s > T::ZERO { g } else { g * (s.exp() * alpha) };
}

/// `1 - x²`, as a product that does not cancel near 1.
#[inline(always)]
fn one_minus_square<T: Real>(x: T) -> T {
    (T::ONE - x) * (T::ONE + x)
}

/// The loop of a gradient over floats, and its parameters.
fn float<T: Real>(op: UnaryOp) -> Option<(Loop2, Parameters)> {
    macro_rules! with {
        ($f:ty) => {
            with!($f, 0.0, 0.0)
        };
        ($f:ty, $p:expr) => {
            with!($f, $p, 0.0)
        };
        ($f:ty, $p:expr, $q:expr) => {
            (zip_real::<$f, T> as Loop2, [$p, $q])
        };
    }
    Some(match op {
        UnaryOp::Neg => with!(Neg<T>),
        UnaryOp::Sign | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc | UnaryOp::Not => {
            with!(Zero<T>)
        }
        UnaryOp::Affine { mul, .. } => with!(Affine<T>, mul),
        UnaryOp::Sqrt => with!(Sqrt<T>),
        UnaryOp::Rsqrt => with!(Rsqrt<T>),
        UnaryOp::Recip => with!(Recip<T>),
        UnaryOp::Exp => with!(Exp<T>),
        UnaryOp::Exp2 => with!(Exp2<T>),
        UnaryOp::Expm1 => with!(Expm1<T>),
        UnaryOp::Tanh => with!(Tanh<T>),
        UnaryOp::Sigmoid => with!(Sigmoid<T>),
        UnaryOp::Relu => with!(Relu<T>),
        UnaryOp::Abs => with!(Abs<T>),
        UnaryOp::Square => with!(Square<T>),
        UnaryOp::Log => with!(Log<T>),
        UnaryOp::Log1p => with!(Log1p<T>),
        UnaryOp::Log2 => with!(Log2<T>),
        UnaryOp::Sin => with!(Sin<T>),
        UnaryOp::Cos => with!(Cos<T>),
        UnaryOp::Tan => with!(Tan<T>),
        UnaryOp::Asin => with!(Asin<T>),
        UnaryOp::Acos => with!(Acos<T>),
        UnaryOp::Atan => with!(Atan<T>),
        UnaryOp::Sinh => with!(Sinh<T>),
        UnaryOp::Cosh => with!(Cosh<T>),
        UnaryOp::Erf => with!(Erf<T>),
        UnaryOp::Softplus => with!(Softplus<T>),
        UnaryOp::Gelu => with!(Gelu<T>),
        UnaryOp::GeluTanh => with!(GeluTanh<T>),
        UnaryOp::Silu => with!(Silu<T>),
        UnaryOp::Mish => with!(Mish<T>),
        UnaryOp::Hardswish => with!(Hardswish<T>),
        UnaryOp::Hardsigmoid => with!(Hardsigmoid<T>),
        UnaryOp::Clamp { min, max } => with!(Clamp<T>, min, max),
        // 0 * 0^-1 would be NaN.
        UnaryOp::Powf(0.0) => with!(Zero<T>),
        UnaryOp::Powf(p) => with!(Powf<T>, p, p - 1.0),
        UnaryOp::LeakyRelu(slope) => with!(LeakyRelu<T>, slope),
        UnaryOp::Elu(alpha) => with!(Elu<T>, alpha),
        _ => return None,
    })
}
