//! The normal distribution: the error function and the GELU activations.

use std::f32::consts::SQRT_2;

use super::exp::exp;
use super::poly;

/// `1 / sqrt(2π)`: the density at 0.
const PEAK: f32 = 0.398_942_28;
/// `Φ(-t) e^(t²/2) / s` as a polynomial in `s = 1 / (1 + 0.3 t)` for `t >= 0`.
const MILLS: [f32; 10] = [
    0.119_686_7,
    0.119_571_676,
    0.110_236_52,
    0.078_384_79,
    0.096_170_26,
    -0.079_447_44,
    0.191_812_17,
    -0.228_233_54,
    0.112_443_79,
    -0.020_624_926,
];

/// For `t >= 0`: `e^(-t²/2)`, and the factor by which the probability `Φ(-t)` of the tail beyond t differs from
/// it. Both have full relative accuracy.
#[inline(always)]
fn tail(t: f32) -> (f32, f32) {
    let t = if t > 20.0 { 20.0 } else { t };
    let square = t * t;
    // The rounding of t² matters where t is large: e^(-(a + b)) = e^-a (1 - b).
    let lost = t.mul_add(t, -square);
    let e = exp(-0.5 * square);
    let e = e.mul_add(-0.5 * lost, e);
    let s = 1.0 / t.mul_add(0.3, 1.0);
    (e, poly(s, MILLS) * s)
}

/// Φ(x) and the density at x, of the standard normal distribution. 4 ULP.
#[inline(always)]
pub(crate) fn cdf_and_density(x: f32) -> (f32, f32) {
    let (e, ratio) = tail(x.abs());
    let q = e * ratio;
    (if x < 0.0 { q } else { 1.0 - q }, PEAK * e)
}

/// The error function. 2 ULP.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
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
    let small = poly(x * x, SMALL).mul_add(x, x);
    let (e, ratio) = tail(x.abs() * SQRT_2);
    let large = (-2.0 * e).mul_add(ratio, 1.0);
    if x.abs() < 0.925 { small } else { large.copysign(x) }
}

/// `x Φ(x)`. 4 ULP.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    let (e, ratio) = tail(x.abs());
    // Far out, Φ alone would be denormal and lose digits before x multiplies it.
    if x < 0.0 {
        x * ratio * e
    } else {
        let t = if x > 20.0 { 20.0 } else { x };
        x - t * ratio * e
    }
}

/// The tanh approximation of [`gelu`], which is `x sigmoid(2u)` for a cubic u of x: the sigmoid. 4 ULP.
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

