//! Scaled dot-product attention and its gradient.

use crate::op::Attention;
use crate::{DType, Result, Tensor};

/// Each query's weights over the keys, and the logarithm of its denominator without the reduced axis.
/// All zero where every key is masked.
fn probabilities(op: &Attention, q: &Tensor, k: &Tensor, mask: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
    let mut scores = q.matmul(&k.t()?)?.mul(op.scale)?;
    if let Some(mask) = mask {
        scores = scores.add(&mask.widened()?)?;
    }
    let (queries, keys) = (q.dims()[q.rank() - 2], k.dims()[k.rank() - 2]);
    if op.causal {
        let device = q.device().innermost();
        let query = Tensor::arange(0, queries as i64, DType::I64, device)?.unsqueeze(1)?;
        let future = Tensor::arange(0, keys as i64, DType::I64, device)?.unsqueeze(0)?.gt(&query)?;
        scores = scores.masked_fill(&future, f64::NEG_INFINITY)?;
    }
    if keys == 0 {
        let none = Tensor::full(
            f64::NEG_INFINITY,
            &q.dims()[..q.rank() - 1],
            scores.dtype(),
            q.device().innermost(),
        )?;
        return Ok((scores, none));
    }
    // The shift cancels in the result; for a row of -inf it would make NaN, and 0 does.
    let shift = scores.innermost()?.amax_keepdim(-1)?;
    let shift = shift.masked_fill(&shift.eq(f64::NEG_INFINITY)?, 0.0)?;
    let e = scores.sub(&shift)?.exp()?;
    let sum = e.sum_keepdim(-1)?;
    let lse = sum.innermost()?.log()?.add(&shift)?.squeeze(-1)?;
    let p = e.div(&sum.masked_fill(&sum.eq(0.0)?, 1.0)?)?;
    Ok((p, lse))
}

pub(super) fn attention(
    op: &Attention,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
) -> Result<Vec<Tensor>> {
    let (p, lse) = probabilities(op, &q.widened()?, &k.widened()?, mask)?;
    Ok(vec![p.matmul(&v.widened()?)?.cast(q.dtype())?, lse])
}

pub(super) fn attention_grad(
    op: &Attention,
    g: &Tensor,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
) -> Result<Vec<Tensor>> {
    let dtype = q.dtype();
    let (g, q, k, v) = (g.widened()?, q.widened()?, k.widened()?, v.widened()?);
    let (p, _) = probabilities(op, &q, &k, mask)?;
    let gp = g.matmul(&v.t()?)?;
    let gs = p.mul(&gp.sub(&gp.mul(&p)?.sum_keepdim(-1)?)?)?.mul(op.scale)?;
    Ok(vec![gs.matmul(&k)?.cast(dtype)?, gs.t()?.matmul(&q)?.cast(dtype)?, p.t()?.matmul(&g)?.cast(dtype)?])
}
