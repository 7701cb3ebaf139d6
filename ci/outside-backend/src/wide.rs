//! Every number is computed as a double or as a 64-bit integer and converted once, when it is stored.

use gradus_tensor_core::{
    BinaryOp, Element, Error, HostArray, Meta, ReduceKind, Result, UnaryOp, with_dtype,
};

use crate::Operand;

/// Runs a block with `W` bound to the [`Wide`] type in which a dtype is computed.
macro_rules! wide {
    ($dtype:expr, $w:ident => $body:expr) => {
        if $dtype.is_float() {
            type $w = f64;
            $body
        } else {
            type $w = i64;
            $body
        }
    };
}
pub(crate) use wide;

/// A double or a 64-bit integer.
pub(crate) trait Wide: Copy + PartialOrd {
    const ZERO: Self;
    const ONE: Self;
    fn load<T: Element>(x: T) -> Self;
    fn store<T: Element>(self) -> T;
    fn unary(op: UnaryOp, x: Self) -> Self;
    /// `None` for an integer divided by zero.
    fn binary(op: BinaryOp, a: Self, b: Self) -> Option<Self>;
    fn combine(kind: ReduceKind, a: Self, b: Self) -> Self;
    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn is_nan(self) -> bool;
}

impl Wide for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    fn load<T: Element>(x: T) -> f64 {
        x.to_f64()
    }
    fn store<T: Element>(self) -> T {
        T::from_f64(self)
    }
    fn unary(op: UnaryOp, x: f64) -> f64 {
        op.eval(x)
    }
    fn binary(op: BinaryOp, a: f64, b: f64) -> Option<f64> {
        Some(op.eval(a, b))
    }
    fn combine(kind: ReduceKind, a: f64, b: f64) -> f64 {
        kind.eval(a, b)
    }
    fn plus(self, other: f64) -> f64 {
        self + other
    }
    fn times(self, other: f64) -> f64 {
        self * other
    }
    fn is_nan(self) -> bool {
        f64::is_nan(self)
    }
}

impl Wide for i64 {
    const ZERO: i64 = 0;
    const ONE: i64 = 1;
    fn load<T: Element>(x: T) -> i64 {
        x.to_i64()
    }
    fn store<T: Element>(self) -> T {
        T::from_i64(self)
    }
    fn unary(op: UnaryOp, x: i64) -> i64 {
        op.eval_int(x)
    }
    fn binary(op: BinaryOp, a: i64, b: i64) -> Option<i64> {
        op.eval_int(a, b)
    }
    fn combine(kind: ReduceKind, a: i64, b: i64) -> i64 {
        match kind {
            ReduceKind::Sum => a.wrapping_add(b),
            ReduceKind::Prod => a.wrapping_mul(b),
            ReduceKind::Max => a.max(b),
            ReduceKind::Min => a.min(b),
        }
    }
    fn plus(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }
    fn times(self, other: i64) -> i64 {
        self.wrapping_mul(other)
    }
    fn is_nan(self) -> bool {
        false
    }
}

/// The elements of an operand, in row-major order: transposed, sliced or broadcast, its layout knows.
pub(crate) fn read<W: Wide>(x: Operand<'_>) -> Result<Vec<W>> {
    with_dtype!(x.dtype, T => {
        let stored = x.buffer.as_slice::<T>().ok_or_else(|| {
            Error::argument("plain", format!("a {} view of {}", x.dtype, x.buffer.meta()))
        })?;
        Ok(x.layout.positions().map(|p| W::load(stored[p])).collect())
    })
}

/// A new buffer of these elements.
pub(crate) fn write<W: Wide>(values: Vec<W>, out: Meta) -> Result<HostArray> {
    with_dtype!(out.dtype, T => HostArray::new(values.into_iter().map(|x| x.store::<T>()).collect(), out.shape))
}
