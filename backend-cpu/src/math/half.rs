//! Conversions between half precision and `f32`, written without branches so that they vectorize.

use gradus_tensor_core::Element;
use gradus_tensor_core::half::{bf16, f16};

use crate::Level;
use crate::level::Kernel;

/// A 16-bit float: stored narrow, computed in `f32`.
pub(crate) trait Half: Element + bytemuck::Pod {
    /// The same number as `f32`: exact.
    fn to_single(self) -> f32;
    /// The nearest number of this type, ties to even; NaN stays NaN.
    fn from_single(x: f32) -> Self;

    /// Widens `n` elements.
    ///
    /// # Safety
    /// Both hold `n` elements and do not overlap.
    unsafe fn widen(level: Level, from: *const Self, to: *mut f32, n: usize) {
        level.run(Widen(from, to, n));
    }

    /// Narrows `n` elements.
    ///
    /// # Safety
    /// Both hold `n` elements and do not overlap.
    unsafe fn narrow(level: Level, from: *const f32, to: *mut Self, n: usize) {
        level.run(Narrow(from, to, n));
    }
}

struct Widen<H>(*const H, *mut f32, usize);
impl<H: Half> Kernel for Widen<H> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for i in 0..self.2 {
            // SAFETY: whoever made the loop promised that many elements on both sides.
            unsafe { *self.1.add(i) = (*self.0.add(i)).to_single() };
        }
    }
}

struct Narrow<H>(*const f32, *mut H, usize);
impl<H: Half> Kernel for Narrow<H> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for i in 0..self.2 {
            // SAFETY: whoever made the loop promised that many elements on both sides.
            unsafe { *self.1.add(i) = H::from_single(*self.0.add(i)) };
        }
    }
}

impl Half for bf16 {
    #[inline(always)]
    fn to_single(self) -> f32 {
        f32::from_bits((self.to_bits() as u32) << 16)
    }

    #[inline(always)]
    fn from_single(x: f32) -> Self {
        let bits = x.to_bits();
        // Adding just under half of the last kept bit rounds to nearest; the kept bit itself breaks ties.
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        let nan = (bits >> 16) | 0x40;
        bf16::from_bits(if x.is_nan() { nan } else { rounded } as u16)
    }
}

impl Half for f16 {
    #[inline(always)]
    fn to_single(self) -> f32 {
        let bits = self.to_bits() as u32;
        let magnitude = (bits & 0x7fff) << 13;
        // The exponent is off by 127 - 15; a multiplication corrects it for denormals as well.
        let finite = f32::from_bits(magnitude) * f32::from_bits((254 - 15) << 23);
        let special = f32::from_bits(magnitude | 0x7f80_0000);
        let value = if bits & 0x7c00 == 0x7c00 { special } else { finite };
        f32::from_bits(value.to_bits() | (bits & 0x8000) << 16)
    }

    #[inline(always)]
    fn from_single(x: f32) -> Self {
        let sign = (x.to_bits() >> 16) & 0x8000;
        let bits = x.to_bits() & 0x7fff_ffff;
        // Normal: rebias the exponent and round the 13 dropped bits to nearest even.
        let normal = bits.wrapping_sub((127 - 15) << 23).wrapping_add(0xfff + ((bits >> 13) & 1)) >> 13;
        // Below 2^-14: adding one half aligns the last place to 2^-24, and the addition rounds.
        let denormal = (f32::from_bits(bits) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
        let value = if bits < 0x3880_0000 { denormal } else { normal };
        // From 65520 on the nearest value is infinity.
        let value = if bits >= 0x477f_f000 { 0x7c00 } else { value };
        let nan = 0x7e00 | ((bits >> 13) & 0x3ff);
        f16::from_bits((sign | if bits > 0x7f80_0000 { nan } else { value }) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_agrees_with_the_half_crate_on_every_bit_pattern() {
        for bits in 0..=u16::MAX {
            let (h, b) = (f16::from_bits(bits), bf16::from_bits(bits));
            assert!(h.to_single().to_bits() == h.to_f32().to_bits() || h.is_nan(), "{bits:#x}");
            assert!(b.to_single().to_bits() == b.to_f32().to_bits() || b.is_nan(), "{bits:#x}");
            assert!(h.to_single().is_nan() == h.is_nan() && b.to_single().is_nan() == b.is_nan());
        }
    }

    #[test]
    fn narrowing_rounds_as_the_half_crate_does() {
        for high in 0..=u16::MAX {
            for low in [0u32, 1, 0xfff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let x = f32::from_bits((high as u32) << 16 | low);
                assert_eq!(f16::from_single(x).is_nan(), x.is_nan());
                assert_eq!(bf16::from_single(x).is_nan(), x.is_nan());
                if !x.is_nan() {
                    assert_eq!(f16::from_single(x).to_bits(), f16::from_f32(x).to_bits(), "{x:e}");
                    assert_eq!(bf16::from_single(x).to_bits(), bf16::from_f32(x).to_bits(), "{x:e}");
                }
            }
        }
    }
}
