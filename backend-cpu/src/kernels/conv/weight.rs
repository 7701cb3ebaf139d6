//! The gradient of the weight: the column matrix times the output's gradient transposed, summed over images.
//!
//! The gradient has a column for each output channel and is the same for all rows of the column matrix, so it is packed once
//! for all tasks that multiply with it; columns are read as they were gathered. What comes out is the weight's gradient with
//! rows and columns exchanged, which is turned in the end.
//!
//! Tasks own blocks of input channels, so each gathers only its own columns. If that makes too few tasks, the
//! images are cut too, and the partial gradients are added in order. Both cuts depend on shapes alone.

use std::ops::Range;
use std::sync::OnceLock;

use gradus_tensor_core::Result;

use super::Factor;
use super::forward::{Planes, Unit, gather_unit, pitch, units};
use super::geometry::Geometry;
use crate::Cpu;
use crate::kernels::dense::{Parts, Real, Scratch, tasks};
use crate::kernels::matmul::gemm::{Mat, MatMut, Old, Right, sums};
use crate::kernels::matmul::ready::Packed;
use crate::kernels::matmul::registers::{InLanes, Lanes, Registers};

/// Rows of the column matrix in a task, about: the gradient's panels are used for so many.
const ROWS: usize = 72;
/// Channels of a task are a multiple of this many where possible: then so are rows, of the micro-kernel's tile.
const STEP: usize = 8;
/// Positions multiplied at once.
const POSITIONS: usize = 1024;
/// Elements of the gradient that are packed at once, about: a part of a last-level cache.
const PACKED_ELEMENTS: usize = 1 << 21;
/// With fewer tasks than this the images are cut.
const ENOUGH_TASKS: usize = 16;
/// The most elements that partial gradients may take.
const PARTIAL_ELEMENTS: usize = 1 << 22;
/// Output channels of a task that turns.
const TURNED: usize = 16;

/// `gw` from the output's gradient `g` and the input `x`.
pub(super) fn backward_weight<T: Factor>(
    cpu: &Cpu,
    geometry: &Geometry,
    g: &[T],
    x: &[T],
    gw: &mut [T],
) -> Result<()> {
    if g.is_empty() || x.is_empty() || gw.is_empty() {
        gw.fill(T::default());
        return Ok(());
    }
    let Geometry { groups, channels, outputs, .. } = *geometry;
    let (taps, depth) = (geometry.taps(), geometry.depth());
    let block = ROWS.div_ceil(taps).next_multiple_of(STEP).min(channels);
    let blocks = channels.div_ceil(block);
    let whole = blocks * groups;
    let cuts = ENOUGH_TASKS.div_ceil(whole).min(geometry.images).min(PARTIAL_ELEMENTS / gw.len()).max(1);
    let images = geometry.images.div_ceil(cuts);
    let cuts = geometry.images.div_ceil(images);
    let units: Vec<Vec<Unit>> = (0..cuts)
        .map(|cut| cut * images..((cut + 1) * images).min(geometry.images))
        .map(|images| units(images, geometry.out_area(), POSITIONS))
        .collect();
    let most = units.iter().map(Vec::len).max().unwrap_or(0);
    // What several tasks multiply with is packed once for all of them: of each cut so many units at a time.
    let shared = blocks > 1;
    let together = if shared { PACKED_ELEMENTS / (cuts * groups * outputs * POSITIONS) } else { most };

    let pass = Pass { cpu, geometry, g, x };
    let width = pitch(outputs);
    let mut turned = Scratch::<T::Computed>::new(cpu, cuts * groups * depth * width)?;
    let all = MatMut::pitched(turned.slice(), cuts * groups * depth, outputs, width);
    for start in (0..most).step_by(together.max(1)) {
        let range = |cut: &[Unit]| start.min(cut.len())..(start + together.max(1)).min(cut.len());
        let some: Vec<&[Unit]> = units.iter().map(|cut| &cut[range(cut)]).collect();
        let mut ready: Vec<Vec<OnceLock<Gradient<T>>>> = Vec::new();
        if shared {
            ready.extend(some.iter().map(|cut| (0..cut.len() * groups).map(|_| OnceLock::new()).collect()));
            let list: Vec<_> = ready
                .iter()
                .zip(&some)
                .flat_map(|(to, cut)| to.iter().enumerate().map(|(i, to)| (to, &cut[i / groups], i % groups)))
                .collect();
            tasks(cpu, list.len(), outputs * POSITIONS, |i| {
                let (to, unit, group) = list[i];
                let gradient = pass.gradient(group, unit, block * taps)?;
                to.get_or_init(|| gradient);
                Ok(())
            })?;
        }
        let cost = outputs * block * taps * images * geometry.out_area() / 4;
        tasks(cpu, whole * cuts, cost, |i| {
            let (cut, group, b) = (i / whole, i % whole / blocks, i % blocks);
            let channels = (b * block).min(channels)..((b + 1) * block).min(channels);
            let rows = (cut * groups + group) * depth;
            let rows = rows + channels.start * taps..rows + channels.end * taps;
            // SAFETY: tasks write different rows.
            let mut c = unsafe { all.tile(rows, 0..outputs) };
            for (k, unit) in some[cut].iter().enumerate() {
                let own;
                let gradient = match ready.get(cut).and_then(|cut| cut[k * groups + group].get()) {
                    Some(gradient) => gradient,
                    None => {
                        own = pass.gradient(group, unit, 0)?;
                        &own
                    }
                };
                let old = if start + k == 0 { Old::Ignore } else { Old::Keep };
                pass.unit(group, channels.clone(), unit, gradient, &mut c, old)?;
            }
            Ok(())
        })?;
    }

    let (from, parts) = (turned.as_slice(), Parts::new(gw));
    let parts_of_group = outputs.div_ceil(TURNED);
    tasks(cpu, groups * parts_of_group, TURNED * depth * cuts, |i| {
        let (group, first) = (i / parts_of_group, i % parts_of_group * TURNED);
        let last = (first + TURNED).min(outputs);
        let at = (group * outputs + first) * depth..(group * outputs + last) * depth;
        // SAFETY: tasks write different outputs.
        let to = unsafe { parts.part(at) };
        let mut wide = Scratch::new(cpu, if T::SAME { 0 } else { to.len() })?;
        let turn = |to: &mut [T::Computed]| {
            let from = &from[group * depth * width + first..];
            let cut = groups * depth * width;
            T::Computed::in_lanes(cpu.level(), Turn { from, width, cut, cuts, depth, to });
        };
        match T::computed_mut(to) {
            Some(to) => turn(to),
            None => {
                turn(wide.slice());
                T::narrow(cpu.level(), wide.as_slice(), to);
            }
        }
        Ok(())
    })
}

/// The gradient of one group's outputs at the positions of a unit, a row for each channel, where it does not lie so, and
/// its transpose packed, if that is worth it.
struct Gradient<T> {
    rows: Option<Scratch<T>>,
    packed: Option<Packed>,
}

struct Pass<'a, T> {
    cpu: &'a Cpu,
    geometry: &'a Geometry,
    g: &'a [T],
    x: &'a [T],
}

impl<T: Factor> Pass<'_, T> {
    /// The gradient at the positions of a unit, packed for products of so many rows, if there are any.
    fn gradient(&self, group: usize, unit: &Unit, rows: usize) -> Result<Gradient<T>> {
        let Geometry { groups, outputs, precision, .. } = *self.geometry;
        let mut gradient = Gradient { rows: None, packed: None };
        if unit.images.len() > 1 {
            let mut to = Scratch::new(self.cpu, outputs * unit.columns())?;
            let (all, area) = (groups * outputs, self.geometry.out_area());
            let planes = Planes { x: self.g, all, area, images: unit.images.clone() };
            planes.gather(group * outputs..(group + 1) * outputs, to.slice(), unit.columns());
            gradient.rows = Some(to);
        }
        if rows > 0 {
            let matrix = self.matrix(group, unit, &gradient).t();
            gradient.packed = Packed::new(self.cpu, precision, matrix, rows)?;
        }
        Ok(gradient)
    }

    /// A row for each output channel.
    fn matrix<'a>(&'a self, group: usize, unit: &Unit, gradient: &'a Gradient<T>) -> Mat<'a, T> {
        let Geometry { groups, outputs, .. } = *self.geometry;
        if let Some(rows) = &gradient.rows {
            return Mat::new(rows.as_slice(), outputs, unit.columns());
        }
        let area = self.geometry.out_area();
        let start = (unit.images.start * groups + group) * outputs * area;
        Mat::new(&self.g[start..start + outputs * area], outputs, area).cols(unit.positions.clone())
    }

    /// Multiplies the columns of some input channels of the group with the gradient.
    fn unit(
        &self,
        group: usize,
        channels: Range<usize>,
        unit: &Unit,
        gradient: &Gradient<T>,
        c: &mut MatMut<'_, T::Computed>,
        old: Old,
    ) -> Result<()> {
        let Pass { cpu, geometry, x, .. } = *self;
        let (n, rows) = (unit.columns(), channels.len() * geometry.taps());
        let from = group * geometry.channels;
        let channels = from + channels.start..from + channels.end;
        let mut scratch;
        let columns = if geometry.pointwise() && unit.images.len() == 1 {
            let area = geometry.area();
            let start = (unit.images.start * geometry.groups * geometry.channels + channels.start) * area;
            Mat::new(&x[start..start + rows * area], rows, area).cols(unit.positions.clone())
        } else {
            let pitch = pitch(n);
            scratch = Scratch::new(cpu, rows * pitch)?;
            gather_unit(cpu.level(), geometry, x, channels, unit, scratch.slice(), pitch);
            Mat::pitched(scratch.slice(), rows, n, pitch)
        };
        let matrix = self.matrix(group, unit, gradient).t();
        sums(geometry.precision, c, old, columns, Right::new(matrix, gradient.packed.as_ref()));
        Ok(())
    }
}

/// Adds up some columns of matrices with `depth` rows, `cut` elements apart, as rows of another matrix.
struct Turn<'a, T> {
    from: &'a [T],
    /// From one row to the next.
    width: usize,
    cut: usize,
    cuts: usize,
    depth: usize,
    /// So many rows.
    to: &'a mut [T],
}

/// The side of what is turned at a time.
const SIDE: usize = 8;

impl<T: Real> InLanes<T> for Turn<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Lanes<Element = T>>(self) {
        let Turn { from, width, cut, cuts, depth, to } = self;
        let columns = to.len() / depth;
        for j in (0..columns).step_by(SIDE) {
            for r in (0..depth).step_by(SIDE) {
                let [rows, columns] = [SIDE.min(depth - r), SIDE.min(columns - j)];
                let mut block = [T::ZERO; SIDE * SIDE];
                for k in 0..cuts {
                    for (i, block) in block.chunks_exact_mut(SIDE).take(rows).enumerate() {
                        let from = &from[k * cut + (r + i) * width + j..][..columns];
                        match k {
                            0 => block[..columns].copy_from_slice(from),
                            _ => block.iter_mut().zip(from).for_each(|(sum, &x)| *sum += x),
                        }
                    }
                }
                let to = &mut to[j * depth + r..];
                if V::BLOCK == SIDE && rows == SIDE && columns == SIDE {
                    assert!(to.len() >= (SIDE - 1) * depth + SIDE);
                    // SAFETY: a block of that side, and as many rows, as was just seen.
                    unsafe { V::transpose(block.as_ptr(), SIDE as isize, to.as_mut_ptr(), depth) }
                } else {
                    for (c, to) in to.chunks_mut(depth).take(columns).enumerate() {
                        (0..rows).for_each(|i| to[i] = block[i * SIDE + c]);
                    }
                }
            }
        }
    }
}
