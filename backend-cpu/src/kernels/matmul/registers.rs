//! Vector registers, and arrays that stand for them where there are none of ours.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::Level;
use crate::kernels::dense::Real;
use crate::math::real::Real as _;

/// A register, or what stands for one.
pub(crate) trait Lanes: Copy {
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
    /// Of two registers whose elements follow each other, every other element from the first on, and those between.
    ///
    /// # Safety
    /// The machine has the register.
    #[inline(always)]
    unsafe fn apart(low: Self, high: Self) -> [Self; 2] {
        let mut all = [Self::Element::ZERO; 2 * MOST];
        let (mut even, mut odd) = ([Self::Element::ZERO; MOST], [Self::Element::ZERO; MOST]);
        // SAFETY: promised by the caller; there is room for a register or two in each array.
        unsafe {
            low.store(all.as_mut_ptr());
            high.store(all.as_mut_ptr().add(Self::LANES));
            for (l, (even, odd)) in even.iter_mut().zip(&mut odd).take(Self::LANES).enumerate() {
                (*even, *odd) = (all[2 * l], all[2 * l + 1]);
            }
            [Self::load(even.as_ptr()), Self::load(odd.as_ptr())]
        }
    }
    /// The reverse of [`Lanes::apart`].
    ///
    /// # Safety
    /// The machine has the register.
    #[inline(always)]
    unsafe fn together(even: Self, odd: Self) -> [Self; 2] {
        let mut all = [Self::Element::ZERO; 2 * MOST];
        let (mut evens, mut odds) = ([Self::Element::ZERO; MOST], [Self::Element::ZERO; MOST]);
        // SAFETY: promised by the caller; there is room for a register or two in each array.
        unsafe {
            even.store(evens.as_mut_ptr());
            odd.store(odds.as_mut_ptr());
            for (l, (&even, &odd)) in evens.iter().zip(&odds).take(Self::LANES).enumerate() {
                (all[2 * l], all[2 * l + 1]) = (even, odd);
            }
            [Self::load(all.as_ptr()), Self::load(all.as_ptr().add(Self::LANES))]
        }
    }
    /// All elements but the first, and then `last`.
    ///
    /// # Safety
    /// The machine has the register.
    #[inline(always)]
    unsafe fn shifted(self, last: Self::Element) -> Self {
        let mut all = [last; MOST + 1];
        // SAFETY: promised by the caller; there is room for a register from both places on.
        unsafe {
            self.store(all.as_mut_ptr());
            all[Self::LANES] = last;
            Self::load(all.as_ptr().add(1))
        }
    }
    /// Says that a register will be read from there soon, wherever that is.
    fn expect(_: *const Self::Element) {}
    /// The same, of what the second-level cache may hold until then.
    fn expect_later(_: *const Self::Element) {}

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
        $load:ident, $store:ident, $splat:ident, $fma:ident
        $(, $transpose:ident)? $(; $apart:ident, $together:ident, $shifted:ident)?) => {
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
            #[inline(always)]
            fn expect_later(at: *const $element) {
                // SAFETY: a hint reads nothing.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
            }
            $(
                #[inline(always)]
                unsafe fn apart(low: Self, high: Self) -> [Self; 2] {
                    // SAFETY: promised by the caller.
                    unsafe { $apart(low, high) }
                }
                #[inline(always)]
                unsafe fn together(even: Self, odd: Self) -> [Self; 2] {
                    // SAFETY: promised by the caller.
                    unsafe { $together(even, odd) }
                }
                #[inline(always)]
                unsafe fn shifted(self, last: $element) -> Self {
                    // SAFETY: promised by the caller.
                    unsafe { $shifted(self, last) }
                }
            )?
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

lanes!(__m512, f32, 16, 8, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_fmadd_ps, transpose; apart16, together16, shifted16);
lanes!(__m256, f32, 8, 6, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_fmadd_ps, transpose; apart8, together8, shifted8);
lanes!(__m512d, f64, 8, 8, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_set1_pd, _mm512_fmadd_pd);
lanes!(__m256d, f64, 4, 6, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_set1_pd, _mm256_fmadd_pd);

/// Elements that stand for a register where there is none of ours.
pub(crate) const PLAIN: usize = 4;
/// The most elements of any register.
const MOST: usize = 16;

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
pub(crate) unsafe fn transpose(from: *const f32, pitch: isize, to: *mut f32, width: usize) {
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

/// # Safety
/// There is AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn apart16(low: __m512, high: __m512) -> [__m512; 2] {
    // SAFETY: promised by the caller.
    unsafe {
        let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
        [_mm512_permutex2var_ps(low, even, high), _mm512_permutex2var_ps(low, odd, high)]
    }
}

/// # Safety
/// There is AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn together16(even: __m512, odd: __m512) -> [__m512; 2] {
    // SAFETY: promised by the caller.
    unsafe {
        let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        [_mm512_permutex2var_ps(even, low, odd), _mm512_permutex2var_ps(even, high, odd)]
    }
}

/// # Safety
/// There is AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn apart8(low: __m256, high: __m256) -> [__m256; 2] {
    // SAFETY: promised by the caller.
    unsafe {
        // Halves exchanged, so that the shuffles within halves bring neighbours together.
        let (a, b) = (_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high));
        [_mm256_shuffle_ps::<0x88>(a, b), _mm256_shuffle_ps::<0xDD>(a, b)]
    }
}

/// # Safety
/// There is AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn together8(even: __m256, odd: __m256) -> [__m256; 2] {
    // SAFETY: promised by the caller.
    unsafe {
        let (a, b) = (_mm256_unpacklo_ps(even, odd), _mm256_unpackhi_ps(even, odd));
        [_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b)]
    }
}

/// # Safety
/// There is AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn shifted16(x: __m512, last: f32) -> __m512 {
    // SAFETY: promised by the caller.
    unsafe {
        let (x, last) = (_mm512_castps_si512(x), _mm512_castps_si512(_mm512_set1_ps(last)));
        _mm512_castsi512_ps(_mm512_alignr_epi32::<1>(last, x))
    }
}

/// # Safety
/// There is AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn shifted8(x: __m256, last: f32) -> __m256 {
    // SAFETY: promised by the caller.
    unsafe {
        let turned = _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 0));
        _mm256_blend_ps::<0x80>(turned, _mm256_set1_ps(last))
    }
}

/// Work written once for any register, and compiled for each.
pub(crate) trait InLanes<T> {
    /// Does it.
    ///
    /// # Safety
    /// The machine has the register. Called from a function with its features.
    unsafe fn run<V: Lanes<Element = T>>(self);
}

/// Elements for which there are registers.
pub(crate) trait Registers: Sized {
    /// Runs the work with the widest register of a level.
    fn in_lanes(level: Level, work: impl InLanes<Self>);
}

macro_rules! registers {
    ($t:ty, $wide:ty, $narrow:ty) => {
        impl Registers for $t {
            fn in_lanes(level: Level, work: impl InLanes<$t>) {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: a level is only ever at most what the machine was found to have.
                    Level::Avx512 | Level::Amx => unsafe { avx512::<$t, $wide>(work) },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: as above.
                    Level::Avx2 => unsafe { avx2::<$t, $narrow>(work) },
                    // SAFETY: every machine has arrays.
                    _ => unsafe { work.run::<[$t; PLAIN]>() },
                }
            }
        }
    };
}
registers!(f32, __m512, __m256);
registers!(f64, __m512d, __m256d);

/// # Safety
/// The machine has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
unsafe fn avx512<T, V: Lanes<Element = T>>(work: impl InLanes<T>) {
    // SAFETY: these are the register's features.
    unsafe { work.run::<V>() }
}

/// # Safety
/// The machine has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<T, V: Lanes<Element = T>>(work: impl InLanes<T>) {
    // SAFETY: these are the register's features.
    unsafe { work.run::<V>() }
}
