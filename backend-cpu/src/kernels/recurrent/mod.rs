//! Recurrences and their gradients.
//!
//! Samples do not meet in a recurrence, so a task owns some rows of the batch and walks through all steps without
//! waiting for anybody: a product with the recurrent weight, then one pass over the gates. The weight is packed once
//! for all steps ([`Panels`](super::matmul::panels::Panels)), and an element of a product does not depend on which rows are computed together, so
//! any number of threads gives the same bits.

mod gru;
mod lstm;

use std::ops::Range;

use gradus_tensor_core::{Meta, View};

use super::dense::{Dense, Output, finished, with_real};
use super::matmul::panels::Packed;
use crate::execute::Done;
use crate::{Cpu, CpuBuffer};

/// Steps, samples and features.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    time: usize,
    batch: usize,
    hidden: usize,
}

impl Sizes {
    /// From `[time, batch, hidden]` and the meta of a state.
    fn new(steps: &Meta, state: &Meta) -> Self {
        Sizes { time: steps.shape[0], batch: steps.shape[1], hidden: state.shape[1] }
    }

    /// Where the features of some samples lie at a step, `parts` for each hidden one.
    fn at(&self, t: usize, rows: &Range<usize>, parts: usize) -> Range<usize> {
        let pitch = parts * self.hidden;
        (t * self.batch + rows.start) * pitch..(t * self.batch + rows.end) * pitch
    }

    /// Calls `body` on ranges of samples that cover the batch, one range for each thread.
    fn for_rows(&self, cpu: &Cpu, gates: usize, body: impl Fn(Range<usize>) + Sync) {
        if self.batch * self.hidden > 0 {
            let cost = self.time.saturating_mul(gates * self.hidden * (self.hidden + 64) / 4);
            let block = self.batch.div_ceil(cpu.threads());
            cpu.for_blocks(self.batch, block, cost, |_, rows| body(rows));
        }
    }
}

/// `Op::Lstm`; operands `gates`, `w_hh`, `h0`, `c0`.
pub(crate) fn lstm(cpu: &Cpu, inputs: &[View<'_, CpuBuffer>], out: &[Meta]) -> Done {
    with_real!(out[0].dtype, T => {
        let sizes = Sizes::new(&out[0], &inputs[2].meta());
        let [gates, w_hh, h0, c0] = [0, 1, 2, 3].map(|i| Dense::<T>::new(cpu, &inputs[i]));
        let (gates, h0, c0) = (gates?, h0?, c0?);
        let mut y = Output::<T>::new(cpu, &out[0])?;
        let mut c = Output::<T>::new(cpu, &out[1])?;
        let mut active = Output::<T>::new(cpu, &out[2])?;
        lstm::forward(cpu, sizes, [&gates, &w_hh?, &h0, &c0], [y.slice(), c.slice(), active.slice()])?;
        finished([y.finish(cpu)?, c.finish(cpu)?, active.finish(cpu)?])
    })
}

/// `Op::LstmGrad`; operands activations, `c`, `w_hh`, `c0`, and one to three gradients.
pub(crate) fn lstm_grad(cpu: &Cpu, inputs: &[View<'_, CpuBuffer>], out: &[Meta]) -> Done {
    with_real!(out[0].dtype, T => {
        let sizes = Sizes::new(&out[0], &out[1]);
        let [active, c, w_hh, c0, gy] = [0, 1, 2, 3, 4].map(|i| Dense::<T>::new(cpu, &inputs[i]));
        let more = [5, 6].map(|i| inputs.get(i).map(|g| Dense::<T>::new(cpu, g)).transpose());
        let [gc, g_active] = more;
        let (active, c, w_hh, c0, gy, gc, g_active) = (active?, c?, w_hh?, c0?, gy?, gc?, g_active?);
        let mut gates = Output::<T>::new(cpu, &out[0])?;
        let mut gh0 = Output::<T>::new(cpu, &out[1])?;
        let mut gc0 = Output::<T>::new(cpu, &out[2])?;
        let saved = lstm::Saved { active: &active, c: &c, w_hh: &w_hh, c0: &c0 };
        let given = lstm::Given { y: &gy, c: gc.as_deref(), active: g_active.as_deref() };
        lstm::backward(cpu, sizes, saved, given, [gates.slice(), gh0.slice(), gc0.slice()])?;
        finished([gates.finish(cpu)?, gh0.finish(cpu)?, gc0.finish(cpu)?])
    })
}

/// `Op::Gru`; operands `gates`, `w_hh`, `h0` and optionally `b_hh`.
pub(crate) fn gru(cpu: &Cpu, inputs: &[View<'_, CpuBuffer>], out: &[Meta]) -> Done {
    with_real!(out[0].dtype, T => {
        let sizes = Sizes::new(&out[0], &inputs[2].meta());
        let [gates, w_hh, h0] = [0, 1, 2].map(|i| Dense::<T>::new(cpu, &inputs[i]));
        let bias = inputs.get(3).map(|b| Dense::<T>::new(cpu, b)).transpose()?;
        let (gates, w_hh, h0) = (gates?, w_hh?, h0?);
        let mut y = Output::<T>::new(cpu, &out[0])?;
        let mut active = Output::<T>::new(cpu, &out[1])?;
        gru::forward(cpu, sizes, [&gates, &w_hh, &h0], bias.as_deref(), [y.slice(), active.slice()])?;
        finished([y.finish(cpu)?, active.finish(cpu)?])
    })
}

/// `Op::GruGrad`; operands activations, `h`, `w_hh`, `h0`, and one or two gradients.
pub(crate) fn gru_grad(cpu: &Cpu, inputs: &[View<'_, CpuBuffer>], out: &[Meta]) -> Done {
    with_real!(out[0].dtype, T => {
        let sizes = Sizes::new(&out[0], &out[2]);
        let [active, y, w_hh, h0, gy] = [0, 1, 2, 3, 4].map(|i| Dense::<T>::new(cpu, &inputs[i]));
        let g_active = inputs.get(5).map(|g| Dense::<T>::new(cpu, g)).transpose()?;
        let (active, y, w_hh, h0, gy) = (active?, y?, w_hh?, h0?, gy?);
        let mut gates = Output::<T>::new(cpu, &out[0])?;
        let mut hidden = Output::<T>::new(cpu, &out[1])?;
        let mut gh0 = Output::<T>::new(cpu, &out[2])?;
        let saved = gru::Saved { active: &active, y: &y, w_hh: &w_hh, h0: &h0 };
        let out = [gates.slice(), hidden.slice(), gh0.slice()];
        gru::backward(cpu, sizes, saved, &gy, g_active.as_deref(), out)?;
        finished([gates.finish(cpu)?, hidden.finish(cpu)?, gh0.finish(cpu)?])
    })
}

/// `g` times the derivative of a sigmoid whose value is `s`.
#[inline(always)]
fn through_sigmoid<T: Packed>(g: T, s: T) -> T {
    g * (s * (T::ONE - s))
}

/// `g` times the derivative of a tanh whose value is `t`.
#[inline(always)]
fn through_tanh<T: Packed>(g: T, t: T) -> T {
    g * (T::ONE - t * t)
}
