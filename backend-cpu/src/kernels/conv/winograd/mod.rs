//! 3 x 3 convolutions of stride 1 with fewer multiplications.
//!
//! A tile of 2 x 2 outputs reads 4 x 4 inputs. Transformed ([`tile`]), each of the 16 values of the tile is multiplied
//! with the transformed weight and summed over channels by itself: the convolution becomes 16 matrix products of
//! `outputs x channels` and `channels x tiles`, with 4 multiplications to an output where the direct sum has 9. A tile of
//! 4 x 4 outputs makes 36 products, 2.25 to an output, and loses a digit: it is for operands of half precision, and for
//! `f32` on devices that are asked for less than the highest [`Precision`]. The input's gradient is such a convolution
//! again, and the weight's gradient goes the same way back.
//!
//! Three phases: transform the input, multiply, transform the products. Usually a task takes some tiles through all of
//! them in memory that its thread's cache holds ([`blocks`]). Where tiles are few and channels many, the transformed
//! weight is what is large: then a task takes some output channels, transforms their weights, multiplies and transforms
//! ([`outputs`]), so that no transformed weight leaves the cache either. The weight's gradient ([`gradient`]) has the same
//! two ways. Every cut depends on shapes alone. Half precision is widened just before a transform and rounded, once, just
//! after one, a channel at a time; `bf16` with AVX-512 is, while it is in registers (`halves`). Transformed inputs lie as
//! the products take them, in panels ([`Laid`]), unless it is the weight's gradient that is wanted.
//!
//! Which tile a convolution has depends on its dtype, the device's precision and shapes: the large one where it makes fewer
//! multiplications, those of tiles that lie partly outside included.
//!
//! Errors with the small tile are about those of the direct sum, with the large one about four times as large (see
//! [`tile`]). A value that is not finite reaches all outputs of the tiles that read it, which may be neighbours of those
//! whose window contains it: one further along an axis with the small tile, up to three with the large one.

mod blocks;
mod four;
mod gather;
mod gradient;
#[cfg(target_arch = "x86_64")]
mod halves;
mod outputs;
mod planes;
mod scatter;
mod tile;
mod two;
mod weight;

use std::marker::PhantomData;

use gradus_tensor_core::{DType, Result};

use self::four::Four;
use self::gather::Gather;
use self::planes::{Borders, LANES, Laid, Planes, Products, Tiles};
use self::scatter::Scatter;
use self::tile::Tile;
use self::two::Two;
use super::epilogue::{Epilogue, Runs};
use super::geometry::Geometry;
use crate::kernels::dense::{Parts, Real, Scratch, Stored, tasks};
use crate::kernels::matmul::gemm::{Mat, MatMut, Old, product};
use crate::kernels::matmul::registers::Registers;
use crate::parallel::SendPtr;
use crate::{Cpu, Precision};

/// Of the products, whatever the device's: going back, what each of them is off by is added up.
const PRECISION: Precision = Precision::Highest;
/// With fewer channels than this on either side, transforming costs more than it saves.
const MIN_CHANNELS: usize = 24;
/// With fewer small tiles than this the products are too narrow.
const MIN_TILES: usize = 24;
/// Transforming a weight and reading it takes as long as multiplying it with so many tiles.
const WEIGHT_TILES: usize = 16;

/// The tile of a convolution: so many outputs along an axis.
#[derive(Clone, Copy, Debug)]
pub(super) enum Size {
    Two,
    Four,
}

/// The tile that a convolution of operands of that dtype is computed with, if it is one of these.
pub(super) fn suits(cpu: &Cpu, dtype: DType, g: &Geometry) -> Option<Size> {
    let narrow = g.channels.min(g.outputs) < MIN_CHANNELS;
    let tiles = g.images * g.out[1].div_ceil(Two::OUT) * g.out[2].div_ceil(Two::OUT);
    let one = g.kernel == [1, 3, 3]
        && g.size[0] == 1
        && g.out[0] == 1
        && g.padding[0] == 0
        && g.groups == 1
        && g.stride == [1; 3]
        && g.dilation == [1; 3]
        && !narrow
        && tiles >= MIN_TILES;
    let rough = match dtype {
        DType::F64 => false,
        DType::F32 => cpu.precision() < Precision::Highest,
        _ => true,
    };
    match one {
        true if rough && multiplications::<Four>(g) < multiplications::<Two>(g) => Some(Size::Four),
        true => Some(Size::Two),
        false => None,
    }
}

/// Multiplications for each pair of channels, and what the weight costs.
fn multiplications<F: Tile>(g: &Geometry) -> usize {
    F::PRODUCTS * (Tiles::<F>::new(g, g.images).count() + WEIGHT_TILES)
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
pub(super) fn convolve<S: Stored>(
    cpu: &Cpu,
    size: Size,
    g: &Geometry,
    x: &[S],
    w: Weight<'_, S>,
    epilogue: &Epilogue<'_, S::Computed>,
    y: &mut [S],
) -> Result<()> {
    match size {
        Size::Two => Pass::<S, Two>::new(cpu, g, x, w, epilogue, y).run(),
        Size::Four => Pass::<S, Four>::new(cpu, g, x, w, epilogue, y).run(),
    }
}

/// `gw` from the output's gradient and the input.
pub(super) fn backward_weight<S: Stored>(
    cpu: &Cpu,
    size: Size,
    g: &Geometry,
    gy: &[S],
    x: &[S],
    gw: &mut [S],
) -> Result<()> {
    match size {
        Size::Two => gradient::backward_weight::<S, Two>(cpu, g, gy, x, gw),
        Size::Four => gradient::backward_weight::<S, Four>(cpu, g, gy, x, gw),
    }
}

/// A convolution under way.
struct Pass<'a, S: Stored, F> {
    cpu: &'a Cpu,
    g: &'a Geometry,
    x: &'a [S],
    w: Weight<'a, S>,
    epilogue: &'a Epilogue<'a, S::Computed>,
    y: Parts<'a, S>,
    tile: PhantomData<F>,
}

impl<'a, S: Stored, F: Tile> Pass<'a, S, F> {
    fn new(
        cpu: &'a Cpu,
        g: &'a Geometry,
        x: &'a [S],
        w: Weight<'a, S>,
        epilogue: &'a Epilogue<'a, S::Computed>,
        y: &'a mut [S],
    ) -> Self {
        Pass { cpu, g, x, w, epilogue, y: Parts::new(y), tile: PhantomData }
    }

    fn run(&self) -> Result<()> {
        match blocks::cut::<F>(self.g) {
            Some(blocks) => self.in_blocks(&blocks),
            None => self.by_outputs(),
        }
    }

    /// Transforms an output channel's products into its planes, from image `first` on.
    fn scatter(
        &self,
        tiles: Tiles<F>,
        first: usize,
        o: usize,
        from: Products<S::Computed>,
        scratch: &mut [S::Computed],
    ) {
        let (level, outputs, area) = (self.cpu.level(), self.g.outputs, self.g.out_area());
        let (first, image_pitch) = ((first * outputs + o) * area + tiles.before(), outputs * area);
        let (epilogue, bias, each) = (self.epilogue, self.epilogue.start(o), tiles.outputs());
        #[cfg(target_arch = "x86_64")]
        if halves::suits::<S, F>(level) && !epilogue.follows() {
            let (rows, len) = (tiles.written().len(), tiles.out[1]);
            let target = halves::Target {
                planes: &self.y,
                first,
                pitch: image_pitch,
                images: tiles.images,
                rows,
                len,
            };
            let from = Products { start: from.start.cast(), stride: from.stride };
            let (bias, scratch) = (bytemuck::cast(bias), bytemuck::cast_slice_mut(scratch));
            // SAFETY: that level; so many products lie there, and these rows are this call's alone.
            return unsafe { halves::scatter(&target, halves::Grid::new(&tiles), from, bias, scratch) };
        }
        let (scratch, wide) = scratch.split_at_mut(tiles.scatter_scratch());
        if let Some(planes) = S::computed_parts(&self.y) {
            let work = Scatter { tiles, from, bias, scratch, planes, first, image_pitch };
            S::Computed::in_lanes(level, work);
            if epilogue.follows() {
                let runs = Runs { start: first, len: each, count: tiles.images, pitch: image_pitch };
                // SAFETY: these rows are this call's alone.
                unsafe { epilogue.finish_runs(level, o, planes, runs, None) };
            }
            return;
        }
        let planes = &Parts::new(&mut wide[..tiles.images * each]);
        let work = Scatter { tiles, from, bias, scratch, planes, first: 0, image_pitch: each };
        S::Computed::in_lanes(level, work);
        for (i, sums) in wide[..tiles.images * each].chunks_exact_mut(each).enumerate() {
            let start = first + i * image_pitch;
            if epilogue.follows() {
                epilogue.finish(level, o, start, sums);
            }
            // SAFETY: no other call writes these rows of the image at the same time.
            S::narrow(level, sums, unsafe { self.y.part(start..start + each) });
        }
    }
}

/// Elements of scratch memory for [`Pass::scatter`].
fn scatter_scratch<S: Stored, F: Tile>(tiles: &Tiles<F>) -> usize {
    match S::SAME {
        true => tiles.scatter_scratch(),
        false => (tiles.scatter_scratch() + tiles.images * tiles.outputs()).max(halves_scratch(tiles)),
    }
}

/// Transforms all channels of some images, from the first one of `x` on.
fn gather<S: Stored, F: Tile>(
    cpu: &Cpu,
    g: &Geometry,
    tiles: Tiles<F>,
    x: &[S],
    to: &mut [S::Computed],
    laid: Laid,
) -> Result<()> {
    let channels = g.channels;
    let stride = laid.stride(&tiles, channels);
    assert!(to.len() >= F::PRODUCTS * stride);
    let (to, borders) = (SendPtr(to.as_mut_ptr()), tiles.borders());
    tasks(cpu, channels, F::PRODUCTS * tiles.count(), |c| {
        let mut scratch = Scratch::new(cpu, gather_scratch::<S, F>(&tiles))?;
        // SAFETY: channel `c` of the products lies in `to`, and is written by this task alone.
        let to = Products { start: unsafe { to.get().add(c * laid.channel) }, stride };
        gather_channel(cpu, g, tiles, &borders, &x[c * g.area()..], to, laid, scratch.slice());
        Ok(())
    })
}

/// Transforms one channel of some images, from the first one of `x` on.
#[allow(clippy::too_many_arguments)] // where it is, what of it, and where it goes
fn gather_channel<S: Stored, F: Tile>(
    cpu: &Cpu,
    g: &Geometry,
    tiles: Tiles<F>,
    borders: &Borders,
    x: &[S],
    to: Products<S::Computed>,
    laid: Laid,
    scratch: &mut [S::Computed],
) {
    #[cfg(target_arch = "x86_64")]
    if halves::suits::<S, F>(cpu.level()) {
        let first = [(tiles.first * F::OUT) as isize - tiles.padding[0], -tiles.padding[1]];
        let (images, pitch, size) = (tiles.images, g.channels * g.area(), tiles.size);
        let planes = halves::Planes { data: x, images, pitch, size, first };
        let to = Products { start: to.start.cast(), stride: to.stride };
        let (grid, scratch) = (halves::Grid::new(&tiles), bytemuck::cast_slice_mut(scratch));
        // SAFETY: that level; the channel has room for its products.
        return unsafe { halves::gather::<S, tile::Input>(planes, grid, scratch, to, laid) };
    }
    let (scratch, wide) = scratch.split_at_mut(tiles.gather_scratch());
    let planes = Planes::new(cpu, x, g.channels * g.area(), &tiles.read(), wide);
    S::Computed::in_lanes(cpu.level(), Gather { tiles, borders, planes, scratch, to, laid });
}

/// Elements of scratch memory for [`gather_channel`].
fn gather_scratch<S: Stored, F: Tile>(tiles: &Tiles<F>) -> usize {
    match S::SAME {
        true => tiles.gather_scratch(),
        false => (tiles.gather_scratch() + tiles.read().scratch()).max(halves_scratch(tiles)),
    }
}

/// Elements of scratch memory for the transforms of `halves`.
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
fn halves_scratch<F: Tile>(tiles: &Tiles<F>) -> usize {
    #[cfg(target_arch = "x86_64")]
    return halves::Grid::new(tiles).scratch();
    #[cfg(not(target_arch = "x86_64"))]
    0
}

/// So many images that values between the phases, of so many channels, are at most `most`: where it can be, images whose
/// tile rows are whole registers together.
fn images_at_once<F: Tile>(g: &Geometry, channels: usize, most: usize) -> usize {
    let [rows, columns] = [g.out[1], g.out[2]].map(|n| n.div_ceil(F::OUT));
    let step = (1..LANES).find(|n| (n * columns).is_multiple_of(LANES)).unwrap_or(LANES);
    let fit = most / (F::PRODUCTS * channels * rows * columns).max(1);
    let step = if step <= fit { step } else { 1 };
    let most = (fit / step * step).clamp(1, g.images);
    // Even shares, rather than a small rest.
    g.images.div_ceil(g.images.div_ceil(most)).next_multiple_of(step).min(g.images)
}

/// `c = u @ v` or `c += u @ v`, for the channels of the panels `v` from `first` on.
fn multiply<T: Real>(c: &mut MatMut<'_, T>, old: Old, u: Mat<'_, T>, v: &[T], laid: Laid, first: usize) {
    for start in (0..c.cols).step_by(laid.width) {
        let tiles = start..(start + laid.width).min(c.cols);
        let at = laid.at(start) + first * laid.width;
        let v = Mat::strided(v, at, [u.cols, tiles.len()], [laid.width as isize, 1]);
        // SAFETY: the only part that is alive.
        let mut c = unsafe { c.tile(0..c.rows, tiles) };
        product(PRECISION, &mut c, old, T::ONE, u, v);
    }
}
