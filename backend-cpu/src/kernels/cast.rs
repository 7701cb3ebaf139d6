//! Conversions between dtypes.

use gradus_tensor_core::half::{bf16, f16};
use gradus_tensor_core::{DType, Element, View, with_dtype};

use crate::elementwise::{Operand, walk};
use crate::execute::{Done, done};
use crate::kernels::map::{Loop1, Map, Parameters, map};
use crate::math::half::Half;
use crate::{Cpu, CpuBuffer};

/// The operand in another dtype.
pub(crate) fn cast(cpu: &Cpu, x: &View<'_, CpuBuffer>, to: DType) -> Done {
    if x.dtype == to {
        return super::copy::copy(cpu, x);
    }
    let mut out = cpu.fresh(to, x.layout.numel())?;
    let convert: Loop1 = with_dtype!(x.dtype, T => with_dtype!(to, U => map::<Convert, T, U>));
    let (operands, level) = ([Operand::output(&mut out, x.layout), Operand::read(x)], cpu.level());
    // SAFETY: the view was checked, the shapes are one, the buffer is new, the types are those of the dtypes.
    unsafe { walk(cpu, 2, operands, |[out, x], n| convert(level, [0.0; 2], x, out, n)) };
    done(out)
}

#[derive(Clone, Copy)]
struct Convert;

impl<T: Cast, U: Cast> Map<T, U> for Convert {
    #[inline(always)]
    fn with(_: Parameters) -> Self {
        Convert
    }
    #[inline(always)]
    fn eval(self, x: T) -> U {
        // The narrowest type that holds every value of both, so that loops vectorize.
        // (Integers wrap in other integers; only floats saturate.)
        if T::SINGLE && U::SINGLE && (T::DTYPE.is_float() || U::DTYPE.is_float()) {
            U::from_single(x.single())
        } else if T::DTYPE.is_float() {
            U::from_f64(x.to_f64())
        } else {
            U::from_i64(x.to_i64())
        }
    }
}

/// An element that converts through `f32` where that is exact.
trait Cast: Element {
    /// Whether `f32` holds every value.
    const SINGLE: bool;
    fn single(self) -> f32;
    /// The nearest value, as [`Element::from_f64`] defines it.
    fn from_single(x: f32) -> Self;
}

macro_rules! cast_impl {
    ($($t:ty, $single:literal, |$x:ident| $to:expr, $from:expr;)*) => {$(
        impl Cast for $t {
            const SINGLE: bool = $single;
            #[inline(always)]
            fn single(self) -> f32 { let $x = self; $to }
            #[inline(always)]
            fn from_single($x: f32) -> Self { $from }
        }
    )*};
}
cast_impl! {
    f64, false, |x| x as f32, x as f64;
    f32, true, |x| x, x;
    f16, true, |x| x.to_single(), <f16 as Half>::from_single(x);
    bf16, true, |x| x.to_single(), <bf16 as Half>::from_single(x);
    i64, false, |x| x as f32, x as i64;
    i32, false, |x| x as f32, x as i32;
    i8, true, |x| x as f32, x as i8;
    u8, true, |x| x as f32, x as u8;
    bool, true, |x| x as u8 as f32, x != 0.0;
}
