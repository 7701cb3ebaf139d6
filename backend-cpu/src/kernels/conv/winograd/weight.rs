//! Transforms of the weight, and of its gradient on the way back, an output channel at a time.

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

/// The distance between rows of so many channels: whole registers.
pub(super) fn padded(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
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
    tasks(cpu, outputs, channels * PRODUCTS * 2, |output| {
        let mut scratch = Scratch::new(cpu, ALL * pitch)?;
        // SAFETY: the rows of this output lie in `to`, and are written by this call alone.
        let to = Products { start: unsafe { to.get().add(output * pitch) }, pitch: outputs * pitch };
        T::in_lanes(cpu.level(), Filter { w, output, outputs, channels, scratch: scratch.slice(), to });
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

/// The weights of one output channel, transformed.
struct Filter<'a, T> {
    w: Weight<'a, T>,
    output: usize,
    outputs: usize,
    channels: usize,
    scratch: &'a mut [T],
    to: Products<T>,
}

impl<T: Real> InLanes<T> for Filter<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Lanes<Element = T>>(self) {
        let (n, pitch) = (self.channels, padded(self.channels));
        // Tap `t` of all channels, one after the other.
        let apart = self.scratch;
        assert!(apart.len() >= ALL * pitch, "too little memory for taps");
        for c in 0..n {
            let at = match self.w {
                Weight::Forward(_) => self.output * n + c,
                Weight::Reversed(_) => c * self.outputs + self.output,
            };
            let (Weight::Forward(w) | Weight::Reversed(w)) = self.w;
            let w = &w[at * ALL..(at + 1) * ALL];
            for t in 0..ALL {
                apart[t * pitch + c] =
                    if matches!(self.w, Weight::Forward(_)) { w[t] } else { w[ALL - 1 - t] };
            }
        }
        for t in 0..ALL {
            apart[t * pitch + n..(t + 1) * pitch].fill(T::ZERO);
        }
        for p in (0..pitch).step_by(V::LANES) {
            let from = apart[p..].as_ptr();
            // SAFETY: a row of padded channels for each tap; the channels of this output are in the products' room, and
            // written by this call alone.
            unsafe {
                let to = self.to.start.add(p);
                tile::twice::<V, tile::Filter, TAPS, IN>(from, pitch, to, self.to.pitch);
            }
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
