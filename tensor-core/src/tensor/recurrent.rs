//! Recurrences over sequences whose projection to gates is this tensor.

use crate::{Error, Op, Result, Tensor};

impl Tensor {
    /// One layer of an LSTM in one direction (Hochreiter and Schmidhuber, 1997). This tensor is what inputs and
    /// biases contribute to the gates `i, f, g, o`: `[time, batch, 4 * hidden]`; `w_hh` is `[4 * hidden, hidden]`,
    /// `h0` and `c0` are `[batch, hidden]`. Returns all `h` and all `c`, `[time, batch, hidden]`.
    ///
    /// # Errors
    /// Shapes or dtypes do not fit, or there is no step.
    pub fn lstm(&self, w_hh: &Tensor, h0: &Tensor, c0: &Tensor) -> Result<(Tensor, Tensor)> {
        let mut out = Op::Lstm.run(&[self, w_hh, h0, c0])?.into_iter();
        match (out.next(), out.next()) {
            (Some(h), Some(c)) => Ok((h, c)),
            _ => Err(Error::argument("lstm", "the op has too few outputs")),
        }
    }

    /// One layer of a GRU in one direction (Cho et al., arXiv:1406.1078), with the reset gate applied after the
    /// product, as in PyTorch. This tensor is what the inputs contribute to the gates `r, z, n`:
    /// `[time, batch, 3 * hidden]`; `w_hh` is `[3 * hidden, hidden]`, `h0` `[batch, hidden]`, `b_hh` `[3 * hidden]`.
    /// Returns all `h`, `[time, batch, hidden]`.
    ///
    /// # Errors
    /// Shapes or dtypes do not fit, or there is no step.
    pub fn gru(&self, w_hh: &Tensor, h0: &Tensor, b_hh: Option<&Tensor>) -> Result<Tensor> {
        match b_hh {
            Some(b_hh) => Op::Gru.run1(&[self, w_hh, h0, b_hh]),
            None => Op::Gru.run1(&[self, w_hh, h0]),
        }
    }
}
