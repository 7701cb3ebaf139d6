//! Copies of transposed matrices, tile by tile.
//!
//! Read in the order of the output, every element of a transposed matrix lies in another cache line, and a page
//! each when the matrix is large. A tile that fits the first-level cache uses each line whole.

use std::mem::MaybeUninit;

use gradus_tensor_core::Layout;

use crate::Cpu;
use crate::parallel::SendPtr;

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
