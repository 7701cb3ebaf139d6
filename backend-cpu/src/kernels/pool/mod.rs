//! Pooling over windows and its gradient, plane by plane.
//!
//! An output row is built tap by tap: for each element of the window, the whole row of inputs it meets ([`max`]: in
//! registers).

mod max;

use std::ops::Range;

use gradus_tensor_core::op::{Pool, PoolKind};
use gradus_tensor_core::{Error, Meta, Outcome, Result, View};

use self::max::{Maxima, Plan};
use super::copy::packed;
use super::dense::{Dense, Output, Parts, Real, finished, tasks, with_real};
use crate::execute::{Done, done};
use crate::{Cpu, CpuBuffer};

/// A window has no element in the input: only with wide dilation.
const NOWHERE: i64 = -1;

/// The numbers of a pooling with three spatial axes: missing ones have size 1 in front.
struct Windows {
    size: [usize; 3],
    out: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    padding: [usize; 3],
    dilation: [usize; 3],
}

impl Windows {
    fn new(pool: &Pool, size: &[usize], out: &[usize]) -> Self {
        let n = size.len();
        let three = |values: &[usize], missing: usize| {
            let mut three = [missing; 3];
            three[3 - n..].copy_from_slice(&values[..n]);
            three
        };
        let (size, padding, stride) = (three(size, 1), three(&pool.padding, 0), three(&pool.stride, 1));
        Self {
            size,
            out: three(out, 1),
            kernel: three(&pool.kernel, 1),
            // A longer step reaches nothing more, and may be too large to compute with.
            stride: [0, 1, 2].map(|d| stride[d].min((size[d] + 2 * padding[d]).max(1))),
            padding,
            dilation: three(&pool.dilation, 1),
        }
    }

    fn area(&self) -> usize {
        self.size.iter().product()
    }

    fn out_area(&self) -> usize {
        self.out.iter().product()
    }

    /// What a plane costs, as `Cpu::for_blocks` counts it.
    fn cost(&self) -> usize {
        self.area() + 8 * self.out_area() * self.kernel.iter().product::<usize>()
    }

    /// The position along an axis of a window's element, if it lies in the input.
    fn position(&self, axis: usize, window: usize, tap: usize) -> Option<usize> {
        (window * self.stride[axis] + tap * self.dilation[axis])
            .checked_sub(self.padding[axis])
            .filter(|&at| at < self.size[axis])
    }

    /// Calls `body(row, windows, start)` for each run of windows of an output row and one of their elements,
    /// which for the first window lies at `start` of the plane, and for each next one a stride further.
    fn for_runs(&self, mut body: impl FnMut(usize, Range<usize>, usize)) {
        let across: Vec<(usize, Range<usize>)> = (0..self.kernel[2])
            .filter_map(|tap| {
                let inside = |&w: &usize| self.position(2, w, tap).is_some();
                let first = (0..self.out[2]).find(inside)?;
                let end = (first..self.out[2]).rfind(inside)? + 1;
                Some((self.position(2, first, tap)?, first..end))
            })
            .collect();
        for plane in 0..self.out[0] {
            for row in 0..self.out[1] {
                for i in 0..self.kernel[0] {
                    let Some(a) = self.position(0, plane, i) else { continue };
                    for j in 0..self.kernel[1] {
                        let Some(b) = self.position(1, row, j) else { continue };
                        let line = (a * self.size[1] + b) * self.size[2];
                        for (start, windows) in &across {
                            body(plane * self.out[1] + row, windows.clone(), line + start);
                        }
                    }
                }
            }
        }
    }

    /// One over the number of elements that each window's sum is divided by, for a plane.
    fn shares<T: Real>(&self, count_include_pad: bool) -> Vec<T> {
        let counts = |axis: usize, window: usize| {
            let (padding, size) = (self.padding[axis], self.size[axis]);
            let inside = if count_include_pad { 0..size + 2 * padding } else { padding..padding + size };
            let at = |tap: usize| window * self.stride[axis] + tap * self.dilation[axis];
            (0..self.kernel[axis]).filter(|&tap| inside.contains(&at(tap))).count()
        };
        let mut shares = Vec::with_capacity(self.out_area());
        for i in 0..self.out[0] {
            for j in 0..self.out[1] {
                let lines = counts(0, i) * counts(1, j);
                shares.extend((0..self.out[2]).map(|k| T::of(1.0 / (lines * counts(2, k)) as f64)));
            }
        }
        shares
    }
}

/// `Op::Pool`.
pub(crate) fn pool(cpu: &Cpu, op: &Pool, x: &View<'_, CpuBuffer>, out: &[Meta]) -> Done {
    if out[0].shape.numel() == 0 {
        // No planes, which may have very many windows.
        return Ok(Outcome::Done(out.iter().map(|meta| cpu.alloc(meta)).collect::<Result<_>>()?));
    }
    let windows = Windows::new(op, &x.layout.shape()[2..], &out[0].shape[2..]);
    let planes = out[0].shape[0] * out[0].shape[1];
    let (area, out_area) = (windows.area(), windows.out_area());
    with_real!(x.dtype, T => {
        let x = Dense::<T>::new(cpu, x)?;
        let mut y = Output::<T>::new(cpu, &out[0])?;
        let parts = Parts::new(y.slice());
        match op.kind {
            PoolKind::Max => {
                let mut indices = cpu.alloc(&out[1])?;
                let index_parts = Parts::new(indices.slice_mut::<i64>());
                let (plan, narrow) = (Plan::new(&windows), i32::try_from(area).is_ok());
                cpu.for_blocks(planes, 1, windows.cost(), |p, _| {
                    let range = p * out_area..(p + 1) * out_area;
                    // SAFETY: planes are disjoint.
                    let (y, index) = unsafe { (parts.part(range.clone()), index_parts.part(range)) };
                    let (plan, x) = (&plan, &x[p * area..(p + 1) * area]);
                    if narrow {
                        cpu.level().run(Maxima { plan, x, y, index, none: NOWHERE as i32 });
                    } else {
                        cpu.level().run(Maxima { plan, x, y, index, none: NOWHERE });
                    }
                });
                finished([y.finish(cpu)?, indices])
            }
            PoolKind::Average { count_include_pad } => {
                let shares = windows.shares::<T>(count_include_pad);
                cpu.for_blocks(planes, 1, windows.cost(), |p, _| {
                    // SAFETY: planes are disjoint.
                    let y = unsafe { parts.part(p * out_area..(p + 1) * out_area) };
                    average_plane(&windows, &x[p * area..(p + 1) * area], &shares, y);
                });
                done(y.finish(cpu)?)
            }
        }
    })
}

fn average_plane<T: Real>(windows: &Windows, x: &[T], shares: &[T], y: &mut [T]) {
    let (width, stride) = (windows.out[2], windows.stride[2]);
    y.fill(T::ZERO);
    windows.for_runs(|row, range, start| {
        let y = &mut y[row * width + range.start..row * width + range.end];
        y.iter_mut().zip(x[start..].iter().step_by(stride)).for_each(|(y, &x)| *y += x);
    });
    y.iter_mut().zip(shares).for_each(|(y, &share)| *y *= share);
}

/// `Op::PoolGrad`; operands `g` and, for maxima, the indices.
pub(crate) fn pool_grad(cpu: &Cpu, op: &Pool, inputs: &[View<'_, CpuBuffer>], out: &Meta) -> Done {
    let g = &inputs[0];
    if g.layout.numel() == 0 {
        return done(cpu.alloc(out)?);
    }
    let windows = Windows::new(op, &out.shape[2..], &g.layout.shape()[2..]);
    let planes = out.shape[0] * out.shape[1];
    let (area, out_area) = (windows.area(), windows.out_area());
    with_real!(g.dtype, T => {
        let g = Dense::<T>::new(cpu, g)?;
        let mut gx = Output::<T>::new(cpu, out)?;
        let parts = Parts::new(gx.slice());
        match op.kind {
            PoolKind::Max => {
                let index = packed(cpu, &inputs[1])?;
                let index = index.as_slice::<i64>();
                tasks(cpu, planes, windows.cost(), |p| {
                    let range = p * out_area..(p + 1) * out_area;
                    // SAFETY: planes are disjoint.
                    let gx = unsafe { parts.part(p * area..(p + 1) * area) };
                    max_grad_plane(&g[range.clone()], &index[range], gx)
                })?;
            }
            PoolKind::Average { count_include_pad } => {
                let shares = windows.shares::<T>(count_include_pad);
                cpu.for_blocks(planes, 1, windows.cost(), |p, _| {
                    // SAFETY: planes are disjoint.
                    let gx = unsafe { parts.part(p * area..(p + 1) * area) };
                    average_grad_plane(&windows, &g[p * out_area..(p + 1) * out_area], &shares, gx);
                });
            }
        }
        done(gx.finish(cpu)?)
    })
}

fn average_grad_plane<T: Real>(windows: &Windows, g: &[T], shares: &[T], gx: &mut [T]) {
    let (width, stride) = (windows.out[2], windows.stride[2]);
    gx.fill(T::ZERO);
    windows.for_runs(|row, range, start| {
        let range = row * width + range.start..row * width + range.end;
        let from = g[range.clone()].iter().zip(&shares[range]);
        gx[start..].iter_mut().step_by(stride).zip(from).for_each(|(gx, (&g, &share))| *gx += g * share);
    });
}

fn max_grad_plane<T: Real>(g: &[T], index: &[i64], gx: &mut [T]) -> Result<()> {
    gx.fill(T::ZERO);
    for (&g, &at) in g.iter().zip(index) {
        if let Some(gx) = usize::try_from(at).ok().and_then(|at| gx.get_mut(at)) {
            *gx += g;
        } else if at != NOWHERE {
            return Err(Error::Index { op: "pool_grad", index: at, size: gx.len() });
        }
    }
    Ok(())
}
