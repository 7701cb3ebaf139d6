//! Sixteen channels at a time.
//!
//! A tile of sixteen planes is brought into scratch memory with the channels innermost, where each window's
//! element is one vector and stride, padding and dilation are only addresses. The result goes back the same way.

use gradus_tensor_core::Result;

use super::super::epilogue::{Epilogue, Scaled};
use super::super::geometry::Geometry;
use super::across::{Across, Row, WIDTH};
use super::tile::{LANES, Lanes, Planes, accumulate};
use crate::Cpu;
use crate::kernels::dense::{Parts, Real, Scratch, tasks};
use crate::kernels::matmul::registers::{InLanes, Lanes as Register};

/// Positions that make a task worth its start.
const POSITIONS: usize = 512;

/// The weights with their channels innermost: of each block of channels, each output and each tap.
struct Weights<T> {
    lanes: Scratch<T>,
}

impl<T: Real> Weights<T> {
    fn new(cpu: &Cpu, g: &Geometry, w: &[T], place: impl Fn(usize) -> usize) -> Result<Self> {
        let (taps, outputs) = (g.taps(), g.outputs);
        let mut lanes = Scratch::new(cpu, g.groups.div_ceil(LANES) * outputs * taps * LANES)?;
        let to = lanes.slice();
        to.fill(T::ZERO);
        for (channel, from) in w.chunks_exact(taps).enumerate() {
            let (group, output) = (channel / outputs, channel % outputs);
            let first = (group / LANES * outputs + output) * taps;
            for (tap, &w) in from.iter().enumerate() {
                to[(first + place(tap)) * LANES + group % LANES] = w;
            }
        }
        Ok(Weights { lanes })
    }

    fn lanes(&mut self) -> &[Lanes<T>] {
        self.lanes.slice().as_chunks().0
    }
}

/// The tasks of a pass: blocks of channels, of some images each.
pub(super) struct Blocks {
    blocks: usize,
    together: usize,
    pub(super) count: usize,
}

impl Blocks {
    pub(super) fn new(g: &Geometry, together: usize) -> Self {
        let blocks = g.groups.div_ceil(LANES);
        Blocks { blocks, together, count: blocks * g.images.div_ceil(together.max(1)) }
    }

    fn of_positions(g: &Geometry) -> Self {
        Self::new(g, (POSITIONS / g.area().max(g.out_area())).clamp(1, g.images.max(1)))
    }

    /// The images of a task, its first group, and how many groups it has.
    pub(super) fn task(&self, g: &Geometry, i: usize) -> (std::ops::Range<usize>, usize, usize) {
        let (images, block) = (i / self.blocks * self.together, i % self.blocks);
        let first = block * LANES;
        (images..(images + self.together).min(g.images), first, LANES.min(g.groups - first))
    }

    pub(super) fn cost(&self, g: &Geometry) -> usize {
        self.together * LANES * (2 * g.area() + g.outputs * g.out_area() * (2 + g.taps()))
    }
}

/// The outputs of a convolution.
pub(super) fn forward<T: Real>(
    cpu: &Cpu,
    g: &Geometry,
    x: &[T],
    w: &[T],
    epilogue: &Epilogue<'_, T>,
    y: &mut [T],
) -> Result<()> {
    let mut weights = Weights::new(cpu, g, w, |tap| tap)?;
    forward_by(cpu, g, x, weights.lanes(), epilogue, y)
}

fn forward_by<T: Real>(
    cpu: &Cpu,
    g: &Geometry,
    x: &[T],
    weights: &[Lanes<T>],
    epilogue: &Epilogue<'_, T>,
    y: &mut [T],
) -> Result<()> {
    let (area, out_area, outputs, taps) = (g.area(), g.out_area(), g.outputs, g.taps());
    let (blocks, across, parts) = (Blocks::of_positions(g), Across::new(g), Parts::new(y));
    let scaled_in_lanes = epilogue.scaled::<0>([]).is_some();
    tasks(cpu, blocks.count, blocks.cost(g), |i| {
        let (images, group, count) = blocks.task(g, i);
        let mut scratch = Scratch::new(cpu, (area + out_area) * LANES)?;
        let (tile, out) = scratch.slice().as_chunks_mut().0.split_at_mut(area);
        let starts: Vec<_> = (0..outputs)
            .map(|output| {
                let channels: [_; LANES] =
                    std::array::from_fn(|lane| (lane < count).then_some((group + lane) * outputs + output));
                let bias = channels.map(|channel| channel.map_or(T::ZERO, |c| epilogue.start(c)));
                (bias, epilogue.scaled(channels))
            })
            .collect();
        for image in images {
            let first = image * g.groups + group;
            // SAFETY: each output plane is written by one task.
            let y = unsafe { parts.part(first * outputs * out_area..(first + count) * outputs * out_area) };
            for (output, &(bias, scaled)) in starts.iter().enumerate() {
                let work = Forward {
                    g,
                    across: &across,
                    x: (output == 0).then(|| &x[first * area..(first + count) * area]),
                    weights: &weights[(group / LANES * outputs + output) * taps..][..taps],
                    bias,
                    scaled,
                    tile,
                    out,
                    y: &mut y[output * out_area..],
                    count,
                };
                T::in_lanes(cpu.level(), work);
            }
            if scaled_in_lanes {
                epilogue.activate(cpu.level(), y);
                continue;
            }
            for (i, y) in y.chunks_exact_mut(out_area).enumerate().filter(|_| epilogue.follows()) {
                let at = (first * outputs + i) * out_area;
                epilogue.finish(cpu.level(), group * outputs + i, at, y);
            }
        }
        Ok(())
    })
}

struct Forward<'a, T> {
    g: &'a Geometry,
    across: &'a Across,
    /// The input, unless it is in the tile already.
    x: Option<&'a [T]>,
    weights: &'a [Lanes<T>],
    bias: Lanes<T>,
    scaled: Option<Scaled<T, LANES>>,
    tile: &'a mut [Lanes<T>],
    out: &'a mut [Lanes<T>],
    y: &'a mut [T],
    count: usize,
}

impl<T: Real> InLanes<T> for Forward<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Register<Element = T>>(self) {
        let Self { g, across, x, weights, bias, scaled, tile, out, y, count } = self;
        if let Some(x) = x {
            // SAFETY: the machine has the register.
            unsafe { Planes { count, pitch: g.area() }.load::<V>(x, tile) };
        }
        out.fill(bias);
        let (width, out_width, taps) = (g.size[2], g.out[2], g.kernel[2]);
        let below = g.dilation[1] * width;
        for &Row { out: to, row, tap, three } in &across.rows {
            let out = &mut out[to * out_width..(to + 1) * out_width];
            let rows = &tile[row * width..];
            let weights = &weights[tap * taps..];
            let height = if three { WIDTH } else { 1 };
            if !across.inside.is_empty() {
                let out = &mut out[across.inside.clone()];
                let rows = &rows[across.start..];
                if three {
                    windows::<T, 3, WIDTH>(out, rows, below, weights, across);
                } else {
                    windows::<T, 1, WIDTH>(out, rows, below, weights, across);
                }
            }
            for j in 0..height {
                for (tap, range, start) in &across.edges {
                    let out = &mut out[range.clone()];
                    let row = &rows[j * below + start..];
                    windows::<T, 1, 1>(out, row, below, &weights[j * taps + tap..], across);
                }
            }
        }
        if let Some(scaled) = scaled {
            scaled.apply(out);
        }
        // SAFETY: the machine has the register.
        unsafe { Planes { count, pitch: g.outputs * g.out_area() }.store::<V>(out, y) };
    }
}

/// Adds the products of some rows and taps to a run of outputs. Rows are `below` apart, weights follow each other.
#[inline(always)]
fn windows<T: Real, const R: usize, const K: usize>(
    out: &mut [Lanes<T>],
    rows: &[Lanes<T>],
    below: usize,
    weights: &[Lanes<T>],
    across: &Across,
) {
    let Across { stride, dilation, .. } = *across;
    let mut w = [[[T::ZERO; LANES]; K]; R];
    w.as_flattened_mut().copy_from_slice(&weights[..R * K]);
    let last = (out.len().max(1) - 1) * stride;
    assert!((R - 1) * below + last + (K - 1) * dilation < rows.len(), "windows outside their plane");
    for (i, out) in out.iter_mut().enumerate() {
        let mut sum = *out;
        for (r, w) in w.iter().enumerate() {
            for (k, w) in w.iter().enumerate() {
                // SAFETY: at most the position of the last window's last element, which lies in the rows.
                let x = unsafe { rows.get_unchecked(r * below + i * stride + k * dilation) };
                accumulate(&mut sum, x, w);
            }
        }
        *out = sum;
    }
}

/// `gx` from the output's gradient and the weight.
pub(super) fn backward_input<T: Real>(
    cpu: &Cpu,
    g: &Geometry,
    gy: &[T],
    w: &[T],
    gx: &mut [T],
) -> Result<()> {
    let taps = g.taps();
    if g.stride == [1; 3] && g.outputs == 1 {
        let mut weights = Weights::new(cpu, g, w, |tap| taps - 1 - tap)?;
        return forward_by(cpu, &g.reversed(), gy, weights.lanes(), &Epilogue::bias(None), gx);
    }
    let mut weights = Weights::new(cpu, g, w, |tap| tap)?;
    let weights = weights.lanes();
    let (area, out_area, outputs) = (g.area(), g.out_area(), g.outputs);
    let (blocks, across, parts) = (Blocks::of_positions(g), Across::new(g), Parts::new(gx));
    tasks(cpu, blocks.count, blocks.cost(g), |i| {
        let (images, group, count) = blocks.task(g, i);
        let mut scratch = Scratch::new(cpu, (area + out_area) * LANES)?;
        let (sums, tile) = scratch.slice().as_chunks_mut().0.split_at_mut(area);
        for image in images {
            let first = image * g.groups + group;
            // SAFETY: each input plane is written by one task.
            let gx = unsafe { parts.part(first * area..(first + count) * area) };
            let gy = &gy[first * outputs * out_area..(first + count) * outputs * out_area];
            let weights = &weights[group / LANES * outputs * taps..][..outputs * taps];
            T::in_lanes(
                cpu.level(),
                BackwardInput { g, across: &across, gy, weights, tile, sums, gx, count },
            );
        }
        Ok(())
    })
}

struct BackwardInput<'a, T> {
    g: &'a Geometry,
    across: &'a Across,
    gy: &'a [T],
    weights: &'a [Lanes<T>],
    tile: &'a mut [Lanes<T>],
    sums: &'a mut [Lanes<T>],
    gx: &'a mut [T],
    count: usize,
}

impl<T: Real> InLanes<T> for BackwardInput<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Register<Element = T>>(self) {
        let Self { g, across, gy, weights, tile, sums, gx, count } = self;
        sums.fill([T::ZERO; LANES]);
        let (width, out_width, taps) = (g.size[2], g.out[2], g.kernel[2]);
        let below = g.dilation[1] * width;
        for (output, weights) in weights.chunks_exact(g.taps()).enumerate() {
            // SAFETY: the machine has the register.
            unsafe {
                Planes { count, pitch: g.outputs * g.out_area() }
                    .load::<V>(&gy[output * g.out_area()..], tile)
            };
            for &Row { out: from, row, tap, three } in &across.rows {
                let from = &tile[from * out_width..(from + 1) * out_width];
                for j in 0..if three { WIDTH } else { 1 } {
                    let sums = &mut sums[row * width + j * below..][..width];
                    let weights = &weights[(tap + j) * taps..][..taps];
                    if !across.inside.is_empty() {
                        for (k, w) in weights.iter().enumerate() {
                            let start = across.start + k * across.dilation;
                            spread(&from[across.inside.clone()], &mut sums[start..], w, across.stride);
                        }
                    }
                    for (tap, range, start) in &across.edges {
                        spread(&from[range.clone()], &mut sums[*start..], &weights[*tap], across.stride);
                    }
                }
            }
        }
        // SAFETY: the machine has the register.
        unsafe { Planes { count, pitch: g.area() }.store::<V>(sums, gx) };
    }
}

/// Adds a run of gradients, times a weight, to every `stride`-th element.
#[inline(always)]
fn spread<T: Real>(from: &[Lanes<T>], sums: &mut [Lanes<T>], w: &Lanes<T>, stride: usize) {
    for (from, sum) in from.iter().zip(sums.iter_mut().step_by(stride)) {
        accumulate(sum, from, w);
    }
}
