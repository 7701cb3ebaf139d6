//! One vocabulary for `f32` and `f64`.

use std::ops::{Add, Div, Mul, Neg, Sub};

use gradus_tensor_core::{Element, UnaryOp};

use super::{exp, log, normal, trig};
use crate::Level;
use crate::level::Kernel;

/// A float that functions are written over: vectorizable polynomials for `f32`, the standard library and libm
/// for `f64`.
#[allow(missing_docs)]
pub(crate) trait Real:
    Element
    + bytemuck::Pod
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    const ZERO: Self;
    const ONE: Self;
    /// What undoes [`Real::exp_raised`].
    const UNRAISE: Self;
    /// Runs a loop over elements of this type. Those of `f64` are compiled for the lowest level alone: most call
    /// the standard library, and no training depends on their speed.
    fn drive<K: Kernel<Output = ()>>(level: Level, kernel: K);
    /// The nearest number of this type.
    fn of(x: f64) -> Self;
    fn is_nan(self) -> bool;
    /// `self * a + b`, with one rounding in `f32`.
    fn fma(self, a: Self, b: Self) -> Self;
    fn abs(self) -> Self;
    fn copysign(self, sign: Self) -> Self;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn round_ties_even(self) -> Self;
    fn trunc(self) -> Self;
    fn sqrt(self) -> Self;
    fn exp(self) -> Self;
    /// `e^x` for `x <= 0`, which may be 0 where it is denormal.
    fn exp_falling(self) -> Self;
    /// `e^x` for `x <= 0`, divided by [`Real::UNRAISE`]: as exact where `e^x` is denormal, and at least some positive
    /// number that multiplied with it is 0.
    fn exp_raised(self) -> Self;
    fn exp2(self) -> Self;
    fn expm1(self) -> Self;
    fn ln(self) -> Self;
    fn ln_1p(self) -> Self;
    fn log2(self) -> Self;
    fn sin(self) -> Self;
    fn cos(self) -> Self;
    fn tan(self) -> Self;
    /// Whether [`Real::sin`], [`Real::cos`] and [`Real::tan`] do not hold here.
    fn is_hard_angle(self) -> bool;
    fn asin(self) -> Self;
    fn acos(self) -> Self;
    fn atan(self) -> Self;
    fn sinh(self) -> Self;
    fn cosh(self) -> Self;
    fn tanh(self) -> Self;
    fn erf(self) -> Self;
    fn sigmoid(self) -> Self;
    fn softplus(self) -> Self;
    fn gelu(self) -> Self;
    /// Φ(x) and the normal density at x.
    fn cdf_and_density(self) -> (Self, Self);
    /// What [`UnaryOp::GeluTanh`] multiplies x with.
    fn gelu_tanh_gate(self) -> Self;
    fn tanh_softplus(self) -> Self;
    /// `self % b`, with the sign of `self`.
    fn fmod(self, b: Self) -> Self;
    fn pow(self, b: Self) -> Self;
    fn atan2(self, x: Self) -> Self;
}

macro_rules! common {
    ($t:ty) => {
        const ZERO: Self = 0.0;
        const ONE: Self = 1.0;
        #[inline(always)]
        fn of(x: f64) -> Self {
            x as $t
        }
        #[inline(always)]
        fn is_nan(self) -> bool {
            self != self
        }
        #[inline(always)]
        fn copysign(self, sign: Self) -> Self {
            <$t>::copysign(self, sign)
        }
        #[inline(always)]
        fn fmod(self, b: Self) -> Self {
            self % b
        }
        #[inline(always)]
        fn pow(self, b: Self) -> Self {
            self.powf(b)
        }
        #[inline(always)]
        fn atan2(self, x: Self) -> Self {
            <$t>::atan2(self, x)
        }
    };
}

macro_rules! forward {
    ($($name:ident => $function:expr;)*) => {$(
        #[inline(always)]
        fn $name(self) -> Self { $function(self) }
    )*};
}

impl Real for f32 {
    common!(f32);
    const UNRAISE: Self = exp::UNLIFT;
    #[inline(always)]
    fn drive<K: Kernel<Output = ()>>(level: Level, kernel: K) {
        level.run(kernel);
    }
    #[inline(always)]
    fn fma(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }
    forward! {
        abs => f32::abs;
        floor => f32::floor;
        ceil => f32::ceil;
        round_ties_even => f32::round_ties_even;
        trunc => f32::trunc;
        sqrt => f32::sqrt;
        exp => exp::exp;
        exp_falling => exp::exp_falling;
        exp_raised => exp::exp_raised;
        exp2 => exp::exp2;
        expm1 => exp::expm1;
        ln => log::log;
        ln_1p => log::log1p;
        log2 => log::log2;
        sin => trig::sin;
        cos => trig::cos;
        tan => trig::tan;
        asin => f32::asin;
        acos => f32::acos;
        atan => f32::atan;
        sinh => exp::sinh;
        cosh => exp::cosh;
        tanh => exp::tanh;
        erf => normal::erf;
        sigmoid => exp::sigmoid;
        softplus => exp::softplus;
        gelu => normal::gelu;
        gelu_tanh_gate => normal::gelu_tanh_gate;
        tanh_softplus => exp::tanh_softplus;
    }
    #[inline(always)]
    fn is_hard_angle(self) -> bool {
        trig::is_hard(self)
    }
    #[inline(always)]
    fn cdf_and_density(self) -> (Self, Self) {
        normal::cdf_and_density(self)
    }
}

impl Real for f64 {
    common!(f64);
    const UNRAISE: Self = 1.0;
    fn drive<K: Kernel<Output = ()>>(_level: Level, kernel: K) {
        kernel.run();
    }
    #[inline(always)]
    fn fma(self, a: Self, b: Self) -> Self {
        self * a + b
    }
    forward! {
        abs => f64::abs;
        floor => f64::floor;
        ceil => f64::ceil;
        round_ties_even => f64::round_ties_even;
        trunc => f64::trunc;
        sqrt => f64::sqrt;
        exp => f64::exp;
        exp_falling => f64::exp;
        exp_raised => f64::exp;
        exp2 => f64::exp2;
        expm1 => f64::exp_m1;
        ln => f64::ln;
        ln_1p => f64::ln_1p;
        log2 => f64::log2;
        sin => f64::sin;
        cos => f64::cos;
        tan => f64::tan;
        asin => f64::asin;
        acos => f64::acos;
        atan => f64::atan;
        sinh => f64::sinh;
        cosh => f64::cosh;
        tanh => f64::tanh;
        erf => libm::erf;
        sigmoid => |x| UnaryOp::Sigmoid.eval(x);
        softplus => |x| UnaryOp::Softplus.eval(x);
        gelu => |x| UnaryOp::Gelu.eval(x);
        tanh_softplus => |x| UnaryOp::Softplus.eval(x).tanh();
    }
    #[inline(always)]
    fn is_hard_angle(self) -> bool {
        false
    }
    #[inline(always)]
    fn gelu_tanh_gate(self) -> Self {
        let u = 0.797_884_560_802_865_4 * (self + 0.044715 * self * self * self);
        0.5 * (1.0 + u.tanh())
    }
    #[inline(always)]
    fn cdf_and_density(self) -> (Self, Self) {
        let cdf = 0.5 * libm::erfc(-self * std::f64::consts::FRAC_1_SQRT_2);
        (cdf, 0.398_942_280_401_432_7 * (-0.5 * self * self).exp())
    }
}
