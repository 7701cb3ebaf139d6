//! Loops over contiguous elements that the compiler vectorizes: functions of one and of two operands.
//!
//! A function is a small value with an `#[inline(always)]` method, so that its body ends up inside the loop of
//! every feature level. The loop is then handed on as a plain function pointer without types ([`Loop1`],
//! [`Loop2`]): what walks memory and what widens half precision is compiled once, not once per function.

use std::mem::MaybeUninit;

use gradus_tensor_core::half::{bf16, f16};
use gradus_tensor_core::{DType, Element};

use crate::Cpu;
use crate::Level;
use crate::elementwise::{Operand, walk};
use crate::level::Kernel;
use crate::math::half::Half;
use crate::math::real::Real;

/// Elements of a half-precision block.
const BLOCK: usize = 256;

/// The parameters of a function: at most two numbers.
pub(crate) type Parameters = [f64; 2];
/// A loop over one input: level, parameters, input, output, number of elements.
pub(crate) type Loop1 = unsafe fn(Level, Parameters, *const u8, *mut u8, usize);
/// A loop over two inputs.
pub(crate) type Loop2 = unsafe fn(Level, Parameters, *const u8, *const u8, *mut u8, usize);

/// A function of one element.
pub(crate) trait Map<T, U>: Copy {
    /// The function with these parameters.
    fn with(parameters: Parameters) -> Self;

    /// Its value, for arguments that are not [hard](Map::hard).
    fn eval(self, x: T) -> U;

    /// Whether this argument is one of the rare ones that `eval`, which must vectorize, gets wrong.
    #[inline(always)]
    fn hard(_x: T) -> bool {
        false
    }

    /// The value for a hard argument.
    fn eval_hard(self, x: T) -> U {
        self.eval(x)
    }
}

/// A function of two elements.
pub(crate) trait Zip<T, U>: Copy {
    /// The function with these parameters.
    fn with(parameters: Parameters) -> Self;

    /// Its value, where the right argument is not [hard](Zip::hard).
    fn eval(self, a: T, b: T) -> U;

    /// Whether this right argument is one of the rare ones that `eval`, which must vectorize, gets wrong.
    #[inline(always)]
    fn hard(_b: T) -> bool {
        false
    }

    /// The value where the right argument is hard.
    fn eval_hard(self, a: T, b: T) -> U {
        self.eval(a, b)
    }
}

struct MapLoop<F, T, U>(F, *const T, *mut U, usize);

impl<F: Map<T, U>, T: Element, U: Element> Kernel for MapLoop<F, T, U> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let MapLoop(f, x, out, n) = self;
        // SAFETY: whoever made the loop promised `n` elements on both sides.
        unsafe {
            if (0..n).fold(false, |any, i| any | F::hard(*x.add(i))) {
                for i in 0..n {
                    let x = *x.add(i);
                    out.add(i).write(if F::hard(x) { f.eval_hard(x) } else { f.eval(x) });
                }
            } else {
                for i in 0..n {
                    out.add(i).write(f.eval(*x.add(i)));
                }
            }
        }
    }
}

struct ZipLoop<F, T, U>(F, *const T, *const T, *mut U, usize);

impl<F: Zip<T, U>, T: Element, U: Element> Kernel for ZipLoop<F, T, U> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let ZipLoop(f, a, b, out, n) = self;
        // SAFETY: whoever made the loop promised `n` elements everywhere.
        unsafe {
            if (0..n).fold(false, |any, i| any | F::hard(*b.add(i))) {
                for i in 0..n {
                    let (a, b) = (*a.add(i), *b.add(i));
                    out.add(i).write(if F::hard(b) { f.eval_hard(a, b) } else { f.eval(a, b) });
                }
            } else {
                for i in 0..n {
                    out.add(i).write(f.eval(*a.add(i), *b.add(i)));
                }
            }
        }
    }
}

/// `out[i] = f(x[i])`, as a [`Loop1`].
///
/// # Safety
/// Both hold `n` elements of these types; they are the same memory or do not overlap.
pub(crate) unsafe fn map<F: Map<T, U>, T: Element, U: Element>(
    level: Level,
    p: Parameters,
    x: *const u8,
    out: *mut u8,
    n: usize,
) {
    level.run(MapLoop::<F, T, U>(F::with(p), x.cast(), out.cast(), n));
}

/// [`map`] over floats; see [`Real::drive`].
///
/// # Safety
/// As [`map`].
pub(crate) unsafe fn map_real<F: Map<T, T>, T: Real>(
    level: Level,
    p: Parameters,
    x: *const u8,
    out: *mut u8,
    n: usize,
) {
    T::drive(level, MapLoop::<F, T, T>(F::with(p), x.cast(), out.cast(), n));
}

/// `out[i] = f(a[i], b[i])`, as a [`Loop2`].
///
/// # Safety
/// All hold `n` elements of these types; the output is the same memory as an input or does not overlap it.
pub(crate) unsafe fn zip<F: Zip<T, U>, T: Element, U: Element>(
    level: Level,
    p: Parameters,
    a: *const u8,
    b: *const u8,
    out: *mut u8,
    n: usize,
) {
    level.run(ZipLoop::<F, T, U>(F::with(p), a.cast(), b.cast(), out.cast(), n));
}

/// [`zip`] over floats; see [`Real::drive`].
///
/// # Safety
/// As [`zip`].
pub(crate) unsafe fn zip_real<F: Zip<T, T>, T: Real>(
    level: Level,
    p: Parameters,
    a: *const u8,
    b: *const u8,
    out: *mut u8,
    n: usize,
) {
    T::drive(level, ZipLoop::<F, T, T>(F::with(p), a.cast(), b.cast(), out.cast(), n));
}

/// Runs a loop of `f32` over half-precision operands.
///
/// # Safety
/// As [`map`], with elements of `H`; the loop is one of `f32` to `f32`.
unsafe fn map_half<H: Half>(level: Level, f: Loop1, p: Parameters, x: *const u8, out: *mut u8, n: usize) {
    let (x, out) = (x.cast::<H>(), out.cast::<H>());
    let mut wide = [[MaybeUninit::<f32>::uninit(); BLOCK]; 2];
    let [wide, result] = wide.each_mut().map(|w| w.as_mut_ptr().cast::<f32>());
    for start in (0..n).step_by(BLOCK) {
        let len = BLOCK.min(n - start);
        // SAFETY: `start..start + len` lies inside both operands, `len` elements fit the blocks.
        unsafe {
            H::widen(level, x.add(start), wide, len);
            f(level, p, wide.cast(), result.cast(), len);
            H::narrow(level, result, out.add(start), len);
        }
    }
}

/// Runs a loop of `f32` over half-precision operands.
///
/// # Safety
/// As [`zip`], with elements of `H`; the loop is one of `f32` to `f32`.
unsafe fn zip_half<H: Half>(level: Level, f: Loop2, p: Parameters, [a, b, out]: [*mut u8; 3], n: usize) {
    let (a, b, out) = (a.cast::<H>(), b.cast::<H>(), out.cast::<H>());
    let mut wide = [[MaybeUninit::<f32>::uninit(); BLOCK]; 3];
    let [x, y, result] = wide.each_mut().map(|w| w.as_mut_ptr().cast::<f32>());
    for start in (0..n).step_by(BLOCK) {
        let len = BLOCK.min(n - start);
        // SAFETY: `start..start + len` lies inside all operands, `len` elements fit the blocks.
        unsafe {
            H::widen(level, a.add(start), x, len);
            H::widen(level, b.add(start), y, len);
            f(level, p, x.cast(), y.cast(), result.cast(), len);
            H::narrow(level, result, out.add(start), len);
        }
    }
}

/// Runs a loop whose output may be an input. A loop over memory that it writes itself is not vectorized (the compiler
/// cannot know that it reads nothing that it wrote), so results go by way of a block of their own.
///
/// # Safety
/// `out` holds `n` elements of that size; `block` runs the loop on the elements in a range, and writes to where it is
/// told.
pub(crate) unsafe fn apart(out: *mut u8, size: usize, n: usize, block: impl Fn(usize, *mut u8, usize)) {
    /// Words of a block: a part of a first-level cache, and enough elements for a call.
    const WORDS: usize = 512;
    let mut results = [MaybeUninit::<u64>::uninit(); WORDS];
    let results = results.as_mut_ptr().cast::<u8>();
    let most = WORDS * size_of::<u64>() / size;
    for start in (0..n).step_by(most) {
        let len = most.min(n - start);
        block(start * size, results, len);
        // SAFETY: the block was written; the rest is promised by the caller.
        unsafe { std::ptr::copy_nonoverlapping(results, out.add(start * size), len * size) };
    }
}

/// Walks a loop over operands: the first is the output, the last the input; a single one is both. Loops for
/// half precision are those of `f32`.
///
/// # Safety
/// As [`walk`]; the loop is one for this dtype.
pub(crate) unsafe fn walk1<const N: usize>(
    cpu: &Cpu,
    cost: usize,
    dtype: DType,
    (f, p): (Loop1, Parameters),
    operands: [Operand; N],
) {
    let level = cpu.level();
    // SAFETY: promised by the caller.
    unsafe {
        walk(cpu, cost, operands, |q, n| match dtype {
            DType::F16 => map_half::<f16>(level, f, p, q[N - 1], q[0], n),
            DType::BF16 => map_half::<bf16>(level, f, p, q[N - 1], q[0], n),
            _ if q[N - 1] == q[0] => {
                apart(q[0], dtype.size(), n, |at, to, n| f(level, p, q[0].add(at), to, n))
            }
            _ => f(level, p, q[N - 1], q[0], n),
        });
    }
}

/// Walks a loop over operands: the first is the output, the last two the inputs; with two operands the first is
/// both output and left input. Loops for half precision are those of `f32`.
///
/// # Safety
/// As [`walk`]; the loop is one for this dtype.
#[inline]
pub(crate) unsafe fn walk2<const N: usize>(
    cpu: &Cpu,
    cost: usize,
    dtype: DType,
    (f, p): (Loop2, Parameters),
    operands: [Operand; N],
) {
    let level = cpu.level();
    // SAFETY: promised by the caller.
    unsafe {
        walk(cpu, cost, operands, |q, n| match dtype {
            DType::F16 => zip_half::<f16>(level, f, p, [q[N - 2], q[N - 1], q[0]], n),
            DType::BF16 => zip_half::<bf16>(level, f, p, [q[N - 2], q[N - 1], q[0]], n),
            _ if q[N - 2] == q[0] || q[N - 1] == q[0] => apart(q[0], dtype.size(), n, |at, to, n| {
                f(level, p, q[N - 2].add(at), q[N - 1].add(at), to, n)
            }),
            _ => f(level, p, q[N - 2], q[N - 1], q[0], n),
        });
    }
}
