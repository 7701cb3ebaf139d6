//! Copies of transposed matrices, tile by tile.
//!
//! Read in the order of the output, every element of a transposed matrix lies in another cache line, and a page
//! each when the matrix is large. A tile that fits the first-level cache uses each line whole.

use gradus_tensor_core::View;

use crate::parallel::SendPtr;
use crate::{Cpu, CpuBuffer};

/// Rows and columns of a tile.
const TILE: usize = 32;

/// Copies the view into the buffer if it is a stack of matrices, each contiguous once transposed. False if not.
pub(crate) fn transpose(cpu: &Cpu, x: &View<'_, CpuBuffer>, out: &mut CpuBuffer) -> bool {
    let simple = x.layout.simplified();
    let (shape, strides) = (simple.shape(), simple.strides());
    let (batch, batch_stride, rows, cols, ld) = match (&shape[..], strides) {
        (&[r, c], &[1, ld]) => (1, 0, r, c, ld),
        (&[b, r, c], &[s, 1, ld]) => (b, s, r, c, ld),
        _ => return false,
    };
    if ld < rows as isize || rows < 8 || cols < 8 {
        return false;
    }
    let from = SendPtr(x.buffer.bytes().cast_mut());
    let to = SendPtr(out.bytes_mut());
    let offset = simple.offset() as isize;
    let bands = rows.div_ceil(TILE);
    cpu.for_chunks(batch * bands, TILE * cols, |range| {
        for t in range {
            let (b, first) = (t / bands, (t % bands) * TILE);
            let band = Band { rows: TILE.min(rows - first), cols, ld };
            let source = offset + b as isize * batch_stride + first as isize;
            let target = (b * rows + first) * cols;
            // SAFETY: the view was checked; bands are disjoint parts of the output.
            unsafe {
                match x.dtype.size() {
                    1 => band.copy(from.get().cast::<u8>().offset(source), to.get().cast::<u8>().add(target)),
                    2 => {
                        band.copy(from.get().cast::<u16>().offset(source), to.get().cast::<u16>().add(target))
                    }
                    4 => {
                        band.copy(from.get().cast::<u32>().offset(source), to.get().cast::<u32>().add(target))
                    }
                    _ => {
                        band.copy(from.get().cast::<u64>().offset(source), to.get().cast::<u64>().add(target))
                    }
                }
            }
        }
    });
    true
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
        for start in (0..self.cols).step_by(TILE) {
            let end = (start + TILE).min(self.cols);
            for r in 0..self.rows {
                for c in start..end {
                    // SAFETY: promised by the caller.
                    unsafe { *to.add(r * self.cols + c) = *from.offset(r as isize + c as isize * self.ld) };
                }
            }
        }
    }
}
