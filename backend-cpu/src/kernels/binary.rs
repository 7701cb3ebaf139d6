//! Element-wise functions of two operands.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use gradus_tensor_core::half::{bf16, f16};
use gradus_tensor_core::{BinaryOp, DType, Element, Error, Outcome, Result, View};
use num_traits::{WrappingAdd, WrappingMul, WrappingSub};

use crate::elementwise::{Operand, walk};
use crate::execute::{Done, done};
use crate::kernels::map::{Float, Zip, zip};
use crate::math::real::Real;
use crate::{Cpu, CpuBuffer, Level};

/// `op(a, b)` for each pair of elements.
#[inline]
pub(crate) fn binary(cpu: &Cpu, op: BinaryOp, a: &View<'_, CpuBuffer>, b: &View<'_, CpuBuffer>) -> Done {
    let mut out = cpu.alloc(&a.meta())?;
    let operands = [Operand::output(&mut out, a.layout), Operand::read(a), Operand::read(b)];
    // SAFETY: the views were checked and have one shape, the buffer is new.
    match unsafe { apply(cpu, op, a.dtype, operands) }? {
        Outcome::Done(()) => done(out),
        Outcome::Unsupported => Ok(Outcome::Unsupported),
    }
}

/// Applies the op to operands of one dtype: the first is the output, the last two are the inputs. With two
/// operands the first is both output and left input.
///
/// # Safety
/// As [`walk`]; the operands are of that dtype.
#[inline]
pub(crate) unsafe fn apply<const N: usize>(
    cpu: &Cpu,
    op: BinaryOp,
    dtype: DType,
    operands: [Operand; N],
) -> Result<Outcome<()>> {
    // SAFETY: promised by the caller.
    unsafe {
        match dtype {
            DType::F32 => Ok(float::<f32, N>(cpu, op, operands)),
            DType::F64 => Ok(float::<f64, N>(cpu, op, operands)),
            DType::F16 => Ok(float::<f16, N>(cpu, op, operands)),
            DType::BF16 => Ok(float::<bf16, N>(cpu, op, operands)),
            DType::I64 => int::<i64, N>(cpu, op, operands),
            DType::I32 => int::<i32, N>(cpu, op, operands),
            DType::U8 => int::<u8, N>(cpu, op, operands),
            DType::Bool => Ok(logic(cpu, op, operands)),
            _ => Ok(Outcome::Unsupported),
        }
    }
}

/// Work of an op on one pair, as [`Cpu::for_chunks`] counts it.
fn cost(op: BinaryOp) -> usize {
    op.flops() as usize
}

/// # Safety
/// As [`apply`].
#[inline(always)]
unsafe fn run<T: Element, const N: usize>(
    cpu: &Cpu,
    cost: usize,
    operands: [Operand; N],
    kernel: impl Fn(Level, *const T, *const T, *mut T, usize) + Sync,
) {
    let level = cpu.level();
    // SAFETY: promised by the caller.
    unsafe { walk(cpu, cost, operands, |p, n| kernel(level, p[N - 2].cast(), p[N - 1].cast(), p[0].cast(), n)) }
}

macro_rules! pairs {
    ($($(#[$doc:meta])* $name:ident: $trait:ident, |$a:ident, $b:ident| $value:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        struct $name;
        impl<T: $trait> Zip<T, T> for $name {
            #[inline(always)]
            fn eval(self, $a: T, $b: T) -> T { $value }
        }
    )*};
}

/// What integers are computed with.
trait Int: Element + Ord + WrappingAdd + WrappingSub + WrappingMul {}
impl<T: Element + Ord + WrappingAdd + WrappingSub + WrappingMul> Int for T {}

pairs! {
    Add: Real, |a, b| a + b;
    Sub: Real, |a, b| a - b;
    Mul: Real, |a, b| a * b;
    Div: Real, |a, b| a / b;
    Pow: Real, |a, b| a.pow(b);
    // A NaN on the left is kept by the first test, one on the right by the comparison being false.
    Maximum: Real, |a, b| if a.is_nan() || a > b { a } else { b };
    Minimum: Real, |a, b| if a.is_nan() || a < b { a } else { b };
    Rem: Real, |a, b| {
        let r = a.fmod(b);
        if r != T::ZERO && (r < T::ZERO) != (b < T::ZERO) { r + b } else { r }
    };
    Atan2: Real, |a, b| a.atan2(b);
    IntAdd: Int, |a, b| a.wrapping_add(&b);
    IntSub: Int, |a, b| a.wrapping_sub(&b);
    IntMul: Int, |a, b| a.wrapping_mul(&b);
    IntMax: Int, |a, b| a.max(b);
    IntMin: Int, |a, b| a.min(b);
}

macro_rules! logic {
    ($($name:ident: |$a:ident, $b:ident| $value:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name;
        impl Zip<bool, bool> for $name {
            #[inline(always)]
            fn eval(self, $a: bool, $b: bool) -> bool { $value }
        }
    )*};
}
logic! {
    Or: |a, b| a | b;
    And: |a, b| a & b;
    Xor: |a, b| a ^ b;
}

/// # Safety
/// As [`apply`].
unsafe fn float<T: Float, const N: usize>(cpu: &Cpu, op: BinaryOp, operands: [Operand; N]) -> Outcome<()> {
    macro_rules! with {
        ($f:expr) => {
            run(cpu, cost(op), operands, |level, a, b, out, n| T::zip(level, $f, a, b, out, n))
        };
    }
    // SAFETY: promised by the caller.
    unsafe {
        match op {
            BinaryOp::Add => with!(Add),
            BinaryOp::Sub => with!(Sub),
            BinaryOp::Mul => with!(Mul),
            BinaryOp::Div => with!(Div),
            BinaryOp::Pow => with!(Pow),
            BinaryOp::Maximum => with!(Maximum),
            BinaryOp::Minimum => with!(Minimum),
            BinaryOp::Rem => with!(Rem),
            BinaryOp::Atan2 => with!(Atan2),
            _ => return Outcome::Unsupported,
        }
    }
    Outcome::Done(())
}

/// # Safety
/// As [`apply`].
unsafe fn int<T: Int, const N: usize>(cpu: &Cpu, op: BinaryOp, operands: [Operand; N]) -> Result<Outcome<()>> {
    macro_rules! with {
        ($f:expr) => {
            run::<T, N>(cpu, cost(op), operands, |level, a, b, out, n| zip(level, $f, a, b, out, n))
        };
    }
    // SAFETY: promised by the caller.
    unsafe {
        match op {
            BinaryOp::Add => with!(IntAdd),
            BinaryOp::Sub => with!(IntSub),
            BinaryOp::Mul => with!(IntMul),
            BinaryOp::Maximum => with!(IntMax),
            BinaryOp::Minimum => with!(IntMin),
            BinaryOp::Div | BinaryOp::Rem | BinaryOp::Pow => {
                let by_zero = AtomicBool::new(false);
                run::<T, N>(cpu, 8, operands, |_, a, b, out, n| {
                    for i in 0..n {
                        let value = op.eval_int((*a.add(i)).to_i64(), (*b.add(i)).to_i64());
                        out.add(i).write(T::from_i64(value.unwrap_or_else(|| {
                            by_zero.store(true, Relaxed);
                            0
                        })));
                    }
                });
                if by_zero.into_inner() {
                    return Err(Error::argument(op.name(), "division of an integer by zero"));
                }
            }
            _ => return Ok(Outcome::Unsupported),
        }
    }
    Ok(Outcome::Done(()))
}

/// # Safety
/// As [`apply`].
unsafe fn logic<const N: usize>(cpu: &Cpu, op: BinaryOp, operands: [Operand; N]) -> Outcome<()> {
    macro_rules! with {
        ($f:expr) => {
            run::<bool, N>(cpu, 1, operands, |level, a, b, out, n| zip(level, $f, a, b, out, n))
        };
    }
    // SAFETY: promised by the caller.
    unsafe {
        match op {
            BinaryOp::Add | BinaryOp::Maximum => with!(Or),
            BinaryOp::Mul | BinaryOp::Minimum => with!(And),
            BinaryOp::Xor => with!(Xor),
            _ => return Outcome::Unsupported,
        }
    }
    Outcome::Done(())
}
