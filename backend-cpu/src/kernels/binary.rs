//! Element-wise functions of two operands.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use gradus_tensor_core::{BinaryOp, DType, Element, Error, Outcome, Result, View};
use num_traits::{WrappingAdd, WrappingMul, WrappingSub};

use crate::elementwise::{Operand, walk};
use crate::execute::{Done, done};
use crate::kernels::map::{Loop2, Parameters, Zip, walk2, zip, zip_real};
use crate::math::real::Real;
use crate::parallel::SendPtr;
use crate::{Cpu, CpuBuffer, stream};

/// `op(a, b)` for each pair of elements.
#[inline]
pub(crate) fn binary(cpu: &Cpu, op: BinaryOp, a: &View<'_, CpuBuffer>, b: &View<'_, CpuBuffer>) -> Done {
    let mut out = cpu.fresh(a.dtype, a.layout.numel())?;
    if a.layout.is_contiguous()
        && b.layout.is_contiguous()
        && !matches!(a.dtype, DType::F16 | DType::BF16)
        && !stream::is_large(out.len() * a.dtype.size())
    {
        // The common case without the copies of layouts that the walk works on.
        if let Some(f) = find(op, a.dtype) {
            let (level, size, n) = (cpu.level(), a.dtype.size(), out.len());
            // An empty view's offset may lie anywhere; nothing is read there.
            let start = |view: &View<'_, CpuBuffer>| {
                SendPtr(view.buffer.bytes().wrapping_add(view.layout.offset() * size).cast_mut())
            };
            let (a, b, to) = (start(a), start(b), SendPtr(out.bytes_mut()));
            cpu.for_chunks(n, op.flops() as usize, |range| {
                let at = range.start * size;
                // SAFETY: contiguous views and the new buffer hold `n` elements each; ranges are disjoint.
                unsafe {
                    f(level, [0.0; 2], a.get().add(at), b.get().add(at), to.get().add(at), range.len());
                }
            });
            return done(out);
        }
    }
    let operands = [Operand::output(&mut out, a.layout), Operand::read(a), Operand::read(b)];
    // SAFETY: the views were checked and have one shape, the buffer is new.
    match unsafe { apply(cpu, op, a.dtype, operands) }? {
        Outcome::Done(()) => done(out),
        Outcome::Unsupported => Ok(Outcome::Unsupported),
    }
}

/// The loop of an op over a dtype; of `f32` for half precision. `None` if there is none or it can fail.
#[inline]
fn find(op: BinaryOp, dtype: DType) -> Option<Loop2> {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => float::<f32>(op),
        DType::F64 => float::<f64>(op),
        DType::I64 => int::<i64>(op),
        DType::I32 => int::<i32>(op),
        DType::I8 => int::<i8>(op),
        DType::U8 => int::<u8>(op),
        DType::Bool => logic(op),
        _ => None,
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
    let found = find(op, dtype);
    // SAFETY: promised by the caller; the loop is one for the dtype.
    unsafe {
        match (found, dtype) {
            (Some(f), _) => walk2(cpu, op.flops() as usize, dtype, (f, [0.0; 2]), operands),
            (None, DType::I64) => dividing::<i64, N>(cpu, op, operands)?,
            (None, DType::I32) => dividing::<i32, N>(cpu, op, operands)?,
            (None, DType::I8) => dividing::<i8, N>(cpu, op, operands)?,
            (None, DType::U8) => dividing::<u8, N>(cpu, op, operands)?,
            _ => return Ok(Outcome::Unsupported),
        }
    }
    Ok(Outcome::Done(()))
}

macro_rules! pairs {
    ($($(#[$doc:meta])* $name:ident: $trait:ident, |$a:ident, $b:ident| $value:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        struct $name;
        impl<T: $trait> Zip<T, T> for $name {
            #[inline(always)]
            fn with(_: Parameters) -> Self { $name }
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
            fn with(_: Parameters) -> Self { $name }
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

/// The loop of an op over floats.
#[inline]
fn float<T: Real>(op: BinaryOp) -> Option<Loop2> {
    Some(match op {
        BinaryOp::Add => zip::<Add, T, T>,
        BinaryOp::Sub => zip::<Sub, T, T>,
        BinaryOp::Mul => zip::<Mul, T, T>,
        BinaryOp::Div => zip::<Div, T, T>,
        BinaryOp::Pow => zip_real::<Pow, T>,
        BinaryOp::Maximum => zip::<Maximum, T, T>,
        BinaryOp::Minimum => zip::<Minimum, T, T>,
        BinaryOp::Rem => zip_real::<Rem, T>,
        BinaryOp::Atan2 => zip_real::<Atan2, T>,
        _ => return None,
    })
}

/// The loop of an op over integers that cannot fail.
fn int<T: Int>(op: BinaryOp) -> Option<Loop2> {
    Some(match op {
        BinaryOp::Add => zip::<IntAdd, T, T>,
        BinaryOp::Sub => zip::<IntSub, T, T>,
        BinaryOp::Mul => zip::<IntMul, T, T>,
        BinaryOp::Maximum => zip::<IntMax, T, T>,
        BinaryOp::Minimum => zip::<IntMin, T, T>,
        _ => return None,
    })
}

/// The loop of an op over truth values.
fn logic(op: BinaryOp) -> Option<Loop2> {
    Some(match op {
        BinaryOp::Add | BinaryOp::Maximum => zip::<Or, bool, bool>,
        BinaryOp::Mul | BinaryOp::Minimum => zip::<And, bool, bool>,
        BinaryOp::Xor => zip::<Xor, bool, bool>,
        _ => return None,
    })
}

/// Division, remainder and power of integers.
///
/// # Safety
/// As [`apply`].
unsafe fn dividing<T: Element, const N: usize>(
    cpu: &Cpu,
    op: BinaryOp,
    operands: [Operand; N],
) -> Result<()> {
    let by_zero = AtomicBool::new(false);
    // SAFETY: promised by the caller.
    unsafe {
        walk(cpu, 8, operands, |p, n| {
            let (a, b, out) = (p[N - 2].cast::<T>(), p[N - 1].cast::<T>(), p[0].cast::<T>());
            for i in 0..n {
                let value = op.eval_int((*a.add(i)).to_i64(), (*b.add(i)).to_i64());
                out.add(i).write(T::from_i64(value.unwrap_or_else(|| {
                    by_zero.store(true, Relaxed);
                    0
                })));
            }
        });
    }
    if by_zero.into_inner() {
        return Err(Error::argument(op.name(), "an integer was divided by zero"));
    }
    Ok(())
}
