//! Comparisons and selection.

use gradus_tensor_core::half::{bf16, f16};
use gradus_tensor_core::{CompareOp, DType, Element, Outcome, View};

use crate::elementwise::{Operand, walk};
use crate::execute::{Done, done};
use crate::kernels::map::{Loop2, Parameters, Zip, zip};
use crate::level::Kernel;
use crate::math::half::Half;
use crate::{Cpu, CpuBuffer};

/// `op(a, b)` for each pair, as bool.
pub(crate) fn compare(cpu: &Cpu, op: CompareOp, a: &View<'_, CpuBuffer>, b: &View<'_, CpuBuffer>) -> Done {
    let mut out = cpu.fresh(DType::Bool, a.layout.numel())?;
    let found = match a.dtype {
        DType::F32 => typed::<f32>(op),
        DType::F64 => typed::<f64>(op),
        DType::F16 => typed::<f16>(op),
        DType::BF16 => typed::<bf16>(op),
        DType::I64 => typed::<i64>(op),
        DType::I32 => typed::<i32>(op),
        DType::I8 => typed::<i8>(op),
        DType::U8 => typed::<u8>(op),
        DType::Bool => typed::<bool>(op),
        _ => return Ok(Outcome::Unsupported),
    };
    // `a > b` is `b < a`.
    let (a, b) = if matches!(op, CompareOp::Gt | CompareOp::Ge) { (b, a) } else { (a, b) };
    let operands = [Operand::output(&mut out, a.layout), Operand::read(a), Operand::read(b)];
    let level = cpu.level();
    // SAFETY: the views were checked and have one shape and dtype, the buffer is new, the loop is one for them.
    unsafe { walk(cpu, 1, operands, |[out, a, b], n| found(level, [0.0; 2], a, b, out, n)) };
    done(out)
}

/// What an element is compared as.
trait Comparable: Element {
    type As: PartialOrd;
    fn value(self) -> Self::As;
}

macro_rules! comparable {
    ($($t:ty => $as:ty, |$x:ident| $value:expr;)*) => {$(
        impl Comparable for $t {
            type As = $as;
            #[inline(always)]
            fn value(self) -> $as { let $x = self; $value }
        }
    )*};
}
comparable! {
    f64 => f64, |x| x;
    f32 => f32, |x| x;
    f16 => f32, |x| x.to_single();
    bf16 => f32, |x| x.to_single();
    i64 => i64, |x| x;
    i32 => i32, |x| x;
    i8 => i8, |x| x;
    u8 => u8, |x| x;
    bool => bool, |x| x;
}

macro_rules! comparisons {
    ($($name:ident: |$a:ident, $b:ident| $value:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name;
        impl<T: Comparable> Zip<T, bool> for $name {
            #[inline(always)]
            fn with(_: Parameters) -> Self { $name }
            #[inline(always)]
            fn eval(self, a: T, b: T) -> bool {
                let ($a, $b) = (a.value(), b.value());
                $value
            }
        }
    )*};
}
comparisons! {
    Eq: |a, b| a == b;
    Ne: |a, b| a != b;
    Lt: |a, b| a < b;
    Le: |a, b| a <= b;
}

/// The loop of a comparison; `>` and `>=` are those of their mirror images.
fn typed<T: Comparable>(op: CompareOp) -> Loop2 {
    match op {
        CompareOp::Eq => zip::<Eq, T, bool>,
        CompareOp::Ne => zip::<Ne, T, bool>,
        CompareOp::Lt | CompareOp::Gt => zip::<Lt, T, bool>,
        CompareOp::Le | CompareOp::Ge => zip::<Le, T, bool>,
    }
}

/// `a` where the condition holds, `b` elsewhere. Values are moved as bits of their size.
pub(crate) fn select(cpu: &Cpu, [condition, a, b]: [&View<'_, CpuBuffer>; 3]) -> Done {
    let mut out = cpu.fresh(a.dtype, a.layout.numel())?;
    let operands =
        [Operand::output(&mut out, a.layout), Operand::read(condition), Operand::read(a), Operand::read(b)];
    // SAFETY: the views were checked and have one shape, the buffer is new, elements are as large as the type.
    unsafe {
        match a.dtype.size() {
            1 => choose::<u8>(cpu, operands),
            2 => choose::<u16>(cpu, operands),
            4 => choose::<u32>(cpu, operands),
            _ => choose::<u64>(cpu, operands),
        }
    }
    done(out)
}

struct Choose<T>(*const bool, *const T, *const T, *mut T, usize);

impl<T: Copy> Kernel for Choose<T> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Choose(condition, a, b, out, n) = self;
        for i in 0..n {
            // SAFETY: the walk promises `n` elements everywhere.
            unsafe {
                let (a, b) = (*a.add(i), *b.add(i));
                out.add(i).write(if *condition.add(i) { a } else { b });
            }
        }
    }
}

/// # Safety
/// As [`walk`]; the last two operands and the first have elements of that size.
unsafe fn choose<T: Copy>(cpu: &Cpu, operands: [Operand; 4]) {
    let level = cpu.level();
    // SAFETY: promised by the caller.
    unsafe {
        walk(cpu, 1, operands, |[out, condition, a, b], n| {
            level.run(Choose::<T>(condition.cast(), a.cast(), b.cast(), out.cast(), n))
        });
    }
}
