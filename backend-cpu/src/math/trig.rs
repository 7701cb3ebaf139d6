//! Sine, cosine and tangent.

// Coefficients keep the digits of their fit; the compiler rounds them.
#![allow(clippy::excessive_precision)]

use std::f64::consts::FRAC_2_PI;

use super::poly;

/// Beyond this the reduction below loses digits; see [`is_hard`].
const LIMIT: f32 = 1.0e9;
/// π/2 in two parts.
const HALF_PI_HIGH: f64 = std::f64::consts::FRAC_PI_2;
const HALF_PI_LOW: f64 = 6.123_233_995_736_766e-17;
/// Adding this to a double rounds it to an integer, which then stands in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52

/// Whether the vectorizable functions do not hold here: so far from 0 that neighbouring floats are many
/// periods apart. Such arguments are computed one by one in double precision.
#[inline(always)]
pub(crate) fn is_hard(x: f32) -> bool {
    x.abs() > LIMIT
}

/// `x = n π/2 + r` with `|r| <= π/4`: the low bits of n, and r. In double precision, so that r has full
/// relative accuracy also near the zeros of the functions.
#[inline(always)]
fn reduce(x: f32) -> (u32, f32) {
    let wide = x as f64;
    let shifted = wide.mul_add(FRAC_2_PI, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-HALF_PI_LOW, n.mul_add(-HALF_PI_HIGH, wide));
    (shifted.to_bits() as u32, r as f32)
}

#[inline(always)]
fn sin_kernel(r: f32) -> f32 {
    const SIN: [f32; 4] = [-0.166_666_67, 0.008_333_332, -0.000_198_400_8, 2.724_910_4e-6];
    let z = r * r;
    (poly(z, SIN) * z).mul_add(r, r)
}

#[inline(always)]
fn cos_kernel(r: f32) -> f32 {
    const COS: [f32; 4] = [0.041_666_668, -0.001_388_888_8, 2.480_059_6e-5, -2.730_043_1e-7];
    let z = r * r;
    let low = z.mul_add(-0.5, 1.0);
    // What the subtraction rounded away comes back with the small terms.
    let lost = z.mul_add(-0.5, 1.0 - low);
    low + (poly(z, COS) * z).mul_add(z, lost)
}

/// The sine at a phase of `quarter` quarter turns, from the reduced argument.
#[inline(always)]
fn wave(n: u32, r: f32) -> f32 {
    let value = if n & 1 == 0 { sin_kernel(r) } else { cos_kernel(r) };
    f32::from_bits(value.to_bits() ^ (n & 2) << 30)
}

/// `sin(x)` for arguments that are not [hard](is_hard). 1.5 ULP.
#[inline(always)]
pub(crate) fn sin(x: f32) -> f32 {
    let (n, r) = reduce(x);
    // The reduction turns -0 into 0.
    if x == 0.0 { x } else { wave(n, r) }
}

/// `cos(x)` for arguments that are not [hard](is_hard). 1.5 ULP.
#[inline(always)]
pub(crate) fn cos(x: f32) -> f32 {
    let (n, r) = reduce(x);
    wave(n.wrapping_add(1), r)
}

/// `tan(x)` for arguments that are not [hard](is_hard). 3 ULP.
#[inline(always)]
pub(crate) fn tan(x: f32) -> f32 {
    let (n, r) = reduce(x);
    let value = wave(n, r) / wave(n.wrapping_add(1), r);
    if x == 0.0 { x } else { value }
}
