//! Logarithms.

// Coefficients keep the digits of their fit; the compiler rounds them.
#![allow(clippy::excessive_precision)]

use std::f32::consts::LOG2_E;

use super::poly;

/// sqrt(1/2): mantissas are taken between this and twice this.
const SQRT_HALF_BITS: u32 = 0x3f35_04f3;
/// `(ln(1 + f) - f + f²/2) / f³` for `sqrt(1/2) <= 1 + f < sqrt(2)`.
const LOG: [f32; 10] = [
    0.333_333_33,
    -0.249_999_9,
    0.200_000_03,
    -0.166_680_1,
    0.142_869_04,
    -0.124_508_45,
    0.110_311_02,
    -0.106_388_77,
    0.105_683_41,
    -0.062_634_695,
];
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `x = 2^e (1 + f)` for positive normal x: e as a float, and f.
#[inline(always)]
fn split(x: f32) -> (f32, f32) {
    let bits = x.to_bits().wrapping_sub(SQRT_HALF_BITS);
    let e = (bits as i32) >> 23;
    let m = f32::from_bits((bits & 0x007f_ffff).wrapping_add(SQRT_HALF_BITS));
    (e as f32, m - 1.0)
}

/// Scales denormals up: the number and the exponent to add.
#[inline(always)]
fn normalize(x: f32) -> (f32, f32) {
    let tiny = x < f32::MIN_POSITIVE;
    (if tiny { x * 8_388_608.0 } else { x }, if tiny { -23.0 } else { 0.0 })
}

/// The values at 0, below 0, at infinity and NaN.
#[inline(always)]
fn special(x: f32, value: f32) -> f32 {
    let value = if x == 0.0 { f32::NEG_INFINITY } else { value };
    let value = if x < 0.0 { f32::NAN } else { value };
    if x < f32::INFINITY { value } else { x }
}

/// Natural logarithm. 1 ULP.
#[inline(always)]
pub(crate) fn log(x: f32) -> f32 {
    let (scaled, shift) = normalize(x);
    let (e, f) = split(scaled);
    let e = e + shift;
    let z = f * f;
    let tail = poly(f, LOG).mul_add(f * z, e * LN2_LOW);
    let tail = z.mul_add(-0.5, tail);
    special(x, e.mul_add(LN2_HIGH, f + tail))
}

/// Logarithm to base 2. 2 ULP.
#[inline(always)]
pub(crate) fn log2(x: f32) -> f32 {
    /// log2(e) beyond the precision of [`LOG2_E`].
    const LOG2_E_LOW: f32 = 1.925_963e-8;
    let (scaled, shift) = normalize(x);
    let (e, f) = split(scaled);
    let z = f * f;
    // The logarithm of the mantissa in two parts, f rounded apart from the rest.
    let tail = z.mul_add(-0.5, poly(f, LOG) * (f * z));
    let low = tail.mul_add(LOG2_E, f * LOG2_E_LOW);
    let high = f * LOG2_E;
    let error = f.mul_add(LOG2_E, -high);
    special(x, (e + shift) + (high + (low + error)))
}

/// `ln(1 + x)`, accurate near 0. 2 ULP.
#[inline(always)]
pub(crate) fn log1p(x: f32) -> f32 {
    let u = 1.0 + x;
    let (e, f) = split(u);
    // What the addition rounded away.
    let lost = if x > 1.0 { 1.0 - (u - x) } else { x - (u - 1.0) };
    let correction = if e == 0.0 { 0.0 } else { lost / u };
    let f = if e == 0.0 { x } else { f };
    let z = f * f;
    let tail = poly(f, LOG).mul_add(f * z, e.mul_add(LN2_LOW, correction));
    let tail = z.mul_add(-0.5, tail);
    let value = e.mul_add(LN2_HIGH, f + tail);
    let value = if x == 0.0 { x } else { value };
    special(u, value)
}
