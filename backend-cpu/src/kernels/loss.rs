//! Cross-entropy with its softmax, and its gradient: one pass over each row of logits.

use gradus_tensor_core::op::CrossEntropy;
use gradus_tensor_core::{Error, Meta, Result, View};

use super::copy::packed;
use super::dense::{Dense, Output, Parts, Real, finished, with_real};
use super::real::{max, reduce, sum};
use crate::execute::{Done, done};
use crate::level::Kernel;
use crate::{Cpu, CpuBuffer};

/// What an element of a row costs, as `Cpu::for_chunks` counts it.
const COST: usize = 6;

/// `Op::CrossEntropy`.
pub(crate) fn cross_entropy(
    cpu: &Cpu,
    op: &CrossEntropy,
    logits: &View<'_, CpuBuffer>,
    target: &View<'_, CpuBuffer>,
    out: &[Meta],
) -> Done {
    let classes = logits.layout.shape()[1];
    with_real!(logits.dtype, T => {
        let target = packed(cpu, target)?;
        let target = checked_targets(op, "cross_entropy", target.as_slice(), classes)?;
        let x = Dense::<T>::new(cpu, logits)?;
        let (mut loss, mut lse) = (Output::<T>::new(cpu, &out[0])?, Output::<T>::new(cpu, &out[1])?);
        let (losses, lses) = (Parts::new(loss.slice()), Parts::new(lse.slice()));
        cpu.for_chunks(target.len(), classes * COST, |rows| {
            // SAFETY: chunks of rows are disjoint.
            let (loss, lse) = unsafe { (losses.part(rows.clone()), lses.part(rows.clone())) };
            let x = &x[rows.start * classes..rows.end * classes];
            cpu.level().run(Rows { op, classes, x, target: &target[rows], loss, lse });
        });
        finished([loss.finish(cpu)?, lse.finish(cpu)?])
    })
}

/// `Op::CrossEntropyGrad`; operands `g`, `logits`, `target`, `lse`.
pub(crate) fn cross_entropy_grad(
    cpu: &Cpu,
    op: &CrossEntropy,
    inputs: &[View<'_, CpuBuffer>],
    out: &Meta,
) -> Done {
    let classes = out.shape[1];
    with_real!(out.dtype, T => {
        let target = packed(cpu, &inputs[2])?;
        let target = checked_targets(op, "cross_entropy_grad", target.as_slice(), classes)?;
        let [g, x, lse] = [0, 1, 3].map(|i| Dense::<T>::new(cpu, &inputs[i]));
        let (g, x, lse) = (g?, x?, lse?);
        let mut gx = Output::<T>::new(cpu, out)?;
        let parts = Parts::new(gx.slice());
        cpu.for_chunks(target.len(), classes * COST, |rows| {
            let range = rows.start * classes..rows.end * classes;
            // SAFETY: chunks of rows are disjoint.
            let gx = unsafe { parts.part(range.clone()) };
            let (g, lse, target) = (&g[rows.clone()], &lse[rows.clone()], &target[rows]);
            cpu.level().run(GradRows { op, classes, g, x: &x[range], lse, target, gx });
        });
        done(gx.finish(cpu)?)
    })
}

/// The targets, each a class or ignored.
fn checked_targets<'a>(
    op: &CrossEntropy,
    name: &'static str,
    target: &'a [i64],
    classes: usize,
) -> Result<&'a [i64]> {
    let fits = |class: i64| class == op.ignore_index || (0..classes as i64).contains(&class);
    match target.iter().find(|&&class| !fits(class)) {
        Some(&index) => Err(Error::Index { op: name, index, size: classes }),
        None => Ok(target),
    }
}

struct Rows<'a, T> {
    op: &'a CrossEntropy,
    classes: usize,
    x: &'a [T],
    target: &'a [i64],
    loss: &'a mut [T],
    lse: &'a mut [T],
}

impl<T: Real> Kernel for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let smoothing = T::of(self.op.label_smoothing);
        let share = T::of(1.0 / self.classes as f64);
        for (i, x) in self.x.chunks_exact(self.classes).enumerate() {
            let top = max(x);
            // Of infinities the plain sum of exponentials is right.
            let lse = if top.abs() < -T::NEG_INFINITY {
                top + (reduce(x, T::ZERO, |v| (v - top).exp_raised(), |a, b| a + b) * T::UNRAISE).ln()
            } else {
                reduce(x, T::ZERO, |v| v.exp(), |a, b| a + b).ln()
            };
            self.lse[i] = lse;
            let class = self.target[i];
            if class == self.op.ignore_index {
                self.loss[i] = T::ZERO;
                continue;
            }
            let mut loss = lse - x[class as usize];
            if self.op.label_smoothing > 0.0 {
                loss = (T::ONE - smoothing) * loss + smoothing * (lse - sum(x) * share);
            }
            self.loss[i] = loss;
        }
    }
}

struct GradRows<'a, T> {
    op: &'a CrossEntropy,
    classes: usize,
    g: &'a [T],
    x: &'a [T],
    lse: &'a [T],
    target: &'a [i64],
    gx: &'a mut [T],
}

impl<T: Real> Kernel for GradRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let smoothing = self.op.label_smoothing;
        let share = T::of(smoothing / self.classes as f64);
        let rows = self.x.chunks_exact(self.classes).zip(self.gx.chunks_exact_mut(self.classes));
        for (i, (x, gx)) in rows.enumerate() {
            let (g, lse, class) = (self.g[i], self.lse[i], self.target[i]);
            if class == self.op.ignore_index {
                gx.fill(T::ZERO);
                continue;
            }
            for (gx, &x) in gx.iter_mut().zip(x) {
                *gx = g * ((x - lse).exp() - share);
            }
            let at = class as usize;
            gx[at] = g * ((x[at] - lse).exp() - share - T::of(1.0 - smoothing));
        }
    }
}
