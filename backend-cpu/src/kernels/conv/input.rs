//! The gradient of the input: for stride 1 a convolution of the output's gradient with the reversed weight,
//! otherwise the column matrix's gradient, added back onto the image.

use gradus_tensor_core::Result;

use super::Factor;
use super::columns::Columns;
use super::epilogue::Epilogue;
use super::forward::{Planes, forward, pitch, units};
use super::geometry::Geometry;
use crate::Cpu;
use crate::kernels::dense::{Parts, Scratch, tasks};
use crate::kernels::matmul::gemm::{Mat, MatMut, Old, sums};
use crate::math::real::Real as _;

/// Elements of a task's column matrix.
const COLUMN_ELEMENTS: usize = 1 << 17;
/// Small images are taken together up to this many columns.
const COLUMNS: usize = 128;
/// Channels of a task when the weight is reversed.
const REVERSED_CHANNELS: usize = 16;

/// `gx` from the output's gradient `g` and the weight.
pub(super) fn backward_input<T: Factor>(
    cpu: &Cpu,
    geometry: &Geometry,
    g: &[T],
    w: &[T],
    gx: &mut [T],
) -> Result<()> {
    if g.is_empty() || w.is_empty() || gx.is_empty() {
        gx.fill(T::default());
        return Ok(());
    }
    if geometry.stride == [1; 3] {
        let Geometry { channels, outputs, groups, .. } = *geometry;
        if geometry.taps() == 1 && groups == 1 {
            // Nothing to reverse, and a product reads its operands with any strides.
            let w = Mat::new(w, outputs, channels).t();
            return forward(cpu, &geometry.reversed(), g, w, &Epilogue::bias(None), gx);
        }
        let mut reversed = Scratch::new(cpu, w.len())?;
        reverse(cpu, geometry, w, reversed.slice());
        let w = Mat::new(reversed.slice(), groups * channels, outputs * geometry.taps());
        return forward(cpu, &geometry.reversed(), g, w, &Epilogue::bias(None), gx);
    }
    strided(cpu, geometry, g, w, gx)
}

/// The weight with input and output channels exchanged within each group, and the taps reversed.
fn reverse<T: Factor>(cpu: &Cpu, geometry: &Geometry, w: &[T], to: &mut [T]) {
    let (taps, channels, outputs) = (geometry.taps(), geometry.channels, geometry.outputs);
    let blocks = channels.div_ceil(REVERSED_CHANNELS);
    let parts = Parts::new(to);
    cpu.for_blocks(geometry.groups * blocks, 1, REVERSED_CHANNELS * outputs * taps * 4, |i, _| {
        let (group, first) = (i / blocks, i % blocks * REVERSED_CHANNELS);
        let end = (first + REVERSED_CHANNELS).min(channels);
        let start = (group * channels + first) * outputs * taps;
        // SAFETY: blocks of channels are disjoint.
        let to = unsafe { parts.part(start..start + (end - first) * outputs * taps) };
        for o in 0..outputs {
            for c in first..end {
                let from = &w[((group * outputs + o) * channels + c) * taps..][..taps];
                let to = &mut to[((c - first) * outputs + o) * taps..][..taps];
                to.iter_mut().zip(from.iter().rev()).for_each(|(to, &from)| *to = from);
            }
        }
    });
}

fn strided<T: Factor>(cpu: &Cpu, geometry: &Geometry, g: &[T], w: &[T], gx: &mut [T]) -> Result<()> {
    let (area, taps) = (geometry.out_area(), geometry.taps());
    let (channels, outputs, groups) = (geometry.channels, geometry.outputs, geometry.groups);
    // Whole images, since windows of different tiles overlap in the input.
    let units = units(0..geometry.images, area, COLUMNS.max(area));
    let widest = units.iter().map(|u| u.columns()).max().unwrap_or(0);
    let blocks = channels.div_ceil((COLUMN_ELEMENTS / (taps * widest)).clamp(1, channels));
    let block = channels.div_ceil(blocks);
    let parts = Parts::new(gx);
    let columns_of_image = Columns::new(geometry, 0..area);

    tasks(cpu, units.len() * groups * blocks, block * taps * outputs * widest / 4, |i| {
        let (unit, group, part) = (&units[i / blocks / groups], i / blocks % groups, i % blocks);
        let some = part * block..((part + 1) * block).min(channels);
        let n = unit.columns();
        let mut packed;
        let gradient = if unit.images.len() == 1 {
            let start = (unit.images.start * groups + group) * outputs * area;
            Mat::new(&g[start..start + outputs * area], outputs, area)
        } else {
            packed = Scratch::new(cpu, outputs * n)?;
            let planes = Planes { x: g, all: groups * outputs, area, images: unit.images.clone() };
            planes.gather(group * outputs..(group + 1) * outputs, packed.slice(), n);
            Mat::new(packed.slice(), outputs, n)
        };
        let weight = Mat::new(w, groups * outputs, channels * taps)
            .rows(group * outputs..(group + 1) * outputs)
            .cols(some.start * taps..some.end * taps);
        let (rows, pitch) = (some.len() * taps, pitch(n));
        let mut scratch = Scratch::new(cpu, rows * pitch)?;
        let mut columns = MatMut::pitched(scratch.slice(), rows, n, pitch);
        sums(geometry.precision, &mut columns, Old::Ignore, weight.t(), gradient);
        let plane = geometry.area();
        let mut wide = Scratch::new(cpu, if T::SAME { 0 } else { plane })?;
        for (k, image) in unit.images.clone().enumerate() {
            for (c, channel) in some.clone().enumerate() {
                let from = &scratch.as_slice()[c * taps * pitch + k * area..];
                let to = ((image * groups + group) * channels + channel) * plane;
                let add = |plane: &mut [T::Computed]| {
                    plane.fill(T::Computed::ZERO);
                    columns_of_image.scatter(cpu.level(), from, pitch, plane);
                };
                // SAFETY: tasks write different images or channels.
                let to = unsafe { parts.part(to..to + plane) };
                match T::computed_mut(to) {
                    Some(to) => add(to),
                    None => {
                        add(wide.slice());
                        T::narrow(cpu.level(), wide.as_slice(), to);
                    }
                }
            }
        }
        Ok(())
    })
}
