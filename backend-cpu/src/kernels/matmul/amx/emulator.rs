//! The unit in plain code, as Intel's manual defines its instructions: what tests multiply with.

use super::unit::{ROWS, Unit};

/// Eight registers as arrays.
#[derive(Debug)]
pub(crate) struct Emulator([[[u32; ROWS]; ROWS]; 8]);

impl Unit for Emulator {
    #[inline(always)]
    unsafe fn configure() -> Self {
        // (The instruction leaves zeros; whoever forgets to ask for them should notice.)
        Emulator([[[0x4242_4242; ROWS]; ROWS]; 8])
    }

    #[inline(always)]
    unsafe fn zero<const T: usize>(&mut self) {
        self.0[T] = [[0; ROWS]; ROWS];
    }

    #[inline(always)]
    unsafe fn load<const T: usize>(&mut self, from: *const u32) {
        assert!(from.addr().is_multiple_of(64), "a register that is not read from whole lines");
        // SAFETY: promised by the caller.
        unsafe { self.load_rows::<T>(from.cast(), 64) }
    }

    #[inline(always)]
    unsafe fn load_rows<const T: usize>(&mut self, from: *const u8, pitch: usize) {
        for (i, row) in self.0[T].iter_mut().enumerate() {
            // SAFETY: promised by the caller.
            *row = unsafe { from.add(i * pitch).cast::<[u32; ROWS]>().read_unaligned() };
        }
    }

    #[inline(always)]
    unsafe fn dot<const SUM: usize, const A: usize, const B: usize>(&mut self) {
        for m in 0..ROWS {
            // Sums of the pairs' first and second numbers, each a chain of its own.
            let (mut first, mut second) = ([0.0f32; ROWS], [0.0f32; ROWS]);
            for k in 0..ROWS {
                let a = self.0[A][m][k];
                for n in 0..ROWS {
                    let b = self.0[B][k][n];
                    first[n] = flushed(low(a).mul_add(low(b), first[n]));
                    second[n] = flushed(high(a).mul_add(high(b), second[n]));
                }
            }
            for (n, sum) in self.0[SUM][m].iter_mut().enumerate() {
                let old = flushed(f32::from_bits(*sum));
                *sum = flushed(old + flushed(first[n] + second[n])).to_bits();
            }
        }
    }

    #[inline(always)]
    unsafe fn dot_bytes<const SUM: usize, const A: usize, const B: usize>(&mut self) {
        for m in 0..ROWS {
            for n in 0..ROWS {
                for k in 0..ROWS {
                    let (a, b) = (self.0[A][m][k].to_le_bytes(), self.0[B][k][n].to_le_bytes());
                    let products = a.iter().zip(b).map(|(&a, b)| i32::from(a) * i32::from(b as i8));
                    let sum = &mut self.0[SUM][m][n];
                    *sum = products.fold(*sum as i32, i32::wrapping_add) as u32;
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn store<const T: usize>(&mut self, to: *mut f32, pitch: usize) {
        for (i, row) in self.0[T].iter().enumerate() {
            // SAFETY: promised by the caller.
            unsafe { to.add(i * pitch).cast::<[u32; ROWS]>().write_unaligned(*row) }
        }
    }

    unsafe fn release(self) {}
}

/// The pair's first number.
#[inline(always)]
fn low(pair: u32) -> f32 {
    flushed(f32::from_bits(pair << 16))
}

/// Its second.
#[inline(always)]
fn high(pair: u32) -> f32 {
    flushed(f32::from_bits(pair & 0xffff_0000))
}

/// Zero instead of a subnormal number.
#[inline(always)]
fn flushed(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0.0f32.copysign(x) } else { x }
}

#[cfg(test)]
mod tests {
    use super::super::unit::WORDS;
    use super::*;

    #[test]
    fn a_tile_is_the_sum_of_products_of_pairs() {
        #[repr(align(64))]
        struct Tile([u32; WORDS]);
        let number = |i: usize| (i * 7 % 11) as f32 - 5.0;
        let bits = |x: f32| x.to_bits() >> 16;
        let (a, b) = (|i: usize, k: usize| number(i + 3 * k), |k: usize, j: usize| number(5 * k + 2 * j));
        let (mut left, mut right) = (Tile([0; WORDS]), Tile([0; WORDS]));
        for r in 0..ROWS {
            for k in 0..ROWS {
                left.0[r * ROWS + k] = bits(a(r, 2 * k)) | bits(a(r, 2 * k + 1)) << 16;
                right.0[k * ROWS + r] = bits(b(2 * k, r)) | bits(b(2 * k + 1, r)) << 16;
            }
        }
        let mut sums = [[0.0f32; 20]; ROWS];
        // SAFETY: the tiles may be read, and 16 rows of 20 written.
        unsafe {
            let mut unit = Emulator::configure();
            unit.zero::<2>();
            unit.load::<5>(left.0.as_ptr());
            unit.load::<7>(right.0.as_ptr());
            unit.dot::<2, 5, 7>();
            unit.dot::<2, 5, 7>();
            unit.store::<2>(sums.as_mut_ptr().cast(), 20);
        }
        for (i, row) in sums.iter().enumerate() {
            for (j, &sum) in row.iter().enumerate() {
                let right = if j < ROWS { (0..32).map(|k| 2.0 * a(i, k) * b(k, j)).sum() } else { 0.0 };
                assert_eq!(sum, right, "{i} {j}");
            }
        }
    }

    #[test]
    fn subnormal_numbers_are_zero_before_and_after() {
        assert_eq!(low(0x0000_0040), 0.0);
        assert_eq!(high(0x8001_3f80).to_bits(), 0x8000_0000);
        assert_eq!(low(0x0000_0080), f32::MIN_POSITIVE);
        assert_eq!(flushed(f32::MIN_POSITIVE / 2.0), 0.0);
        assert!(flushed(f32::NAN).is_nan());
    }
}
