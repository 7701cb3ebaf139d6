//! The check that comes before the unit is used.

use super::*;
use crate::kernels::matmul::amx::detect::{multiplies, multiplies_bytes};
use crate::kernels::matmul::amx::unit::{ROWS, Unit};

/// A unit that is wrong in one way.
struct Wrong<const HOW: usize>(Emulator);

const READS_OLD: usize = 0;
const SKIPS_A_SUM: usize = 1;
const SWAPS: usize = 2;
const OTHER_PITCH: usize = 3;

impl<const HOW: usize> Unit for Wrong<HOW> {
    unsafe fn configure() -> Self {
        // SAFETY: the emulator is always there; so below, where the rest is promised by the caller.
        Wrong(unsafe { Emulator::configure() })
    }
    unsafe fn zero<const T: usize>(&mut self) {
        if HOW != READS_OLD {
            // SAFETY: as above.
            unsafe { self.0.zero::<T>() }
        }
    }
    unsafe fn load<const T: usize>(&mut self, from: *const u32) {
        // SAFETY: as above.
        unsafe { self.0.load::<T>(from) }
    }
    unsafe fn load_rows<const T: usize>(&mut self, from: *const u8, pitch: usize) {
        // SAFETY: as above; rows that lie closer lie in the same memory.
        unsafe { self.0.load_rows::<T>(from, if HOW == OTHER_PITCH { 4 * ROWS } else { pitch }) }
    }
    unsafe fn dot<const SUM: usize, const A: usize, const B: usize>(&mut self) {
        // SAFETY: as above.
        unsafe {
            match HOW {
                SKIPS_A_SUM if SUM == 3 => {}
                SWAPS => self.0.dot::<SUM, B, A>(),
                _ => self.0.dot::<SUM, A, B>(),
            }
        }
    }
    unsafe fn dot_bytes<const SUM: usize, const A: usize, const B: usize>(&mut self) {
        // SAFETY: as above.
        unsafe {
            match HOW {
                SKIPS_A_SUM if SUM == 3 => {}
                SWAPS => self.0.dot_bytes::<SUM, B, A>(),
                _ => self.0.dot_bytes::<SUM, A, B>(),
            }
        }
    }
    unsafe fn store<const T: usize>(&mut self, to: *mut f32, pitch: usize) {
        // SAFETY: as above; rows that lie closer lie in the same memory.
        unsafe { self.0.store::<T>(to, if HOW == OTHER_PITCH { ROWS } else { pitch }) }
    }
    unsafe fn release(self) {
        // SAFETY: as above.
        unsafe { self.0.release() }
    }
}

#[test]
fn only_a_unit_that_multiplies_is_used() {
    let level = Level::detect();
    // SAFETY: none of these is a part of the machine.
    unsafe {
        assert!(multiplies::<Emulator>(level));
        assert!(!multiplies::<Wrong<READS_OLD>>(level));
        assert!(!multiplies::<Wrong<SKIPS_A_SUM>>(level));
        assert!(!multiplies::<Wrong<SWAPS>>(level));
        assert!(!multiplies::<Wrong<OTHER_PITCH>>(level));

        assert!(multiplies_bytes::<Emulator>());
        assert!(!multiplies_bytes::<Wrong<READS_OLD>>());
        assert!(!multiplies_bytes::<Wrong<SKIPS_A_SUM>>());
        assert!(!multiplies_bytes::<Wrong<SWAPS>>());
        assert!(!multiplies_bytes::<Wrong<OTHER_PITCH>>());
    }
}
