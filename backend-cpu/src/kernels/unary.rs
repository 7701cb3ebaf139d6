//! Element-wise functions of one operand.

use gradus_tensor_core::half::{bf16, f16};
use gradus_tensor_core::{DType, Outcome, UnaryOp, View};

use crate::elementwise::{Operand, walk};
use crate::execute::{Done, done};
use crate::kernels::map::{Float, Map};
use crate::math::real::Real;
use crate::{Cpu, CpuBuffer};

/// `op(x)` for each element.
pub(crate) fn unary(cpu: &Cpu, op: UnaryOp, x: &View<'_, CpuBuffer>) -> Done {
    let mut out = cpu.alloc(&x.meta())?;
    let operands = [Operand::output(&mut out, x.layout), Operand::read(x)];
    // SAFETY: the view was checked, the shapes are one, the buffer is new.
    let known = unsafe {
        match x.dtype {
            DType::F32 => float::<f32, 2>(cpu, op, operands),
            DType::F64 => float::<f64, 2>(cpu, op, operands),
            DType::F16 => float::<f16, 2>(cpu, op, operands),
            DType::BF16 => float::<bf16, 2>(cpu, op, operands),
            _ => false,
        }
    };
    if known { done(out) } else { Ok(Outcome::Unsupported) }
}

#[derive(Clone, Copy)]
struct Eval(UnaryOp);
impl<T: Real> Map<T, T> for Eval {
    #[inline(always)]
    fn eval(self, x: T) -> T {
        T::from_f64(self.0.eval(x.to_f64()))
    }
}

/// # Safety
/// As [`walk`].
unsafe fn float<T: Float, const N: usize>(cpu: &Cpu, op: UnaryOp, operands: [Operand; N]) -> bool {
    let level = cpu.level();
    // SAFETY: promised by the caller.
    unsafe {
        walk(cpu, op.flops() as usize, operands, |p, n| {
            T::map(level, Eval(op), p[N - 1].cast(), p[0].cast(), n)
        });
    }
    true
}
