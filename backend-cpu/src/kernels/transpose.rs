//! Copies of transposed matrices, tile by tile.
//!
//! Read in the order of the output, every element of a transposed matrix lies in another cache line, and a page
//! each when the matrix is large. A tile that fits the first-level cache uses each line whole.

use std::mem::MaybeUninit;

use gradus_tensor_core::Layout;

use crate::parallel::SendPtr;
use crate::{Cpu, Level, stream};

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
    /// The layout lies in the source; the target has room for its elements and does not overlap.
    pub(crate) unsafe fn copy(self, cpu: &Cpu, from: SendPtr<u8>, to: SendPtr<u8>, size: usize) {
        let Self { offset, batch, batch_stride, rows, cols, ld } = self;
        let level = cpu.level();
        let streamed = stream::pays(level, batch * rows * cols * size, 1);
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
                        wide::copy(&band, from.offset(source), to.add(target), streamed);
                    }
                }
                stream::fence();
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
    use crate::stream;

    /// Rows and columns of a tile: four lines of each column, which lie next to each other.
    pub(super) const TILE: usize = 64;
    /// The side of a block.
    const BLOCK: usize = 8;

    /// Copies a band of at most [`TILE`] rows. Elements are moved and never computed with, so any four bytes will do.
    ///
    /// # Safety
    /// As [`Band::copy`]; the machine has AVX2. If the band is streamed, a fence follows.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn copy(band: &Band, from: *const f32, to: *mut f32, streamed: bool) {
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
                    let (from, to) = (tile.add(r * TILE), to.add(r * cols + start));
                    if streamed {
                        stream::copy(from.cast(), to.cast(), width * size_of::<f32>());
                    } else {
                        copy_nonoverlapping(from, to, width);
                    }
                }
            }
        }
    }
}
