//! The normal distribution: the error function and the GELU activations.

// Coefficients keep the digits of their fit; the compiler rounds them.
#![allow(clippy::excessive_precision)]

use std::f32::consts::{LOG2_E, SQRT_2};

use super::exp::{EXP, LN2_HIGH, LN2_LOW, ROUND, UNLIFT, exp};
use super::poly;

/// `1 / sqrt(2π)`: the density at 0.
const PEAK: f32 = 0.398_942_28;
/// What is added to t in the denominator of [`MILLS`]' variable.
const SHIFT: f32 = 3.7;
/// `Φ(-t) e^(t²/2) (t + SHIFT)` as a polynomial in `w - 0.5`, with `w = t / (t + SHIFT)` for `t >= 0`. (Near 0, where much
/// depends on it, w is as exact as t.)
const MILLS: [f32; 9] = [
    0.749_195_457,
    -1.167_824_03,
    1.382_833_72,
    -1.155_552_27,
    0.531_392_872,
    0.081_416_51,
    -0.259_347_856,
    0.037_569_709_1,
    0.107_046_053,
];
/// `e^(-v / 2)` for `|v| <= ln 2`.
const HALF: [f32; 7] = [1.0, -0.5, EXP[0] / 4.0, EXP[1] / -8.0, EXP[2] / 16.0, EXP[3] / -32.0, EXP[4] / 64.0];
/// Beyond, even t times the tail's probability is 0 in `f32`.
const LAST: f32 = 14.5;

/// `2^64 e^(-t²/2)` for `0 <= t <= LAST`, an ordinary number; of NaN anything. 1 ULP.
#[inline(always)]
fn falling(t: f32) -> f32 {
    /// Rounds as [`ROUND`] does, and has 64 in the low bits.
    const LIFTED: f32 = ROUND + 64.0;
    // -t²/2 = n ln 2 - v/2. The square is never rounded by itself, which would matter where t is large.
    let shifted = t.mul_add(t * (-0.5 * LOG2_E), LIFTED);
    let n = shifted - LIFTED;
    let v = n.mul_add(2.0 * LN2_LOW, t.mul_add(t, n * (2.0 * LN2_HIGH)));
    f32::from_bits(poly(v, HALF).to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// For `0 <= t <= LAST`: `2^64 e^(-t²/2)`, and the factor by which the probability `Φ(-t)` of the tail beyond t differs
/// from the exponential. Both have full relative accuracy, also where the product is denormal without `2^64`.
#[inline(always)]
fn tail(t: f32) -> (f32, f32) {
    let s = 1.0 / (t + SHIFT);
    (falling(t), poly(t * s - 0.5, MILLS) * s)
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

/// `x Φ(x)`. 4 ULP.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    // With t = |x| it is x - t Φ(-t) on the right and -t Φ(-t) on the left.
    let t = distance(x);
    let w = t / (t + SHIFT);
    let product = w * poly(w - 0.5, MILLS) * falling(t);
    let negative = if x < 0.0 { x } else { 0.0 };
    // (The difference is NaN for a negative infinity, as IEEE 754 has it of infinity times 0.)
    product.mul_add(-UNLIFT, x - negative)
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
