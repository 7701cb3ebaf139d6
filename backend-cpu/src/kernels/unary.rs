//! Element-wise functions of one operand.

use gradus_tensor_core::half::{bf16, f16};
use gradus_tensor_core::{DType, Element, Outcome, UnaryOp, View};

use crate::elementwise::{Operand, walk};
use crate::execute::{Done, done};
use crate::kernels::map::{Float, Map, map};
use crate::math::real::Real;
use crate::{Cpu, CpuBuffer};

/// `op(x)` for each element.
pub(crate) fn unary(cpu: &Cpu, op: UnaryOp, x: &View<'_, CpuBuffer>) -> Done {
    let mut out = cpu.alloc(&x.meta())?;
    let operands = [Operand::output(&mut out, x.layout), Operand::read(x)];
    // SAFETY: the view was checked, the shapes are one, the buffer is new.
    match unsafe { apply(cpu, op, x.dtype, operands) } {
        Outcome::Done(()) => done(out),
        Outcome::Unsupported => Ok(Outcome::Unsupported),
    }
}

/// Applies the op to operands of one dtype: the first is the output, the last the input; a single one is both.
///
/// # Safety
/// As [`walk`]; the operands are of that dtype.
pub(crate) unsafe fn apply<const N: usize>(
    cpu: &Cpu,
    op: UnaryOp,
    dtype: DType,
    operands: [Operand; N],
) -> Outcome<()> {
    // SAFETY: promised by the caller.
    unsafe {
        match dtype {
            DType::F32 => float::<f32, N>(cpu, op, operands),
            DType::F64 => float::<f64, N>(cpu, op, operands),
            DType::F16 => float::<f16, N>(cpu, op, operands),
            DType::BF16 => float::<bf16, N>(cpu, op, operands),
            DType::I64 => int::<i64, N>(cpu, op, operands),
            DType::I32 => int::<i32, N>(cpu, op, operands),
            DType::U8 => int::<u8, N>(cpu, op, operands),
            DType::Bool => not(cpu, op, operands),
            _ => Outcome::Unsupported,
        }
    }
}

macro_rules! functions {
    ($($name:ident: |$x:ident| $value:expr $(, hard $hard:expr, $exact:expr)?;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name;
        impl<T: Real> Map<T, T> for $name {
            #[inline(always)]
            fn eval(self, $x: T) -> T { $value }
            $(#[inline(always)]
            fn hard($x: T) -> bool { $hard }
            fn eval_hard(self, $x: T) -> T { T::of($exact) })?
        }
    )*};
}

macro_rules! functions_with_parameters {
    ($($name:ident($($p:ident),*): |$x:ident| $value:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name { $($p: f64),* }
        impl<T: Real> Map<T, T> for $name {
            #[inline(always)]
            fn eval(self, $x: T) -> T {
                $(let $p = T::of(self.$p);)*
                $value
            }
        }
    )*};
}

functions! {
    Neg: |x| -x;
    Abs: |x| x.abs();
    Sign: |x| if x == T::ZERO || x.is_nan() { x } else { T::ONE.copysign(x) };
    Floor: |x| x.floor();
    Ceil: |x| x.ceil();
    Round: |x| x.round_ties_even();
    Trunc: |x| x.trunc();
    Square: |x| x * x;
    Sqrt: |x| x.sqrt();
    Rsqrt: |x| T::ONE / x.sqrt();
    Recip: |x| T::ONE / x;
    Exp: |x| x.exp();
    Exp2: |x| x.exp2();
    Expm1: |x| x.expm1();
    Log: |x| x.ln();
    Log1p: |x| x.ln_1p();
    Log2: |x| x.log2();
    Sin: |x| x.sin(), hard x.is_hard_angle(), f64::sin(x.to_f64());
    Cos: |x| x.cos(), hard x.is_hard_angle(), f64::cos(x.to_f64());
    Tan: |x| x.tan(), hard x.is_hard_angle(), f64::tan(x.to_f64());
    Asin: |x| x.asin();
    Acos: |x| x.acos();
    Atan: |x| x.atan();
    Sinh: |x| x.sinh();
    Cosh: |x| x.cosh();
    Tanh: |x| x.tanh();
    Erf: |x| x.erf();
    Sigmoid: |x| x.sigmoid();
    Softplus: |x| x.softplus();
    Relu: |x| if x > T::ZERO || x.is_nan() { x } else { T::ZERO };
    Gelu: |x| x.gelu();
    GeluTanh: |x| x * x.gelu_tanh_gate();
    Silu: |x| x * x.sigmoid();
    Mish: |x| x * x.tanh_softplus();
    Hardswish: |x| x * clamp(x + T::of(3.0), T::ZERO, T::of(6.0)) / T::of(6.0);
    Hardsigmoid: |x| clamp(x + T::of(3.0), T::ZERO, T::of(6.0)) / T::of(6.0);
}

functions_with_parameters! {
    Affine(mul, add): |x| x.fma(mul, add);
    Powf(exponent): |x| x.pow(exponent);
    Clamp(min, max): |x| clamp(x, min, max);
    LeakyRelu(slope): |x| if x > T::ZERO { x } else { slope * x };
    Elu(alpha): |x| if x > T::ZERO { x } else { alpha * x.expm1() };
}

/// Between the limits; NaN stays NaN, and the upper limit wins if they cross.
#[inline(always)]
pub(crate) fn clamp<T: Real>(x: T, min: T, max: T) -> T {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

/// # Safety
/// As [`apply`].
unsafe fn float<T: Float, const N: usize>(cpu: &Cpu, op: UnaryOp, operands: [Operand; N]) -> Outcome<()> {
    let (level, cost) = (cpu.level(), op.flops() as usize);
    macro_rules! with {
        ($f:expr) => {{
            let f = $f;
            walk(cpu, cost, operands, |p, n| T::map(level, f, p[N - 1].cast(), p[0].cast(), n))
        }};
    }
    // SAFETY: promised by the caller.
    unsafe {
        match op {
            UnaryOp::Neg => with!(Neg),
            UnaryOp::Abs => with!(Abs),
            UnaryOp::Sign => with!(Sign),
            UnaryOp::Floor => with!(Floor),
            UnaryOp::Ceil => with!(Ceil),
            UnaryOp::Round => with!(Round),
            UnaryOp::Trunc => with!(Trunc),
            UnaryOp::Square => with!(Square),
            UnaryOp::Sqrt => with!(Sqrt),
            UnaryOp::Rsqrt => with!(Rsqrt),
            UnaryOp::Recip => with!(Recip),
            UnaryOp::Exp => with!(Exp),
            UnaryOp::Exp2 => with!(Exp2),
            UnaryOp::Expm1 => with!(Expm1),
            UnaryOp::Log => with!(Log),
            UnaryOp::Log1p => with!(Log1p),
            UnaryOp::Log2 => with!(Log2),
            UnaryOp::Sin => with!(Sin),
            UnaryOp::Cos => with!(Cos),
            UnaryOp::Tan => with!(Tan),
            UnaryOp::Asin => with!(Asin),
            UnaryOp::Acos => with!(Acos),
            UnaryOp::Atan => with!(Atan),
            UnaryOp::Sinh => with!(Sinh),
            UnaryOp::Cosh => with!(Cosh),
            UnaryOp::Tanh => with!(Tanh),
            UnaryOp::Erf => with!(Erf),
            UnaryOp::Sigmoid => with!(Sigmoid),
            UnaryOp::Softplus => with!(Softplus),
            UnaryOp::Relu => with!(Relu),
            UnaryOp::Gelu => with!(Gelu),
            UnaryOp::GeluTanh => with!(GeluTanh),
            UnaryOp::Silu => with!(Silu),
            UnaryOp::Mish => with!(Mish),
            UnaryOp::Hardswish => with!(Hardswish),
            UnaryOp::Hardsigmoid => with!(Hardsigmoid),
            UnaryOp::Affine { mul, add } => with!(Affine { mul, add }),
            UnaryOp::Powf(exponent) => with!(Powf { exponent }),
            UnaryOp::Clamp { min, max } => with!(Clamp { min, max }),
            UnaryOp::LeakyRelu(slope) => with!(LeakyRelu { slope }),
            UnaryOp::Elu(alpha) => with!(Elu { alpha }),
            _ => return Outcome::Unsupported,
        }
    }
    Outcome::Done(())
}

#[derive(Clone, Copy)]
struct Integer(UnaryOp);

impl<T: Element> Map<T, T> for Integer {
    #[inline(always)]
    fn eval(self, x: T) -> T {
        T::from_i64(self.0.eval_int(x.to_i64()))
    }
}

/// # Safety
/// As [`apply`].
unsafe fn int<T: Element, const N: usize>(cpu: &Cpu, op: UnaryOp, operands: [Operand; N]) -> Outcome<()> {
    if !op.takes_int() {
        return Outcome::Unsupported;
    }
    let (level, f) = (cpu.level(), Integer(op));
    // SAFETY: promised by the caller.
    unsafe { walk(cpu, 4, operands, |p, n| map::<_, T, T>(level, f, p[N - 1].cast(), p[0].cast(), n)) };
    Outcome::Done(())
}

#[derive(Clone, Copy)]
struct Not;

impl Map<bool, bool> for Not {
    #[inline(always)]
    fn eval(self, x: bool) -> bool {
        !x
    }
}

/// # Safety
/// As [`apply`].
unsafe fn not<const N: usize>(cpu: &Cpu, op: UnaryOp, operands: [Operand; N]) -> Outcome<()> {
    if op != UnaryOp::Not {
        return Outcome::Unsupported;
    }
    let level = cpu.level();
    // SAFETY: promised by the caller.
    unsafe { walk(cpu, 1, operands, |p, n| map(level, Not, p[N - 1].cast(), p[0].cast(), n)) };
    Outcome::Done(())
}
