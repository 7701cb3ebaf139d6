//! The forward pass, and with it the gradient of the input wherever the stride is 1.
//!
//! Work is cut into units of columns: a tile of one image, or several small images together. Each unit gathers
//! its part of the column matrix (unless the image itself is that matrix) into scratch memory that stays in the
//! second-level cache, and multiplies.

use std::ops::Range;

use gradus_tensor_core::Result;

use super::columns::Columns;
use super::geometry::Geometry;
use crate::Cpu;
use crate::kernels::dense::{Real, Scratch, tasks};
use crate::kernels::matmul::gemm::{Mat, MatMut, Old, product};

/// Elements of a unit's column matrix: half a megabyte of `f32`.
const COLUMN_ELEMENTS: usize = 1 << 17;
/// Columns of a unit: enough that the weight is reused, few enough that there is work for every thread.
const COLUMNS: Range<usize> = 128..1024;
/// Columns of a unit are a multiple of this many where possible: the micro-kernel's tile.
const COLUMN_STEP: usize = 24;
/// With fewer tasks than this the output channels are cut as well.
const ENOUGH_TASKS: usize = 8;
/// The fewest output channels of a task.
const MIN_OUTPUTS: usize = 32;

/// Some images, and some positions of each; several images only with all their positions.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) images: Range<usize>,
    pub(super) positions: Range<usize>,
}

impl Unit {
    pub(super) fn columns(&self) -> usize {
        self.images.len() * self.positions.len()
    }
}

/// Cuts `images` of `area` positions into units of about `columns` columns.
pub(super) fn units(images: Range<usize>, area: usize, columns: usize) -> Vec<Unit> {
    if area == 0 {
        return Vec::new();
    }
    if area * 2 <= columns {
        let together = columns / area;
        let starts = images.clone().step_by(together);
        return starts
            .map(|i| Unit { images: i..(i + together).min(images.end), positions: 0..area })
            .collect();
    }
    let step = area.div_ceil(area.div_ceil(columns)).next_multiple_of(COLUMN_STEP);
    images
        .flat_map(|i| {
            (0..area)
                .step_by(step)
                .map(move |p| Unit { images: i..i + 1, positions: p..(p + step).min(area) })
        })
        .collect()
}

/// The distance between the rows of a scratch matrix: no power of two, so that rows do not compete for the same
/// cache sets.
pub(super) fn pitch(columns: usize) -> usize {
    columns.next_multiple_of(16) + if columns.is_multiple_of(128) { 16 } else { 0 }
}

/// Gathers the channels `channels` (counted over all groups) of a unit's images.
pub(super) fn gather_unit<T: Real>(
    geometry: &Geometry,
    x: &[T],
    channels: Range<usize>,
    unit: &Unit,
    to: &mut [T],
    pitch: usize,
) {
    let (all, area) = (geometry.groups * geometry.channels, geometry.area());
    let columns = Columns::new(geometry, unit.positions.clone());
    for (k, i) in unit.images.clone().enumerate() {
        let image = &x[(i * all + channels.start) * area..(i * all + channels.end) * area];
        let to = &mut to[k * unit.positions.len()..];
        columns.gather(image, to, pitch);
    }
}

/// `y = conv(x, w) + bias`, for a weight of a row for each output channel of all groups.
pub(super) fn forward<T: Real>(
    cpu: &Cpu,
    geometry: &Geometry,
    x: &[T],
    w: Mat<'_, T>,
    bias: Option<&[T]>,
    y: &mut [T],
) -> Result<()> {
    let g = geometry;
    let (area, depth) = (g.out_area(), g.depth());
    if x.is_empty() || w.rows == 0 || w.cols == 0 {
        for (row, y) in y.chunks_exact_mut(area.max(1)).enumerate() {
            y.fill(bias.map_or(T::ZERO, |b| b[row % b.len()]));
        }
        return Ok(());
    }
    let columns = (COLUMN_ELEMENTS / depth).clamp(COLUMNS.start, COLUMNS.end);
    let units = units(0..g.images, area, columns);
    let whole = units.len() * g.groups;
    let cuts = ENOUGH_TASKS.div_ceil(whole.max(1)).min(g.outputs / MIN_OUTPUTS).max(1);
    let block = g.outputs.div_ceil(cuts).next_multiple_of(8).min(g.outputs);
    let cuts = g.outputs.div_ceil(block);
    let widest = units.first().map_or(0, Unit::columns);
    let all = MatMut::new(y, g.images * g.groups * g.outputs, area);

    tasks(cpu, whole * cuts, block * depth * widest / 4, |i| {
        let (unit, group, cut) = (&units[i / cuts / g.groups], i / cuts % g.groups, i % cuts);
        let outputs = cut * block..((cut + 1) * block).min(g.outputs);
        let rows = group * g.outputs + outputs.start..group * g.outputs + outputs.end;
        let weight = w.rows(rows.clone());
        let channels = group * g.channels..(group + 1) * g.channels;
        let n = unit.columns();
        let pitch = pitch(n);
        let mut scratch;
        let matrix = if g.pointwise() && unit.images.len() == 1 {
            let plane = (unit.images.start * g.groups + group) * g.channels * area;
            Mat::new(&x[plane..plane + depth * area], depth, area).cols(unit.positions.clone())
        } else {
            scratch = Scratch::new(cpu, depth * pitch)?;
            gather_unit(g, x, channels, unit, scratch.slice(), pitch);
            Mat::pitched(scratch.slice(), depth, n, pitch)
        };
        let start = |c: &mut MatMut<'_, T>| match bias {
            Some(bias) => {
                rows.clone().enumerate().for_each(|(i, o)| c.row(i).fill(bias[o]));
                Old::Keep
            }
            None => Old::Ignore,
        };
        let row = |image: usize| image * g.groups * g.outputs;
        if unit.images.len() == 1 {
            let first = row(unit.images.start);
            // SAFETY: tasks write disjoint rows or positions.
            let mut c = unsafe { all.tile(first + rows.start..first + rows.end, unit.positions.clone()) };
            let old = start(&mut c);
            product(g.precision, &mut c, old, T::ONE, weight, matrix);
            return Ok(());
        }
        // The images' rows are apart in the output: multiply beside it and copy.
        let mut temporary = Scratch::new(cpu, outputs.len() * n)?;
        let mut c = MatMut::new(temporary.slice(), outputs.len(), n);
        let old = start(&mut c);
        product(g.precision, &mut c, old, T::ONE, weight, matrix);
        for (k, image) in unit.images.clone().enumerate() {
            let first = row(image);
            // SAFETY: tasks write disjoint rows.
            let mut to = unsafe { all.tile(first + rows.start..first + rows.end, 0..area) };
            for o in 0..outputs.len() {
                to.row(o).copy_from_slice(&c.row(o)[k * area..(k + 1) * area]);
            }
        }
        Ok(())
    })
}
