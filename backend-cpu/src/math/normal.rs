//! The normal distribution: the error function and the GELU activations.

// Coefficients keep the digits of their fit; the compiler rounds them.
#![allow(clippy::excessive_precision)]

use std::f32::consts::SQRT_2;

use super::exp::{UNLIFT, exp, exp_lifted};
use super::poly;

/// `1 / sqrt(2π)`: the density at 0.
const PEAK: f32 = 0.398_942_28;
/// `Φ(-t) e^(t²/2) / s` as a polynomial in `s - 0.5`, with `s = 1 / (1 + 0.3 t)` for `t >= 0`.
const MILLS: [f32; 10] = [
    0.221_970_613,
    0.329_158_975,
    0.346_198_991,
    0.222_082_359,
    0.029_049_972_1,
    -0.077_541_425_7,
    -0.036_371_625_1,
    0.035_778_056_1,
    0.019_257_782_5,
    -0.019_982_515_3,
];
/// Beyond, even t times the tail's probability is 0 in `f32`.
const LAST: f32 = 14.5;

/// For `0 <= t <= LAST`: `2^64 e^(-t²/2)`, and the factor by which the probability `Φ(-t)` of the tail beyond t differs
/// from the exponential. Both have full relative accuracy, also where the product is denormal without `2^64`.
#[inline(always)]
fn tail(t: f32) -> (f32, f32) {
    let square = t * t;
    // The rounding of t² matters where t is large: e^(-(a + b)) = e^-a (1 - b).
    let lost = t.mul_add(t, -square);
    let e = exp_lifted(-0.5 * square);
    let e = e.mul_add(-0.5 * lost, e);
    let s = 1.0 / t.mul_add(0.3, 1.0);
    (e, poly(s - 0.5, MILLS) * s)
}

/// `|x|`, or where the tail ends.
#[inline(always)]
fn distance(x: f32) -> f32 {
    if x.abs() > LAST { LAST } else { x.abs() }
}

/// The error function for `|x| < 0.93`.
#[inline(always)]
fn erf_near_zero(x: f32) -> f32 {
    /// `erf(x) / x - 1` in `x²`.
    const SMALL: [f32; 7] = [
        0.128_379_17,
        -0.376_126_3,
        0.112_836_74,
        -0.026_858_706,
        0.005_200_108,
        -0.000_813_792_2,
        8.365_342_4e-5,
    ];
    poly(x * x, SMALL).mul_add(x, x)
}

/// Φ(x) and the density at x, of the standard normal distribution. 6 ULP, in the far tail.
#[inline(always)]
pub(crate) fn cdf_and_density(x: f32) -> (f32, f32) {
    let (e, ratio) = tail(distance(x));
    let q = e * ratio * UNLIFT;
    (if x < 0.0 { q } else { 1.0 - q }, PEAK * e * UNLIFT)
}

/// The error function. 2 ULP.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let (e, ratio) = tail(distance(x * SQRT_2));
    let large = (-2.0 * UNLIFT * e).mul_add(ratio, 1.0);
    if x.abs() < 0.925 { erf_near_zero(x) } else { large.copysign(x) }
}

/// `x Φ(x)`. 6 ULP, in the far negative tail.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    // With t = |x| it is x - t Φ(-t) on the right and -t Φ(-t) on the left.
    let t = distance(x);
    let (e, ratio) = tail(t);
    // (-0 for negative numbers, and what IEEE 754 makes of an infinite or missing x times 0.)
    let whole = if x > 0.0 { x } else { x * 0.0 };
    (t * ratio * e).mul_add(-UNLIFT, whole)
}

/// The tanh approximation of [`gelu`], which is `x sigmoid(2u)` for a cubic u of x: the sigmoid. Its error is the
/// sigmoid's and what the rounding of u adds; no bound of its own is tested.
#[inline(always)]
pub(crate) fn gelu_tanh_gate(x: f32) -> f32 {
    let t = x.abs();
    let t = if t > 20.0 { 20.0 } else { t } as f64;
    // 2 sqrt(2/π) (t + 0.044715 t³), in double precision: its error would be multiplied by its size.
    let w = t * (t * t).mul_add(2.0 * 0.797_884_560_802_865_4 * 0.044715, 2.0 * 0.797_884_560_802_865_4);
    let high = w as f32;
    let low = (w - high as f64) as f32;
    let e = exp(-high);
    let e = e.mul_add(-low, e);
    let numerator = if x < 0.0 { e } else { 1.0 };
    numerator / (1.0 + e)
}
