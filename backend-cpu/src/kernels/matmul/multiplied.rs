//! What products are made of, and which code multiplies it at which level.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};

use gradus_tensor_core::half;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::amx::{self, Instructions};
#[cfg(target_arch = "x86_64")]
use super::bf16;
use super::micro::{Product, is_small, panel_width, panels, small};
use super::pack::pack;
use super::ready::{Packing, Ready};
use super::registers::PLAIN;
use crate::math::half::Half;
use crate::{Level, Precision};

/// What a caller may give with a product, to save work.
#[derive(Clone, Copy)]
pub(crate) struct Given<T> {
    /// A row that the product is added to in every row, or null. What is there is ignored then.
    pub(super) row: *const T,
    /// The right operand, packed before.
    pub(super) ready: Option<Ready>,
}

#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
impl<T> Given<T> {
    pub(super) const NOTHING: Given<T> = Given { row: std::ptr::null(), ready: None };
}

/// What sums of `f32` can be rounded to.
pub(super) trait Single: Copy {
    /// As `f32`.
    fn single(self) -> f32;
    /// The nearest one.
    fn rounded(x: f32) -> Self;
}

impl Single for f32 {
    #[inline(always)]
    fn single(self) -> f32 {
        self
    }

    #[inline(always)]
    fn rounded(x: f32) -> f32 {
        x
    }
}

impl Single for half::bf16 {
    #[inline(always)]
    fn single(self) -> f32 {
        self.to_single()
    }

    #[inline(always)]
    fn rounded(x: f32) -> half::bf16 {
        half::bf16::from_single(x)
    }
}

/// Elements that products are made of.
pub(crate) trait Multiplied: Copy {
    /// What products are summed in.
    type Sum: Copy;

    /// Multiplies on the calling thread.
    ///
    /// # Safety
    /// The level is at most the machine's; all elements of the three matrices and of what is given may be accessed, and
    /// nobody else accesses those of `c`. What is ready is the right operand, packed for this level and precision.
    unsafe fn product(level: Level, precision: Precision, product: &Product<Self>, given: Given<Self>);

    /// The same, with sums as they are.
    ///
    /// # Safety
    /// As [`Multiplied::product`].
    unsafe fn sums(
        level: Level,
        precision: Precision,
        product: &Product<Self, Self::Sum>,
        given: Given<Self::Sum>,
    );

    /// How the right operand of products of that shape is packed in advance; `None` if each packs in its own way.
    fn packing(level: Level, precision: Precision, shape: [usize; 3]) -> Option<Packing>;

    /// Packs a block of a panel: so many rows and columns from `b` on, with zeros beyond the last column.
    ///
    /// # Safety
    /// The level is at most the machine's and the packing is its own; the elements may be read and the panel written.
    unsafe fn pack(
        level: Level,
        packing: Packing,
        b: *const Self,
        strides: [isize; 2],
        block: [usize; 2],
        to: *mut u8,
    );
}

impl Multiplied for f32 {
    type Sum = f32;

    unsafe fn product(level: Level, precision: Precision, product: &Product<f32>, given: Given<f32>) {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if level == Level::Amx && given.ready.is_none() && amx::pays(product.shape, amx::parts(precision)) {
            // SAFETY: promised by the caller; machines of that level have the unit.
            return unsafe { amx::floats::<Instructions>(level, precision, &product.after(given)) };
        }
        #[cfg(target_arch = "x86_64")]
        if match given.ready {
            Some(ready) => ready.is_pairs(),
            None => precision == Precision::Medium && bf16::pays(level, product.shape),
        } {
            // SAFETY: promised by the caller; the machine has the instructions.
            return unsafe { bf16::rounded(product, given) };
        }
        let _ = precision;
        // SAFETY: promised by the caller.
        unsafe { in_registers_f32(level, product, given) }
    }

    unsafe fn sums(level: Level, precision: Precision, product: &Product<f32>, given: Given<f32>) {
        // SAFETY: promised by the caller.
        unsafe { Self::product(level, precision, product, given) }
    }

    fn packing(level: Level, precision: Precision, shape: [usize; 3]) -> Option<Packing> {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if level == Level::Amx && amx::pays(shape, amx::parts(precision)) {
            return None;
        }
        #[cfg(target_arch = "x86_64")]
        if precision == Precision::Medium && bf16::pays(level, shape) {
            return Some(Packing::PAIRS);
        }
        let _ = (precision, shape);
        Some(packing_f32(level))
    }

    unsafe fn pack(
        level: Level,
        packing: Packing,
        b: *const f32,
        strides: [isize; 2],
        block: [usize; 2],
        to: *mut u8,
    ) {
        // SAFETY: promised by the caller; pairs are for machines with the instructions.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            if packing.is_pairs() {
                return bf16::pack(b, strides, block, to);
            }
            let _ = packing;
            pack_f32(level, b, strides, block, to.cast());
        }
    }
}

impl Multiplied for f64 {
    type Sum = f64;

    unsafe fn product(level: Level, _: Precision, product: &Product<f64>, given: Given<f64>) {
        // SAFETY: promised by the caller.
        unsafe { in_registers_f64(level, product, given) }
    }

    unsafe fn sums(level: Level, precision: Precision, product: &Product<f64>, given: Given<f64>) {
        // SAFETY: promised by the caller.
        unsafe { Self::product(level, precision, product, given) }
    }

    fn packing(level: Level, _: Precision, _: [usize; 3]) -> Option<Packing> {
        Some(packing_f64(level))
    }

    unsafe fn pack(
        level: Level,
        _: Packing,
        b: *const f64,
        strides: [isize; 2],
        block: [usize; 2],
        to: *mut u8,
    ) {
        // SAFETY: promised by the caller.
        unsafe { pack_f64(level, b, strides, block, to.cast()) }
    }
}

/// What is done with the registers of a level: products, and packing for them.
macro_rules! multiplied {
    ($t:ty, $product:ident, $packing:ident, $pack:ident, $avx512:ident, $wide:ty, $avx2:ident, $narrow:ty) => {
        /// # Safety
        /// As [`Multiplied::product`].
        pub(super) unsafe fn $product(level: Level, product: &Product<$t>, given: Given<$t>) {
            // SAFETY: promised by the caller.
            unsafe {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 | Level::Amx if is_small::<$wide>(product.shape) => {
                        $avx512::few(product, given.row)
                    }
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 if is_small::<$narrow>(product.shape) => $avx2::few(product, given.row),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 | Level::Amx => $avx512::product(product, given),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => $avx2::product(product, given),
                    Level::Scalar if is_small::<[$t; PLAIN]>(product.shape) => {
                        small::<[$t; PLAIN]>(product, given.row)
                    }
                    _ => panels::<[$t; PLAIN], 4, 3>(product, given),
                }
            }
        }

        fn $packing(level: Level) -> Packing {
            Packing::rows::<$t>(panel_width::<$t>(level))
        }

        /// # Safety
        /// As [`Multiplied::pack`].
        unsafe fn $pack(level: Level, b: *const $t, strides: [isize; 2], block: [usize; 2], to: *mut $t) {
            // SAFETY: promised by the caller.
            unsafe {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 | Level::Amx => $avx512::packed(b, strides, block, to),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => $avx2::packed(b, strides, block, to),
                    _ => pack::<[$t; PLAIN], 3>(b, strides, block, to),
                }
            }
        }

        compiled!($t, $avx512, $wide, 8, 3, "avx512f,avx2,fma");
        compiled!($t, $avx2, $narrow, 6, 2, "avx2,fma");
    };
}

/// The same, compiled for some registers.
macro_rules! compiled {
    ($t:ty, $name:ident, $register:ty, $rows:literal, $across:literal, $features:literal) => {
        #[cfg(target_arch = "x86_64")]
        mod $name {
            use super::*;

            /// # Safety
            /// As [`Multiplied::product`], and the machine has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn product(product: &Product<$t>, given: Given<$t>) {
                // SAFETY: promised by the caller.
                unsafe { panels::<$register, $rows, $across>(product, given) }
            }

            /// # Safety
            /// As [`product`], of a product that [is small](is_small).
            #[target_feature(enable = $features)]
            pub(super) unsafe fn few(product: &Product<$t>, row: *const $t) {
                // SAFETY: promised by the caller.
                unsafe { small::<$register>(product, row) }
            }

            /// # Safety
            /// As [`Multiplied::pack`], and the machine has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn packed(b: *const $t, strides: [isize; 2], block: [usize; 2], to: *mut $t) {
                // SAFETY: promised by the caller.
                unsafe { pack::<$register, $across>(b, strides, block, to) }
            }
        }
    };
}
multiplied!(f32, in_registers_f32, packing_f32, pack_f32, avx512_f32, __m512, avx2_f32, __m256);
multiplied!(f64, in_registers_f64, packing_f64, pack_f64, avx512_f64, __m512d, avx2_f64, __m256d);
