//! Recurrences: one layer of an LSTM or a GRU in one direction, over all steps.
//!
//! What does not depend on the step before is no part of these ops: the projection of the inputs is one
//! [`Op::Linear`](super::Op::Linear) over all steps before, and the gradient of `w_hh` one product over all steps
//! after. A layer in reverse reads its operands through flipped layouts.
//!
//! All outputs are differentiable, also the activations of the gates. They are what the gradient ops read instead
//! of computing the recurrence again, and second derivatives pass through them.

use crate::{Error, Meta, Metas, Result, Shape};

/// Gates of an LSTM: `i`, `f`, `g`, `o`, in PyTorch's order.
const LSTM_GATES: usize = 4;
/// Gates of a GRU: `r`, `z`, `n`, in PyTorch's order.
const GRU_GATES: usize = 3;
/// What a GRU's gradient reads of a step: `r`, `z`, `n`, and what `r` is multiplied with.
const GRU_SAVED: usize = 4;

/// Steps, samples and features of a recurrence, and its dtype.
struct Sizes {
    time: usize,
    batch: usize,
    hidden: usize,
    like: Meta,
}

impl Sizes {
    /// The sizes of `[time, batch, parts * hidden]`, given a weight `[gates * hidden, hidden]`.
    fn new(op: &'static str, x: Meta, parts: usize, w_hh: Meta, gates: usize, all: &[Meta]) -> Result<Self> {
        let rule = |what: String| Err(Error::shape(op, all, what));
        if w_hh.shape.rank() != 2 || w_hh.shape[0] != gates * w_hh.shape[1] {
            return rule(format!("w_hh must be [{gates} * hidden, hidden], not {}", w_hh.shape));
        }
        let hidden = w_hh.shape[1];
        if x.shape.rank() != 3 || x.shape[2] != parts * hidden {
            let features = parts * hidden;
            return rule(format!(
                "w_hh {} expects gates [time, batch, {features}], not {}",
                w_hh.shape, x.shape
            ));
        }
        if x.shape[0] == 0 {
            return rule("a sequence has at least one step".into());
        }
        super::same_float(op, all)?;
        Ok(Sizes { time: x.shape[0], batch: x.shape[1], hidden, like: x })
    }

    /// `[time, batch, parts * hidden]`
    fn steps(&self, parts: usize) -> Meta {
        Meta::new(Shape::trusted(&[self.time, self.batch, parts * self.hidden]), self.like.dtype)
    }

    /// `[batch, hidden]`
    fn state(&self) -> Meta {
        Meta::new(Shape::trusted(&[self.batch, self.hidden]), self.like.dtype)
    }

    fn expect(&self, op: &'static str, all: &[Meta], wanted: &[(&str, Meta, Meta)]) -> Result<()> {
        match wanted.iter().find(|(_, found, want)| found.shape != want.shape) {
            Some((name, found, want)) => {
                Err(Error::shape(op, all, format!("{name} must be {}, not {}", want.shape, found.shape)))
            }
            None => Ok(()),
        }
    }
}

/// A long short-term memory (Hochreiter and Schmidhuber, 1997), as PyTorch defines it.
///
/// Operands: `gates` `[time, batch, 4 * hidden]`, what the inputs and the biases contribute to the gates
/// `i, f, g, o`; `w_hh` `[4 * hidden, hidden]`; `h0` and `c0` `[batch, hidden]`. With `a = gates[t] + h @ w_hhᵀ`,
/// each step sets `i, f, o = sigmoid(a)`, `g = tanh(a)`, `c = f * c + i * g` and `h = o * tanh(c)`. Outputs: all
/// `h` and all `c` `[time, batch, hidden]`, and all activations `i, f, g, o` `[time, batch, 4 * hidden]`.
pub(super) fn infer_lstm(inputs: &[Meta]) -> Result<Metas> {
    let op = "lstm";
    let &[gates, w_hh, h0, c0] = super::operands(op, inputs)?;
    let sizes = Sizes::new(op, gates, LSTM_GATES, w_hh, LSTM_GATES, inputs)?;
    sizes.expect(op, inputs, &[("h0", h0, sizes.state()), ("c0", c0, sizes.state())])?;
    Ok(Metas::from_slice(&[sizes.steps(1), sizes.steps(1), sizes.steps(LSTM_GATES)]))
}

/// Operands: the activations and all `c` of [`infer_lstm`], `w_hh`, `c0`; the gradient of all `h`, then optionally
/// that of all `c`, then optionally that of the activations. Outputs: the gradients of `gates`, `h0` and `c0`.
pub(super) fn infer_lstm_grad(inputs: &[Meta]) -> Result<Metas> {
    let op = "lstm_grad";
    let (active, c, w_hh, c0, gy, rest) = match *inputs {
        [active, c, w_hh, c0, gy, ref rest @ ..] if rest.len() <= 2 => (active, c, w_hh, c0, gy, rest),
        _ => {
            return Err(Error::shape(
                op,
                inputs,
                "expects activations, c, w_hh, c0 and one to three gradients",
            ));
        }
    };
    let sizes = Sizes::new(op, active, LSTM_GATES, w_hh, LSTM_GATES, inputs)?;
    let (all, state) = (sizes.steps(1), sizes.state());
    sizes.expect(op, inputs, &[("c", c, all), ("c0", c0, state), ("the gradient of h", gy, all)])?;
    let names = [("the gradient of c", all), ("the gradient of the activations", active)];
    for (&found, (name, want)) in rest.iter().zip(names) {
        sizes.expect(op, inputs, &[(name, found, want)])?;
    }
    Ok(Metas::from_slice(&[active, state, state]))
}

/// A gated recurrent unit (Cho et al., arXiv:1406.1078), as PyTorch defines it.
///
/// Operands: `gates` `[time, batch, 3 * hidden]`, what the inputs contribute to the gates `r, z, n`; `w_hh`
/// `[3 * hidden, hidden]`; `h0` `[batch, hidden]`; and optionally `b_hh` `[3 * hidden]`. With
/// `a = h @ w_hhᵀ + b_hh`, each step sets `r, z = sigmoid(gates[t] + a)`, `n = tanh(gates[t] + r * a)` and
/// `h = (1 - z) * n + z * h`. Outputs: all `h` `[time, batch, hidden]`, and `r, z, n` and the `a` of `n`
/// `[time, batch, 4 * hidden]`.
pub(super) fn infer_gru(inputs: &[Meta]) -> Result<Metas> {
    let op = "gru";
    let (gates, w_hh, h0, b_hh) = match *inputs {
        [gates, w_hh, h0] => (gates, w_hh, h0, None),
        [gates, w_hh, h0, b_hh] => (gates, w_hh, h0, Some(b_hh)),
        _ => return Err(Error::shape(op, inputs, "expects gates, w_hh, h0 and at most a bias")),
    };
    let sizes = Sizes::new(op, gates, GRU_GATES, w_hh, GRU_GATES, inputs)?;
    sizes.expect(op, inputs, &[("h0", h0, sizes.state())])?;
    let bias = Meta::new(Shape::trusted(&[GRU_GATES * sizes.hidden]), gates.dtype);
    if let Some(b_hh) = b_hh {
        sizes.expect(op, inputs, &[("b_hh", b_hh, bias)])?;
    }
    Ok(Metas::from_slice(&[sizes.steps(1), sizes.steps(GRU_SAVED)]))
}

/// Operands: the second output and the first of [`infer_gru`], `w_hh`, `h0`; the gradient of all `h`, then
/// optionally that of the second output. Outputs: the gradient of `gates`; that of `h @ w_hhᵀ + b_hh` for all steps,
/// of the same shape; and that of `h0`.
pub(super) fn infer_gru_grad(inputs: &[Meta]) -> Result<Metas> {
    let op = "gru_grad";
    let (active, y, w_hh, h0, gy, g_active) = match *inputs {
        [active, y, w_hh, h0, gy] => (active, y, w_hh, h0, gy, active),
        [active, y, w_hh, h0, gy, g_active] => (active, y, w_hh, h0, gy, g_active),
        _ => {
            return Err(Error::shape(
                op,
                inputs,
                "expects activations, h, w_hh, h0 and one or two gradients",
            ));
        }
    };
    let sizes = Sizes::new(op, active, GRU_SAVED, w_hh, GRU_GATES, inputs)?;
    let (all, state) = (sizes.steps(1), sizes.state());
    let wanted = [
        ("h", y, all),
        ("h0", h0, state),
        ("the gradient of h", gy, all),
        ("the gradient of the activations", g_active, active),
    ];
    sizes.expect(op, inputs, &wanted)?;
    Ok(Metas::from_slice(&[sizes.steps(GRU_GATES), sizes.steps(GRU_GATES), state]))
}
