//! Transforms of the weight, and of its gradient on the way back, an output channel at a time.

use std::ops::Range;

use gradus_tensor_core::Result;

use super::Weight;
use super::planes::{LANES, Products};
use super::tile::{self, IN, PRODUCTS, TAPS};
use crate::Cpu;
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

/// The transformed weight: product `f` of output `o` and channel `c` at `(f * outputs + o) * padded(channels) + c`.
pub(super) fn transformed<T: Real>(
    cpu: &Cpu,
    w: Weight<'_, T>,
    [outputs, channels]: [usize; 2],
) -> Result<Scratch<T>> {
    let pitch = padded(channels);
    let mut all = Scratch::<T>::new(cpu, PRODUCTS * outputs * pitch)?;
    let to = SendPtr(all.slice().as_mut_ptr());
    let together = match w {
        Weight::Forward(_) => 1,
        Weight::Reversed(_) => TOGETHER,
    };
    tasks(cpu, outputs.div_ceil(together), together * channels * PRODUCTS * 2, |i| {
        let some = i * together..((i + 1) * together).min(outputs);
        let row = row(channels);
        let mut scratch = Scratch::new(cpu, some.len() * ALL * row)?;
        taps(w, some.clone(), [outputs, channels], scratch.slice());
        for (output, taps) in some.zip(scratch.slice().chunks_exact(ALL * row)) {
            // SAFETY: the rows of this output lie in `to`, and are written by this task alone.
            let to = Products { start: unsafe { to.get().add(output * pitch) }, pitch: outputs * pitch };
            T::in_lanes(cpu.level(), Filter { taps, row, channels, to });
        }
        Ok(())
    })?;
    Ok(all)
}

/// The weight's gradient `gw` from that of the transformed weight.
pub(super) fn gradient<T: Real>(
    cpu: &Cpu,
    mut u: Scratch<T>,
    [outputs, channels]: [usize; 2],
    gw: &mut [T],
) -> Result<()> {
    let pitch = padded(channels);
    assert!(u.slice().len() >= PRODUCTS * outputs * pitch);
    let u = SendPtr(u.slice().as_mut_ptr());
    let parts = Parts::new(gw);
    tasks(cpu, outputs, channels * PRODUCTS * 2, |o| {
        let mut scratch = Scratch::new(cpu, ALL * pitch)?;
        // SAFETY: the rows of output `o` lie in `u`.
        let u = Products { start: unsafe { u.get().add(o * pitch) }, pitch: outputs * pitch };
        // SAFETY: each output channel's weights are written by one task.
        let gw = unsafe { parts.part(o * channels * ALL..(o + 1) * channels * ALL) };
        T::in_lanes(cpu.level(), FilterAdjoint { u, channels, scratch: scratch.slice(), gw });
        Ok(())
    })
}

/// For each of some outputs, each tap of all channels, one after the other.
fn taps<T: Real>(w: Weight<'_, T>, some: Range<usize>, [outputs, channels]: [usize; 2], to: &mut [T]) {
    let pitch = row(channels);
    for row in to.chunks_exact_mut(pitch.max(1)) {
        row[channels..].fill(T::ZERO);
    }
    match w {
        Weight::Forward(w) => {
            for (to, output) in to.chunks_exact_mut(ALL * pitch).zip(some) {
                let filters = w[output * channels * ALL..(output + 1) * channels * ALL].as_chunks::<ALL>().0;
                for (t, to) in to.chunks_exact_mut(pitch).enumerate() {
                    to.iter_mut().zip(filters).for_each(|(to, filter)| *to = filter[t]);
                }
            }
        }
        Weight::Reversed(w) => {
            let filters = w.as_chunks::<ALL>().0;
            for c in 0..channels {
                let filters = &filters[c * outputs..][some.clone()];
                for (to, filter) in to.chunks_exact_mut(ALL * pitch).zip(filters) {
                    filter.iter().rev().enumerate().for_each(|(t, &tap)| to[t * pitch + c] = tap);
                }
            }
        }
    }
}

/// The weights of one output channel, transformed.
struct Filter<'a, T> {
    /// Each tap of all channels.
    taps: &'a [T],
    /// The distance between taps.
    row: usize,
    channels: usize,
    to: Products<T>,
}

impl<T: Real> InLanes<T> for Filter<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Lanes<Element = T>>(self) {
        let Filter { taps, row, channels, to } = self;
        assert!(taps.len() >= ALL * row, "too few taps");
        for p in (0..padded(channels)).step_by(V::LANES) {
            let from = taps[p..].as_ptr();
            // SAFETY: a row of padded channels for each tap; the channels of this output are in the products' room, and
            // written by this call alone.
            unsafe { tile::twice::<V, tile::Filter, TAPS, IN>(from, row, to.start.add(p), to.pitch) };
        }
    }
}

/// The gradients of one output channel's weights.
struct FilterAdjoint<'a, T> {
    u: Products<T>,
    channels: usize,
    scratch: &'a mut [T],
    gw: &'a mut [T],
}

impl<T: Real> InLanes<T> for FilterAdjoint<'_, T> {
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
                tile::twice::<V, tile::FilterAdjoint, IN, TAPS>(from, self.u.pitch, to, pitch);
            }
        }
        for (c, gw) in self.gw.chunks_exact_mut(ALL).enumerate() {
            for (t, gw) in gw.iter_mut().enumerate() {
                *gw = apart[t * pitch + c];
            }
        }
    }
}
