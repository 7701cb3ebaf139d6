//! Transforms of the weight, and of its gradient on the way back, an output channel at a time.

use std::marker::PhantomData;
use std::ops::Range;

use gradus_tensor_core::Result;

use super::Weight;
use super::planes::{LANES, Products, stride};
use super::tile::{self, TAPS, Tile};
use crate::Cpu;
use crate::kernels::conv::geometry::Geometry;
use crate::kernels::dense::{Parts, Real, Scratch, tasks};
use crate::kernels::matmul::registers::{InLanes, Lanes};
use crate::parallel::SendPtr;

/// Taps of a filter.
const ALL: usize = TAPS * TAPS;

/// Output channels whose reversed weights are read together: each line of them holds several.
const TOGETHER: usize = 16;

/// The distance between rows of so many channels: whole registers.
pub(super) fn padded(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

/// The distance between rows of taps: not a power of two, since a line of each is written at once.
fn row(channels: usize) -> usize {
    padded(channels) + LANES
}

/// Transforms the weights of some outputs and channels: product `f` of the `o`-th output and `c`-th channel among them goes
/// to `f * to.stride + o * padded(channels) + c`.
///
/// # Safety
/// There is room for all, which nobody else uses now.
pub(super) unsafe fn transform<T: Real, F: Tile>(
    cpu: &Cpu,
    g: &Geometry,
    w: Weight<'_, T>,
    [outputs, channels]: [Range<usize>; 2],
    to: Products<T>,
) -> Result<()> {
    let row = row(channels.len());
    let mut scratch = Scratch::new(cpu, outputs.len().min(TOGETHER) * ALL * row)?;
    for first in outputs.clone().step_by(TOGETHER) {
        let some = first..(first + TOGETHER).min(outputs.end);
        taps(w, [g.outputs, g.channels], [some.clone(), channels.clone()], scratch.slice());
        for (output, taps) in some.zip(scratch.slice().chunks_exact(ALL * row)) {
            let before = (output - outputs.start) * padded(channels.len());
            // SAFETY: promised by the caller.
            let to = Products { start: unsafe { to.start.add(before) }, ..to };
            let work = Filter::<T, F> { taps, row, channels: channels.len(), to, tile: PhantomData };
            T::in_lanes(cpu.level(), work);
        }
    }
    Ok(())
}

/// All of a weight transformed: product `f` of output `o` and channel `c` at
/// `f * stride(outputs, padded(channels)) + o * padded(channels) + c`.
pub(super) fn transformed<T: Real, F: Tile>(cpu: &Cpu, g: &Geometry, w: Weight<'_, T>) -> Result<Scratch<T>> {
    let (outputs, channels) = (g.outputs, g.channels);
    let stride = stride(outputs, padded(channels));
    let mut all = Scratch::<T>::new(cpu, F::PRODUCTS * stride)?;
    let to = SendPtr(all.slice().as_mut_ptr());
    tasks(cpu, outputs.div_ceil(TOGETHER), TOGETHER * channels * F::PRODUCTS * 2, |i| {
        let some = i * TOGETHER..((i + 1) * TOGETHER).min(outputs);
        // SAFETY: the rows of these outputs lie in `to`, and are written by this task alone.
        unsafe {
            let to = Products { start: to.get().add(some.start * padded(channels)), stride };
            transform::<T, F>(cpu, g, w, [some, 0..channels], to)
        }
    })?;
    Ok(all)
}

/// The gradient of the weights of some outputs and channels from that of the transformed ones, which lie as [`transform`]
/// puts them.
///
/// # Safety
/// All of them may be read; nobody else uses these weights' parts of `gw` now.
pub(super) unsafe fn gradient<T: Real, F: Tile>(
    cpu: &Cpu,
    g: &Geometry,
    u: Products<T>,
    [outputs, channels]: [Range<usize>; 2],
    gw: &Parts<'_, T>,
) -> Result<()> {
    let pitch = padded(channels.len());
    let mut scratch = Scratch::new(cpu, ALL * pitch)?;
    for (i, o) in outputs.enumerate() {
        let first = o * g.channels;
        // SAFETY: promised by the caller.
        let (u, gw) = unsafe {
            let u = Products { start: u.start.add(i * pitch), ..u };
            (u, gw.part((first + channels.start) * ALL..(first + channels.end) * ALL))
        };
        let scratch = scratch.slice();
        T::in_lanes(
            cpu.level(),
            FilterAdjoint::<T, F> { u, channels: channels.len(), scratch, gw, tile: PhantomData },
        );
    }
    Ok(())
}

/// For each of some outputs, each tap of some channels, one after the other.
fn taps<T: Real>(
    w: Weight<'_, T>,
    [outputs, channels]: [usize; 2],
    [some, part]: [Range<usize>; 2],
    to: &mut [T],
) {
    let pitch = row(part.len());
    for row in to.chunks_exact_mut(pitch) {
        row[part.len()..].fill(T::ZERO);
    }
    match w {
        Weight::Forward(w) => {
            let filters = w.as_chunks::<ALL>().0;
            for (to, output) in to.chunks_exact_mut(ALL * pitch).zip(some) {
                let filters = &filters[output * channels..][part.clone()];
                for (t, to) in to.chunks_exact_mut(pitch).enumerate() {
                    to.iter_mut().zip(filters).for_each(|(to, filter)| *to = filter[t]);
                }
            }
        }
        Weight::Reversed(w) => {
            let filters = w.as_chunks::<ALL>().0;
            for (c, channel) in part.enumerate() {
                let filters = &filters[channel * outputs..][some.clone()];
                for (to, filter) in to.chunks_exact_mut(ALL * pitch).zip(filters) {
                    filter.iter().rev().enumerate().for_each(|(t, &tap)| to[t * pitch + c] = tap);
                }
            }
        }
    }
}

/// The weights of one output channel, transformed.
struct Filter<'a, T, F> {
    /// Each tap of all channels.
    taps: &'a [T],
    /// The distance between taps.
    row: usize,
    channels: usize,
    to: Products<T>,
    tile: PhantomData<F>,
}

impl<T: Real, F: Tile> InLanes<T> for Filter<'_, T, F> {
    #[inline(always)]
    unsafe fn run<V: Lanes<Element = T>>(self) {
        let Filter { taps, row, channels, to, .. } = self;
        assert!(taps.len() >= ALL * row, "too few taps");
        for p in (0..padded(channels)).step_by(V::LANES) {
            let from = taps[p..].as_ptr();
            // SAFETY: a row of padded channels for each tap; the channels of this output are in the products' room, and
            // written by this call alone.
            unsafe { tile::twice::<V, F, tile::Filter>(from, row, to.start.add(p), to.stride) };
        }
    }
}

/// The gradients of one output channel's weights.
struct FilterAdjoint<'a, T, F> {
    u: Products<T>,
    channels: usize,
    scratch: &'a mut [T],
    gw: &'a mut [T],
    tile: PhantomData<F>,
}

impl<T: Real, F: Tile> InLanes<T> for FilterAdjoint<'_, T, F> {
    #[inline(always)]
    unsafe fn run<V: Lanes<Element = T>>(self) {
        let pitch = padded(self.channels);
        let apart = self.scratch;
        assert!(apart.len() >= ALL * pitch, "too little memory for taps");
        for p in (0..pitch).step_by(V::LANES) {
            let to = apart[p..].as_mut_ptr();
            // SAFETY: the channels of this output are in the products' memory, which nobody writes now; there is a row of
            // padded channels for each tap.
            unsafe {
                let from = self.u.start.add(p);
                tile::twice::<V, F, tile::FilterAdjoint>(from, self.u.stride, to, pitch);
            }
        }
        for (c, gw) in self.gw.chunks_exact_mut(ALL).enumerate() {
            for (t, gw) in gw.iter_mut().enumerate() {
                *gw = apart[t * pitch + c];
            }
        }
    }
}
