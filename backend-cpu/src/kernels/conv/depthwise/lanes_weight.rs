//! The weight's gradient, sixteen channels at a time: [`lanes`](super::lanes).

use gradus_tensor_core::Result;

use super::super::geometry::Geometry;
use super::across::{Across, Row, WIDTH};
use super::lanes::Blocks;
use super::tile::{LANES, Lanes, Planes, accumulate, add};
use crate::Cpu;
use crate::kernels::dense::{Parts, Real, Scratch, tasks};
use crate::kernels::matmul::registers::{InLanes, Lanes as Register};

/// Images whose weight gradients are summed before they are added to those of others.
const IMAGES: usize = 4;

/// `gw` from the output's gradient and the input. Images are summed in groups of a fixed number, and these in order.
pub(super) fn backward_weight<T: Real>(
    cpu: &Cpu,
    g: &Geometry,
    gy: &[T],
    x: &[T],
    gw: &mut [T],
) -> Result<()> {
    let (area, out_area, outputs, taps) = (g.area(), g.out_area(), g.outputs, g.taps());
    let (blocks, across) = (Blocks::new(g, IMAGES), Across::new(g));
    let per_task = outputs * taps * LANES;
    let mut partial = Scratch::new(cpu, blocks.count * per_task)?;
    let parts = Parts::new(partial.slice());
    tasks(cpu, blocks.count, blocks.cost(g), |i| {
        let (images, group, count) = blocks.task(g, i);
        let mut scratch = Scratch::new(cpu, (area + out_area) * LANES)?;
        let (tile, gradient) = scratch.slice().as_chunks_mut().0.split_at_mut(area);
        // SAFETY: each task has sums of its own.
        let sums = unsafe { parts.part(i * per_task..(i + 1) * per_task) }.as_chunks_mut().0;
        sums.fill([T::ZERO; LANES]);
        for image in images {
            let first = image * g.groups + group;
            let x = &x[first * area..(first + count) * area];
            let gy = &gy[first * outputs * out_area..(first + count) * outputs * out_area];
            T::in_lanes(
                cpu.level(),
                BackwardWeight { g, across: &across, x, gy, tile, gradient, sums, count },
            );
        }
        Ok(())
    })?;
    gw.fill(T::ZERO);
    for (i, partial) in partial.slice().chunks_exact(per_task).enumerate() {
        let (_, group, count) = blocks.task(g, i);
        for (at, sums) in partial.chunks_exact(LANES).enumerate() {
            for (lane, &sum) in sums[..count].iter().enumerate() {
                gw[(group + lane) * outputs * taps + at] += sum;
            }
        }
    }
    Ok(())
}

struct BackwardWeight<'a, T> {
    g: &'a Geometry,
    across: &'a Across,
    x: &'a [T],
    gy: &'a [T],
    tile: &'a mut [Lanes<T>],
    gradient: &'a mut [Lanes<T>],
    sums: &'a mut [Lanes<T>],
    count: usize,
}

impl<T: Real> InLanes<T> for BackwardWeight<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Register<Element = T>>(self) {
        let Self { g, across, x, gy, tile, gradient, sums, count } = self;
        let (width, out_width, taps) = (g.size[2], g.out[2], g.kernel[2]);
        let below = g.dilation[1] * width;
        // SAFETY: the machine has the register.
        unsafe { Planes { count, pitch: g.area() }.load::<V>(x, tile) };
        for (output, sums) in sums.chunks_exact_mut(g.taps()).enumerate() {
            // SAFETY: the machine has the register.
            unsafe {
                Planes { count, pitch: g.outputs * g.out_area() }
                    .load::<V>(&gy[output * g.out_area()..], gradient)
            };
            for &Row { out: from, row, tap, three } in &across.rows {
                let from = &gradient[from * out_width..(from + 1) * out_width];
                let rows = &tile[row * width..];
                let sums = &mut sums[tap * taps..];
                if !across.inside.is_empty() {
                    let from = &from[across.inside.clone()];
                    let rows = &rows[across.start..];
                    if three {
                        products::<T, 3, WIDTH>(from, rows, below, sums, across);
                    } else {
                        products::<T, 1, WIDTH>(from, rows, below, sums, across);
                    }
                }
                for j in 0..if three { WIDTH } else { 1 } {
                    for (tap, range, start) in &across.edges {
                        let row = &rows[j * below + start..];
                        products::<T, 1, 1>(
                            &from[range.clone()],
                            row,
                            below,
                            &mut sums[j * taps + tap..],
                            across,
                        );
                    }
                }
            }
        }
    }
}

/// Adds to some taps of some rows the sums of their products with a run of gradients.
#[inline(always)]
fn products<T: Real, const R: usize, const K: usize>(
    from: &[Lanes<T>],
    rows: &[Lanes<T>],
    below: usize,
    sums: &mut [Lanes<T>],
    across: &Across,
) {
    let Across { stride, dilation, .. } = *across;
    let mut acc = [[[T::ZERO; LANES]; K]; R];
    let last = (from.len().max(1) - 1) * stride;
    assert!((R - 1) * below + last + (K - 1) * dilation < rows.len(), "windows outside their plane");
    for (i, from) in from.iter().enumerate() {
        for (r, acc) in acc.iter_mut().enumerate() {
            for (k, acc) in acc.iter_mut().enumerate() {
                // SAFETY: at most the position of the last window's last element, which lies in the rows.
                let x = unsafe { rows.get_unchecked(r * below + i * stride + k * dilation) };
                accumulate(acc, x, from);
            }
        }
    }
    for (sum, acc) in sums.iter_mut().zip(acc.as_flattened()) {
        add(sum, acc);
    }
}
