//! 3 x 3 convolutions of stride 1 with fewer multiplications.
//!
//! A tile of 2 x 2 outputs reads 4 x 4 inputs. Transformed ([`tile`]), each of the 16 values of the tile is multiplied
//! with the transformed weight and summed over channels by itself: the convolution becomes 16 matrix products of
//! `outputs x channels` and `channels x tiles`, with 4 multiplications to an output where the direct sum has 9. The
//! input's gradient is such a convolution again, and the weight's gradient goes the same way back.
//!
//! Three phases: transform the input, multiply, transform the products. Usually a task takes some tiles through all of
//! them in memory that its thread's cache holds ([`blocks`]). Where tiles are few and channels many, the transformed
//! weight is what is large: then each phase runs over all threads, over some images at a time. Every cut depends on
//! shapes alone.
//!
//! Errors are about those of the direct sum (see [`tile`]). But a value that is not finite reaches all outputs of the tiles
//! that read it, which may be neighbours of those whose window contains it.

mod blocks;
mod planes;
mod tile;
mod weight;

use gradus_tensor_core::Result;

use self::planes::{Gather, Products, Scatter, Spread, Tiles};
use self::tile::PRODUCTS;
use self::weight::padded;
use super::epilogue::{Epilogue, Runs};
use super::geometry::Geometry;
use crate::Cpu;
use crate::kernels::dense::{Parts, Real, Scratch, tasks};
use crate::kernels::matmul::gemm::{Mat, MatMut, Old, product};
use crate::parallel::SendPtr;

/// With fewer channels than this on either side, transforming costs more than it saves.
const MIN_CHANNELS: usize = 24;
/// With fewer tiles than this the products are too narrow.
const MIN_TILES: usize = 24;
/// Transformed values between the phases: 8 MB of `f32`, a part of a last-level cache.
const VALUES: usize = 1 << 21;
/// Multiplications of one task of the products.
const TASK: usize = 1 << 22;

/// Whether a convolution is one of these.
pub(super) fn suits(g: &Geometry) -> bool {
    let narrow = g.channels.min(g.outputs) < MIN_CHANNELS;
    let tiles = g.images * g.out[1].div_ceil(2) * g.out[2].div_ceil(2);
    g.kernel == [1, 3, 3]
        && g.size[0] == 1
        && g.out[0] == 1
        && g.padding[0] == 0
        && g.groups == 1
        && g.stride == [1; 3]
        && g.dilation == [1; 3]
        && !narrow
        && tiles >= MIN_TILES
}

/// A weight, and how a pass reads it.
#[derive(Clone, Copy)]
pub(super) enum Weight<'a, T> {
    /// `[outputs, channels, 3, 3]`
    Forward(&'a [T]),
    /// `[channels, outputs, 3, 3]`, its taps in reverse: for the gradient of the input.
    Reversed(&'a [T]),
}

/// The outputs of a convolution.
pub(super) fn convolve<T: Real>(
    cpu: &Cpu,
    g: &Geometry,
    x: &[T],
    w: Weight<'_, T>,
    epilogue: &Epilogue<'_, T>,
    y: &mut [T],
) -> Result<()> {
    let u = weight::transformed(cpu, w, [g.outputs, g.channels])?;
    let pass = Pass { cpu, g, x, u, epilogue, y: Parts::new(y) };
    match blocks::cut(g) {
        Some(blocks) => pass.in_blocks(&blocks),
        None => pass.in_phases(),
    }
}

/// A convolution under way.
struct Pass<'a, T> {
    cpu: &'a Cpu,
    g: &'a Geometry,
    x: &'a [T],
    /// Product `f` of output `o` and channel `c` at `(f * outputs + o) * padded(channels) + c`.
    u: Scratch<T>,
    epilogue: &'a Epilogue<'a, T>,
    y: Parts<'a, T>,
}

impl<T: Real> Pass<'_, T> {
    fn in_phases(&self) -> Result<()> {
        let Pass { cpu, g, .. } = *self;
        let (channels, outputs) = (g.channels, g.outputs);
        let most = images_at_once(g);
        let pitch = Tiles::new(g, most).pitch();
        let mut v = Scratch::new(cpu, PRODUCTS * channels * pitch)?;
        let mut m = Scratch::new(cpu, PRODUCTS * outputs * pitch)?;
        for first in (0..g.images).step_by(most) {
            let images = Tiles::new(g, most.min(g.images - first));
            let (tiles, pitch) = (images.count(), images.pitch());
            gather(cpu, g, images, &self.x[first * channels * g.area()..], v.slice())?;
            let v = &*v.slice();
            let cut = Cut::new(outputs, tiles, channels);
            let all = MatMut::pitched(m.slice(), PRODUCTS * outputs, tiles, pitch);
            tasks(cpu, PRODUCTS * cut.count(), cut.cost(channels), |i| {
                let (f, [rows, cols]) = (i / cut.count(), cut.get(i % cut.count()));
                // SAFETY: tasks write different parts.
                let mut c =
                    unsafe { all.tile(f * outputs + rows.start..f * outputs + rows.end, cols.clone()) };
                let v = Mat::pitched(
                    &v[f * channels * pitch..(f + 1) * channels * pitch],
                    channels,
                    tiles,
                    pitch,
                );
                product(&mut c, Old::Ignore, T::ONE, self.weight(f).rows(rows), v.cols(cols));
                Ok(())
            })?;
            let m = SendPtr(m.slice().as_mut_ptr());
            tasks(cpu, outputs, PRODUCTS * tiles, |o| {
                let mut scratch = Scratch::new(cpu, images.scatter_scratch())?;
                // SAFETY: channel `o` of the products lies in `m`.
                let from = Products { start: unsafe { m.get().add(o * pitch) }, pitch: outputs * pitch };
                self.scatter(images, first, o, from, scratch.slice());
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The transformed weight of product `f`.
    fn weight(&self, f: usize) -> Mat<'_, T> {
        let (outputs, pitch) = (self.g.outputs, padded(self.g.channels));
        let rows = &self.u.as_slice()[f * outputs * pitch..(f + 1) * outputs * pitch];
        Mat::pitched(rows, outputs, self.g.channels, pitch)
    }

    /// Transforms an output channel's products into its planes, from image `first` on.
    fn scatter(&self, tiles: Tiles, first: usize, o: usize, from: Products<T>, scratch: &mut [T]) {
        let (outputs, area) = (self.g.outputs, self.g.out_area());
        let work = Scatter {
            tiles,
            from,
            bias: self.epilogue.start(o),
            scratch,
            planes: &self.y,
            first: (first * outputs + o) * area,
            image_pitch: outputs * area,
        };
        T::in_lanes(self.cpu.level(), work);
        if self.epilogue.follows() {
            let lines = tiles.lines();
            let start = (first * outputs + o) * area + lines.start * self.g.out[2];
            let len = lines.len() * self.g.out[2];
            let runs = Runs { start, len, count: tiles.images, pitch: outputs * area };
            // SAFETY: these rows are this task's alone.
            unsafe { self.epilogue.finish_runs(self.cpu.level(), o, &self.y, runs, None) };
        }
    }
}

/// `gw` from the output's gradient and the input.
pub(super) fn backward_weight<T: Real>(
    cpu: &Cpu,
    g: &Geometry,
    gy: &[T],
    x: &[T],
    gw: &mut [T],
) -> Result<()> {
    let (channels, outputs) = (g.channels, g.outputs);
    let most = images_at_once(g);
    let pitch = Tiles::new(g, most).pitch();
    let mut v = Scratch::new(cpu, PRODUCTS * channels * pitch)?;
    let mut m = Scratch::new(cpu, PRODUCTS * outputs * pitch)?;
    let mut u = Scratch::new(cpu, PRODUCTS * outputs * padded(channels))?;
    let mut old = Old::Ignore;
    for first in (0..g.images).step_by(most) {
        let images = Tiles::new(g, most.min(g.images - first));
        let (tiles, pitch) = (images.count(), images.pitch());
        gather(
            cpu,
            g,
            images,
            &x[first * channels * g.area()..],
            &mut v.slice()[..PRODUCTS * channels * pitch],
        )?;
        spread(
            cpu,
            g,
            images,
            &gy[first * outputs * g.out_area()..],
            &mut m.slice()[..PRODUCTS * outputs * pitch],
        )?;
        let v = &v.slice()[..PRODUCTS * channels * pitch];
        let m = &m.slice()[..PRODUCTS * outputs * pitch];
        let cut = Cut::new(outputs, channels, tiles);
        let all = MatMut::pitched(u.slice(), PRODUCTS * outputs, channels, padded(channels));
        tasks(cpu, PRODUCTS * cut.count(), cut.cost(tiles), |i| {
            let (f, [rows, cols]) = (i / cut.count(), cut.get(i % cut.count()));
            // SAFETY: tasks write different parts.
            let mut c = unsafe { all.tile(f * outputs + rows.start..f * outputs + rows.end, cols.clone()) };
            let m = Mat::pitched(&m[f * outputs * pitch..(f + 1) * outputs * pitch], outputs, tiles, pitch);
            let v =
                Mat::pitched(&v[f * channels * pitch..(f + 1) * channels * pitch], channels, tiles, pitch);
            product(&mut c, old, T::ONE, m.rows(rows), v.t().cols(cols));
            Ok(())
        })?;
        old = Old::Keep;
    }
    weight::gradient(cpu, u, [outputs, channels], gw)
}

/// So many images that the values between the phases fit [`VALUES`].
fn images_at_once(g: &Geometry) -> usize {
    let of_one = PRODUCTS * (g.channels + g.outputs) * g.out[1].div_ceil(2) * g.out[2].div_ceil(2);
    // Even shares, rather than a small rest.
    let parts = (g.images * of_one).div_ceil(VALUES);
    g.images.div_ceil(parts.clamp(1, g.images))
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

    fn get(&self, i: usize) -> [std::ops::Range<usize>; 2] {
        let at = [i / self.counts()[1], i % self.counts()[1]];
        [0, 1].map(|d| at[d] * self.each[d]..((at[d] + 1) * self.each[d]).min(self.shape[d]))
    }

    fn cost(&self, depth: usize) -> usize {
        self.each[0] * self.each[1] * depth / 4
    }
}

fn gather<T: Real>(cpu: &Cpu, g: &Geometry, images: Tiles, x: &[T], to: &mut [T]) -> Result<()> {
    let (channels, tiles, pitch) = (g.channels, images.count(), images.pitch());
    assert!(to.len() >= PRODUCTS * channels * pitch);
    let to = SendPtr(to.as_mut_ptr());
    tasks(cpu, channels, PRODUCTS * tiles, |c| {
        let mut scratch = Scratch::new(cpu, images.gather_scratch())?;
        // SAFETY: channel `c` of the products lies in `to`, and is written by this task alone.
        let to = Products { start: unsafe { to.get().add(c * pitch) }, pitch: channels * pitch };
        let (planes, image_pitch) = (&x[c * g.area()..], channels * g.area());
        let work = Gather { tiles: images, planes, image_pitch, scratch: scratch.slice(), to };
        T::in_lanes(cpu.level(), work);
        Ok(())
    })
}

fn spread<T: Real>(cpu: &Cpu, g: &Geometry, images: Tiles, gy: &[T], to: &mut [T]) -> Result<()> {
    let (outputs, tiles, pitch) = (g.outputs, images.count(), images.pitch());
    assert!(to.len() >= PRODUCTS * outputs * pitch);
    let to = SendPtr(to.as_mut_ptr());
    tasks(cpu, outputs, PRODUCTS * tiles, |o| {
        let mut scratch = Scratch::new(cpu, images.scatter_scratch())?;
        // SAFETY: channel `o` of the products lies in `to`, and is written by this task alone.
        let to = Products { start: unsafe { to.get().add(o * pitch) }, pitch: outputs * pitch };
        let (planes, image_pitch) = (&gy[o * g.out_area()..], outputs * g.out_area());
        let work = Spread { tiles: images, planes, image_pitch, scratch: scratch.slice(), to };
        T::in_lanes(cpu.level(), work);
        Ok(())
    })
}
