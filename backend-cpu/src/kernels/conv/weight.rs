//! The gradient of the weight: the output's gradient times the column matrix transposed, summed over images.
//!
//! Tasks own blocks of input channels, so each gathers only its own columns. If that makes too few tasks, the
//! images are cut too, and the partial gradients are added in order. Both cuts depend on shapes alone.

use gradus_tensor_core::Result;

use super::forward::{Unit, gather_unit, pitch, units};
use super::geometry::Geometry;
use super::input::pack;
use crate::Cpu;
use crate::kernels::dense::{Parts, Real, Scratch, tasks};
use crate::kernels::matmul::gemm::{Mat, MatMut, Old, product};

/// Rows of the column matrix in a task, about.
const ROWS: usize = 192;
/// Positions multiplied at once.
const POSITIONS: usize = 1024;
/// With fewer tasks than this the images are cut.
const ENOUGH_TASKS: usize = 16;
/// The most elements that partial gradients may take.
const PARTIAL_ELEMENTS: usize = 1 << 22;

/// `gw` from the output's gradient `g` and the input `x`.
pub(super) fn backward_weight<T: Real>(
    cpu: &Cpu,
    geometry: &Geometry,
    g: &[T],
    x: &[T],
    gw: &mut [T],
) -> Result<()> {
    if g.is_empty() || x.is_empty() || gw.is_empty() {
        gw.fill(T::ZERO);
        return Ok(());
    }
    let taps = geometry.taps();
    let block = ROWS.div_ceil(taps).clamp(1, geometry.channels);
    let blocks = geometry.channels.div_ceil(block);
    let whole = blocks * geometry.groups;
    let cuts = ENOUGH_TASKS.div_ceil(whole).min(geometry.images).min(PARTIAL_ELEMENTS / gw.len()).max(1);
    let images = geometry.images.div_ceil(cuts);
    let cuts = geometry.images.div_ceil(images);

    let mut partial = Scratch::new(cpu, if cuts == 1 { 0 } else { cuts * gw.len() })?;
    let len = gw.len();
    {
        let all = if cuts == 1 { &mut *gw } else { partial.slice() };
        let all = MatMut::new(all, cuts * geometry.groups * geometry.outputs, geometry.depth());
        let cost = geometry.outputs * block * taps * images * geometry.out_area() / 4;
        tasks(cpu, whole * cuts, cost, |i| {
            let (cut, group, b) = (i / whole, i % whole / blocks, i % blocks);
            let channels = b * block..((b + 1) * block).min(geometry.channels);
            let first = (cut * geometry.groups + group) * geometry.outputs;
            // SAFETY: tasks write different rows (cuts and groups) or columns (channels).
            let mut c = unsafe {
                all.tile(first..first + geometry.outputs, channels.start * taps..channels.end * taps)
            };
            let images = cut * images..((cut + 1) * images).min(geometry.images);
            let mut old = Old::Ignore;
            for unit in units(images, geometry.out_area(), POSITIONS) {
                unit_gradient(cpu, geometry, group, channels.clone(), &unit, g, x, &mut c, old)?;
                old = Old::Keep;
            }
            Ok(())
        })?;
    }
    if cuts > 1 {
        let (partial, parts) = (partial.slice(), Parts::new(gw));
        cpu.for_chunks(len, cuts, |range| {
            // SAFETY: chunks are disjoint.
            let to = unsafe { parts.part(range.clone()) };
            to.copy_from_slice(&partial[range.clone()]);
            for cut in 1..cuts {
                let from = &partial[cut * len + range.start..cut * len + range.end];
                to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
            }
        });
    }
    Ok(())
}

#[allow(clippy::too_many_arguments)] // the loop's variables, all of them
fn unit_gradient<T: Real>(
    cpu: &Cpu,
    geometry: &Geometry,
    group: usize,
    channels: std::ops::Range<usize>,
    unit: &Unit,
    g: &[T],
    x: &[T],
    c: &mut MatMut<'_, T>,
    old: Old,
) -> Result<()> {
    let (area, outputs, groups) = (geometry.out_area(), geometry.outputs, geometry.groups);
    let (n, rows) = (unit.columns(), channels.len() * geometry.taps());
    let mut packed;
    let gradient = if unit.images.len() == 1 {
        let start = (unit.images.start * groups + group) * outputs * area;
        Mat::new(&g[start..start + outputs * area], outputs, area).cols(unit.positions.clone())
    } else {
        packed = Scratch::new(cpu, outputs * n)?;
        pack(g, [groups, outputs, area], group, unit.images.clone(), packed.slice());
        Mat::new(packed.slice(), outputs, n)
    };
    let from = group * geometry.channels;
    let channels = from + channels.start..from + channels.end;
    let mut scratch;
    let columns = if geometry.pointwise() && unit.images.len() == 1 {
        let start = (unit.images.start * groups * geometry.channels + channels.start) * area;
        Mat::new(&x[start..start + rows * area], rows, area).cols(unit.positions.clone())
    } else {
        let pitch = pitch(n);
        scratch = Scratch::new(cpu, rows * pitch)?;
        gather_unit(geometry, x, channels, unit, scratch.slice(), pitch);
        Mat::pitched(scratch.slice(), rows, n, pitch)
    };
    product(geometry.precision, c, old, T::ONE, gradient, columns.t());
    Ok(())
}
