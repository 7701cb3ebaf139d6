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
//! two ways. Every cut depends on shapes alone.
//!
//! Errors with the small tile are about those of the direct sum (see [`tile`]). But a value that is not finite reaches all
//! outputs of the tiles that read it, which may be neighbours of those whose window contains it: one further along an axis
//! with the small tile, and three with the large one.

mod blocks;
mod four;
mod gradient;
mod outputs;
mod planes;
mod tile;
mod two;
mod weight;

use std::marker::PhantomData;

use gradus_tensor_core::{DType, Result};

use self::four::Four;
use self::planes::{Gather, Products, Scatter, Tiles};
use self::tile::Tile;
use self::two::Two;
use super::geometry::Geometry;
use crate::kernels::dense::{Parts, Real, Scratch, tasks};
use crate::parallel::SendPtr;
use crate::{Cpu, Precision};

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

/// `y = conv(x, w) + bias`.
pub(super) fn convolve<T: Real>(
    cpu: &Cpu,
    size: Size,
    g: &Geometry,
    x: &[T],
    w: Weight<'_, T>,
    bias: Option<&[T]>,
    y: &mut [T],
) -> Result<()> {
    match size {
        Size::Two => Pass::<T, Two>::new(cpu, g, x, w, bias, y).run(),
        Size::Four => Pass::<T, Four>::new(cpu, g, x, w, bias, y).run(),
    }
}

/// `gw` from the output's gradient and the input.
pub(super) fn backward_weight<T: Real>(
    cpu: &Cpu,
    size: Size,
    g: &Geometry,
    gy: &[T],
    x: &[T],
    gw: &mut [T],
) -> Result<()> {
    match size {
        Size::Two => gradient::backward_weight::<T, Two>(cpu, g, gy, x, gw),
        Size::Four => gradient::backward_weight::<T, Four>(cpu, g, gy, x, gw),
    }
}

/// A convolution under way.
struct Pass<'a, T, F> {
    cpu: &'a Cpu,
    g: &'a Geometry,
    x: &'a [T],
    w: Weight<'a, T>,
    bias: Option<&'a [T]>,
    y: Parts<'a, T>,
    tile: PhantomData<F>,
}

impl<'a, T: Real, F: Tile> Pass<'a, T, F> {
    fn new(
        cpu: &'a Cpu,
        g: &'a Geometry,
        x: &'a [T],
        w: Weight<'a, T>,
        bias: Option<&'a [T]>,
        y: &'a mut [T],
    ) -> Self {
        Pass { cpu, g, x, w, bias, y: Parts::new(y), tile: PhantomData }
    }

    fn run(&self) -> Result<()> {
        match blocks::cut::<F>(self.g) {
            Some(blocks) => self.in_blocks(&blocks),
            None => self.by_outputs(),
        }
    }

    /// Transforms an output channel's products into its planes, from image `first` on.
    fn scatter(&self, tiles: Tiles<F>, first: usize, o: usize, from: Products<T>, scratch: &mut [T]) {
        let (outputs, area) = (self.g.outputs, self.g.out_area());
        let work = Scatter {
            tiles,
            from,
            bias: self.bias.map_or(T::ZERO, |b| b[o]),
            scratch,
            planes: &self.y,
            first: (first * outputs + o) * area,
            image_pitch: outputs * area,
        };
        T::in_lanes(self.cpu.level(), work);
    }
}

/// Transforms all channels of some images, from the first one of `x` on.
fn gather<T: Real, F: Tile>(cpu: &Cpu, g: &Geometry, tiles: Tiles<F>, x: &[T], to: &mut [T]) -> Result<()> {
    let (channels, pitch) = (g.channels, tiles.pitch());
    let stride = planes::stride(channels, pitch);
    assert!(to.len() >= F::PRODUCTS * stride);
    let (to, borders) = (SendPtr(to.as_mut_ptr()), tiles.borders());
    tasks(cpu, channels, F::PRODUCTS * tiles.count(), |c| {
        let mut scratch = Scratch::new(cpu, tiles.gather_scratch())?;
        let work = Gather {
            tiles,
            borders: &borders,
            planes: &x[c * g.area()..],
            image_pitch: channels * g.area(),
            scratch: scratch.slice(),
            // SAFETY: channel `c` of the products lies in `to`, and is written by this task alone.
            to: Products { start: unsafe { to.get().add(c * pitch) }, stride },
        };
        T::in_lanes(cpu.level(), work);
        Ok(())
    })
}

/// So many images that values between the phases, of so many channels, are at most `most`.
fn images_at_once<F: Tile>(g: &Geometry, channels: usize, most: usize) -> usize {
    let of_one = F::PRODUCTS * channels * g.out[1].div_ceil(F::OUT) * g.out[2].div_ceil(F::OUT);
    // Even shares, rather than a small rest.
    let parts = (g.images * of_one).div_ceil(most);
    g.images.div_ceil(parts.clamp(1, g.images))
}
