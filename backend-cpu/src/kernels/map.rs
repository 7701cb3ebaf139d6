//! Loops over contiguous elements that the compiler vectorizes: functions of one and of two operands.
//!
//! A function is a small value with an `#[inline(always)]` method, so that its body ends up inside the loop of
//! every feature level. Half-precision operands are widened to `f32` block by block, so that no function is
//! compiled for them.

use std::mem::MaybeUninit;

use gradus_tensor_core::Element;

use crate::Level;
use crate::level::Kernel;
use crate::math::half::Half;

/// Elements of a half-precision block.
const BLOCK: usize = 256;

/// A function of one element.
pub(crate) trait Map<T, U>: Copy + Sync {
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
pub(crate) trait Zip<T, U>: Copy + Sync {
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
        // SAFETY: as below.
        if (0..n).fold(false, |any, i| any | F::hard(unsafe { *x.add(i) })) {
            for i in 0..n {
                // SAFETY: as below.
                unsafe {
                    let x = *x.add(i);
                    out.add(i).write(if F::hard(x) { f.eval_hard(x) } else { f.eval(x) });
                }
            }
            return;
        }
        for i in 0..n {
            // SAFETY: whoever made the loop promised `n` elements on both sides.
            unsafe { out.add(i).write(f.eval(*x.add(i))) };
        }
    }
}

/// `out[i] = f(x[i])`.
///
/// # Safety
/// Both hold `n` elements; they are the same memory or do not overlap.
pub(crate) unsafe fn map<F: Map<T, U>, T: Element, U: Element>(
    level: Level,
    f: F,
    x: *const T,
    out: *mut U,
    n: usize,
) {
    level.run(MapLoop(f, x, out, n));
}

struct ZipLoop<F, T, U>(F, *const T, *const T, *mut U, usize);

impl<F: Zip<T, U>, T: Element, U: Element> Kernel for ZipLoop<F, T, U> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let ZipLoop(f, a, b, out, n) = self;
        // SAFETY: as below.
        if (0..n).fold(false, |any, i| any | F::hard(unsafe { *b.add(i) })) {
            for i in 0..n {
                // SAFETY: as below.
                unsafe {
                    let (a, b) = (*a.add(i), *b.add(i));
                    out.add(i).write(if F::hard(b) { f.eval_hard(a, b) } else { f.eval(a, b) });
                }
            }
            return;
        }
        for i in 0..n {
            // SAFETY: whoever made the loop promised `n` elements everywhere.
            unsafe { out.add(i).write(f.eval(*a.add(i), *b.add(i))) };
        }
    }
}

/// `out[i] = f(a[i], b[i])`.
///
/// # Safety
/// All hold `n` elements; the output is the same memory as an input or does not overlap it.
pub(crate) unsafe fn zip<F: Zip<T, U>, T: Element, U: Element>(
    level: Level,
    f: F,
    a: *const T,
    b: *const T,
    out: *mut U,
    n: usize,
) {
    level.run(ZipLoop(f, a, b, out, n));
}

/// [`map`] for half-precision operands, computed in `f32`.
///
/// # Safety
/// As [`map`].
pub(crate) unsafe fn map_half<F: Map<f32, f32>, H: Half>(
    level: Level,
    f: F,
    x: *const H,
    out: *mut H,
    n: usize,
) {
    let mut wide = [MaybeUninit::<f32>::uninit(); BLOCK];
    let wide = wide.as_mut_ptr().cast::<f32>();
    for start in (0..n).step_by(BLOCK) {
        let len = BLOCK.min(n - start);
        // SAFETY: `start..start + len` lies inside both operands, `len` elements fit the block.
        unsafe {
            H::widen(level, x.add(start), wide, len);
            map(level, f, wide, wide, len);
            H::narrow(level, wide, out.add(start), len);
        }
    }
}

/// [`zip`] for half-precision operands, computed in `f32`.
///
/// # Safety
/// As [`zip`].
pub(crate) unsafe fn zip_half<F: Zip<f32, f32>, H: Half>(
    level: Level,
    f: F,
    a: *const H,
    b: *const H,
    out: *mut H,
    n: usize,
) {
    let mut wide = [[MaybeUninit::<f32>::uninit(); BLOCK]; 2];
    let [x, y] = wide.each_mut().map(|w| w.as_mut_ptr().cast::<f32>());
    for start in (0..n).step_by(BLOCK) {
        let len = BLOCK.min(n - start);
        // SAFETY: `start..start + len` lies inside all operands, `len` elements fit the blocks.
        unsafe {
            H::widen(level, a.add(start), x, len);
            H::widen(level, b.add(start), y, len);
            zip(level, f, x, y, x, len);
            H::narrow(level, x, out.add(start), len);
        }
    }
}

/// A float dtype: how loops over it run functions that are written for `f32` and `f64`.
pub(crate) trait Float: Element {
    /// `out[i] = f(x[i])`.
    ///
    /// # Safety
    /// As [`map`].
    unsafe fn map<F: Map<f32, f32> + Map<f64, f64>>(
        level: Level,
        f: F,
        x: *const Self,
        out: *mut Self,
        n: usize,
    );

    /// `out[i] = f(a[i], b[i])`.
    ///
    /// # Safety
    /// As [`zip`].
    unsafe fn zip<F: Zip<f32, f32> + Zip<f64, f64>>(
        level: Level,
        f: F,
        a: *const Self,
        b: *const Self,
        out: *mut Self,
        n: usize,
    );
}

macro_rules! float {
    ($($t:ty: $map:ident, $zip:ident;)*) => {$(
        impl Float for $t {
            #[inline(always)]
            unsafe fn map<F: Map<f32, f32> + Map<f64, f64>>(
                level: Level, f: F, x: *const Self, out: *mut Self, n: usize,
            ) {
                // SAFETY: promised by the caller.
                unsafe { $map(level, f, x, out, n) }
            }

            #[inline(always)]
            unsafe fn zip<F: Zip<f32, f32> + Zip<f64, f64>>(
                level: Level, f: F, a: *const Self, b: *const Self, out: *mut Self, n: usize,
            ) {
                // SAFETY: promised by the caller.
                unsafe { $zip(level, f, a, b, out, n) }
            }
        }
    )*};
}
float! {
    f32: map, zip;
    f64: map, zip;
    gradus_tensor_core::half::f16: map_half, zip_half;
    gradus_tensor_core::half::bf16: map_half, zip_half;
}
