//! The normal distribution: the error function and the GELU activations.

// Coefficients keep the digits of their fit; the compiler rounds them.
#![allow(clippy::excessive_precision)]

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

use super::exp::exp;
use super::poly;

/// `1 / sqrt(2π)`: the density at 0.
const PEAK: f32 = 0.398_942_28;
/// `Φ(-t) e^(t²/2) / s` as a polynomial in `s - 0.4`, with `s = 1 / (1 + 0.35 t)` for `t >= 0.55`.
const MILLS: [f32; 9] = [
    0.221_699_64,
    0.288_865_06,
    0.255_550_03,
    0.108_179_81,
    -0.048_158_735,
    -0.075_264_12,
    0.016_273_48,
    0.051_550_366,
    -0.029_115_422,
];

/// For `t >= 0.55`: `e^(-t²/2)`, and the factor by which the probability `Φ(-t)` of the tail beyond t differs from
/// it. Both have full relative accuracy.
#[inline(always)]
fn tail(t: f32) -> (f32, f32) {
    let t = if t > 20.0 { 20.0 } else { t };
    let square = t * t;
    // The rounding of t² matters where t is large: e^(-(a + b)) = e^-a (1 - b).
    let lost = t.mul_add(t, -square);
    let e = exp(-0.5 * square);
    let e = e.mul_add(-0.5 * lost, e);
    let s = 1.0 / t.mul_add(0.35, 1.0);
    (e, poly(s - 0.4, MILLS) * s)
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

/// Below this distance from 0, Φ is computed from the error function's series, beyond from its tail.
const NEAR: f32 = 0.6;

/// Φ(x) and the density at x, of the standard normal distribution. 6 ULP, in the far tail.
#[inline(always)]
pub(crate) fn cdf_and_density(x: f32) -> (f32, f32) {
    let (e, ratio) = tail(x.abs());
    let q = e * ratio;
    let near = 0.5f32.mul_add(erf_near_zero(x * FRAC_1_SQRT_2), 0.5);
    let far = if x < 0.0 { q } else { 1.0 - q };
    (if x.abs() < NEAR { near } else { far }, PEAK * e)
}

/// The error function. 2 ULP.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let (e, ratio) = tail(x.abs() * SQRT_2);
    let large = (-2.0 * e).mul_add(ratio, 1.0);
    if x.abs() < 0.925 { erf_near_zero(x) } else { large.copysign(x) }
}

/// `x Φ(x)`. 6 ULP, in the far negative tail.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    let (e, ratio) = tail(x.abs());
    let near = x * 0.5f32.mul_add(erf_near_zero(x * FRAC_1_SQRT_2), 0.5);
    // Far out, Φ alone would be denormal and lose digits before x multiplies it.
    let left = x * ratio * e;
    let limited = if x > 20.0 { 20.0 } else { x };
    let right = x - limited * ratio * e;
    let far = if x < 0.0 { left } else { right };
    if x.abs() < NEAR { near } else { far }
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
