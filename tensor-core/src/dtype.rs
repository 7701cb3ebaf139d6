//! Element types, their properties, and the promotion rule.

use std::fmt;

use half::{bf16, f16};

use crate::Scalar;

/// The type of a tensor's elements, a run-time value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
// A whole word: values that end in a byte and padding are copied in pieces that processors cannot forward from the
// store before, and every operand of every op is such a value.
#[repr(usize)]
#[non_exhaustive]
pub enum DType {
    /// One byte, `false` or `true`.
    Bool,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer: what quantized weights are kept in.
    I8,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer: the type of indices and class labels.
    I64,
    /// IEEE half precision: 5 exponent bits, 10 mantissa bits.
    F16,
    /// Brain float: 8 exponent bits, 7 mantissa bits.
    BF16,
    /// IEEE single precision: the default floating-point type.
    F32,
    /// IEEE double precision: what gradients are checked in.
    F64,
}

/// What kind of number a [`DType`] holds; promotion compares categories first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// Truth values.
    Bool,
    /// Integers.
    Int,
    /// Floating-point numbers.
    Float,
}

impl DType {
    /// Every dtype, in order of promotion.
    pub const ALL: [DType; 9] = [
        DType::Bool,
        DType::U8,
        DType::I8,
        DType::I32,
        DType::I64,
        DType::F16,
        DType::BF16,
        DType::F32,
        DType::F64,
    ];

    /// The floating-point dtypes.
    pub const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];

    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            DType::Bool | DType::U8 | DType::I8 => 1,
            DType::F16 | DType::BF16 => 2,
            DType::I32 | DType::F32 => 4,
            DType::I64 | DType::F64 => 8,
        }
    }

    /// The short lower-case name: `f32`, `bf16`, `i64`, `bool`.
    pub const fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "u8",
            DType::I8 => "i8",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
        }
    }

    /// The category of number this dtype holds.
    pub const fn category(self) -> Category {
        match self {
            DType::Bool => Category::Bool,
            DType::U8 | DType::I8 | DType::I32 | DType::I64 => Category::Int,
            DType::F16 | DType::BF16 | DType::F32 | DType::F64 => Category::Float,
        }
    }

    /// Whether this is a floating-point dtype: the only ones gradients flow through.
    pub const fn is_float(self) -> bool {
        matches!(self.category(), Category::Float)
    }

    /// Whether this is an integer dtype (`Bool` is not one).
    pub const fn is_int(self) -> bool {
        matches!(self.category(), Category::Int)
    }

    /// The dtype statistics and sums are kept in: `F32` for `F16` and `BF16`, `I64` for `Bool` and the
    /// integers, itself otherwise.
    pub const fn accumulator(self) -> DType {
        match self {
            DType::F16 | DType::BF16 | DType::F32 => DType::F32,
            DType::F64 => DType::F64,
            DType::Bool | DType::U8 | DType::I8 | DType::I32 | DType::I64 => DType::I64,
        }
    }

    /// The largest number of a floating-point dtype that is less than `x`.
    pub(crate) fn below(self, x: f64) -> f64 {
        /// The next lower number of a 16-bit float, whose bits are a sign and a magnitude.
        fn down(bits: u16) -> u16 {
            match bits {
                0 | 0x8000 => 0x8001,
                positive if positive < 0x8000 => positive - 1,
                negative => negative + 1,
            }
        }
        let nearest = crate::with_dtype!(self, T => T::from_f64(x).to_f64());
        if nearest < x {
            return nearest;
        }
        match self {
            DType::F16 => f16::from_bits(down(f16::from_f64(x).to_bits())).to_f64(),
            DType::BF16 => bf16::from_bits(down(bf16::from_f64(x).to_bits())).to_f64(),
            DType::F32 => f64::from((x as f32).next_down()),
            _ => x.next_down(),
        }
    }

    /// Whether `x` is a number of this dtype.
    pub(crate) fn holds(self, x: f64) -> bool {
        crate::with_dtype!(self, T => T::from_f64(x).to_f64()) == x
    }

    /// Whether every integer from `low` to `high` is a number of this dtype.
    pub(crate) fn has_integers(self, low: i64, high: i64) -> bool {
        let to = |limit: i64| -limit <= low && high <= limit;
        match self {
            DType::Bool => 0 <= low && high <= 1,
            DType::U8 => 0 <= low && high <= i64::from(u8::MAX),
            DType::I8 => i64::from(i8::MIN) <= low && high <= i64::from(i8::MAX),
            DType::I32 => i64::from(i32::MIN) <= low && high <= i64::from(i32::MAX),
            DType::I64 => true,
            DType::BF16 => to(1 << 8),
            DType::F16 => to(1 << 11),
            DType::F32 => to(1 << 24),
            DType::F64 => to(1 << 53),
        }
    }

    /// The dtype of the result when two tensors of different dtypes meet.
    ///
    /// The higher [`Category`] wins (`i64` with `f16` is `f16`); within a category the wider type wins;
    /// `f16` with `bf16` is `f32`, and `u8` with `i8` is `i32`, since neither of a pair holds the other. This is
    /// PyTorch's rule for tensors, whose `u8` with `i8` is the `int16` that is not a dtype here.
    ///
    /// | | `bool` | `u8` | `i8` | `i32` | `i64` | `f16` | `bf16` | `f32` | `f64` |
    /// | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
    /// | `bool` | `bool` | `u8` | `i8` | `i32` | `i64` | `f16` | `bf16` | `f32` | `f64` |
    /// | `u8` | `u8` | `u8` | `i32` | `i32` | `i64` | `f16` | `bf16` | `f32` | `f64` |
    /// | `i8` | `i8` | `i32` | `i8` | `i32` | `i64` | `f16` | `bf16` | `f32` | `f64` |
    /// | `i32` | `i32` | `i32` | `i32` | `i32` | `i64` | `f16` | `bf16` | `f32` | `f64` |
    /// | `i64` | `i64` | `i64` | `i64` | `i64` | `i64` | `f16` | `bf16` | `f32` | `f64` |
    /// | `f16` | `f16` | `f16` | `f16` | `f16` | `f16` | `f16` | `f32` | `f32` | `f64` |
    /// | `bf16` | `bf16` | `bf16` | `bf16` | `bf16` | `bf16` | `f32` | `bf16` | `f32` | `f64` |
    /// | `f32` | `f32` | `f32` | `f32` | `f32` | `f32` | `f32` | `f32` | `f32` | `f64` |
    /// | `f64` | `f64` | `f64` | `f64` | `f64` | `f64` | `f64` | `f64` | `f64` | `f64` |
    ///
    /// ```
    /// use gradus_tensor_core::DType::*;
    /// assert_eq!(I64.promote(F16), F16);
    /// assert_eq!(F16.promote(BF16), F32);
    /// assert_eq!(Bool.promote(U8), U8);
    /// assert_eq!(U8.promote(I8), I32);
    /// ```
    pub const fn promote(self, other: DType) -> DType {
        match (self, other) {
            (DType::F16, DType::BF16) | (DType::BF16, DType::F16) => DType::F32,
            (DType::U8, DType::I8) | (DType::I8, DType::U8) => DType::I32,
            _ => {
                if self as u8 >= other as u8 {
                    self
                } else {
                    other
                }
            }
        }
    }

    /// The dtype of a tensor of this dtype combined with a plain number: the tensor's own, unless the
    /// number's category is higher (an `i64` tensor times `0.5` is `f32`, the default float).
    pub fn promote_scalar(self, scalar: Scalar) -> DType {
        match (self.category(), scalar.category()) {
            (Category::Bool | Category::Int, Category::Float) => DType::F32,
            (Category::Bool, Category::Int) => DType::I64,
            _ => self,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that a tensor can hold. Sealed: the set of dtypes is [`DType`].
pub trait Element:
    sealed::Sealed + Copy + Default + PartialEq + PartialOrd + fmt::Debug + Send + Sync + 'static
{
    /// The dtype this type stands for.
    const DTYPE: DType;
    /// The nearest value of this type; float to integer truncates and saturates, NaN becomes 0.
    fn from_f64(x: f64) -> Self;
    /// This value as a double; exact for everything but large `i64`.
    fn to_f64(self) -> f64;
    /// The nearest value of this type.
    fn from_i64(x: i64) -> Self;
    /// This value as an integer, truncated and saturated.
    fn to_i64(self) -> i64;
}

macro_rules! element {
    ($($t:ty, $dtype:ident, |$x:ident| $from_f64:expr, $to_f64:expr, $from_i64:expr, $to_i64:expr;)*) => {$(
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$dtype;
            #[inline(always)]
            fn from_f64($x: f64) -> Self { $from_f64 }
            #[inline(always)]
            fn to_f64(self) -> f64 { let $x = self; $to_f64 }
            #[inline(always)]
            fn from_i64($x: i64) -> Self { $from_i64 }
            #[inline(always)]
            fn to_i64(self) -> i64 { let $x = self; $to_i64 }
        }
    )*};
}

element! {
    f64, F64, |x| x, x, x as f64, x as i64;
    f32, F32, |x| x as f32, x as f64, x as f32, x as i64;
    f16, F16, |x| f16::from_f64(x), x.to_f64(), f16::from_f64(x as f64), x.to_f64() as i64;
    bf16, BF16, |x| bf16::from_f64(x), x.to_f64(), bf16::from_f64(x as f64), x.to_f64() as i64;
    i64, I64, |x| x as i64, x as f64, x, x;
    i32, I32, |x| x as i32, x as f64, x as i32, x as i64;
    i8, I8, |x| x as i8, x as f64, x as i8, x as i64;
    u8, U8, |x| x as u8, x as f64, x as u8, x as i64;
    bool, Bool, |x| x != 0.0, x as u8 as f64, x != 0, x as i64;
}

/// Runs a block with a type name bound to the Rust type of a dtype.
///
/// `with_dtype!(dtype, T => expr)` is a `match` over every dtype in which `T` is that dtype's [`Element`].
#[macro_export]
macro_rules! with_dtype {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F64 => {
                type $t = f64;
                $body
            }
            $crate::DType::F32 => {
                type $t = f32;
                $body
            }
            $crate::DType::F16 => {
                type $t = $crate::half::f16;
                $body
            }
            $crate::DType::BF16 => {
                type $t = $crate::half::bf16;
                $body
            }
            $crate::DType::I64 => {
                type $t = i64;
                $body
            }
            $crate::DType::I32 => {
                type $t = i32;
                $body
            }
            $crate::DType::I8 => {
                type $t = i8;
                $body
            }
            $crate::DType::U8 => {
                type $t = u8;
                $body
            }
            $crate::DType::Bool => {
                type $t = bool;
                $body
            }
            // `DType` is non-exhaustive for users; inside this workspace every variant is above.
            #[allow(unreachable_patterns)]
            other => unreachable!("dtype {other} has no element type"),
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_below_is_the_next_one_of_the_dtype() {
        assert_eq!(DType::F16.below(1.0), 1.0 - 2f64.powi(-11));
        assert_eq!(DType::F16.below(-1.0), -1.0 - 2f64.powi(-10));
        assert_eq!(DType::F16.below(0.0), -(2f64.powi(-24)));
        assert_eq!(DType::F16.below(1e9), 65504.0);
        assert_eq!(DType::BF16.below(1.0), 1.0 - 2f64.powi(-8));
        assert_eq!(DType::BF16.below(1.001), 1.0);
        assert_eq!(DType::F32.below(1.0), 1.0 - 2f64.powi(-24));
        assert_eq!(DType::F64.below(1.0), 1.0 - 2f64.powi(-53));
    }

    #[test]
    fn a_float_has_every_integer_up_to_its_precision() {
        for dtype in DType::FLOATS {
            let limit = (1i64..62).map(|b| 1 << b).take_while(|&n| dtype.has_integers(-n, n)).last().unwrap();
            let round = |n: i64| crate::with_dtype!(dtype, T => T::from_i64(n).to_i64());
            assert_eq!((round(limit), round(limit - 1)), (limit, limit - 1));
            assert_ne!(round(limit + 1), limit + 1, "{dtype}");
        }
    }

    #[test]
    fn promotion_is_commutative_and_idempotent() {
        for a in DType::ALL {
            assert_eq!(a.promote(a), a);
            for b in DType::ALL {
                assert_eq!(a.promote(b), b.promote(a));
                assert!(a.promote(b).category() == a.category().max(b.category()));
            }
        }
    }
}
