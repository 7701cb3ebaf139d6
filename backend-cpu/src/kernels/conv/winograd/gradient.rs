//! The gradient of the weight.

use std::ops::Range;

use gradus_tensor_core::Result;

use super::planes::{self, Laid, Planes, Products, Tiles, stride};
use super::scatter::Spread;
use super::tile::Tile;
use super::weight::{self, padded};
use super::{PRECISION, gather, halves_scratch, images_at_once};
#[cfg(target_arch = "x86_64")]
use super::{halves, tile};
use crate::Cpu;
use crate::kernels::conv::geometry::Geometry;
use crate::kernels::dense::{Parts, Real, Scratch, Stored, tasks};
use crate::kernels::matmul::gemm::{Mat, MatMut, Old, product};
use crate::kernels::matmul::registers::Registers;
use crate::parallel::SendPtr;

/// Transformed values of inputs and gradients: 8 MB of `f32`, a part of a last-level cache.
const VALUES: usize = 1 << 21;
/// Multiplications of one task of the products.
const TASK: usize = 1 << 22;
/// Outputs and channels of a task that transforms the gradients of their weights itself.
const BLOCK: [usize; 2] = [64, 48];
/// With fewer such tasks than this there is no work for several threads.
const FEWEST: usize = 16;

/// `gw` from the output's gradient `gy` and the input.
pub(super) fn backward_weight<S: Stored, F: Tile>(
    cpu: &Cpu,
    g: &Geometry,
    gy: &[S],
    x: &[S],
    gw: &mut [S],
) -> Result<()> {
    let (channels, outputs) = (g.channels, g.outputs);
    let most = images_at_once::<F>(g, channels + outputs, VALUES);
    let all = Tiles::<F>::new(g, most);
    let mut v = Scratch::new(cpu, F::PRODUCTS * stride(channels, all.pitch()))?;
    let mut m = Scratch::new(cpu, F::PRODUCTS * stride(outputs, all.pitch()))?;
    let blocks = [0, 1].map(|d| [outputs, channels][d].div_ceil(BLOCK[d]));
    if most == g.images && blocks[0] * blocks[1] >= FEWEST {
        gather(cpu, g, all, x, v.slice(), Laid::rows(&all))?;
        spread(cpu, g, all, gy, m.slice())?;
        let sums = Sums { cpu, g, tiles: all, v: v.as_slice(), m: m.as_slice() };
        let gw = Parts::new(gw);
        let cost = BLOCK[0] * BLOCK[1] * all.count() * F::PRODUCTS / 4;
        return tasks(cpu, blocks[0] * blocks[1], cost, |i| {
            let at = [i / blocks[1], i % blocks[1]];
            let range = |d: usize| at[d] * BLOCK[d]..((at[d] + 1) * BLOCK[d]).min([outputs, channels][d]);
            sums.block([range(0), range(1)], &gw)
        });
    }
    let (pitch, distance) = (padded(channels), stride(outputs, padded(channels)));
    let mut u = Scratch::<S::Computed>::new(cpu, F::PRODUCTS * distance)?;
    let mut old = Old::Ignore;
    for first in (0..g.images).step_by(most) {
        let tiles = Tiles::<F>::new(g, most.min(g.images - first));
        gather(cpu, g, tiles, &x[first * channels * g.area()..], v.slice(), Laid::rows(&tiles))?;
        spread(cpu, g, tiles, &gy[first * outputs * g.out_area()..], m.slice())?;
        let sums = Sums { cpu, g, tiles, v: v.as_slice(), m: m.as_slice() };
        let cut = Cut::new(outputs, channels, tiles.count());
        let matrices = u.slice().chunks_exact_mut(distance);
        let matrices: Vec<_> = matrices.map(|u| MatMut::pitched(u, outputs, channels, pitch)).collect();
        tasks(cpu, F::PRODUCTS * cut.count(), cut.cost(tiles.count()), |i| {
            let (f, some) = (i / cut.count(), cut.get(i % cut.count()));
            // SAFETY: tasks write different parts.
            let mut c = unsafe { matrices[f].tile(some[0].clone(), some[1].clone()) };
            sums.product(f, &mut c, old, some);
            Ok(())
        })?;
        old = Old::Keep;
    }
    let (u, gw) = (SendPtr(u.slice().as_mut_ptr()), Parts::new(gw));
    tasks(cpu, outputs, channels * F::PRODUCTS * 2, |o| {
        // SAFETY: the rows of output `o` lie in `u`, and its weights are written by this task alone.
        unsafe {
            let u = Products { start: u.get().add(o * pitch), stride: distance };
            weight::gradient::<S, F>(cpu, g, u, [o..o + 1, 0..channels], &gw)
        }
    })
}

/// What is summed over the tiles of some images.
struct Sums<'a, T, F> {
    cpu: &'a Cpu,
    g: &'a Geometry,
    tiles: Tiles<F>,
    /// The transformed input.
    v: &'a [T],
    /// The gradient of the products.
    m: &'a [T],
}

impl<T: Real, F: Tile> Sums<'_, T, F> {
    /// Product `f` for some outputs and channels.
    fn product(&self, f: usize, c: &mut MatMut<'_, T>, old: Old, [outputs, channels]: [Range<usize>; 2]) {
        let (m, v) = (self.rows(self.m, f, self.g.outputs), self.rows(self.v, f, self.g.channels));
        product(PRECISION, c, old, T::ONE, m.rows(outputs), v.rows(channels).t());
    }

    /// A row of product `f`'s tiles for each of so many channels.
    fn rows<'a>(&self, all: &'a [T], f: usize, channels: usize) -> Mat<'a, T> {
        let (count, pitch) = (self.tiles.count(), self.tiles.pitch());
        let distance = stride(channels, pitch);
        Mat::pitched(&all[f * distance..(f + 1) * distance], channels, count, pitch)
    }

    /// The gradient of the weights of some outputs and channels.
    fn block<S: Stored<Computed = T>>(&self, some: [Range<usize>; 2], gw: &Parts<'_, S>) -> Result<()> {
        let [rows, cols] = [some[0].len(), some[1].len()];
        let (pitch, distance) = (padded(cols), stride(rows, padded(cols)));
        let mut u = Scratch::new(self.cpu, F::PRODUCTS * distance)?;
        for (f, u) in u.slice().chunks_exact_mut(distance).take(F::PRODUCTS).enumerate() {
            self.product(f, &mut MatMut::pitched(u, rows, cols, pitch), Old::Ignore, some.clone());
        }
        let u = Products { start: u.slice().as_mut_ptr(), stride: distance };
        // SAFETY: the products of so many outputs and channels lie in `u`; blocks are disjoint.
        unsafe { weight::gradient::<S, F>(self.cpu, self.g, u, some, gw) }
    }
}

/// Transforms all outputs' gradients of some images, from the first one of `gy` on.
fn spread<S: Stored, F: Tile>(
    cpu: &Cpu,
    g: &Geometry,
    tiles: Tiles<F>,
    gy: &[S],
    to: &mut [S::Computed],
) -> Result<()> {
    let (outputs, pitch, read) = (g.outputs, tiles.pitch(), tiles.gradients());
    let stride = planes::stride(outputs, pitch);
    assert!(to.len() >= F::PRODUCTS * stride);
    let to = SendPtr(to.as_mut_ptr());
    let needed = match S::SAME {
        true => tiles.scatter_scratch(),
        false => (tiles.scatter_scratch() + read.scratch()).max(halves_scratch(&tiles)),
    };
    tasks(cpu, outputs, F::PRODUCTS * tiles.count(), |o| {
        let mut scratch = Scratch::<S::Computed>::new(cpu, needed)?;
        // SAFETY: channel `o` of the products lies in `to`, and is written by this task alone.
        let to = Products { start: unsafe { to.get().add(o * pitch) }, stride };
        #[cfg(target_arch = "x86_64")]
        if halves::suits::<S, F>(cpu.level()) {
            let (data, images, pitch) = (&gy[o * g.out_area()..], tiles.images, outputs * g.out_area());
            let first = [(tiles.first * F::OUT) as isize, 0];
            let planes = halves::Planes { data, images, pitch, size: tiles.out, first };
            let to = Products { start: to.start.cast(), stride };
            let (grid, scratch) = (halves::Grid::new(&tiles), bytemuck::cast_slice_mut(scratch.slice()));
            let laid = Laid::rows(&tiles);
            // SAFETY: that level; the channel has room for its products.
            unsafe { halves::gather::<S, tile::OutputAdjoint>(planes, grid, scratch, to, laid) };
            return Ok(());
        }
        let (scratch, wide) = scratch.slice().split_at_mut(tiles.scatter_scratch());
        let planes = Planes::new(cpu, &gy[o * g.out_area()..], outputs * g.out_area(), &read, wide);
        S::Computed::in_lanes(cpu.level(), Spread { tiles, planes, scratch, to });
        Ok(())
    })
}

/// A product cut into tasks along its longer side: both operands are packed for each task.
#[derive(Clone, Copy, Debug)]
struct Cut {
    shape: [usize; 2],
    each: [usize; 2],
}

impl Cut {
    fn new(rows: usize, cols: usize, depth: usize) -> Self {
        let shape = [rows, cols];
        let tasks = (rows * cols * depth).div_ceil(TASK);
        let mut each = shape;
        if rows > cols {
            each[0] = rows.div_ceil(tasks).next_multiple_of(32).min(rows);
        } else {
            each[1] = cols.div_ceil(tasks).next_multiple_of(48).min(cols);
        }
        Cut { shape, each }
    }

    fn counts(&self) -> [usize; 2] {
        [0, 1].map(|d| self.shape[d].div_ceil(self.each[d]))
    }

    fn count(&self) -> usize {
        self.counts().iter().product()
    }

    fn get(&self, i: usize) -> [Range<usize>; 2] {
        let at = [i / self.counts()[1], i % self.counts()[1]];
        [0, 1].map(|d| at[d] * self.each[d]..((at[d] + 1) * self.each[d]).min(self.shape[d]))
    }

    fn cost(&self, depth: usize) -> usize {
        self.each[0] * self.each[1] * depth / 4
    }
}
