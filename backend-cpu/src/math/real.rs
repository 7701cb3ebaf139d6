//! One vocabulary for `f32` and `f64`.

use std::ops::{Add, Div, Mul, Neg, Sub};

use gradus_tensor_core::Element;

/// A float that functions are written over.
pub(crate) trait Real:
    Element
    + bytemuck::Pod
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// `self % b`, the remainder with the sign of `self`.
    fn fmod(self, b: Self) -> Self;
    /// `self` to the power `b`.
    fn pow(self, b: Self) -> Self;
    /// The angle of the point (`x`, `self`).
    fn atan2(self, x: Self) -> Self;
    /// 0
    const ZERO: Self;
    /// Whether this is not a number.
    fn is_nan(self) -> bool;
}

macro_rules! real {
    ($($t:ty),*) => {$(
        impl Real for $t {
            #[inline(always)]
            fn fmod(self, b: Self) -> Self { self % b }
            #[inline(always)]
            fn pow(self, b: Self) -> Self { self.powf(b) }
            #[inline(always)]
            fn atan2(self, x: Self) -> Self { self.atan2(x) }
            const ZERO: Self = 0.0;
            #[inline(always)]
            fn is_nan(self) -> bool { self != self }
        }
    )*};
}
real!(f32, f64);
