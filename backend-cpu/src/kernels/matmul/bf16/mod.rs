//! Products of `bf16` matrices, where there is an instruction for them.
//!
//! AVX-512's `vdpbf16ps` multiplies pairs: each of 16 sums in `f32` takes two products of neighbouring depths, twice
//! the work of a fused multiply-add on `f32` in the same time. So operands stay `bf16`, two steps of depth side by side
//! in a word: `b` is packed that way, a panel of 48 columns and [`PAIRS`] pairs at a time, and `a` is read where it
//! lies if its depth is contiguous and even, otherwise it is packed too. Micro-tiles are those of
//! [`micro`](super::micro). Operands of `f32` are rounded while they are packed, where [`Precision::Medium`] is enough.
//!
//! **What is computed.** A product of two `bf16` numbers is exact in `f32`. Sums are kept in `f32` from the first step
//! to the last, and are rounded to `bf16` once, ties to even; what the result is added to enters before that. The
//! instruction takes subnormal numbers for zero and rounds each of its additions to nearest, so a sum differs from one
//! of fused multiply-adds by the rounding of `f32` sums, far below the rounding of the result. Infinities and NaN come
//! out as they do elsewhere. The order of additions depends on the shape alone: any number of threads gives the same
//! bits.

#[cfg(target_arch = "x86_64")]
mod dot;
#[cfg(target_arch = "x86_64")]
mod pack;

#[cfg(target_arch = "x86_64")]
pub(super) use self::dot::{DEPTH, WIDTH, pack};
#[cfg(target_arch = "x86_64")]
use self::pack::Source;

use gradus_tensor_core::half::bf16;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::amx::{self, Instructions};
use super::gemm::Old;
use super::micro::Product;
#[cfg(not(target_arch = "x86_64"))]
use super::multiplied::Single as Source;
use super::multiplied::{Given, Multiplied, Single};
use super::ready::Packing;
use crate::{Level, Precision};

/// The fewest rows, columns and depths for which operands of `f32` are rounded.
#[cfg(target_arch = "x86_64")]
const FEWEST: usize = 16;

/// Sums, rounded to what comes out.
///
/// # Safety
/// As [`Multiplied::product`].
unsafe fn multiplied<C: Source>(level: Level, product: &Product<bf16, C>, given: Given<C>) {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if level == Level::Amx && given.ready.is_none() && amx::pays(product.shape, 1) {
        // SAFETY: promised by the caller; machines of that level have the unit.
        return unsafe { amx::halves::<Instructions, C>(level, &product.after(given)) };
    }
    #[cfg(target_arch = "x86_64")]
    if level.has_bf16_dot() {
        // SAFETY: promised by the caller; the machine has the instructions.
        return unsafe { dot::panels(product, given) };
    }
    let _ = level;
    // SAFETY: promised by the caller.
    unsafe { plain(product, given) }
}

impl Multiplied for bf16 {
    type Sum = f32;

    unsafe fn product(level: Level, _: Precision, product: &Product<bf16>, given: Given<bf16>) {
        // SAFETY: promised by the caller.
        unsafe { multiplied(level, product, given) }
    }

    unsafe fn sums(level: Level, _: Precision, product: &Product<bf16, f32>, given: Given<f32>) {
        // SAFETY: promised by the caller.
        unsafe { multiplied(level, product, given) }
    }

    fn packing(level: Level, _: Precision, shape: [usize; 3]) -> Option<Packing> {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if level == Level::Amx && amx::pays(shape, 1) {
            return None;
        }
        #[cfg(target_arch = "x86_64")]
        if level.has_bf16_dot() {
            return Some(Packing::PAIRS);
        }
        let _ = (level, shape);
        None
    }

    unsafe fn pack(
        _: Level,
        _: Packing,
        b: *const bf16,
        strides: [isize; 2],
        block: [usize; 2],
        to: *mut u8,
    ) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: promised by the caller; who has this packing has the instructions.
        unsafe {
            pack(b, strides, block, to);
        }
        let _ = (b, strides, block, to);
    }
}

/// Whether [`rounded`] is faster than a product in `f32`: not where there is little to use packed operands for.
#[cfg(target_arch = "x86_64")]
pub(super) fn pays(level: Level, [m, n, depth]: [usize; 3]) -> bool {
    m.min(n).min(depth) >= FEWEST && level.has_bf16_dot()
}

/// A product of `f32` whose operands are rounded to `bf16` while they are packed; those that would round to infinity are
/// cut instead. Sums stay `f32`.
///
/// # Safety
/// As [`Multiplied::product`], and [`pays`] said so.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn rounded(product: &Product<f32>, given: Given<f32>) {
    // SAFETY: promised by the caller.
    unsafe { dot::panels(product, given) }
}

/// The definition, for where there is no such instruction. (Ops do not come here then: they are computed in `f32`.)
///
/// # Safety
/// As [`Multiplied::product`].
unsafe fn plain<C: Single>(p: &Product<bf16, C>, given: Given<C>) {
    let [m, n, depth] = p.shape;
    for i in 0..m {
        for j in 0..n {
            let mut sum = 0.0f32;
            for k in 0..depth {
                let at = |strides: [isize; 2], row: usize, col: usize| {
                    row as isize * strides[0] + col as isize * strides[1]
                };
                // SAFETY: elements of `a` and `b`.
                let (a, b) =
                    unsafe { (*p.a.offset(at(p.a_strides, i, k)), *p.b.offset(at(p.b_strides, k, j))) };
                sum = a.to_f32().mul_add(b.to_f32(), sum);
            }
            // SAFETY: an element of `c`.
            let to = unsafe { &mut *p.c.add(i * p.pitch + j) };
            let old = match p.old {
                // SAFETY: an element of the row.
                _ if !given.row.is_null() => unsafe { (*given.row.add(j)).single() },
                Old::Keep => to.single(),
                Old::Ignore => 0.0,
            };
            *to = C::rounded(sum.mul_add(p.scale.single(), old));
        }
    }
}
