//! Exponentials and what is made of them.

// Coefficients keep the digits of their fit; the compiler rounds them.
#![allow(clippy::excessive_precision)]

use std::f32::consts::LOG2_E;

use super::log::log1p;
use super::poly;

/// Adding this rounds to an integer, which then stands in the low bits.
pub(super) const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
/// ln 2, in two parts: the first has zeros at its end, so that its product with a small integer is exact.
pub(super) const LN2_HIGH: f32 = 0.693_359_4;
pub(super) const LN2_LOW: f32 = -2.121_944_4e-4;
/// `(e^r - 1 - r) / r²` for `|r| <= ln 2 / 2`, where 1 is added.
pub(super) const EXP: [f32; 5] = [0.499_999_94, 0.166_664_57, 0.041_668_255, 0.008_376_064, 0.001_387_050_1];
/// The same where the sum is small.
const EXPM1: [f32; 6] =
    [0.500_000_000, 0.166_666_67, 0.041_666_463, 0.008_333_36, 0.001_393_368_7, 0.000_198_578_28];

/// 2^n for `-126 <= n <= 127`.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

/// `x = n ln 2 + r`: n and r. Limits x to where n fits; NaN passes through r.
#[inline(always)]
fn reduce(x: f32) -> (i32, f32) {
    let x = if x > 120.0 { 120.0 } else { x };
    let x = if x < -150.0 { -150.0 } else { x };
    parts(x)
}

/// [`reduce`] for an x that needs no limits.
#[inline(always)]
fn parts(x: f32) -> (i32, f32) {
    let shifted = x.mul_add(LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    ((shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32), r)
}

/// `p * 2^n` in two steps, so that results may be denormal or overflow to infinity.
#[inline(always)]
fn scale(p: f32, n: i32) -> f32 {
    let half = n >> 1;
    p * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `e^x * 2^shift` without overflow in between. 1 ULP.
#[inline(always)]
pub(crate) fn exp_shifted(x: f32, shift: i32) -> f32 {
    let (n, r) = reduce(x);
    let p = poly(r, EXP).mul_add(r * r, r) + 1.0;
    scale(p, n.wrapping_add(shift))
}

/// `e^x`. 1 ULP.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    exp_shifted(x, 0)
}

/// Where [`exp_raised`] ends.
const LEAST_RAISED: f32 = -130.0;

/// `2^64 e^x` for `x <= 0`, at least that of -130: an ordinary number. 1 ULP.
#[inline(always)]
pub(crate) fn exp_raised(x: f32) -> f32 {
    let (n, r) = parts(if x < LEAST_RAISED { LEAST_RAISED } else { x });
    (poly(r, EXP).mul_add(r * r, r) + 1.0) * power_of_two(n.wrapping_add(64))
}

/// [`exp_raised`] of sixteen numbers, with the same bits: for a loop of which compilers do not make vectors.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn exp_raised_avx512(x: std::arch::x86_64::__m512) -> std::arch::x86_64::__m512 {
    use std::arch::x86_64::*;
    let c = EXP.map(|c| _mm512_set1_ps(c));
    // (The second operand if one is NaN.)
    let x = _mm512_max_ps(_mm512_set1_ps(LEAST_RAISED), x);
    let shifted = _mm512_fmadd_ps(x, _mm512_set1_ps(LOG2_E), _mm512_set1_ps(ROUND));
    let n = _mm512_sub_ps(shifted, _mm512_set1_ps(ROUND));
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(LN2_HIGH), x);
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(LN2_LOW), r);
    let q = _mm512_fmadd_ps(c[4], r, c[3]);
    let q = _mm512_fmadd_ps(q, r, c[2]);
    let q = _mm512_fmadd_ps(q, r, c[1]);
    let q = _mm512_fmadd_ps(q, r, c[0]);
    let p = _mm512_add_ps(_mm512_fmadd_ps(q, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0));
    // The exponent's bits of the rounded number; the others leave on the left.
    let power = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
    let power = _mm512_add_epi32(power, _mm512_set1_epi32((127 + 64) << 23));
    _mm512_mul_ps(p, _mm512_castsi512_ps(power))
}

/// What undoes [`exp_raised`]: `2^-64`.
pub(crate) const UNLIFT: f32 = f32::from_bits((127 - 64) << 23);

/// `e^x` for `x <= 0`, or 0 instead of a denormal number. 1 ULP.
#[inline(always)]
pub(crate) fn exp_falling(x: f32) -> f32 {
    /// The logarithm of the smallest normal number, from above.
    const LEAST: f32 = -87.336_54;
    let (n, r) = parts(if x < LEAST { LEAST } else { x });
    let value = (poly(r, EXP).mul_add(r * r, r) + 1.0) * power_of_two(n);
    if x < LEAST { 0.0 } else { value }
}

/// `2^x`. 1 ULP.
#[inline(always)]
pub(crate) fn exp2(x: f32) -> f32 {
    let x = if x > 160.0 { 160.0 } else { x };
    let x = if x < -200.0 { -200.0 } else { x };
    let shifted = x + ROUND;
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let r = (x - (shifted - ROUND)) * std::f32::consts::LN_2;
    let p = poly(r, EXP).mul_add(r * r, r) + 1.0;
    scale(p, n)
}

/// `e^x - 1`, accurate near 0. 2 ULP.
#[inline(always)]
pub(crate) fn expm1(x: f32) -> f32 {
    let limited = if x > 89.0 { 89.0 } else { x };
    let limited = if limited < -30.0 { -30.0 } else { limited };
    let (n, r) = reduce(limited);
    let q = poly(r, EXPM1).mul_add(r * r, r);
    // Half of everything, so that 2^128 is not needed.
    let s = power_of_two(n.wrapping_sub(1));
    let value = 2.0 * q.mul_add(s, s - 0.5);
    // Keeps the sign of zero.
    if x == 0.0 { x } else { value }
}

/// `1 / (1 + e^-x)`. 3 ULP.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    let numerator = if x < 0.0 { e } else { 1.0 };
    numerator / (1.0 + e)
}

/// `ln(1 + e^x)`. 2 ULP.
#[inline(always)]
pub(crate) fn softplus(x: f32) -> f32 {
    let positive = if x < 0.0 { 0.0 } else { x };
    positive + log1p(exp(-x.abs()))
}

/// `tanh(x)`. 2 ULP.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    /// `(tanh x - x) / x³` in `x²`.
    const SMALL: [f32; 6] =
        [-0.333_333_33, 0.133_333_03, -0.053_959_16, 0.021_768_104, -0.008_341_272, 0.002_289_71];
    let z = x * x;
    let small = (poly(z, SMALL) * z).mul_add(x, x);
    let large = 1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0);
    if x.abs() < 0.625 { small.copysign(x) } else { large.copysign(x) }
}

/// `sinh(x)`. 2 ULP.
#[inline(always)]
pub(crate) fn sinh(x: f32) -> f32 {
    let t = x.abs();
    let em = expm1(t);
    let small = 0.5 * (em + em / (em + 1.0));
    let value = if t < 15.0 { small } else { exp_shifted(t, -1) };
    value.copysign(x)
}

/// `cosh(x)`. 2 ULP.
#[inline(always)]
pub(crate) fn cosh(x: f32) -> f32 {
    let half = exp_shifted(x.abs(), -1);
    half + 0.25 / half
}

/// `tanh(softplus(x))`, the factor in mish. 4 ULP.
#[inline(always)]
pub(crate) fn tanh_softplus(x: f32) -> f32 {
    // With n = e^x it is (n² + 2n) / (n² + 2n + 2).
    let n = exp(if x > 20.0 { 20.0 } else { x });
    let m = n * (n + 2.0);
    m / (m + 2.0)
}
