//! Batch norm with what follows it: a residual is added and an activation applied where values are made, and the gradient
//! before the activation is made where it is first read.
//!
//! Activations that cut off (ReLU, ReLU6) are limits, and their derivative is 1 or 0, by the output. The gradient before
//! one is the gradient or 0, which needs no arithmetic and no rounding, so that a task makes it once, at the place of the
//! residual's gradient if that is wanted, and the passes of batch norm go on from there. Other activations are ops of
//! their own, before and after.

use std::ops::Range;

use gradus_tensor_core::op::BatchNormBlock;
use gradus_tensor_core::{Backend, Meta, Op, Outcome, Result, UnaryOp, View};

use super::{Backward, Forward, batch};
use crate::execute::Done;
use crate::kernels::dense::{Dense, Output, Parts, Real, Stored, finished, with_real, with_stored};
use crate::kernels::unary::limits;
use crate::level::{Kernel, Level};
use crate::{Cpu, CpuBuffer};

/// What is done to normalized values.
#[derive(Clone, Copy)]
pub(super) struct After<'a, S: Stored> {
    /// What is added.
    pub(super) residual: Option<&'a [S]>,
    pub(super) limits: [S::Computed; 2],
}

impl<S: Stored> After<'_, S> {
    /// The same for some of the elements.
    pub(super) fn of(self, range: Range<usize>) -> Self {
        After { residual: self.residual.map(|residual| &residual[range]), ..self }
    }
}

/// What a backward pass has to know of an activation.
pub(super) struct Activated<'a, S: Stored> {
    y: &'a [S],
    passes: Passes<S::Computed>,
    /// Where the gradient before the activation belongs, if it is wanted.
    gresidual: Option<&'a mut [S]>,
}

/// For which outputs of an activation its derivative is 1. It is 0 for the others.
#[derive(Clone, Copy)]
struct Passes<T> {
    low: T,
    high: T,
    /// There is nothing above, and NaN passes.
    open: bool,
}

impl<T: Real> Passes<T> {
    /// `None` for an activation that does more than cut off.
    fn new(activation: UnaryOp) -> Option<Self> {
        limits(Some(activation)).map(|[low, high]| Passes { low, high, open: activation == UnaryOp::Relu })
    }

    #[inline(always)]
    fn has(self, y: T) -> bool {
        let low = y <= self.low;
        !low & ((y < self.high) | self.open)
    }
}

/// [`Activated`], for tasks.
pub(super) struct ActivatedParts<'a, S: Stored> {
    y: &'a [S],
    passes: Passes<S::Computed>,
    gresidual: Option<Parts<'a, S>>,
}

impl<'a, S: Stored> ActivatedParts<'a, S> {
    pub(super) fn new(activated: Activated<'a, S>) -> Self {
        let Activated { y, passes, gresidual } = activated;
        Self { y, passes, gresidual: gresidual.map(Parts::new) }
    }

    /// Elements that [`ActivatedParts::before`] needs room for, of so many.
    pub(super) fn room(&self, elements: usize) -> usize {
        if self.gresidual.is_some() { 0 } else { elements }
    }

    /// The gradient before the activation, of runs of `len` that begin at `starts`.
    ///
    /// # Safety
    /// No other task has these runs.
    pub(super) unsafe fn before<'b>(
        &'b self,
        level: Level,
        g: &[S],
        starts: impl Iterator<Item = usize>,
        len: usize,
        room: &'b mut [S],
    ) -> Vec<&'b [S]> {
        let mut room = room.chunks_exact_mut(len);
        let runs = starts.map(|start| {
            let range = start..start + len;
            let to = match &self.gresidual {
                // SAFETY: promised by the caller; runs are disjoint.
                Some(parts) => unsafe { parts.part(range.clone()) },
                None => room.next().unwrap_or(&mut []),
            };
            level.run(Pass { g: &g[range.clone()], y: &self.y[range], passes: self.passes, to });
            &*to
        });
        runs.collect()
    }
}

/// The gradient where it passes.
struct Pass<'a, S: Stored> {
    g: &'a [S],
    y: &'a [S],
    passes: Passes<S::Computed>,
    to: &'a mut [S],
}

impl<T: Real, S: Stored<Computed = T>> Kernel for Pass<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for ((to, &g), &y) in self.to.iter_mut().zip(self.g).zip(self.y) {
            *to = if self.passes.has(y.wide()) { g } else { S::default() };
        }
    }
}

/// `Op::BatchNormBlock`; operands `x`, weight, bias and optionally the residual.
pub(crate) fn batch_norm_block(
    cpu: &Cpu,
    op: &BatchNormBlock,
    inputs: &[View<'_, CpuBuffer>],
    out: &[Meta],
) -> Done {
    if limits::<f64>(op.activation).is_some() {
        return with_stored!(out[0].dtype, S => {
            let (y, [mean, variance]) = forward::<_, S>(cpu, op, inputs, out)?;
            finished([y.finish(cpu)?, mean.finish(cpu)?, variance.finish(cpu)?])
        });
    }
    let before = BatchNormBlock { activation: None, ..*op };
    with_real!(out[0].dtype, T => {
        let (mut y, [mean, variance]) = forward::<_, T>(cpu, &before, inputs, out)?;
        if let Some(activation) = op.activation {
            y = y.then(cpu, activation)?;
        }
        finished([y.finish(cpu)?, mean.finish(cpu)?, variance.finish(cpu)?])
    })
}

/// `y`, and mean and variance.
fn forward<T: Real, S: Stored<Computed = T>>(
    cpu: &Cpu,
    op: &BatchNormBlock,
    inputs: &[View<'_, CpuBuffer>],
    out: &[Meta],
) -> Result<(Output<S>, [Output<T>; 2])> {
    let vector = |i: usize| Dense::<T>::new(cpu, &inputs[i]);
    let (x, weight, bias) = (Dense::<S>::new(cpu, &inputs[0])?, vector(1)?, vector(2)?);
    let residual = inputs.get(3).map(|view| Dense::<S>::new(cpu, view)).transpose()?;
    let mut y = Output::<S>::new(cpu, &out[0])?;
    let (mut mean, mut variance) = (Output::<T>::new(cpu, &out[1])?, Output::<T>::new(cpu, &out[2])?);
    let after = limits(op.activation).map(|limits| After { residual: residual.as_deref(), limits });
    let job = Forward {
        eps: op.eps,
        x: &x,
        weight: Some(&weight),
        bias: Some(&bias),
        y: y.slice(),
        mean: mean.slice(),
        variance: variance.slice(),
        after,
    };
    batch::forward(cpu, &out[0].shape, job)?;
    Ok((y, [mean, variance]))
}

/// `Op::BatchNormBlockGrad`; operands `g`, `y`, `x`, mean, variance and weight.
pub(crate) fn batch_norm_block_grad(
    cpu: &Cpu,
    op: &BatchNormBlock,
    inputs: &[View<'_, CpuBuffer>],
    out: &[Meta],
) -> Done {
    let Some(activation) = op.activation else { return Ok(Outcome::Unsupported) };
    with_stored!(out[0].dtype, S => {
        if let Some(passes) = Passes::new(activation) {
            let (g, y) = (Dense::<S>::new(cpu, &inputs[0])?, Dense::<S>::new(cpu, &inputs[1])?);
            let mut gresidual = out.get(3).map(|meta| Output::<S>::new(cpu, meta)).transpose()?;
            let activated = Activated { y: &y, passes, gresidual: gresidual.as_mut().map(Output::slice) };
            let all = backward(cpu, op.eps, &g, Some(activated), inputs, out)?;
            let gresidual = gresidual.map(|gradient| gradient.finish(cpu)).transpose()?;
            return Ok(Outcome::Done(all.into_iter().chain(gresidual).collect()));
        }
        // The gradient before the activation is not to be rounded.
        if !S::SAME {
            return Ok(Outcome::Unsupported);
        }
        let made = match cpu.execute(&Op::UnaryGrad(activation), &inputs[..2], &out[..1])? {
            Outcome::Done(buffers) => buffers.into_iter().next(),
            Outcome::Unsupported => None,
        };
        let Some(before) = made else { return Ok(Outcome::Unsupported) };
        let all = backward::<_, S>(cpu, op.eps, before.as_slice().unwrap_or(&[]), None, inputs, out)?;
        Ok(Outcome::Done(all.into_iter().chain(op.residual.then_some(before)).collect()))
    })
}

/// The gradient of `x`, and those of weight and bias.
fn backward<T: Real, S: Stored<Computed = T>>(
    cpu: &Cpu,
    eps: f64,
    g: &[S],
    activated: Option<Activated<'_, S>>,
    inputs: &[View<'_, CpuBuffer>],
    out: &[Meta],
) -> Result<[CpuBuffer; 3]> {
    let vector = |i: usize| Dense::<T>::new(cpu, &inputs[i]);
    let (x, mean, variance, weight) = (Dense::<S>::new(cpu, &inputs[2])?, vector(3)?, vector(4)?, vector(5)?);
    let mut gx = Output::<S>::new(cpu, &out[0])?;
    let (mut gweight, mut gbias) = (Output::<T>::new(cpu, &out[1])?, Output::<T>::new(cpu, &out[2])?);
    let job = Backward {
        eps,
        g,
        x: &x,
        mean: &mean,
        variance: &variance,
        weight: Some(&weight),
        gx: gx.slice(),
        gweight: gweight.slice(),
        gbias: gbias.slice(),
        activated,
    };
    batch::backward(cpu, &out[0].shape, job)?;
    Ok([gx.finish(cpu)?, gweight.finish(cpu)?, gbias.finish(cpu)?])
}
