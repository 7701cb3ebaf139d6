//! Copies of transposed matrices, tile by tile.
//!
//! Read in the order of the output, every element of a transposed matrix lies in another cache line, and a page
//! each when the matrix is large. A tile that fits the first-level cache uses each line whole.

use std::mem::MaybeUninit;

use gradus_tensor_core::Layout;

use crate::Cpu;
use crate::parallel::SendPtr;
#[cfg(target_arch = "x86_64")]
use crate::{Level, stream};

/// Rows and columns of a tile.
const TILE: usize = 32;
/// Matrices smaller than this on a side are not worth tiles.
const SMALL: usize = 8;

/// A stack of matrices, each of which is contiguous once transposed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transposed {
    offset: isize,
    batch: usize,
    batch_stride: isize,
    rows: usize,
    cols: usize,
    /// From one column to the next.
    ld: isize,
}

impl Transposed {
    /// The layout as such a stack, if it is one.
    pub(crate) fn of(layout: &Layout) -> Option<Self> {
        let simple = layout.simplified();
        let (batch, batch_stride, rows, cols, ld) = match (&simple.shape()[..], simple.strides()) {
            (&[r, c], &[1, ld]) => (1, 0, r, c, ld),
            (&[b, r, c], &[s, 1, ld]) => (b, s, r, c, ld),
            _ => return None,
        };
        let offset = simple.offset() as isize;
        (ld >= rows as isize && rows >= SMALL && cols >= SMALL).then_some(Self {
            offset,
            batch,
            batch_stride,
            rows,
            cols,
            ld,
        })
    }

    /// Copies the elements, of `size` bytes, in row-major order.
    ///
    /// # Safety
    /// The layout lies in the source; the target has room for its elements, does not overlap, and is aligned to a cache
    /// line, as buffers are.
    pub(crate) unsafe fn copy(self, cpu: &Cpu, from: SendPtr<u8>, to: SendPtr<u8>, size: usize) {
        let Self { offset, batch, batch_stride, rows, cols, ld } = self;
        #[cfg(target_arch = "x86_64")]
        let level = cpu.level();
        #[cfg(target_arch = "x86_64")]
        let streamed = stream::pays(level, batch * rows * cols * size, 1);
        #[cfg(target_arch = "x86_64")]
        if size == 4 && level >= Level::Avx2 && streamed && cols.is_multiple_of(streamed::LINE) {
            let strips = cols.div_ceil(streamed::STRIP);
            cpu.for_chunks(batch * strips, 2 * streamed::STRIP * rows, |range| {
                for t in range {
                    let (b, first) = (t / strips, (t % strips) * streamed::STRIP);
                    let strip = streamed::Strip { rows, cols, ld, width: streamed::STRIP.min(cols - first) };
                    let source = offset + b as isize * batch_stride + first as isize * ld;
                    let target = b * rows * cols + first;
                    // SAFETY: promised by the caller; strips are disjoint parts of the output, which is aligned to lines,
                    // as its rows are; there is AVX2.
                    unsafe {
                        let (from, to) = (from.get().cast::<f32>(), to.get().cast::<f32>());
                        strip.copy(level, from.offset(source), to.add(target));
                    }
                }
                stream::fence();
            });
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if size == 4 && level >= Level::Avx2 {
            let bands = rows.div_ceil(wide::TILE);
            cpu.for_chunks(batch * bands, 2 * wide::TILE * cols, |range| {
                for t in range {
                    let (b, first) = (t / bands, (t % bands) * wide::TILE);
                    let band = Band { rows: wide::TILE.min(rows - first), cols, ld };
                    let source = offset + b as isize * batch_stride + first as isize;
                    let target = (b * rows + first) * cols;
                    // SAFETY: promised by the caller; bands are disjoint parts of the output; there is AVX2.
                    unsafe {
                        let (from, to) = (from.get().cast::<f32>(), to.get().cast::<f32>());
                        wide::copy(&band, from.offset(source), to.add(target));
                    }
                }
            });
            return;
        }
        let bands = rows.div_ceil(TILE);
        cpu.for_chunks(batch * bands, 2 * TILE * cols, |range| {
            for t in range {
                let (b, first) = (t / bands, (t % bands) * TILE);
                let band = Band { rows: TILE.min(rows - first), cols, ld };
                let source = offset + b as isize * batch_stride + first as isize;
                let target = (b * rows + first) * cols;
                // SAFETY: promised by the caller; bands are disjoint parts of the output.
                unsafe {
                    match size {
                        1 => band
                            .copy(from.get().cast::<u8>().offset(source), to.get().cast::<u8>().add(target)),
                        2 => band.copy(
                            from.get().cast::<u16>().offset(source),
                            to.get().cast::<u16>().add(target),
                        ),
                        4 => band.copy(
                            from.get().cast::<u32>().offset(source),
                            to.get().cast::<u32>().add(target),
                        ),
                        _ => band.copy(
                            from.get().cast::<u64>().offset(source),
                            to.get().cast::<u64>().add(target),
                        ),
                    }
                }
            }
        });
    }
}

/// Some rows of the output, which are columns of the source.
struct Band {
    rows: usize,
    cols: usize,
    ld: isize,
}

impl Band {
    /// # Safety
    /// `to` holds `rows * cols` elements; `from` holds them at row stride 1 and column stride `ld`.
    unsafe fn copy<T: Copy>(&self, from: *const T, to: *mut T) {
        // A tile goes through an array of its own: each line of source and target is then touched in one go,
        // also where a power-of-two distance maps all of them to one set of the cache.
        let mut tile = [[MaybeUninit::<T>::uninit(); TILE]; TILE];
        for start in (0..self.cols).step_by(TILE) {
            let width = TILE.min(self.cols - start);
            for (c, column) in tile[..width].iter_mut().enumerate() {
                for (r, element) in column[..self.rows].iter_mut().enumerate() {
                    // SAFETY: promised by the caller.
                    element.write(unsafe { *from.offset(r as isize + (start + c) as isize * self.ld) });
                }
            }
            for r in 0..self.rows {
                for (c, column) in tile[..width].iter().enumerate() {
                    // SAFETY: promised by the caller; the element was written above.
                    unsafe { *to.add(r * self.cols + start + c) = column[r].assume_init() };
                }
            }
        }
    }
}

/// Elements of four bytes, in blocks of eight by eight through registers.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::mem::MaybeUninit;
    use std::ptr::copy_nonoverlapping;

    use super::Band;
    use crate::kernels::matmul::registers::transpose;

    /// Rows and columns of a tile: four lines of each column, which lie next to each other.
    pub(super) const TILE: usize = 64;
    /// The side of a block.
    const BLOCK: usize = 8;

    /// Copies a band of at most [`TILE`] rows. Elements are moved and never computed with, so any four bytes will do.
    ///
    /// # Safety
    /// As [`Band::copy`]; the machine has AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn copy(band: &Band, from: *const f32, to: *mut f32) {
        #[repr(align(64))]
        struct Tile(MaybeUninit<[[f32; TILE]; TILE]>);
        let mut tile = Tile(MaybeUninit::uninit());
        let tile = tile.0.as_mut_ptr().cast::<f32>();
        let &Band { rows, cols, ld } = band;
        for start in (0..cols).step_by(TILE) {
            let width = TILE.min(cols - start);
            let (whole_rows, whole_cols) = (rows - rows % BLOCK, width - width % BLOCK);
            // SAFETY: the elements read are those of the band, and those written lie in the tile or the band.
            unsafe {
                let from = from.offset(start as isize * ld);
                for c in (0..whole_cols).step_by(BLOCK) {
                    for r in (0..whole_rows).step_by(BLOCK) {
                        let from = from.offset(c as isize * ld).add(r);
                        transpose(from, ld * size_of::<f32>() as isize, tile.add(r * TILE + c), TILE);
                    }
                }
                for c in 0..width {
                    let first = if c < whole_cols { whole_rows } else { 0 };
                    for r in first..rows {
                        copy_nonoverlapping(from.offset(c as isize * ld).add(r), tile.add(r * TILE + c), 1);
                    }
                }
                for r in 0..rows {
                    copy_nonoverlapping(tile.add(r * TILE), to.add(r * cols + start), width);
                }
            }
        }
    }
}

/// Large outputs, of elements of four bytes.
///
/// A tile of a matrix that lies in memory is short pieces on one side or the other. Reads are what waits, so a strip of a
/// few columns is walked along these, as they lie in the source, with their next lines asked for; each line of the
/// output is written whole, around the caches, which does not mind where the one before it went. With many columns at
/// once, whose distance is often a power of two, the lines that were asked for would put each other out of the cache.
#[cfg(target_arch = "x86_64")]
mod streamed {
    use std::arch::x86_64::*;
    use std::mem::MaybeUninit;

    use crate::kernels::matmul::registers::transpose;
    use crate::{Level, stream};

    /// Elements of a cache line, and the sides of a block.
    pub(super) const LINE: usize = 16;
    /// Columns of a strip.
    pub(super) const STRIP: usize = 2 * LINE;
    /// Elements of a column between the one that is read and the one that is asked for.
    const AHEAD: usize = 4 * LINE;

    /// Some columns of the output, which are rows of the source.
    pub(super) struct Strip {
        pub(super) rows: usize,
        /// Of the output.
        pub(super) cols: usize,
        pub(super) ld: isize,
        /// Columns of the strip, a multiple of [`LINE`].
        pub(super) width: usize,
    }

    impl Strip {
        /// # Safety
        /// `from` holds the strip's elements at row stride 1 and column stride `ld`; `to`, which is aligned to a line, is
        /// where it begins in an output of `cols` columns, which are a multiple of a line; the machine has that level,
        /// which is at least AVX2. A fence follows.
        pub(super) unsafe fn copy(&self, level: Level, from: *const f32, to: *mut f32) {
            // SAFETY: promised by the caller.
            unsafe {
                if level >= Level::Avx512 { self.by_registers(from, to) } else { self.by_scratch(from, to) }
            }
        }

        /// # Safety
        /// As [`Strip::copy`]; there is AVX-512.
        #[target_feature(enable = "avx512f,avx2")]
        unsafe fn by_registers(&self, from: *const f32, to: *mut f32) {
            // SAFETY: promised by the caller.
            unsafe { self.blocks(from, to, |from, to| block(from, self.ld, to, self.cols)) }
        }

        /// # Safety
        /// As [`Strip::copy`].
        #[target_feature(enable = "avx2")]
        unsafe fn by_scratch(&self, from: *const f32, to: *mut f32) {
            #[repr(align(64))]
            struct Tile(MaybeUninit<[[f32; LINE]; LINE]>);
            let pitch = self.ld * size_of::<f32>() as isize;
            // SAFETY: promised by the caller; the tile is written before it is read.
            unsafe {
                self.blocks(from, to, |from, to| {
                    let mut tile = Tile(MaybeUninit::uninit());
                    let tile = tile.0.as_mut_ptr().cast::<f32>();
                    for (c, r) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
                        transpose(
                            from.offset(c as isize * self.ld).add(r),
                            pitch,
                            tile.add(r * LINE + c),
                            LINE,
                        );
                    }
                    for r in 0..LINE {
                        stream::copy(tile.add(r * LINE).cast(), to.add(r * self.cols).cast(), LINE * 4);
                    }
                });
            }
        }

        /// Has `block(from, to)` move all whole blocks, and moves what is left.
        ///
        /// # Safety
        /// As [`Strip::copy`].
        #[inline(always)]
        unsafe fn blocks(&self, from: *const f32, to: *mut f32, block: impl Fn(*const f32, *mut f32)) {
            let &Strip { rows, cols, ld, width } = self;
            let whole = rows - rows % LINE;
            // SAFETY: what is read and written is of the strip; what is only asked for need not exist.
            unsafe {
                for r in (0..whole).step_by(LINE) {
                    for c in (0..width).step_by(LINE) {
                        let from = from.offset(c as isize * ld).add(r);
                        for i in 0..LINE {
                            stream::expect(from.wrapping_offset(i as isize * ld).wrapping_add(AHEAD), LINE);
                        }
                        block(from, to.add(r * cols + c));
                    }
                }
                for r in whole..rows {
                    for c in 0..width {
                        *to.add(r * cols + c) = *from.offset(c as isize * ld).add(r);
                    }
                }
            }
        }
    }

    /// Sixteen by sixteen elements, through as many registers.
    ///
    /// # Safety
    /// `from` holds sixteen elements at every `ld`, `to` has room for them at every `pitch`, aligned to lines; there is
    /// AVX-512. A fence follows.
    #[inline]
    #[target_feature(enable = "avx512f,avx2")]
    unsafe fn block(from: *const f32, ld: isize, to: *mut f32, pitch: usize) {
        // SAFETY: promised by the caller.
        unsafe {
            // Within each quarter of a register: pairs of neighbours, then fours. The fours of registers
            // `4k..4k + 4` are rows `i`, `4 + i`, `8 + i` and `12 + i` of the result, four elements of each.
            let mut fours = [[_mm512_setzero_ps(); 4]; 4];
            for (k, four) in fours.iter_mut().enumerate() {
                let column = |i: usize| _mm512_loadu_ps(from.offset((4 * k + i) as isize * ld));
                let (a, b, c, d) = (column(0), column(1), column(2), column(3));
                let (low, high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                let (next_low, next_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
                *four = [
                    _mm512_shuffle_ps::<0x44>(low, next_low),
                    _mm512_shuffle_ps::<0xEE>(low, next_low),
                    _mm512_shuffle_ps::<0x44>(high, next_high),
                    _mm512_shuffle_ps::<0xEE>(high, next_high),
                ];
            }
            // Quarters of four registers are put together.
            let [first, second, third, fourth] = fours;
            let registers = first.into_iter().zip(second).zip(third).zip(fourth);
            for (i, (((a, b), c), d)) in registers.enumerate() {
                let (even, odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xDD>(a, b));
                let (next_even, next_odd) =
                    (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xDD>(c, d));
                let rows = [
                    _mm512_shuffle_f32x4::<0x88>(even, next_even),
                    _mm512_shuffle_f32x4::<0x88>(odd, next_odd),
                    _mm512_shuffle_f32x4::<0xDD>(even, next_even),
                    _mm512_shuffle_f32x4::<0xDD>(odd, next_odd),
                ];
                for (q, row) in rows.into_iter().enumerate() {
                    _mm512_stream_ps(to.add((4 * q + i) * pitch), row);
                }
            }
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn strips_are_transposed_whatever_the_rows() {
        #[derive(Clone, Copy)]
        #[repr(align(64))]
        struct Line([f32; streamed::LINE]);
        for level in [Level::Avx2, Level::Avx512].into_iter().filter(|&level| level <= Level::detect()) {
            for (rows, cols, ld) in [(16, 16, 16), (37, 48, 40), (5, 32, 64), (64, 96, 64)] {
                let source: Vec<f32> = (0..cols * ld).map(|i| i as f32).collect();
                let mut target = vec![Line([-1.0; streamed::LINE]); rows * cols / streamed::LINE];
                for first in (0..cols).step_by(streamed::STRIP) {
                    let width = streamed::STRIP.min(cols - first);
                    let strip = streamed::Strip { rows, cols, ld: ld as isize, width };
                    // SAFETY: source and target have the strip's elements; the machine has that level.
                    unsafe {
                        let to = target.as_mut_ptr().cast::<f32>().add(first);
                        strip.copy(level, source.as_ptr().add(first * ld), to);
                    }
                }
                stream::fence();
                let made: Vec<f32> = target.iter().flat_map(|line| line.0).collect();
                let expected = (0..rows).flat_map(|r| (0..cols).map(move |c| (c * ld + r) as f32));
                assert_eq!(made, expected.collect::<Vec<_>>());
            }
        }
    }
}
