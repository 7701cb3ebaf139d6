//! Softmax, its logarithm and their gradients, and the row functions that losses share.
//!
//! Along the last axis a row is read three times: maximum, exponentials and their sum, scaling, each from the first-level
//! cache or, if the output is larger than any, for [several rows at once](streamed). Along another axis the neighbours of
//! the later axes are handled side by side, in strips.

mod streamed;

use gradus_tensor_core::op::Softmax;
use gradus_tensor_core::{Meta, View};

use super::dense::{Dense, Output, Parts, Real, with_real};
use super::real::{above, max, reduce, sum, sum2};
use crate::execute::{Done, done};
use crate::level::Kernel;
use crate::{Cpu, CpuBuffer};

/// What an element of a row costs, as `Cpu::for_chunks` counts it.
const COST: usize = 8;
/// Neighbours handled side by side along an axis that is not the last.
const STRIP: usize = 64;

/// `Op::Softmax`.
pub(crate) fn softmax(cpu: &Cpu, op: &Softmax, x: &View<'_, CpuBuffer>, out: &Meta) -> Done {
    with_real!(x.dtype, T => {
        let mut y = Output::<T>::new(cpu, out)?;
        let x = Dense::<T>::new(cpu, x)?;
        let level = cpu.level();
        let streamed = streamed::pays(level, y.slice(), out.shape[op.axis]);
        let parts = Parts::new(y.slice());
        let log = op.log;
        lines(cpu, out, op.axis, |run| match run {
            Lines::Rows { at, rows, n } => {
                // SAFETY: rows are disjoint.
                let y = unsafe { parts.part(at..at + rows * n) };
                let x = &x[at..at + rows * n];
                if !(streamed && streamed::rows(cpu, x, y, n, log)) {
                    level.run(Rows { x, y, n, log });
                }
            }
            Lines::Strip { at, width, n, pitch } => {
                let x = &x[at..at + (n - 1) * pitch + width];
                // SAFETY: strips are disjoint, and so are their pieces.
                let piece = |i: usize| unsafe { parts.part(at + i * pitch..at + i * pitch + width) };
                level.run(Strip { x, piece, n, pitch, width, log });
            }
        });
        done(y.finish(cpu)?)
    })
}

/// `Op::SoftmaxGrad`: `y * (g - sum(g * y))`, or `g - exp(y) * sum(g)` of logarithms.
pub(crate) fn softmax_grad(
    cpu: &Cpu,
    op: &Softmax,
    g: &View<'_, CpuBuffer>,
    y: &View<'_, CpuBuffer>,
    out: &Meta,
) -> Done {
    with_real!(y.dtype, T => {
        let mut gx = Output::<T>::new(cpu, out)?;
        let (g, y) = (Dense::<T>::new(cpu, g)?, Dense::<T>::new(cpu, y)?);
        let level = cpu.level();
        let streamed = streamed::pays(level, gx.slice(), out.shape[op.axis]);
        let parts = Parts::new(gx.slice());
        let log = op.log;
        lines(cpu, out, op.axis, |run| match run {
            Lines::Rows { at, rows, n } => {
                let range = at..at + rows * n;
                // SAFETY: rows are disjoint.
                let gx = unsafe { parts.part(range.clone()) };
                let (g, y) = (&g[range.clone()], &y[range]);
                match streamed {
                    true => level.run(streamed::GradRows { level, g, y, gx, n, log }),
                    false => level.run(GradRows { g, y, gx, n, log }),
                }
            }
            Lines::Strip { at, width, n, pitch } => {
                let range = at..at + (n - 1) * pitch + width;
                // SAFETY: strips are disjoint, and so are their pieces.
                let piece = |i: usize| unsafe { parts.part(at + i * pitch..at + i * pitch + width) };
                level.run(GradStrip { g: &g[range.clone()], y: &y[range], piece, n, pitch, width, log });
            }
        });
        done(gx.finish(cpu)?)
    })
}

/// Lines along the axis, to be computed together.
enum Lines {
    /// `rows` rows of `n` elements that follow each other from `at`.
    Rows { at: usize, rows: usize, n: usize },
    /// `width` neighbours from `at`, whose `n` elements lie `pitch` apart.
    Strip { at: usize, width: usize, n: usize, pitch: usize },
}

fn lines(cpu: &Cpu, meta: &Meta, axis: usize, body: impl Fn(Lines) + Sync) {
    let (n, total) = (meta.shape[axis], meta.shape.numel());
    if total == 0 {
        return;
    }
    let inner: usize = meta.shape[axis + 1..].iter().product();
    if inner == 1 {
        cpu.for_chunks(total / n, n * COST, |r| body(Lines::Rows { at: r.start * n, rows: r.len(), n }));
        return;
    }
    let strips = inner.div_ceil(STRIP);
    cpu.for_chunks(total / n / inner * strips, n * inner.min(STRIP) * COST, |range| {
        for i in range {
            let (outer, first) = (i / strips, i % strips * STRIP);
            let width = STRIP.min(inner - first);
            body(Lines::Strip { at: outer * n * inner + first, width, n, pitch: inner });
        }
    });
}

struct Rows<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
    n: usize,
    log: bool,
}

impl<T: Real> Kernel for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (x, y) in self.x.chunks_exact(self.n).zip(self.y.chunks_exact_mut(self.n)) {
            let m = max(x);
            if self.log {
                let shift =
                    m + (reduce(x, T::ZERO, |v| (v - m).exp_raised(), |a, b| a + b) * T::UNRAISE).ln();
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = x - shift;
                }
            } else {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = (x - m).exp_raised();
                }
                let scale = T::ONE / sum(y);
                for y in y {
                    *y *= scale;
                }
            }
        }
    }
}

struct Strip<'a, T, P> {
    x: &'a [T],
    piece: P,
    n: usize,
    pitch: usize,
    width: usize,
    log: bool,
}

impl<'p, T: Real, P: Fn(usize) -> &'p mut [T]> Kernel for Strip<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let at = |i: usize| &self.x[i * self.pitch..i * self.pitch + self.width];
        let (mut top, mut total) = ([T::NEG_INFINITY; STRIP], [T::ZERO; STRIP]);
        for i in 0..self.n {
            for (top, &x) in top.iter_mut().zip(at(i)) {
                *top = above(*top, x);
            }
        }
        for i in 0..self.n {
            let y = (self.piece)(i);
            for (((total, top), &x), y) in total.iter_mut().zip(&top).zip(at(i)).zip(y) {
                *y = (x - *top).exp_raised();
                *total += *y;
            }
        }
        if self.log {
            for (total, top) in total.iter_mut().zip(&top).take(self.width) {
                *total = *top + (*total * T::UNRAISE).ln();
            }
        } else {
            total = total.map(|total| T::ONE / total);
        }
        for i in 0..self.n {
            for ((y, &x), &total) in (self.piece)(i).iter_mut().zip(at(i)).zip(&total) {
                *y = if self.log { x - total } else { *y * total };
            }
        }
    }
}

struct GradRows<'a, T> {
    g: &'a [T],
    y: &'a [T],
    gx: &'a mut [T],
    n: usize,
    log: bool,
}

impl<T: Real> Kernel for GradRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let n = self.n;
        let rows = self.g.chunks_exact(n).zip(self.y.chunks_exact(n)).zip(self.gx.chunks_exact_mut(n));
        for ((g, y), gx) in rows {
            if self.log {
                let total = sum(g);
                for ((gx, &g), &y) in gx.iter_mut().zip(g).zip(y) {
                    *gx = g - y.exp() * total;
                }
            } else {
                let total = sum2(g, y, |acc, g, y| g.fma(y, acc));
                for ((gx, &g), &y) in gx.iter_mut().zip(g).zip(y) {
                    *gx = y * (g - total);
                }
            }
        }
    }
}

struct GradStrip<'a, T, P> {
    g: &'a [T],
    y: &'a [T],
    piece: P,
    n: usize,
    pitch: usize,
    width: usize,
    log: bool,
}

impl<'p, T: Real, P: Fn(usize) -> &'p mut [T]> Kernel for GradStrip<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let range = |i: usize| i * self.pitch..i * self.pitch + self.width;
        let mut total = [T::ZERO; STRIP];
        for i in 0..self.n {
            for ((total, &g), &y) in total.iter_mut().zip(&self.g[range(i)]).zip(&self.y[range(i)]) {
                *total += if self.log { g } else { g * y };
            }
        }
        for i in 0..self.n {
            let pairs = self.g[range(i)].iter().zip(&self.y[range(i)]);
            for ((gx, (&g, &y)), &total) in (self.piece)(i).iter_mut().zip(pairs).zip(&total) {
                *gx = if self.log { g - y.exp() * total } else { y * (g - total) };
            }
        }
    }
}
