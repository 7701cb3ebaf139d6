//! Gradients of recurrences. The gradient ops go back through the steps; what is left is a product over all steps.

use gradus_tensor_core::{Op, Result, Tensor};

use super::{Context, Grads, grads};

/// The gradients of a recurrence's outputs as its gradient op takes them: the first one always, others up to the
/// last that is there.
fn given(first: &Tensor, others: &[&Tensor], outputs: &[Option<Tensor>]) -> Result<Vec<Tensor>> {
    let like = std::iter::once(&first).chain(others);
    let last = outputs.iter().rposition(Option::is_some).unwrap_or(0);
    like.zip(outputs)
        .take(last + 1)
        .map(|(like, g)| g.clone().map_or_else(|| like.innermost()?.zeros_like(), Ok))
        .collect()
}

/// The gradient of `w_hh`, given that of `h @ w_hhᵀ` at every step: the sum over steps and samples of its products
/// with the `h` before.
fn weight(g: &Tensor, y: &Tensor, h0: &Tensor) -> Result<Tensor> {
    let (time, batch, hidden, rows) = (y.dims()[0], y.dims()[1], y.dims()[2], g.dims()[2]);
    let first = g.select(0, 0)?.t()?.matmul(h0)?;
    if time == 1 {
        return Ok(first);
    }
    let n = (time - 1) * batch;
    let later = g.narrow(0, 1, time - 1)?.reshape([n, rows])?;
    let before = y.narrow(0, 0, time - 1)?.reshape([n, hidden])?;
    later.t()?.matmul(&before)?.add(&first)
}

/// Operands `gates`, `w_hh`, `h0`, `c0`; outputs `h`, `c`, activations.
pub(super) fn lstm(ctx: &Context<'_>, outputs: &[Option<Tensor>]) -> Result<Grads> {
    let (y, c, active) = (ctx.output(0)?, ctx.output(1)?, ctx.output(2)?);
    let given = given(y, &[c, active], outputs)?;
    let mut operands = vec![active, c, ctx.input(1)?, ctx.input(3)?];
    operands.extend(&given);
    let all = Op::LstmGrad.run(&operands)?;
    let [g, gh0, gc0] = [all[0].clone(), all[1].clone(), all[2].clone()];
    let gw = ctx.when(1, || weight(&g, y, ctx.input(2)?))?;
    Ok(grads([Some(g), gw, Some(gh0), Some(gc0)]))
}

/// Operands `gates`, `w_hh`, `h0` and optionally `b_hh`; outputs `h`, activations.
pub(super) fn gru(ctx: &Context<'_>, outputs: &[Option<Tensor>]) -> Result<Grads> {
    let (y, active) = (ctx.output(0)?, ctx.output(1)?);
    let given = given(y, &[active], outputs)?;
    let mut operands = vec![active, y, ctx.input(1)?, ctx.input(2)?];
    operands.extend(&given);
    let all = Op::GruGrad.run(&operands)?;
    let [g, g_hidden, gh0] = [all[0].clone(), all[1].clone(), all[2].clone()];
    let gw = ctx.when(1, || weight(&g_hidden, y, ctx.input(2)?))?;
    let mut all = grads([Some(g), gw, Some(gh0)]);
    if ctx.arity() == 4 {
        all.push(ctx.when(3, || g_hidden.sum([0, 1]))?);
    }
    Ok(all)
}
