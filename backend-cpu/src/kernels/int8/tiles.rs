//! Products on tiles, sixteen rows by all columns of a task at a time.
//!
//! A register holds 16 rows of 64 bytes of the input where they lie, or 64 bytes of depth of 16 columns of the panel that
//! [`vnni`](super::vnni) packs, whose rows are 64 columns wide: the order is the same. Sums are `i32`, as everywhere, so the
//! bits are. See [`amx`](crate::kernels::matmul::amx) for the unit, how it is tested, and that no machine that runs the tests
//! has one.

use std::ops::Range;

use gradus_tensor_core::Result;

use super::vnni::{GROUP, Panel};
use super::{COLUMNS, Job, TILE};
use crate::Cpu;
use crate::kernels::matmul::amx::unit::{ROWS, Unit};

/// Bytes of depth of a register.
const DEPTH: usize = ROWS * GROUP;
/// Bytes of the panel for one group of depth.
const PITCH: usize = COLUMNS * GROUP;

const _: () = assert!(TILE == ROWS && COLUMNS == 4 * ROWS);

/// The rows and columns of one task.
///
/// # Safety
/// The machine has the unit, and AVX-512 with VNNI.
pub(super) unsafe fn block<U: Unit>(
    cpu: &Cpu,
    job: &Job<'_>,
    rows: Range<usize>,
    columns: Range<usize>,
) -> Result<()> {
    let steps = job.sizes[2].div_ceil(DEPTH);
    // SAFETY: promised by the caller.
    let panel = unsafe { Panel::new(cpu, job, &columns, steps * ROWS)? };
    let sums = &panel.sums[..columns.len()];
    // SAFETY: promised by the caller.
    let mut unit = unsafe { U::configure() };
    for first in rows.clone().step_by(ROWS) {
        let count = ROWS.min(rows.end - first);
        let mut products = [[0i32; COLUMNS]; ROWS];
        // SAFETY: promised by the caller; the panel has so many steps.
        unsafe { multiply(&mut unit, job, first..first + count, panel.bytes(), steps, &mut products) }
        for (i, products) in products.iter().take(count).enumerate() {
            job.finish(first + i, columns.start, &products[..columns.len()], sums);
        }
    }
    // SAFETY: promised by the caller.
    unsafe { unit.release() }
    Ok(())
}

/// The products of at most sixteen rows with all columns of a panel.
///
/// # Safety
/// The machine has the unit, and it is configured; the panel has so many steps of depth.
unsafe fn multiply<U: Unit>(
    unit: &mut U,
    job: &Job<'_>,
    rows: Range<usize>,
    panel: &[i8],
    steps: usize,
    products: &mut [[i32; COLUMNS]; ROWS],
) {
    let (bytes, pitch) = job.x.from(rows.start);
    // SAFETY: promised by the caller. Where a register is read from the input, its rows and depth are there; the panel has
    // four registers side by side for each step, and the products room for four.
    unsafe {
        unit.zero::<0>();
        unit.zero::<1>();
        unit.zero::<2>();
        unit.zero::<3>();
        for step in 0..steps {
            let at = step * DEPTH;
            if rows.len() == ROWS && at + DEPTH <= pitch {
                unit.load_rows::<4>(bytes.as_ptr().add(at), pitch);
            } else {
                // Rows that there are not are zero. So is the panel, beyond the depth that there is.
                let mut copy = [[0u8; DEPTH]; ROWS];
                for (row, copy) in bytes.chunks(pitch).zip(&mut copy[..rows.len()]) {
                    let len = DEPTH.min(row.len() - at);
                    copy[..len].copy_from_slice(&row[at..at + len]);
                }
                unit.load_rows::<4>(copy.as_ptr().cast(), DEPTH);
            }
            let weight = panel.as_ptr().cast::<u8>().add(step * ROWS * PITCH);
            unit.load_rows::<5>(weight, PITCH);
            unit.dot_bytes::<0, 4, 5>();
            unit.load_rows::<6>(weight.add(DEPTH), PITCH);
            unit.dot_bytes::<1, 4, 6>();
            unit.load_rows::<7>(weight.add(2 * DEPTH), PITCH);
            unit.dot_bytes::<2, 4, 7>();
            unit.load_rows::<5>(weight.add(3 * DEPTH), PITCH);
            unit.dot_bytes::<3, 4, 5>();
        }
        let to = products.as_mut_ptr().cast::<f32>();
        unit.store::<0>(to, COLUMNS);
        unit.store::<1>(to.add(ROWS), COLUMNS);
        unit.store::<2>(to.add(2 * ROWS), COLUMNS);
        unit.store::<3>(to.add(3 * ROWS), COLUMNS);
    }
}
