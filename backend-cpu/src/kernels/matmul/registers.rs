//! Vector registers, and arrays that stand for them where there are none of ours.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::kernels::dense::Real;

/// A register, or what stands for one.
pub(super) trait Lanes: Copy {
    type Element: Real;
    const LANES: usize;
    /// The rows of the largest tile: with two registers for each, what the machine has.
    const ROWS: usize;

    /// # Safety
    /// The machine has the register, and so many elements can be read.
    unsafe fn load(from: *const Self::Element) -> Self;
    /// # Safety
    /// The machine has the register, and so many elements can be written.
    unsafe fn store(self, to: *mut Self::Element);
    /// # Safety
    /// The machine has the register.
    unsafe fn splat(x: Self::Element) -> Self;
    /// `self * b + sum`
    ///
    /// # Safety
    /// The machine has the register.
    unsafe fn fma(self, b: Self, sum: Self) -> Self;
    /// Says that a register will be read from there soon, wherever that is.
    fn expect(_: *const Self::Element) {}

    /// The side of the blocks that [`Lanes::transpose`] copies; 0 if it is not there.
    const BLOCK: usize = 0;
    /// Copies a block: columns that are `pitch` apart, each of numbers that follow each other, to rows that are `width`
    /// apart.
    ///
    /// # Safety
    /// The machine has the register, and the block can be read and written.
    unsafe fn transpose(_from: *const Self::Element, _pitch: isize, _to: *mut Self::Element, _width: usize) {}
}

macro_rules! lanes {
    ($register:ty, $element:ty, $lanes:literal, $rows:literal,
        $load:ident, $store:ident, $splat:ident, $fma:ident $(, $transpose:ident)?) => {
        #[cfg(target_arch = "x86_64")]
        impl Lanes for $register {
            type Element = $element;
            const LANES: usize = $lanes;
            const ROWS: usize = $rows;

            #[inline(always)]
            unsafe fn load(from: *const $element) -> Self {
                // SAFETY: promised by the caller.
                unsafe { $load(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $element) {
                // SAFETY: promised by the caller.
                unsafe { $store(to, self) }
            }
            #[inline(always)]
            unsafe fn splat(x: $element) -> Self {
                // SAFETY: promised by the caller.
                unsafe { $splat(x) }
            }
            #[inline(always)]
            unsafe fn fma(self, b: Self, sum: Self) -> Self {
                // SAFETY: promised by the caller.
                unsafe { $fma(self, b, sum) }
            }
            #[inline(always)]
            fn expect(at: *const $element) {
                // SAFETY: a hint reads nothing.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
            }
            $(
                const BLOCK: usize = 8;
                #[inline(always)]
                unsafe fn transpose(from: *const f32, pitch: isize, to: *mut f32, width: usize) {
                    // SAFETY: promised by the caller; a machine with AVX-512 has AVX2.
                    unsafe { $transpose(from, pitch * size_of::<f32>() as isize, to, width) }
                }
            )?
        }
    };
}

lanes!(__m512, f32, 16, 8, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_fmadd_ps, transpose);
lanes!(__m256, f32, 8, 6, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_fmadd_ps, transpose);
lanes!(__m512d, f64, 8, 8, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_set1_pd, _mm512_fmadd_pd);
lanes!(__m256d, f64, 4, 6, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_set1_pd, _mm256_fmadd_pd);

/// Elements that stand for a register where there is none of ours.
pub(super) const PLAIN: usize = 4;

impl<T: Real> Lanes for [T; PLAIN] {
    type Element = T;
    const LANES: usize = PLAIN;
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: promised by the caller; an array of `T` is aligned as a `T`.
        unsafe { from.cast::<Self>().read() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: as above.
        unsafe { to.cast::<Self>().write(self) }
    }
    #[inline(always)]
    unsafe fn splat(x: T) -> Self {
        [x; PLAIN]
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, sum: Self) -> Self {
        // Without an instruction for it, a fused multiply-add is a call that takes tens of times as long.
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
            std::array::from_fn(|i| self[i].fma(b[i], sum[i]))
        } else {
            std::array::from_fn(|i| self[i] * b[i] + sum[i])
        }
    }
}

/// Copies a block of 8 columns, `pitch` bytes apart, each of 8 numbers that follow each other, to rows.
///
/// # Safety
/// The block can be read and written; there is AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) unsafe fn transpose(from: *const f32, pitch: isize, to: *mut f32, width: usize) {
    // SAFETY: promised by the caller.
    unsafe {
        let x: [__m256; 8] = std::array::from_fn(|j| _mm256_loadu_ps(from.byte_offset(j as isize * pitch)));
        // Pairs of neighbours, then fours, then both halves.
        let pairs = |a: usize| (_mm256_unpacklo_ps(x[a], x[a + 1]), _mm256_unpackhi_ps(x[a], x[a + 1]));
        let (p, q, r, s) = (pairs(0), pairs(2), pairs(4), pairs(6));
        let fours = |a: __m256, b: __m256| (_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xEE>(a, b));
        let (a0, a1) = fours(p.0, q.0);
        let (a2, a3) = fours(p.1, q.1);
        let (b0, b1) = fours(r.0, s.0);
        let (b2, b3) = fours(r.1, s.1);
        for (k, (a, b)) in [(a0, b0), (a1, b1), (a2, b2), (a3, b3)].into_iter().enumerate() {
            _mm256_storeu_ps(to.add(k * width), _mm256_permute2f128_ps::<0x20>(a, b));
            _mm256_storeu_ps(to.add((k + 4) * width), _mm256_permute2f128_ps::<0x31>(a, b));
        }
    }
}
