//! Operands brought into tiles: numbers split into parts, and pairs of them laid where the unit wants them.

use std::mem::MaybeUninit;

use gradus_tensor_core::half::bf16;

use super::unit::{ROWS, WORDS};
use crate::Level;
use crate::kernels::matmul::multiplied::Single;

/// Depth of a tile.
pub(super) const STEP: usize = 2 * ROWS;

/// Elements that are made of `bf16`.
pub(super) trait Parts: Single + Default {
    /// Whether one `bf16` is all of it.
    const ONE: bool;
}

impl Parts for f32 {
    const ONE: bool = false;
}

impl Parts for bf16 {
    const ONE: bool = true;
}

/// An operand as lines of numbers that are multiplied with each other's: rows of the left one, columns of the right one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines<T> {
    pub(super) start: *const T,
    /// From one line to the next, in elements.
    pub(super) line: isize,
    /// From one number of a line to the next.
    pub(super) step: isize,
}

/// Which operand: how a tile holds the pairs of its 16 lines.
pub(super) trait Side {
    /// Whether a row of the tile is a line. Otherwise a column is.
    const ROW_IS_LINE: bool;
}

/// The left one.
#[derive(Debug)]
pub(super) struct Left;
/// The right one.
#[derive(Debug)]
pub(super) struct Right;

impl Side for Left {
    const ROW_IS_LINE: bool = true;
}

impl Side for Right {
    const ROW_IS_LINE: bool = false;
}

/// Tiles of a line group follow each other by depth, the parts of one tile side by side; then comes the next group.
/// Missing lines and depths are zeros.
///
/// Returns the bits of the largest magnitude (of numbers that have more than one part).
///
/// # Safety
/// `lines` times `depth` numbers may be read; there is room for the tiles of all groups of 16.
#[inline(always)]
pub(super) unsafe fn pack<T: Parts, S: Side, const PARTS: usize>(
    level: Level,
    from: Lines<T>,
    [lines, depth]: [usize; 2],
    mut to: *mut u32,
) -> u32 {
    let mut largest = [0; ROWS];
    for line in (0..lines).step_by(ROWS) {
        for step in (0..depth).step_by(STEP) {
            let at = from.start.wrapping_offset(line as isize * from.line + step as isize * from.step);
            let [count, len] = [ROWS.min(lines - line), STEP.min(depth - step)];
            let whole = count == ROWS && len == STEP;
            // SAFETY: so many lines and steps of them may be read from there on; the tiles have room.
            unsafe {
                if whole && from.step == 1 {
                    by_lines::<T, S, PARTS>(level, at, from.line, to, &mut largest);
                } else if whole && from.line == 1 {
                    by_steps::<T, S, PARTS>(level, at, from.step, to, &mut largest);
                } else {
                    let mut copy = [[T::default(); STEP]; ROWS];
                    for (l, copy) in copy.iter_mut().take(count).enumerate() {
                        let at = at.offset(l as isize * from.line);
                        for (k, copy) in copy.iter_mut().take(len).enumerate() {
                            *copy = *at.offset(k as isize * from.step);
                        }
                    }
                    by_lines::<T, S, PARTS>(level, copy.as_ptr().cast(), STEP as isize, to, &mut largest);
                }
            }
            to = to.wrapping_add(PARTS * WORDS);
        }
    }
    largest.into_iter().fold(0, u32::max)
}

/// A tile's parts from lines of 32 numbers that follow each other.
///
/// # Safety
/// Sixteen lines, `stride` apart, may be read; there is room for the parts.
#[inline(always)]
unsafe fn by_lines<T: Parts, S: Side, const PARTS: usize>(
    level: Level,
    from: *const T,
    stride: isize,
    to: *mut u32,
    largest: &mut [u32; ROWS],
) {
    let mut lines = MaybeUninit::<[[u32; WORDS]; PARTS]>::uninit();
    let place = if S::ROW_IS_LINE { to } else { lines.as_mut_ptr().cast() };
    for l in 0..ROWS {
        for half in 0..2 {
            // SAFETY: promised by the caller.
            let numbers = unsafe {
                let at = from.offset(l as isize * stride).add(half * ROWS);
                at.cast::<[T; ROWS]>().read_unaligned()
            };
            let parts = split::<T, PARTS>(numbers, largest);
            for (p, part) in parts.iter().enumerate() {
                // Pairs are words of two neighbours, the first one in the lower half: as they lie in memory.
                let mut pairs = [0u16; ROWS];
                for i in 0..ROWS {
                    pairs[i] = (part[i] >> 16) as u16;
                }
                // SAFETY: half of row `l` of part `p`.
                unsafe {
                    place.add(p * WORDS + l * ROWS + half * ROWS / 2).cast::<[u16; ROWS]>().write(pairs)
                }
            }
        }
    }
    if !S::ROW_IS_LINE {
        // SAFETY: as many tiles of words, all of which were written.
        unsafe { transpose::<PARTS>(level, place, to) }
    }
}

/// A tile's parts from steps of 16 lines whose numbers are side by side.
///
/// # Safety
/// 32 steps, `stride` apart, may be read; there is room for the parts.
#[inline(always)]
unsafe fn by_steps<T: Parts, S: Side, const PARTS: usize>(
    level: Level,
    from: *const T,
    stride: isize,
    to: *mut u32,
    largest: &mut [u32; ROWS],
) {
    let mut rows = MaybeUninit::<[[u32; WORDS]; PARTS]>::uninit();
    let place = if S::ROW_IS_LINE { rows.as_mut_ptr().cast() } else { to };
    for k in 0..ROWS {
        // SAFETY: promised by the caller.
        let [first, second] = unsafe {
            let at = from.offset(2 * k as isize * stride);
            [at, at.offset(stride)].map(|at| at.cast::<[T; ROWS]>().read_unaligned())
        };
        let first = split::<T, PARTS>(first, largest);
        let second = split::<T, PARTS>(second, largest);
        for p in 0..PARTS {
            let row: [u32; ROWS] = std::array::from_fn(|i| first[p][i] >> 16 | second[p][i]);
            // SAFETY: row `k` of part `p`.
            unsafe { place.add(p * WORDS + k * ROWS).cast::<[u32; ROWS]>().write(row) }
        }
    }
    if S::ROW_IS_LINE {
        // SAFETY: as many tiles of words, all of which were written.
        unsafe { transpose::<PARTS>(level, place, to) }
    }
}

/// The parts of numbers, the largest first, each a `bf16` in the upper half of a word: a part is what is left, rounded to
/// nearest, so the third is exact.
#[inline(always)]
fn split<T: Parts, const PARTS: usize>(
    numbers: [T; ROWS],
    largest: &mut [u32; ROWS],
) -> [[u32; ROWS]; PARTS] {
    let mut rest = numbers.map(T::single);
    let mut parts = [[0; ROWS]; PARTS];
    for (p, part) in parts.iter_mut().enumerate() {
        for i in 0..ROWS {
            let bits = rest[i].to_bits();
            if T::ONE {
                part[i] = bits;
                continue;
            }
            if p == 0 {
                largest[i] = largest[i].max(bits & 0x7fff_ffff);
            }
            part[i] = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
            rest[i] -= f32::from_bits(part[i]);
        }
    }
    parts
}

/// Copies tiles with rows and columns exchanged.
///
/// # Safety
/// Both may be accessed.
#[inline(always)]
unsafe fn transpose<const TILES: usize>(level: Level, from: *const u32, to: *mut u32) {
    for tile in 0..TILES {
        // SAFETY: promised by the caller; the level is at most the machine's.
        unsafe {
            let (from, to) = (from.add(tile * WORDS), to.add(tile * WORDS));
            #[cfg(target_arch = "x86_64")]
            if level >= Level::Avx2 {
                for [i, j] in [[0, 0], [0, 8], [8, 0], [8, 8]] {
                    let (from, to) = (from.add(i * ROWS + j), to.add(j * ROWS + i));
                    crate::kernels::matmul::registers::transpose(from.cast(), 64, to.cast(), ROWS);
                }
                continue;
            }
            let _ = level;
            for i in 0..ROWS {
                for j in 0..ROWS {
                    *to.add(j * ROWS + i) = *from.add(i * ROWS + j);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::half::Half;

    #[test]
    fn three_parts_are_the_number_and_each_is_half_a_place_of_the_one_before() {
        let mut bits = 1u32;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Exponents between -60 and 60, where products are made of parts.
            let x = f32::from_bits(bits & 0x807f_ffff | (67 + (bits >> 8) % 121) << 23);
            let mut largest = [0; ROWS];
            let parts = split::<f32, 3>([x; ROWS], &mut largest).map(|part| f32::from_bits(part[5]));
            assert_eq!(largest[0], x.abs().to_bits());
            assert_eq!(parts[0] as f64 + parts[1] as f64 + parts[2] as f64, x as f64, "{x:e}");
            assert_eq!(parts[0], bf16::from_single(x).to_single());
            for p in 1..3 {
                assert!(parts[p].abs() <= parts[p - 1].abs() * 2.0f32.powi(-8), "{x:e} {parts:?}");
                assert_eq!(bf16::from_single(parts[p]).to_single(), parts[p]);
            }
        }
    }
}
