//! 3 x 3 convolutions of stride 1 with fewer multiplications.
//!
//! A tile of 2 x 2 outputs reads 4 x 4 inputs. Transformed ([`tile`]), each of the 16 values of the tile is multiplied
//! with the transformed weight and summed over channels by itself: the convolution becomes 16 matrix products of
//! `outputs x channels` and `channels x tiles`, with 4 multiplications to an output where the direct sum has 9. The
//! input's gradient is such a convolution again, and the weight's gradient goes the same way back.
//!
//! Three phases, each over all threads: transform the input, multiply, transform the products. They run over some
//! images at a time, so that what lies between the phases stays in cache. Every cut depends on shapes alone.
//!
//! Errors are about those of the direct sum (see [`tile`]). But a value that is not finite reaches all outputs of the tiles
//! that read it, which may be neighbours of those whose window contains it.

mod planes;
mod tile;

use gradus_tensor_core::Result;

use self::planes::{Gather, Products, Scatter, Spread, Tiles};
use self::tile::{IN, PRODUCTS, TAPS, rows_mut};
use super::geometry::Geometry;
use crate::Cpu;
use crate::kernels::dense::{Parts, Real, Scratch, tasks};
use crate::kernels::matmul::gemm::{Mat, MatMut, Old, product};
use crate::level::Kernel;
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

/// `y = conv(x, w) + bias`.
pub(super) fn convolve<T: Real>(
    cpu: &Cpu,
    g: &Geometry,
    x: &[T],
    w: Weight<'_, T>,
    bias: Option<&[T]>,
    y: &mut [T],
) -> Result<()> {
    let (channels, outputs) = (g.channels, g.outputs);
    let mut u = Scratch::new(cpu, PRODUCTS * outputs * channels)?;
    transform_weight(cpu, w, [outputs, channels], u.slice())?;
    let u = &*u.slice();
    let most = images_at_once(g);
    let pitch = Tiles::new(g, most).pitch();
    let mut v = Scratch::new(cpu, PRODUCTS * channels * pitch)?;
    let mut m = Scratch::new(cpu, PRODUCTS * outputs * pitch)?;
    let planes = Parts::new(y);
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
        let v = &v.slice()[..PRODUCTS * channels * pitch];
        let cut = Cut::new(outputs, tiles, channels);
        let all = MatMut::pitched(m.slice(), PRODUCTS * outputs, tiles, pitch);
        tasks(cpu, PRODUCTS * cut.count(), cut.cost(channels), |i| {
            let (f, [rows, cols]) = (i / cut.count(), cut.get(i % cut.count()));
            // SAFETY: tasks write different parts.
            let mut c = unsafe { all.tile(f * outputs + rows.start..f * outputs + rows.end, cols.clone()) };
            let u = Mat::new(&u[f * outputs * channels..(f + 1) * outputs * channels], outputs, channels);
            let v =
                Mat::pitched(&v[f * channels * pitch..(f + 1) * channels * pitch], channels, tiles, pitch);
            product(&mut c, Old::Ignore, T::ONE, u.rows(rows), v.cols(cols));
            Ok(())
        })?;
        let m = SendPtr(m.slice().as_mut_ptr());
        tasks(cpu, outputs, PRODUCTS * tiles, |o| {
            let mut scratch = Scratch::new(cpu, images.scatter_scratch())?;
            cpu.level().run(Scatter {
                tiles: images,
                // SAFETY: channel `o` of the products lies in `m`.
                from: Products { start: unsafe { m.get().add(o * pitch) }, pitch: outputs * pitch },
                bias: bias.map_or(T::ZERO, |b| b[o]),
                scratch: scratch.slice(),
                planes: &planes,
                first: (first * outputs + o) * g.out_area(),
                image_pitch: outputs * g.out_area(),
            });
            Ok(())
        })?;
    }
    Ok(())
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
    let mut u = Scratch::new(cpu, PRODUCTS * outputs * channels)?;
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
        let all = MatMut::new(u.slice(), PRODUCTS * outputs, channels);
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
    let u = SendPtr(u.slice().as_mut_ptr());
    let parts = Parts::new(gw);
    let taps = TAPS * TAPS;
    tasks(cpu, outputs, channels * PRODUCTS * 2, |o| {
        let mut scratch = Scratch::new(cpu, (TAPS + IN) * TAPS * channels)?;
        cpu.level().run(FilterAdjoint {
            // SAFETY: the rows of output `o` lie in `u`.
            u: Products { start: unsafe { u.get().add(o * channels) }, pitch: outputs * channels },
            channels,
            scratch: scratch.slice(),
            // SAFETY: each output channel's weights are written by one task.
            gw: unsafe { parts.part(o * channels * taps..(o + 1) * channels * taps) },
        });
        Ok(())
    })
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
    let to = SendPtr(to.as_mut_ptr());
    tasks(cpu, channels, PRODUCTS * tiles, |c| {
        let mut scratch = Scratch::new(cpu, images.gather_scratch())?;
        cpu.level().run(Gather {
            tiles: images,
            planes: &x[c * g.area()..],
            image_pitch: channels * g.area(),
            scratch: scratch.slice(),
            // SAFETY: channel `c` of the products lies in `to`, and is written by this task alone.
            to: Products { start: unsafe { to.get().add(c * pitch) }, pitch: channels * pitch },
        });
        Ok(())
    })
}

fn spread<T: Real>(cpu: &Cpu, g: &Geometry, images: Tiles, gy: &[T], to: &mut [T]) -> Result<()> {
    let (outputs, tiles, pitch) = (g.outputs, images.count(), images.pitch());
    let to = SendPtr(to.as_mut_ptr());
    tasks(cpu, outputs, PRODUCTS * tiles, |o| {
        let mut scratch = Scratch::new(cpu, images.scatter_scratch())?;
        cpu.level().run(Spread {
            tiles: images,
            planes: &gy[o * g.out_area()..],
            image_pitch: outputs * g.out_area(),
            scratch: scratch.slice(),
            // SAFETY: channel `o` of the products lies in `to`, and is written by this task alone.
            to: Products { start: unsafe { to.get().add(o * pitch) }, pitch: outputs * pitch },
        });
        Ok(())
    })
}

/// The transformed weight: product `f` of output `o` and channel `c` at `(f * outputs + o) * channels + c`.
fn transform_weight<T: Real>(
    cpu: &Cpu,
    w: Weight<'_, T>,
    [outputs, channels]: [usize; 2],
    to: &mut [T],
) -> Result<()> {
    let to = SendPtr(to.as_mut_ptr());
    tasks(cpu, outputs, channels * PRODUCTS * 2, |o| {
        let mut scratch = Scratch::new(cpu, (TAPS + IN) * TAPS * channels)?;
        cpu.level().run(Filter {
            w,
            output: o,
            outputs,
            channels,
            scratch: scratch.slice(),
            // SAFETY: the rows of output `o` lie in `to`, and are written by this call alone.
            to: Products { start: unsafe { to.get().add(o * channels) }, pitch: outputs * channels },
        });
        Ok(())
    })
}

/// The weights of one output channel, transformed.
struct Filter<'a, T> {
    w: Weight<'a, T>,
    output: usize,
    outputs: usize,
    channels: usize,
    scratch: &'a mut [T],
    to: Products<T>,
}

impl<T: Real> Kernel for Filter<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (taps, n) = (TAPS * TAPS, self.channels);
        // Tap `t` of all channels, one after the other.
        let (apart, between) = self.scratch.split_at_mut(taps * n);
        for c in 0..n {
            let at = match self.w {
                Weight::Forward(_) => self.output * n + c,
                Weight::Reversed(_) => c * self.outputs + self.output,
            };
            let (Weight::Forward(w) | Weight::Reversed(w)) = self.w;
            let w = &w[at * taps..(at + 1) * taps];
            for t in 0..taps {
                apart[t * n + c] = if matches!(self.w, Weight::Forward(_)) { w[t] } else { w[taps - 1 - t] };
            }
        }
        let values = |i: usize, j: usize| &apart[(i * TAPS + j) * n..][..n];
        // SAFETY: the channels of this output are in the products' room, and written by this call alone.
        let to = |a: usize| std::array::from_fn(|b| unsafe { self.to.write(a * IN + b, 0, n) });
        tile::twice(values, between, to, n, tile::filter);
    }
}

/// The gradients of one output channel's weights.
struct FilterAdjoint<'a, T> {
    u: Products<T>,
    channels: usize,
    scratch: &'a mut [T],
    gw: &'a mut [T],
}

impl<T: Real> Kernel for FilterAdjoint<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (taps, n) = (TAPS * TAPS, self.channels);
        let (apart, between) = self.scratch.split_at_mut(taps * n);
        // SAFETY: the channels of this output are in the products' memory, which nobody writes now.
        let values = |a: usize, b: usize| unsafe { self.u.read(a * IN + b, 0, n) };
        let mut lines = apart.chunks_exact_mut(TAPS * n);
        let to = |_| rows_mut(lines.next().unwrap_or_default(), n);
        tile::twice(values, between, to, n, tile::filter_adjoint);
        for (c, gw) in self.gw.chunks_exact_mut(taps).enumerate() {
            for (t, gw) in gw.iter_mut().enumerate() {
                *gw = apart[t * n + c];
            }
        }
    }
}
