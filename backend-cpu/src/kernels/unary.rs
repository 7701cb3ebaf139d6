//! Element-wise functions of one operand.

use gradus_tensor_core::{DType, Element, Outcome, UnaryOp, View};

use crate::elementwise::{Operand, walk};
use crate::execute::{Done, done};
use crate::kernels::map::{Loop1, Map, Parameters, apart, map, map_real, walk1};
use crate::math::real::Real;
use crate::{Cpu, CpuBuffer, Level};

/// `op(x)` for each element.
pub(crate) fn unary(cpu: &Cpu, op: UnaryOp, x: &View<'_, CpuBuffer>) -> Done {
    let mut out = cpu.fresh(x.dtype, x.layout.numel())?;
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
/// As [`walk`](crate::elementwise::walk); the operands are of that dtype.
pub(crate) unsafe fn apply<const N: usize>(
    cpu: &Cpu,
    op: UnaryOp,
    dtype: DType,
    operands: [Operand; N],
) -> Outcome<()> {
    let found = match dtype {
        DType::F32 | DType::F16 | DType::BF16 => float::<f32>(op),
        DType::F64 => float::<f64>(op),
        DType::Bool => (op == UnaryOp::Not).then_some((map::<Not, bool, bool> as Loop1, [0.0; 2])),
        _ => None,
    };
    // SAFETY: promised by the caller; the loop is one for the dtype.
    unsafe {
        match (found, dtype) {
            (Some(f), _) => walk1(cpu, op.flops() as usize, dtype, f, operands),
            (None, DType::I64) if op.takes_int() => int::<i64, N>(cpu, op, operands),
            (None, DType::I32) if op.takes_int() => int::<i32, N>(cpu, op, operands),
            (None, DType::I8) if op.takes_int() => int::<i8, N>(cpu, op, operands),
            (None, DType::U8) if op.takes_int() => int::<u8, N>(cpu, op, operands),
            _ => return Outcome::Unsupported,
        }
    }
    Outcome::Done(())
}

macro_rules! functions {
    ($($name:ident: |$x:ident| $value:expr $(, hard $hard:expr, $exact:expr)?;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name;
        impl<T: Real> Map<T, T> for $name {
            #[inline(always)]
            fn with(_: Parameters) -> Self { $name }
            #[inline(always)]
            fn eval(self, $x: T) -> T { $value }
            $(#[inline(always)]
            fn hard($x: T) -> bool { $hard }
            fn eval_hard(self, $x: T) -> T { T::of($exact) })?
        }
    )*};
}

macro_rules! functions_with_parameters {
    ($($name:ident($p:ident, $q:pat): |$x:ident| $value:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name<T>(T, T);
        impl<T: Real> Map<T, T> for $name<T> {
            #[inline(always)]
            fn with([p, q]: Parameters) -> Self { $name(T::of(p), T::of(q)) }
            #[inline(always)]
            fn eval(self, $x: T) -> T {
                let $name($p, $q) = self;
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
    Powf(exponent, _): |x| x.pow(exponent);
    Clamp(min, max): |x| clamp(x, min, max);
    LeakyRelu(slope, _): |x| if x > T::ZERO { x } else { slope * x };
    Elu(alpha, _): |x| if x > T::ZERO { x } else { alpha * x.expm1() };
}

/// Between the limits; NaN stays NaN, and the upper limit wins if they cross.
#[inline(always)]
pub(crate) fn clamp<T: Real>(x: T, min: T, max: T) -> T {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

/// The limits of a function that only cuts off what lies outside of them, as [`limited`] does; without a function there are
/// none.
pub(crate) fn limits<T: Real>(activation: Option<UnaryOp>) -> Option<[T; 2]> {
    let [least, most] = [f64::NEG_INFINITY, f64::INFINITY].map(T::of);
    match activation {
        None => Some([least, most]),
        Some(UnaryOp::Relu) => Some([T::ZERO, most]),
        Some(UnaryOp::Clamp { min, max }) => Some([T::of(min), T::of(max)]),
        Some(_) => None,
    }
}

/// Cuts off. NaN is neither too small nor too large.
#[inline(always)]
pub(crate) fn limited<T: Real>(x: T, [low, high]: [T; 2]) -> T {
    let x = if x <= low { low } else { x };
    if x >= high { high } else { x }
}

/// What a kernel does at the end to what it made: limits, which it applies itself, or any other function.
#[derive(Clone, Copy)]
pub(crate) struct Activation<T> {
    limits: [T; 2],
    other: Option<(Loop1, Parameters)>,
}

impl<T: Real> Activation<T> {
    /// `None` if there is no loop for it.
    pub(crate) fn of(activation: Option<UnaryOp>) -> Option<Self> {
        Some(match (limits(activation), activation) {
            (None, Some(other)) => Activation { limits: limits(None)?, other: Some(float::<T>(other)?) },
            (limits, _) => Activation { limits: limits?, other: None },
        })
    }

    /// What the function cuts off, infinite if that is nothing.
    pub(crate) fn limits(&self) -> [T; 2] {
        self.limits
    }

    /// Whether there are limits.
    pub(crate) fn cuts(&self) -> bool {
        self.limits != [f64::NEG_INFINITY, f64::INFINITY].map(T::of)
    }

    /// The function of the numbers, in as much room; or the numbers themselves, if it is limits.
    pub(crate) fn applied<'a>(&self, level: Level, x: &'a [T], room: &'a mut [T]) -> &'a [T] {
        let Some((f, parameters)) = self.other else { return x };
        let room = &mut room[..x.len()];
        // SAFETY: a loop over elements of `T`, of which both hold as many.
        unsafe { f(level, parameters, x.as_ptr().cast(), room.as_mut_ptr().cast(), x.len()) };
        room
    }

    /// Applies the function, unless it is limits.
    pub(crate) fn apply(&self, level: Level, y: &mut [T]) {
        if let Some((f, parameters)) = self.other {
            let at = y.as_mut_ptr().cast::<u8>();
            // SAFETY: a loop over elements of `T`; so many are exclusively borrowed.
            unsafe {
                apart(at, size_of::<T>(), y.len(), |start, to, n| f(level, parameters, at.add(start), to, n));
            }
        }
    }
}

/// The loop of an op over floats, and its parameters. It may write where it reads.
pub(crate) fn float<T: Real>(op: UnaryOp) -> Option<(Loop1, Parameters)> {
    macro_rules! with {
        ($f:ty) => {
            with!($f, 0.0, 0.0)
        };
        ($f:ty, $p:expr) => {
            with!($f, $p, 0.0)
        };
        ($f:ty, $p:expr, $q:expr) => {
            (map_real::<$f, T> as Loop1, [$p, $q])
        };
    }
    Some(match op {
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
        UnaryOp::Affine { mul, add } => with!(Affine<T>, mul, add),
        UnaryOp::Powf(exponent) => with!(Powf<T>, exponent),
        UnaryOp::Clamp { min, max } => with!(Clamp<T>, min, max),
        UnaryOp::LeakyRelu(slope) => with!(LeakyRelu<T>, slope),
        UnaryOp::Elu(alpha) => with!(Elu<T>, alpha),
        _ => return None,
    })
}

/// # Safety
/// As [`apply`].
unsafe fn int<T: Element, const N: usize>(cpu: &Cpu, op: UnaryOp, operands: [Operand; N]) {
    // SAFETY: promised by the caller.
    unsafe {
        walk(cpu, 4, operands, |p, n| {
            let (from, to) = (p[N - 1].cast::<T>(), p[0].cast::<T>());
            (0..n).for_each(|i| *to.add(i) = T::from_i64(op.eval_int((*from.add(i)).to_i64())));
        });
    }
}

#[derive(Clone, Copy)]
struct Not;

impl Map<bool, bool> for Not {
    fn with(_: Parameters) -> Self {
        Not
    }
    #[inline(always)]
    fn eval(self, x: bool) -> bool {
        !x
    }
}
