//! One plane at a time, for large ones.
//!
//! A plane is copied into scratch memory with its padding around it. There, moving a window by one tap is a
//! constant distance in memory, so the sum over taps runs over whole padded rows, without a branch and at full
//! vector width however narrow the image is; what falls between the rows is computed and not read. The gradient
//! of the input is the same with the output's gradient spread out to its stride and the taps reversed.

use gradus_tensor_core::Result;

use super::super::epilogue::Epilogue;
use super::super::geometry::Geometry;
use super::tile::LANES;
use crate::Cpu;
use crate::kernels::dense::{Parts, Real, Scratch, tasks};
use crate::kernels::real::sum2;
use crate::level::Kernel;

/// Elements of images whose products with the gradient are summed at once: half a first-level cache.
const TOGETHER: usize = 4096;
/// Several of the taps are added at once, so that partial sums stay in registers.
const TAPS_AT_ONCE: usize = 4;

/// Padded planes of at most so many elements are small enough whatever is in them.
const LITTLE: usize = 1 << 20;

/// Whether padded planes would take more memory than sixteen planes without padding, and much.
pub(super) fn is_mostly_padding(g: &Geometry) -> bool {
    let elements = size(g).into_iter().fold(1, usize::saturating_mul);
    elements > LITTLE.max(LANES * (g.area() + g.out_area()))
}

/// The size of a padded plane: what windows reach.
fn size(g: &Geometry) -> [usize; 3] {
    [0, 1, 2].map(|d| (g.out[d] - 1) * g.stride[d] + g.dilation[d] * (g.kernel[d] - 1) + 1)
}

/// A plane with room around it, and where the taps of a window lie in it.
struct Padded {
    size: [usize; 3],
    /// The distance of each tap from the window's first.
    taps: Vec<usize>,
    /// Elements from one output plane, row and position to the next.
    steps: [usize; 3],
}

impl Padded {
    fn new(geometry: &Geometry) -> Self {
        let g = geometry;
        let size = size(g);
        let pitches = [size[1] * size[2], size[2], 1];
        let mut taps = Vec::with_capacity(g.taps());
        for i in 0..g.kernel[0] {
            for j in 0..g.kernel[1] {
                for k in 0..g.kernel[2] {
                    let at = [i, j, k];
                    taps.push((0..3).map(|d| at[d] * g.dilation[d] * pitches[d]).sum());
                }
            }
        }
        Padded { size, taps, steps: [0, 1, 2].map(|d| pitches[d] * g.stride[d]) }
    }

    fn area(&self) -> usize {
        self.size.iter().product()
    }

    /// Copies a plane of `from` elements into zeros: element `i` along an axis goes to `i * spread + padding`,
    /// or is left out if that is outside.
    fn fill<T: Real>(
        &self,
        plane: &[T],
        from: [usize; 3],
        spread: [usize; 3],
        padding: [isize; 3],
        to: &mut [T],
    ) {
        to.fill(T::ZERO);
        let place = |d: usize, i: usize| {
            let at = (i * spread[d]) as isize + padding[d];
            (at >= 0 && (at as usize) < self.size[d]).then_some(at as usize)
        };
        let mut rows = plane.chunks_exact(from[2]);
        for i in 0..from[0] {
            for j in 0..from[1] {
                let Some(row) = rows.next() else { return };
                let (Some(a), Some(b)) = (place(0, i), place(1, j)) else { continue };
                let to = &mut to[(a * self.size[1] + b) * self.size[2]..][..self.size[2]];
                if spread[2] == 1 && padding[2] >= 0 && from[2] + padding[2] as usize <= to.len() {
                    to[padding[2] as usize..][..from[2]].copy_from_slice(row);
                } else {
                    for (k, &v) in row.iter().enumerate() {
                        if let Some(c) = place(2, k) {
                            to[c] = v;
                        }
                    }
                }
            }
        }
    }

    /// Correlates the padded plane with a filter into `out` (a plane of `shape`); `sums` is scratch for one row.
    fn correlate<T: Real>(
        &self,
        cpu: &Cpu,
        plane: &[T],
        (filter, bias): (&[T], T),
        shape: [usize; 3],
        sums: &mut [T],
        out: &mut [T],
    ) {
        let [_, rows, width] = shape;
        let dense = self.steps[2] == 1 && self.steps[1] == self.size[2];
        // With stride 1 the rows of a plane are one run; otherwise each row is a run of its own.
        let (runs, rows_at_once) = if dense { (shape[0], rows) } else { (shape[0] * rows, 1) };
        let len = (rows_at_once - 1) * self.size[2] + (width - 1) * self.steps[2] + 1;
        let sums = &mut sums[..len];
        for run in 0..runs {
            let first = run * rows_at_once;
            let start = first / rows * self.steps[0] + first % rows * self.steps[1];
            cpu.level().run(Correlate { plane: &plane[start..], filter, taps: &self.taps, bias, sums });
            let out = &mut out[first * width..(first + rows_at_once) * width];
            for (i, out) in out.chunks_exact_mut(width).enumerate() {
                let from = &sums[i * self.size[2]..];
                if self.steps[2] == 1 {
                    out.copy_from_slice(&from[..width]);
                } else {
                    out.iter_mut().zip(from.iter().step_by(self.steps[2])).for_each(|(o, &v)| *o = v);
                }
            }
        }
    }
}

/// `sums[i] = bias + sum over taps of filter * plane[i + tap]`.
struct Correlate<'a, T> {
    plane: &'a [T],
    filter: &'a [T],
    taps: &'a [usize],
    bias: T,
    sums: &'a mut [T],
}

impl<T: Real> Kernel for Correlate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let n = self.sums.len();
        self.sums.fill(self.bias);
        let (taps, tap_rest) = self.taps.as_chunks::<TAPS_AT_ONCE>();
        let (filter, filter_rest) = self.filter.as_chunks::<TAPS_AT_ONCE>();
        for (tap, f) in taps.iter().zip(filter) {
            let [p0, p1, p2, p3] = tap.map(|t| &self.plane[t..t + n]);
            for i in 0..n {
                let sum = p1[i].fma(f[1], p0[i].fma(f[0], self.sums[i]));
                self.sums[i] = p3[i].fma(f[3], p2[i].fma(f[2], sum));
            }
        }
        for (&t, &f) in tap_rest.iter().zip(filter_rest) {
            for (sum, &v) in self.sums.iter_mut().zip(&self.plane[t..t + n]) {
                *sum = v.fma(f, *sum);
            }
        }
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
    let (padded, taps, outputs) = (Padded::new(g), g.taps(), g.outputs);
    let (area, out_area) = (g.area(), g.out_area());
    let parts = Parts::new(y);
    tasks(cpu, g.images * g.groups, padded.area() * (1 + taps * outputs / 4), |i| {
        let mut scratch = Scratch::new(cpu, 2 * padded.area())?;
        let (plane, sums) = scratch.slice().split_at_mut(padded.area());
        padded.fill(&x[i * area..(i + 1) * area], g.size, [1; 3], g.padding, plane);
        for o in 0..outputs {
            let channel = i % g.groups * outputs + o;
            // SAFETY: each output plane is written by one task.
            let out = unsafe { parts.part((i * outputs + o) * out_area..(i * outputs + o + 1) * out_area) };
            let filter = &w[channel * taps..(channel + 1) * taps];
            padded.correlate(cpu, plane, (filter, epilogue.start(channel)), g.out, sums, out);
            epilogue.finish(cpu.level(), channel, (i * outputs + o) * out_area, out);
        }
        Ok(())
    })
}

/// `gx` from the output's gradient and the weight.
pub(super) fn backward_input<T: Real>(
    cpu: &Cpu,
    g: &Geometry,
    gy: &[T],
    w: &[T],
    gx: &mut [T],
) -> Result<()> {
    // A convolution of stride 1 from the spread gradient to the input.
    let reversed = Geometry { stride: [1; 3], ..g.reversed() };
    let (padded, taps, outputs) = (Padded::new(&reversed), g.taps(), g.outputs);
    let (area, out_area) = (g.area(), g.out_area());
    let parts = Parts::new(gx);
    tasks(cpu, g.images * g.groups, padded.area() * outputs * (1 + taps / 4), |i| {
        let mut scratch = Scratch::new(cpu, 2 * padded.area() + area + taps)?;
        let (plane, rest) = scratch.slice().split_at_mut(padded.area());
        let (sums, rest) = rest.split_at_mut(padded.area());
        let (one, filter) = rest.split_at_mut(area);
        // SAFETY: each input plane is written by one task.
        let to = unsafe { parts.part(i * area..(i + 1) * area) };
        for o in 0..outputs {
            let channel = i % g.groups * outputs + o;
            let from = &w[channel * taps..(channel + 1) * taps];
            filter.iter_mut().zip(from.iter().rev()).for_each(|(f, &w)| *f = w);
            let gradient = &gy[(i * outputs + o) * out_area..(i * outputs + o + 1) * out_area];
            padded.fill(gradient, g.out, g.stride, reversed.padding, plane);
            if o == 0 {
                padded.correlate(cpu, plane, (filter, T::ZERO), g.size, sums, to);
            } else {
                padded.correlate(cpu, plane, (filter, T::ZERO), g.size, sums, one);
                to.iter_mut().zip(one.iter()).for_each(|(to, &v)| *to += v);
            }
        }
        Ok(())
    })
}

/// `gw` from the output's gradient and the input. A task owns a group and sums over all images.
pub(super) fn backward_weight<T: Real>(
    cpu: &Cpu,
    g: &Geometry,
    gy: &[T],
    x: &[T],
    gw: &mut [T],
) -> Result<()> {
    let (padded, taps, outputs) = (Padded::new(g), g.taps(), g.outputs);
    let (area, out_area) = (g.area(), g.out_area());
    // The gradient lies on the padded plane at the positions of its windows' first taps.
    let last: usize = (0..3).map(|d| (g.out[d] - 1) * padded.steps[d]).sum();
    // Small images are summed together: the gradient is zero between them.
    let together = (TOGETHER / padded.area()).clamp(1, g.images.max(1));
    let parts = Parts::new(gw);
    tasks(cpu, g.groups, g.images * padded.area() * outputs * (1 + taps / 4), |group| {
        let mut scratch = Scratch::new(cpu, (1 + outputs) * together * padded.area())?;
        let (plane, spread) = scratch.slice().split_at_mut(together * padded.area());
        // SAFETY: each group's weights are written by one task.
        let to = unsafe { parts.part(group * outputs * taps..(group + 1) * outputs * taps) };
        to.fill(T::ZERO);
        for first in (0..g.images).step_by(together) {
            let images = first..(first + together).min(g.images);
            for (k, image) in images.clone().enumerate() {
                let i = image * g.groups + group;
                let here = k * padded.area()..(k + 1) * padded.area();
                padded.fill(
                    &x[i * area..(i + 1) * area],
                    g.size,
                    [1; 3],
                    g.padding,
                    &mut plane[here.clone()],
                );
                for o in 0..outputs {
                    let from = &gy[(i * outputs + o) * out_area..(i * outputs + o + 1) * out_area];
                    let to = &mut spread[o * together * padded.area()..][here.clone()];
                    padded.fill(from, g.out, g.stride, [0; 3], to);
                }
            }
            let len = (images.len() - 1) * padded.area() + last + 1;
            for (o, to) in to.chunks_exact_mut(taps).enumerate() {
                let spread = &spread[o * together * padded.area()..][..len];
                cpu.level().run(Products { plane, spread, taps: &padded.taps, to });
            }
        }
        Ok(())
    })
}

/// `to[t] += sum of plane[i + tap t] * spread[i]`.
struct Products<'a, T> {
    plane: &'a [T],
    spread: &'a [T],
    taps: &'a [usize],
    to: &'a mut [T],
}

impl<T: Real> Kernel for Products<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (to, &tap) in self.to.iter_mut().zip(self.taps) {
            let plane = &self.plane[tap..tap + self.spread.len()];
            *to += sum2(plane, self.spread, |acc, x, g| x.fma(g, acc));
        }
    }
}
