//! What a layer computes in one direction.

use std::fmt::Debug;

use gradus_tensor_core::{Error, Result, Tensor};

use super::RecurrentWeights;
use crate::Param;

/// A kind of recurrent unit.
pub trait Cell: Clone + Copy + Debug + Default + Send + Sync {
    /// The name in errors.
    const NAME: &'static str;
    /// The gates of a unit: the rows of its weights, for each hidden feature.
    const GATES: usize;
    /// The tensors of a state.
    const STATES: usize;

    /// All outputs `[time, batch, hidden]` for `[time, batch, inputs]`, and the last state; given the first one, each
    /// tensor `[batch, hidden]`.
    ///
    /// # Errors
    /// Shapes or dtypes do not fit, there is no step, or the device fails.
    fn run(&self, weights: &RecurrentWeights, x: &Tensor, state: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)>;
}

/// The cell of an [`Lstm`](super::Lstm).
#[derive(Clone, Copy, Debug, Default)]
pub struct LstmCell;

/// The cell of a [`Gru`](super::Gru).
#[derive(Clone, Copy, Debug, Default)]
pub struct GruCell;

/// The cell of an [`Rnn`](super::Rnn).
#[derive(Clone, Copy, Debug, Default)]
pub struct RnnCell {
    relu: bool,
}

impl RnnCell {
    pub(super) const RELU: RnnCell = RnnCell { relu: true };
}

#[cold]
fn wrong_state<C: Cell>(state: &[Tensor]) -> Error {
    Error::argument(C::NAME, format!("a state has {} tensors, not {}", C::STATES, state.len()))
}

fn last(all: &Tensor) -> Result<Tensor> {
    all.select(0, all.dims()[0].saturating_sub(1))
}

impl Cell for LstmCell {
    const NAME: &'static str = "lstm";
    const GATES: usize = 4;
    const STATES: usize = 2;

    fn run(&self, weights: &RecurrentWeights, x: &Tensor, state: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        let [h0, c0] = state else { return Err(wrong_state::<Self>(state)) };
        let gates = weights.project_with_both(x)?;
        let (y, c) = gates.lstm(weights.weight_hh.value()?, h0, c0)?;
        let ends = vec![last(&y)?, last(&c)?];
        Ok((y, ends))
    }
}

impl Cell for GruCell {
    const NAME: &'static str = "gru";
    const GATES: usize = 3;
    const STATES: usize = 1;

    fn run(&self, weights: &RecurrentWeights, x: &Tensor, state: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        let [h0] = state else { return Err(wrong_state::<Self>(state)) };
        let bias = |bias: &Option<Param>| bias.as_ref().map(|b| b.value().cloned()).transpose();
        let (ih, hh) = (bias(&weights.bias_ih)?, bias(&weights.bias_hh)?);
        let gates = x.linear(weights.weight_ih.value()?, ih.as_ref())?;
        let y = gates.gru(weights.weight_hh.value()?, h0, hh.as_ref())?;
        let ends = vec![last(&y)?];
        Ok((y, ends))
    }
}

impl Cell for RnnCell {
    const NAME: &'static str = "rnn";
    const GATES: usize = 1;
    const STATES: usize = 1;

    fn run(&self, weights: &RecurrentWeights, x: &Tensor, state: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        let [h0] = state else { return Err(wrong_state::<Self>(state)) };
        let inputs = weights.project_with_both(x)?;
        let w_hh = weights.weight_hh.value()?;
        let mut h = h0.clone();
        let mut all = Vec::new();
        for t in 0..inputs.dims()[0] {
            let sum = h.linear(w_hh, None)?.add(&inputs.select(0, t)?)?;
            h = if self.relu { sum.relu()? } else { sum.tanh()? };
            all.push(h.clone());
        }
        Ok((Tensor::stack(&all.iter().collect::<Vec<_>>(), 0)?, vec![h]))
    }
}
