//! Large products on tiles, where the processor has a unit for them (Intel's AMX).
//!
//! The unit has eight registers of 1 KB, each a matrix of 16 rows. One of its instructions multiplies 16 x 32 numbers with
//! 32 x 16, both `bf16`, and adds the products to 16 x 16 sums in `f32`: 8192 multiplications, where a register of
//! AVX-512 does 16 in `f32`. (Another multiplies bytes: see [`int8`](crate::kernels::int8).) [`unit`] wraps the instructions, [`split`] brings operands into tiles, [`blocks`] cuts a
//! product so that they stay in caches.
//!
//! # `f32` from `bf16`
//!
//! A number of 24 binary places is the sum of three of 8: `x` rounded to `bf16`, the rest rounded again, and what is left
//! then, which is exact. Products of such parts are exact in `f32`, and of the nine that two numbers have, six reach its
//! places:
//!
//! | [`Precision`] | parts | products | what is left out, of a product's size | error of a sum of 256 |
//! | --- | --- | --- | --- | --- |
//! | [`Highest`](Precision::Highest) | 3 | 6 | 2^-23 at most, 2^-27 usually | 1.2e-7 (in registers: 2.8e-7) |
//! | [`High`](Precision::High) | 2 | 3 | 2^-14 at most | 3.7e-6 |
//! | [`Medium`](Precision::Medium) | 1 | 1 | 2^-7 at most | 2.1e-3 |
//!
//! (Root mean squares relative to the results, of numbers between -1 and 1, as the emulator computes them.) The unit sums 32
//! products before it adds them to the sum that it keeps, and after a block of the depth the sums in registers begin at zero
//! again, as they do in [`micro`](super::micro). So with three parts there are fewer roundings than in a chain of fused
//! multiply-adds, and tests hold the error against that chain's on the same operands.
//!
//! The last bits depend on how a caller cuts a product, since blocks begin there. Cuts are functions of shapes alone.
//!
//! # Values that have no parts
//!
//! The unit takes subnormal numbers for zero, and leaves zero where a sum would be one. A part of a tiny number may be
//! subnormal; a number just below the largest rounds to infinity; and infinity has no second part, since infinity minus
//! infinity is NaN. So while it packs a block, [`split`] finds the largest magnitude of each operand. If one of the two, or
//! their product, is not in [`ORDINARY`], the block is multiplied in registers as if there were no unit. (NaN is in no range,
//! and neither is zero.) Otherwise nothing overflows, and what subnormal numbers lose is at most `depth * 2^-63` of the product
//! of the two: a row keeps all its places unless its numbers are 2^39 times smaller than the largest of its block.
//!
//! Operands that are `bf16` are used as they are. Infinities and NaN pass through the unit as they do elsewhere, and it
//! treats subnormal numbers as the instruction of [`bf16`](super::bf16) does.
//!
//! # What is worth it
//!
//! Packing reads and writes each operand once for a block, so each number must meet enough others: [`pays`] says how many,
//! by the shape alone. Smaller products go where they went before.
//!
//! # How this is tested
//!
//! All of it but the instructions runs in tests on any machine, over an emulation of the unit in plain code that follows
//! the manual's definition. The instructions themselves have not: no test of this repository has run on a machine that has
//! them. In their place, [`is_there`] multiplies small matrices with them before
//! anything else does, and compares every bit: if one is wrong, the level is [`Avx512`](crate::Level::Avx512).

mod blocks;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod detect;
#[cfg(test)]
pub(crate) mod emulator;
mod split;
#[cfg(test)]
mod tests;
pub(crate) mod unit;

use std::ops::RangeInclusive;

use gradus_tensor_core::half::bf16;

use self::blocks::{Floats, Halves};
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use self::detect::is_there;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use self::unit::Instructions;
use self::unit::Unit;
use super::micro::Product;
use super::multiplied::Single;
use crate::{Level, Precision};

/// Largest magnitudes of operands whose products are made of parts: 2^-60 to 2^60.
const ORDINARY: RangeInclusive<f32> = f32::from_bits((127 - 60) << 23)..=f32::from_bits((127 + 60) << 23);
/// Below so many rows, columns or steps of depth, tiles would be filled up with zeros.
const FEWEST: usize = 32;
/// How many others a number must meet for each of its parts, harmonically averaged over both operands. An estimate from
/// the instructions on both sides, made without a machine to measure on.
const MEETINGS: usize = 32;

/// The number of parts of a `f32`.
pub(super) fn parts(precision: Precision) -> usize {
    match precision {
        Precision::Highest => 3,
        Precision::High => 2,
        Precision::Medium => 1,
    }
}

/// Whether a product of so many rows, columns and steps is better made of tiles, with so many parts.
pub(super) fn pays([m, n, depth]: [usize; 3], parts: usize) -> bool {
    m.min(n).min(depth) >= FEWEST && 2 * m * n >= MEETINGS * parts * (m + n)
}

/// A product of `f32`, of any shape and strides.
///
/// # Safety
/// As [`Multiplied::product`](super::multiplied::Multiplied::product), and the machine has the unit.
pub(super) unsafe fn floats<U: Unit>(level: Level, precision: Precision, product: &Product<f32>) {
    // SAFETY: promised by the caller.
    unsafe {
        match parts(precision) {
            1 => level.run(Floats::<U, 1>::new(level, product)),
            2 => level.run(Floats::<U, 2>::new(level, product)),
            _ => level.run(Floats::<U, 3>::new(level, product)),
        }
    }
}

/// A product of `bf16`, of any shape and strides, with sums rounded to what comes out.
///
/// # Safety
/// As [`floats`].
pub(super) unsafe fn halves<U: Unit, C: Single>(level: Level, product: &Product<bf16, C>) {
    // SAFETY: promised by the caller.
    unsafe { level.run(Halves::<U, C>::new(level, product)) }
}
