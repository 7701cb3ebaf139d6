//! The forward pass, and with it the gradient of the input wherever the stride is 1.
//!
//! Work is cut into units of columns: a tile of one image, or several small images together. Each unit gathers
//! its part of the column matrix (unless the image itself is that matrix) into scratch memory that stays in the
//! second-level cache, and multiplies. Where units are few, the output channels are cut as well, and columns that
//! several tasks multiply are gathered first.

use std::ops::Range;

use gradus_tensor_core::{Element, Result};

use super::Factor;
use super::columns::Columns;
use super::epilogue::{Epilogue, Runs};
use super::geometry::Geometry;
use crate::kernels::dense::{Parts, Scratch, tasks};
use crate::kernels::matmul::gemm::{Mat, MatMut, Old, sums};
use crate::{Cpu, Level};

/// Bytes of a unit's column matrix: a part of a second-level cache.
const COLUMN_BYTES: usize = 1 << 19;
/// Columns of a unit: enough that the weight is reused, few enough that there is work for every thread.
const COLUMNS: Range<usize> = 128..1024;
/// Columns of a unit are a multiple of this many where possible: the micro-kernel's tile.
const COLUMN_STEP: usize = 24;
/// With fewer tasks than this the output channels are cut as well.
const ENOUGH_TASKS: usize = 8;
/// The fewest output channels of a task.
const MIN_OUTPUTS: usize = 32;
/// Positions from which on a plane is wide enough to be multiplied by itself.
const ALONE: usize = 96;

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
pub(super) fn gather_unit<T: Element>(
    level: Level,
    geometry: &Geometry,
    x: &[T],
    channels: Range<usize>,
    unit: &Unit,
    to: &mut [T],
    pitch: usize,
) {
    let (all, area) = (geometry.groups * geometry.channels, geometry.area());
    if geometry.pointwise() && unit.positions.len() == area {
        let planes = Planes { x, all, area, images: unit.images.clone() };
        return planes.gather(channels, to, pitch);
    }
    let columns = Columns::new(geometry, unit.positions.clone());
    for (k, i) in unit.images.clone().enumerate() {
        let image = &x[(i * all + channels.start) * area..(i * all + channels.end) * area];
        let to = &mut to[k * unit.positions.len()..];
        columns.gather(level, image, to, pitch);
    }
}

/// Whole planes of some images, of `all` channels each.
pub(super) struct Planes<'a, T> {
    pub(super) x: &'a [T],
    pub(super) all: usize,
    pub(super) area: usize,
    pub(super) images: Range<usize>,
}

impl<T: Copy> Planes<'_, T> {
    /// Writes the planes of each channel one after the other, from one channel to the next `pitch` apart.
    pub(super) fn gather(&self, channels: Range<usize>, to: &mut [T], pitch: usize) {
        match self.area {
            1 => self.each::<1>(channels, to, pitch),
            4 => self.each::<4>(channels, to, pitch),
            16 => self.each::<16>(channels, to, pitch),
            64 => self.each::<64>(channels, to, pitch),
            _ => self.each::<0>(channels, to, pitch),
        }
    }

    /// `N` is the area, or 0 if the compiler need not know.
    fn each<const N: usize>(&self, channels: Range<usize>, to: &mut [T], pitch: usize) {
        let area = if N > 0 { N } else { self.area };
        for (channel, row) in channels.zip(to.chunks_mut(pitch)) {
            for (image, to) in self.images.clone().zip(row.chunks_exact_mut(area)) {
                to.copy_from_slice(&self.x[(image * self.all + channel) * area..][..area]);
            }
        }
    }
}

/// The outputs, for a weight of a row for each output channel of all groups.
pub(super) fn forward<T: Factor>(
    cpu: &Cpu,
    geometry: &Geometry,
    x: &[T],
    w: Mat<'_, T>,
    epilogue: &Epilogue<'_, T::Computed>,
    y: &mut [T],
) -> Result<()> {
    let g = geometry;
    let (area, depth) = (g.out_area(), g.depth());
    if x.is_empty() || w.rows == 0 || w.cols == 0 {
        let mut sums = Scratch::new(cpu, area)?;
        for (row, y) in y.chunks_exact_mut(area.max(1)).enumerate() {
            let channel = row % (g.groups * g.outputs);
            sums.slice().fill(epilogue.start(channel));
            epilogue.finish(cpu.level(), channel, row * area, sums.slice());
            T::narrow(cpu.level(), sums.as_slice(), y);
        }
        return Ok(());
    }
    let columns = (COLUMN_BYTES / size_of::<T>() / depth).clamp(COLUMNS.start, COLUMNS.end);
    let pass = Pass { cpu, g, x, w, epilogue };
    // A plane that is its own column matrix is neither gathered nor copied.
    if area * 2 <= columns && !(g.pointwise() && area >= ALONE) {
        // Rather units of fewer images than cuts of the outputs, each of which packs the same columns.
        let fewest = (g.images * area / ENOUGH_TASKS).max(COLUMNS.start).max(2 * area);
        pass.together(&units(0..g.images, area, columns.min(fewest)), y)
    } else {
        pass.alone(&units(0..g.images, area, columns.min(2 * area - 1)), y)
    }
}

/// A convolution under way.
struct Pass<'a, T: Factor> {
    cpu: &'a Cpu,
    g: &'a Geometry,
    x: &'a [T],
    w: Mat<'a, T>,
    epilogue: &'a Epilogue<'a, T::Computed>,
}

/// Units, each for every group, and the output channels of a group in several parts where units are few.
struct Tasks {
    groups: usize,
    cuts: usize,
    /// Output channels of a part.
    block: usize,
    outputs: usize,
    count: usize,
}

impl Tasks {
    fn new(g: &Geometry, units: usize) -> Self {
        let whole = units * g.groups;
        let cuts = ENOUGH_TASKS.div_ceil(whole.max(1)).min(g.outputs / MIN_OUTPUTS).max(1);
        let block = g.outputs.div_ceil(cuts).next_multiple_of(8).min(g.outputs);
        let cuts = g.outputs.div_ceil(block);
        Tasks { groups: g.groups, cuts, block, outputs: g.outputs, count: whole * cuts }
    }

    /// The unit, the group, and the output channels counted over all groups.
    fn get(&self, i: usize) -> (usize, usize, Range<usize>) {
        let (unit, group, cut) = (i / self.cuts / self.groups, i / self.cuts % self.groups, i % self.cuts);
        let rows = cut * self.block..((cut + 1) * self.block).min(self.outputs);
        (unit, group, group * self.outputs + rows.start..group * self.outputs + rows.end)
    }
}

impl<T: Factor> Pass<'_, T> {
    /// The input channels of a group.
    fn channels(&self, group: usize) -> Range<usize> {
        group * self.g.channels..(group + 1) * self.g.channels
    }

    /// Multiplies the weight's rows with columns.
    fn multiply(&self, rows: Range<usize>, columns: Mat<'_, T>, c: &mut MatMut<'_, T::Computed>) {
        let old = match self.epilogue.bias {
            Some(bias) => {
                rows.clone().enumerate().for_each(|(i, o)| c.row(i).fill(bias[o]));
                Old::Keep
            }
            None => Old::Ignore,
        };
        sums(self.g.precision, c, old, self.w.rows(rows), columns);
    }

    /// Units of one image: outputs are made where they belong, unless sums have to be rounded.
    fn alone(&self, units: &[Unit], y: &mut [T]) -> Result<()> {
        let Pass { cpu, g, x, epilogue, .. } = *self;
        let (area, depth, outputs) = (g.out_area(), g.depth(), g.groups * g.outputs);
        let in_place = match T::computed_mut(y) {
            Some(y) => Ok(MatMut::new(y, g.images * outputs, area)),
            None => Err(Parts::new(y)),
        };
        let list = Tasks::new(g, units.len());
        let widest = units.first().map_or(0, Unit::columns);
        tasks(cpu, list.count, list.block * depth * widest / 4, |i| {
            let (unit, group, rows) = list.get(i);
            let unit = &units[unit];
            let n = unit.columns();
            let mut scratch;
            let matrix = if g.pointwise() {
                let plane = (unit.images.start * g.groups + group) * g.channels * area;
                Mat::new(&x[plane..plane + depth * area], depth, area).cols(unit.positions.clone())
            } else {
                let pitch = pitch(n);
                scratch = Scratch::new(cpu, depth * pitch)?;
                gather_unit(cpu.level(), g, x, self.channels(group), unit, scratch.slice(), pitch);
                Mat::pitched(scratch.slice(), depth, n, pitch)
            };
            let first = unit.images.start * outputs;
            let start = |channel: usize| (first + channel) * area + unit.positions.start;
            match &in_place {
                Ok(all) => {
                    let to = first + rows.start..first + rows.end;
                    // SAFETY: tasks write disjoint rows or positions.
                    let mut c = unsafe { all.tile(to, unit.positions.clone()) };
                    self.multiply(rows.clone(), matrix, &mut c);
                    for (i, channel) in rows.enumerate().filter(|_| epilogue.follows()) {
                        epilogue.finish(cpu.level(), channel, start(channel), c.row(i));
                    }
                    Ok(())
                }
                Err(y) => {
                    let runs = |channel| Runs { start: start(channel), len: n, count: 1, pitch: n };
                    self.beside(rows, matrix, y, runs)
                }
            }
        })
    }

    /// Multiplies beside the output and copies: for each output channel to these runs.
    fn beside(
        &self,
        rows: Range<usize>,
        columns: Mat<'_, T>,
        y: &Parts<'_, T>,
        runs: impl Fn(usize) -> Runs,
    ) -> Result<()> {
        let (cpu, n) = (self.cpu, columns.cols);
        let mut temporary = Scratch::new(cpu, rows.len() * n)?;
        let mut rounded = Scratch::new(cpu, if T::SAME { 0 } else { n })?;
        let mut c = MatMut::new(temporary.slice(), rows.len(), n);
        self.multiply(rows.clone(), columns, &mut c);
        for (i, channel) in rows.enumerate() {
            let (runs, rounded) = (runs(channel), rounded.slice());
            // SAFETY: tasks write disjoint rows or positions.
            unsafe { self.epilogue.write_runs(cpu.level(), channel, y, runs, c.row(i), rounded) };
        }
        Ok(())
    }

    /// Units of several images, whose rows are apart in the output.
    fn together(&self, units: &[Unit], y: &mut [T]) -> Result<()> {
        let Pass { cpu, g, x, .. } = *self;
        let (area, depth, outputs) = (g.out_area(), g.depth(), g.groups * g.outputs);
        let list = Tasks::new(g, units.len());
        let widest = units.first().map_or(0, Unit::columns);
        let pitch = pitch(widest);
        // What several tasks multiply is gathered once.
        let mut shared =
            Scratch::new(cpu, if list.cuts > 1 { units.len() * g.groups * depth * pitch } else { 0 })?;
        if list.cuts > 1 {
            let step = g.channels.div_ceil(ENOUGH_TASKS);
            let parts = Parts::new(shared.slice());
            let per_unit = g.groups * ENOUGH_TASKS;
            tasks(cpu, units.len() * per_unit, step * g.taps() * widest, |i| {
                let (unit, group, part) = (i / per_unit, i % per_unit / ENOUGH_TASKS, i % ENOUGH_TASKS);
                let channels = (part * step).min(g.channels)..((part + 1) * step).min(g.channels);
                if channels.is_empty() {
                    return Ok(());
                }
                let rows = channels.start * g.taps()..channels.end * g.taps();
                let start = (unit * g.groups + group) * depth;
                // SAFETY: tasks write disjoint rows.
                let to = unsafe { parts.part((start + rows.start) * pitch..(start + rows.end) * pitch) };
                let first = group * g.channels;
                gather_unit(
                    cpu.level(),
                    g,
                    x,
                    first + channels.start..first + channels.end,
                    &units[unit],
                    to,
                    pitch,
                );
                Ok(())
            })?;
        }
        let shared = &*shared.slice();
        let y = Parts::new(y);
        tasks(cpu, list.count, list.block * depth * widest / 4, |i| {
            let (number, group, rows) = list.get(i);
            let unit = &units[number];
            let n = unit.columns();
            let mut own;
            let matrix = if list.cuts > 1 {
                &shared[(number * g.groups + group) * depth * pitch..][..depth * pitch]
            } else {
                own = Scratch::new(cpu, depth * pitch)?;
                gather_unit(cpu.level(), g, x, self.channels(group), unit, own.slice(), pitch);
                &*own.slice()
            };
            self.beside(rows, Mat::pitched(matrix, depth, n, pitch), &y, |channel| {
                let start = (unit.images.start * outputs + channel) * area;
                Runs { start, len: area, count: unit.images.len(), pitch: outputs * area }
            })
        })
    }
}
