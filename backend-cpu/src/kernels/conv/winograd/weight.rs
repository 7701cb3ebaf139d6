//! Transforms of the weight, and of its gradient on the way back, an output channel at a time.

use std::marker::PhantomData;
use std::ops::Range;

use gradus_tensor_core::Result;

use super::Weight;
use super::planes::{LANES, Products, stride};
use super::tile::{self, TAPS, Tile};
use crate::Cpu;
use crate::kernels::conv::geometry::Geometry;
use crate::kernels::dense::{Parts, Real, Scratch, Stored, tasks};
use crate::kernels::matmul::registers::{InLanes, Lanes, Registers};
use crate::parallel::SendPtr;

/// Taps of a filter.
const ALL: usize = TAPS * TAPS;

/// Output channels whose filters are read together: each line of reversed ones holds several.
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
pub(super) unsafe fn transform<S: Stored, F: Tile>(
    cpu: &Cpu,
    g: &Geometry,
    w: Weight<'_, S>,
    [outputs, channels]: [Range<usize>; 2],
    to: Products<S::Computed>,
) -> Result<()> {
    let row = row(channels.len());
    let mut scratch = Scratch::new(cpu, ALL * row)?;
    let mut memory = Scratch::new(cpu, outputs.len().min(TOGETHER) * channels.len() * ALL)?;
    for first in outputs.clone().step_by(TOGETHER) {
        let some = first..(first + TOGETHER).min(outputs.end);
        let filters =
            filters(cpu, w, [g.outputs, g.channels], [some.clone(), channels.clone()], memory.slice());
        for (i, output) in some.enumerate() {
            let before = (output - outputs.start) * padded(channels.len());
            // SAFETY: promised by the caller.
            let to = Products { start: unsafe { to.start.add(before) }, ..to };
            let filters = Filters { data: &filters.data[i * filters.steps[0]..], ..filters };
            let taps = scratch.slice();
            let work = Filter::<S::Computed, F> {
                filters,
                taps,
                row,
                channels: channels.len(),
                to,
                tile: PhantomData,
            };
            S::Computed::in_lanes(cpu.level(), work);
        }
    }
    Ok(())
}

/// All of a weight transformed: product `f` of output `o` and channel `c` at
/// `f * stride(outputs, padded(channels)) + o * padded(channels) + c`.
pub(super) fn transformed<S: Stored, F: Tile>(
    cpu: &Cpu,
    g: &Geometry,
    w: Weight<'_, S>,
) -> Result<Scratch<S::Computed>> {
    let (outputs, channels) = (g.outputs, g.channels);
    let stride = stride(outputs, padded(channels));
    let mut all = Scratch::<S::Computed>::new(cpu, F::PRODUCTS * stride)?;
    let to = SendPtr(all.slice().as_mut_ptr());
    tasks(cpu, outputs.div_ceil(TOGETHER), TOGETHER * channels * F::PRODUCTS * 2, |i| {
        let some = i * TOGETHER..((i + 1) * TOGETHER).min(outputs);
        // SAFETY: the rows of these outputs lie in `to`, and are written by this task alone.
        unsafe {
            let to = Products { start: to.get().add(some.start * padded(channels)), stride };
            transform::<S, F>(cpu, g, w, [some, 0..channels], to)
        }
    })?;
    Ok(all)
}

/// The gradient of the weights of some outputs and channels from that of the transformed ones, which lie as [`transform`]
/// puts them.
///
/// # Safety
/// All of them may be read; nobody else uses these weights' parts of `gw` now.
pub(super) unsafe fn gradient<S: Stored, F: Tile>(
    cpu: &Cpu,
    g: &Geometry,
    u: Products<S::Computed>,
    [outputs, channels]: [Range<usize>; 2],
    gw: &Parts<'_, S>,
) -> Result<()> {
    let (level, pitch) = (cpu.level(), padded(channels.len()));
    let mut scratch = Scratch::new(cpu, ALL * pitch)?;
    let mut wide = Scratch::<S::Computed>::new(cpu, channels.len() * ALL)?;
    for (i, o) in outputs.enumerate() {
        let range = (o * g.channels + channels.start) * ALL..(o * g.channels + channels.end) * ALL;
        // SAFETY: promised by the caller.
        let u = Products { start: unsafe { u.start.add(i * pitch) }, ..u };
        let (scratch, gw_wide) = (scratch.slice(), wide.slice());
        let work = FilterAdjoint::<_, F> { u, scratch, gw: gw_wide, tile: PhantomData };
        S::Computed::in_lanes(level, work);
        // SAFETY: promised by the caller.
        S::narrow(level, wide.as_slice(), unsafe { gw.part(range) });
    }
    Ok(())
}

/// Filters in numbers to compute with: that of output `o` and channel `c` at `o * steps[0] + c * steps[1]`.
#[derive(Clone, Copy)]
struct Filters<'a, T> {
    data: &'a [T],
    steps: [usize; 2],
    /// Whether the last tap comes first.
    reversed: bool,
}

/// The filters of some outputs and channels, where they lie if they lie together, otherwise in `memory`.
fn filters<'a, S: Stored>(
    cpu: &Cpu,
    w: Weight<'a, S>,
    [outputs, channels]: [usize; 2],
    [some, part]: [Range<usize>; 2],
    memory: &'a mut [S::Computed],
) -> Filters<'a, S::Computed> {
    let level = cpu.level();
    match w {
        Weight::Forward(w) => {
            let (first, each) = ((some.start * channels + part.start) * ALL, part.len() * ALL);
            if let Some(w) = S::computed(w) {
                return Filters { data: &w[first..], steps: [channels * ALL, ALL], reversed: false };
            }
            for (o, to) in memory.chunks_exact_mut(each).take(some.len()).enumerate() {
                S::widen(level, &w[first + o * channels * ALL..], to);
            }
            Filters { data: memory, steps: [each, ALL], reversed: false }
        }
        Weight::Reversed(w) => {
            let (first, each) = ((part.start * outputs + some.start) * ALL, some.len() * ALL);
            for (c, to) in memory.chunks_exact_mut(each).take(part.len()).enumerate() {
                S::widen(level, &w[first + c * outputs * ALL..], to);
            }
            Filters { data: memory, steps: [ALL, each], reversed: true }
        }
    }
}

/// The weights of one output channel, transformed.
struct Filter<'a, T, F> {
    /// Those of this output.
    filters: Filters<'a, T>,
    /// Memory for each tap of all channels, and the distance between taps.
    taps: &'a mut [T],
    row: usize,
    channels: usize,
    to: Products<T>,
    tile: PhantomData<F>,
}

impl<T: Real, F: Tile> InLanes<T> for Filter<'_, T, F> {
    #[inline(always)]
    unsafe fn run<V: Lanes<Element = T>>(self) {
        let Filter { filters: Filters { data, steps, reversed }, taps, row, channels, to, .. } = self;
        assert!(channels > 0 && data.len() >= (channels - 1) * steps[1] + ALL, "too few filters");
        assert!(taps.len() >= ALL * row && row >= padded(channels), "too little memory for taps");
        let whole = if V::BLOCK + 1 == ALL { channels / V::BLOCK * V::BLOCK } else { 0 };
        for c in (0..whole).step_by(V::BLOCK.max(1)) {
            let from = &data[c * steps[1]..];
            // SAFETY: all taps but the last of so many filters, and a row for each of them.
            unsafe { V::transpose(from.as_ptr(), steps[1] as isize, taps[c..].as_mut_ptr(), row) };
            (0..V::BLOCK).for_each(|i| taps[(ALL - 1) * row + c + i] = from[i * steps[1] + ALL - 1]);
        }
        for c in whole..channels {
            (0..ALL).for_each(|t| taps[t * row + c] = data[c * steps[1] + t]);
        }
        taps.chunks_exact_mut(row).for_each(|taps| taps[channels..padded(channels)].fill(T::ZERO));
        let (first, step) = if reversed { ((ALL - 1) * row, -(row as isize)) } else { (0, row as isize) };
        for p in (0..padded(channels)).step_by(V::LANES) {
            let from = taps[first + p..].as_ptr();
            // SAFETY: a row of padded channels for each tap; the channels of this output are in the products' room, and
            // written by this call alone.
            unsafe { tile::twice::<V, F, tile::Filter>(from, step, to.start.add(p), to.stride) };
        }
    }
}

/// The gradients of one output channel's weights.
struct FilterAdjoint<'a, T, F> {
    u: Products<T>,
    scratch: &'a mut [T],
    /// All taps of all channels.
    gw: &'a mut [T],
    tile: PhantomData<F>,
}

impl<T: Real, F: Tile> InLanes<T> for FilterAdjoint<'_, T, F> {
    #[inline(always)]
    unsafe fn run<V: Lanes<Element = T>>(self) {
        let FilterAdjoint { u, scratch: apart, gw, .. } = self;
        let (channels, pitch) = (gw.len() / ALL, padded(gw.len() / ALL));
        assert!(apart.len() >= ALL * pitch, "too little memory for taps");
        for p in (0..pitch).step_by(V::LANES) {
            let to = apart[p..].as_mut_ptr();
            // SAFETY: the channels of this output are in the products' memory, which nobody writes now; there is a row of
            // padded channels for each tap.
            unsafe {
                let from = u.start.add(p);
                tile::twice::<V, F, tile::FilterAdjoint>(from, u.stride as isize, to, pitch);
            }
        }
        let whole = if V::BLOCK + 1 == ALL { channels / V::BLOCK * V::BLOCK } else { 0 };
        for c in (0..whole).step_by(V::BLOCK.max(1)) {
            let to = &mut gw[c * ALL..(c + V::BLOCK) * ALL];
            // SAFETY: a row for each tap but the last, and room for so many filters.
            unsafe { V::transpose(apart[c..].as_ptr(), pitch as isize, to.as_mut_ptr(), ALL) };
            (0..V::BLOCK).for_each(|i| to[i * ALL + ALL - 1] = apart[(ALL - 1) * pitch + c + i]);
        }
        for c in whole..channels {
            (0..ALL).for_each(|t| gw[c * ALL + t] = apart[t * pitch + c]);
        }
    }
}
