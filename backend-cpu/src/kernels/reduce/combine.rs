//! What a reduction does with two elements.

use gradus_tensor_core::Element;
use gradus_tensor_core::half::{bf16, f16};

use crate::math::half::Half;

/// A type that reductions accumulate in.
pub(super) trait Accumulator: Element + Load<Self> {
    const ZERO: Self;
    const ONE: Self;
    /// Not above, and not below, any other value.
    const LEAST: Self;
    const MOST: Self;
    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    /// The larger; NaN if either is NaN.
    fn larger(self, other: Self) -> Self;
    /// The smaller; NaN if either is NaN.
    fn smaller(self, other: Self) -> Self;
}

/// An element that is accumulated as an `A`.
pub(super) trait Load<A>: Element {
    fn load(self) -> A;
}

macro_rules! accumulators {
    ($($t:ty: $zero:expr, $one:expr, $least:expr, $most:expr, |$a:ident, $b:ident|
        $plus:expr, $times:expr, $larger:expr, $smaller:expr;)*) => {$(
        impl Accumulator for $t {
            const ZERO: Self = $zero;
            const ONE: Self = $one;
            const LEAST: Self = $least;
            const MOST: Self = $most;
            #[inline(always)]
            fn plus(self, $b: Self) -> Self { let $a = self; $plus }
            #[inline(always)]
            fn times(self, $b: Self) -> Self { let $a = self; $times }
            #[inline(always)]
            fn larger(self, $b: Self) -> Self { let $a = self; $larger }
            #[inline(always)]
            fn smaller(self, $b: Self) -> Self { let $a = self; $smaller }
        }
    )*};
}
accumulators! {
    f32: 0.0, 1.0, f32::NEG_INFINITY, f32::INFINITY, |a, b|
        a + b, a * b, if a.is_nan() | (a > b) { a } else { b }, if a.is_nan() | (a < b) { a } else { b };
    f64: 0.0, 1.0, f64::NEG_INFINITY, f64::INFINITY, |a, b|
        a + b, a * b, if a.is_nan() | (a > b) { a } else { b }, if a.is_nan() | (a < b) { a } else { b };
    i64: 0, 1, i64::MIN, i64::MAX, |a, b|
        a.wrapping_add(b), a.wrapping_mul(b), a.max(b), a.min(b);
    i32: 0, 1, i32::MIN, i32::MAX, |a, b|
        a.wrapping_add(b), a.wrapping_mul(b), a.max(b), a.min(b);
    i8: 0, 1, i8::MIN, i8::MAX, |a, b|
        a.wrapping_add(b), a.wrapping_mul(b), a.max(b), a.min(b);
    u8: 0, 1, u8::MIN, u8::MAX, |a, b|
        a.wrapping_add(b), a.wrapping_mul(b), a.max(b), a.min(b);
    bool: false, true, false, true, |a, b|
        a | b, a & b, a | b, a & b;
}

macro_rules! loads {
    ($($t:ty => $a:ty, |$x:ident| $value:expr;)*) => {$(
        impl Load<$a> for $t {
            #[inline(always)]
            fn load(self) -> $a { let $x = self; $value }
        }
    )*};
}
loads! {
    f32 => f32, |x| x;
    f64 => f64, |x| x;
    f16 => f32, |x| x.to_single();
    bf16 => f32, |x| x.to_single();
    i64 => i64, |x| x;
    i32 => i32, |x| x;
    i32 => i64, |x| x as i64;
    i8 => i8, |x| x;
    i8 => i64, |x| x as i64;
    u8 => u8, |x| x;
    u8 => i64, |x| x as i64;
    bool => bool, |x| x;
    bool => i64, |x| x as i64;
}

/// How elements are combined.
pub(super) trait Combine<A>: Copy + Send + Sync + 'static {
    /// The result for no elements.
    fn identity() -> A;
    /// The result for two.
    fn combine(a: A, b: A) -> A;
}

macro_rules! kinds {
    ($($name:ident: $identity:ident, $combine:ident;)*) => {$(
        #[derive(Clone, Copy)]
        pub(super) struct $name;
        impl<A: Accumulator> Combine<A> for $name {
            #[inline(always)]
            fn identity() -> A { A::$identity }
            #[inline(always)]
            fn combine(a: A, b: A) -> A { A::$combine(a, b) }
        }
    )*};
}
kinds! {
    Sum: ZERO, plus;
    Prod: ONE, times;
    Max: LEAST, larger;
    Min: MOST, smaller;
}
