//! Functions of one number that the compiler can vectorize.
//!
//! The `f32` functions here are branch-free polynomials with choices made by selection, so that a loop over
//! them becomes vector code at every feature level, and their rounding is spelled out with fused
//! multiply-adds, so that every level gives the same bits. Coefficients are minimax fits on the reduced
//! range. Each function states its largest error in ULP (units in the last place of the correctly rounded
//! result), which the tests measure against double precision; infinities, NaN, signed zeros and denormals are
//! treated as IEEE 754 asks. The `f64` functions are those of the standard library and libm.

pub(crate) mod exp;
pub(crate) mod half;
pub(crate) mod log;
pub(crate) mod normal;
pub(crate) mod real;
#[cfg(test)]
mod tests;
pub(crate) mod trig;

/// `c[0] + c[1] x + c[2] x² + …`, each step fused.
#[inline(always)]
pub(crate) fn poly<const N: usize>(x: f32, c: [f32; N]) -> f32 {
    let mut sum = c[N - 1];
    let mut k = N - 1;
    while k > 0 {
        k -= 1;
        sum = sum.mul_add(x, c[k]);
    }
    sum
}
