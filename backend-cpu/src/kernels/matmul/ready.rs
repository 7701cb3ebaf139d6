//! The right operand of a product that is cut into tiles, packed once for all of them.
//!
//! A product packs a panel of its right operand and multiplies it with all rows of the left one. Where the rows are cut
//! into tiles, each tile would pack the same panels: at 256 rows that took a twelfth of the time, more where rows are few.
//! So the panels are packed first, all threads taking some, in memory of the right operand's size. A task that multiplies
//! with one small matrix several times packs that for itself.

use std::ops::Range;

use gradus_tensor_core::{DType, Result};

use super::gemm::Mat;
use super::micro::DEPTH;
use super::multiplied::Multiplied;
use crate::kernels::dense::Parts;
use crate::{Cpu, CpuBuffer, Level, Precision};

/// How a right operand lies packed: blocks of its depth, in those panels of some columns, in those rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packing {
    /// Columns of a panel.
    width: usize,
    /// Bytes of an element of a row.
    size: usize,
    /// Steps of depth in an element.
    steps: usize,
    /// Steps of depth of a block, a multiple of those.
    depth: usize,
}

impl Packing {
    /// Pairs of `bf16`, as [`bf16`](super::bf16) multiplies them.
    #[cfg(target_arch = "x86_64")]
    pub(super) const PAIRS: Packing =
        Packing { width: super::bf16::WIDTH, size: size_of::<u32>(), steps: 2, depth: super::bf16::DEPTH };

    /// A row for each step of depth.
    pub(super) const fn rows<T>(width: usize) -> Packing {
        Packing { width, size: size_of::<T>(), steps: 1, depth: DEPTH }
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn is_pairs(&self) -> bool {
        self.steps == 2
    }

    /// Where a block of a panel begins, of so many panels: the bytes before it.
    fn start(&self, panels: usize, k: usize, len: usize, panel: usize) -> usize {
        (k / self.steps * panels + panel * len.div_ceil(self.steps)) * self.width * self.size
    }
}

/// Panels of some columns on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    packing: Packing,
    memory: *const u8,
    depth: usize,
    panels: usize,
    first: usize,
}

// SAFETY: it only reads, like the slice it was made from.
unsafe impl Send for Ready {}
// SAFETY: as above.
unsafe impl Sync for Ready {}

impl Ready {
    #[cfg(target_arch = "x86_64")]
    pub(super) fn is_pairs(&self) -> bool {
        self.packing.is_pairs()
    }

    /// From a column on, with which a panel begins.
    pub(super) fn cols(self, start: usize) -> Self {
        assert!(start.is_multiple_of(self.packing.width), "columns from the middle of a panel on");
        Ready { first: self.first + start / self.packing.width, ..self }
    }

    /// The block that begins with step `k` of the depth, of a panel.
    pub(super) fn block(&self, k: usize, panel: usize) -> *const u8 {
        let len = self.packing.depth.min(self.depth - k);
        self.memory.wrapping_add(self.packing.start(self.panels, k, len, self.first + panel))
    }
}

/// A right operand, packed.
#[derive(Debug)]
pub(crate) struct Packed {
    packing: Packing,
    memory: CpuBuffer,
    depth: usize,
    cols: usize,
}

impl Packed {
    /// Packs an operand for products of that precision with so many rows, on the calling thread; `None` if those pack it
    /// in their own way.
    pub(crate) fn new<T: Multiplied + Sync>(
        cpu: &Cpu,
        precision: Precision,
        b: Mat<'_, T>,
        rows: usize,
    ) -> Result<Option<Self>> {
        Self::with(cpu, precision, b, rows, |panels, _, pack| pack(0..panels))
    }

    /// The same, on all threads.
    pub(crate) fn in_parallel<T: Multiplied + Sync>(
        cpu: &Cpu,
        precision: Precision,
        b: Mat<'_, T>,
        rows: usize,
    ) -> Result<Option<Self>> {
        Self::with(cpu, precision, b, rows, |panels, cost, pack| cpu.for_chunks(panels, cost, pack))
    }

    fn with<T: Multiplied + Sync>(
        cpu: &Cpu,
        precision: Precision,
        b: Mat<'_, T>,
        rows: usize,
        run: impl FnOnce(usize, usize, &(dyn Fn(Range<usize>) + Sync)),
    ) -> Result<Option<Self>> {
        let (depth, cols) = (b.rows, b.cols);
        // (As products find it.)
        let level = Level::detect();
        let Some(packing) = T::packing(level, precision, [rows, cols, depth]) else { return Ok(None) };
        let panels = cols.div_ceil(packing.width);
        let row = packing.width * packing.size;
        let mut memory = cpu.alloc_len(DType::U8, depth.div_ceil(packing.steps) * panels * row)?;
        let parts = Parts::new(memory.slice_mut::<u8>());
        run(panels, depth * packing.width * 4, &|some| {
            for panel in some {
                let first = panel * packing.width;
                let used = packing.width.min(cols - first);
                for k in (0..depth).step_by(packing.depth) {
                    let len = packing.depth.min(depth - k);
                    let start = packing.start(panels, k, len, panel);
                    let (from, strides) = b.rows(k..k + len).cols(first..first + used).raw();
                    // SAFETY: blocks of panels are disjoint; the level is the machine's, and the matrix has these elements.
                    unsafe {
                        let to = parts.part(start..start + len.div_ceil(packing.steps) * row).as_mut_ptr();
                        T::pack(level, packing, from, strides, [len, used], to);
                    }
                }
            }
        });
        Ok(Some(Packed { packing, memory, depth, cols }))
    }

    /// Rows and columns.
    pub(super) fn shape(&self) -> [usize; 2] {
        [self.depth, self.cols]
    }

    /// All panels, as long as this lives.
    pub(super) fn ready(&self) -> Ready {
        let memory = self.memory.as_slice::<u8>().unwrap_or(&[]).as_ptr();
        let panels = self.cols.div_ceil(self.packing.width);
        Ready { packing: self.packing, memory, depth: self.depth, panels, first: 0 }
    }
}
