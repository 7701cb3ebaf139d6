//! The unit: eight registers for tiles, and eight things to do with them.

/// Rows of a register, and lanes of 32 bits in each.
pub(crate) const ROWS: usize = 16;
/// Words of 32 bits of a register: 1 KB.
pub(super) const WORDS: usize = ROWS * ROWS;

/// Registers of 16 rows of 64 bytes. A row is 16 sums in `f32` or `i32`, 16 pairs of `bf16`, or 16 groups of four bytes.
pub(crate) trait Unit {
    /// Sets all eight registers to their full size.
    ///
    /// # Safety
    /// The machine has the unit, and the process may use it. So for everything here.
    unsafe fn configure() -> Self;

    /// Sets a register to zeros.
    ///
    /// # Safety
    /// As [`Unit::configure`].
    unsafe fn zero<const T: usize>(&mut self);

    /// Reads a register from [`WORDS`] that follow each other.
    ///
    /// # Safety
    /// The words may be read.
    unsafe fn load<const T: usize>(&mut self, from: *const u32);

    /// Reads a register from rows of 64 bytes that are `pitch` bytes apart.
    ///
    /// # Safety
    /// The rows may be read.
    unsafe fn load_rows<const T: usize>(&mut self, from: *const u8, pitch: usize);

    /// `sum += a @ b` for 16 x 32 and 32 x 16 numbers: row `i` of `a` are the pairs of row `i`, row `k` of `b` is, for each
    /// column, the pair of rows `2 k` and `2 k + 1`.
    ///
    /// # Safety
    /// As [`Unit::configure`].
    unsafe fn dot<const SUM: usize, const A: usize, const B: usize>(&mut self);

    /// `sum += a @ b` in `i32`, for 16 x 64 bytes without a sign and 64 x 16 with one: row `i` of `a` is row `i`, row `k` of
    /// `b` is, for each column, the group of rows `4 k` to `4 k + 3`.
    ///
    /// # Safety
    /// As [`Unit::configure`].
    #[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(dead_code))]
    unsafe fn dot_bytes<const SUM: usize, const A: usize, const B: usize>(&mut self);

    /// Writes a register to rows that are `pitch` apart.
    ///
    /// # Safety
    /// So many rows of 16 may be written.
    unsafe fn store<const T: usize>(&mut self, to: *mut f32, pitch: usize);

    /// Gives the registers back: what follows is not slowed by their state.
    ///
    /// # Safety
    /// As [`Unit::configure`].
    unsafe fn release(self);
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use instructions::Instructions;

/// The instructions, as text: the compiler has no names for them yet.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod instructions {
    use std::arch::asm;

    use super::{ROWS, Unit};

    /// The machine's own unit.
    #[derive(Debug)]
    pub(crate) struct Instructions;

    /// What `ldtilecfg` reads: one palette exists, and each register has rows and bytes of a row.
    #[repr(C, align(64))]
    struct Shapes {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }

    impl Shapes {
        const FULL: Shapes = {
            let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
            let mut t = 0;
            while t < 8 {
                (row_bytes[t], rows[t]) = (64, ROWS as u8);
                t += 1;
            }
            Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
        };
    }

    /// One instruction. The compiler is told that it may change every register, and uses none itself, since it was not
    /// told that the machine has them: so they keep what they hold from one to the next.
    macro_rules! tile {
        ($($code:tt)*) => {
            asm!(
                $($code)*,
                out("tmm0") _,
                out("tmm1") _,
                out("tmm2") _,
                out("tmm3") _,
                out("tmm4") _,
                out("tmm5") _,
                out("tmm6") _,
                out("tmm7") _,
                options(nostack, preserves_flags)
            )
        };
    }

    impl Unit for Instructions {
        #[inline(always)]
        unsafe fn configure() -> Self {
            const { assert!(size_of::<Shapes>() == 64) };
            static SHAPES: Shapes = Shapes::FULL;
            // SAFETY: promised by the caller; 64 bytes are read.
            unsafe { tile!("ldtilecfg [{at}]", at = in(reg) &SHAPES) }
            Instructions
        }

        #[inline(always)]
        unsafe fn zero<const T: usize>(&mut self) {
            // SAFETY: promised by the caller.
            unsafe { tile!("tilezero tmm{t}", t = const T) }
        }

        #[inline(always)]
        unsafe fn load<const T: usize>(&mut self, from: *const u32) {
            // SAFETY: promised by the caller.
            unsafe { self.load_rows::<T>(from.cast(), ROWS * size_of::<u32>()) }
        }

        #[inline(always)]
        unsafe fn load_rows<const T: usize>(&mut self, from: *const u8, pitch: usize) {
            // SAFETY: promised by the caller.
            unsafe {
                tile!(
                    "tileloadd tmm{t}, [{from} + {pitch}*1]",
                    t = const T,
                    from = in(reg) from,
                    pitch = in(reg) pitch
                )
            }
        }

        #[inline(always)]
        unsafe fn dot<const SUM: usize, const A: usize, const B: usize>(&mut self) {
            // SAFETY: promised by the caller.
            unsafe { tile!("tdpbf16ps tmm{sum}, tmm{a}, tmm{b}", sum = const SUM, a = const A, b = const B) }
        }

        #[inline(always)]
        unsafe fn dot_bytes<const SUM: usize, const A: usize, const B: usize>(&mut self) {
            // SAFETY: promised by the caller.
            unsafe { tile!("tdpbusd tmm{sum}, tmm{a}, tmm{b}", sum = const SUM, a = const A, b = const B) }
        }

        #[inline(always)]
        unsafe fn store<const T: usize>(&mut self, to: *mut f32, pitch: usize) {
            // SAFETY: promised by the caller.
            unsafe {
                tile!(
                    "tilestored [{to} + {pitch}*1], tmm{t}",
                    t = const T,
                    to = in(reg) to,
                    pitch = in(reg) pitch * size_of::<f32>()
                )
            }
        }

        #[inline(always)]
        unsafe fn release(self) {
            // SAFETY: promised by the caller.
            unsafe { tile!("tilerelease") }
        }
    }
}
