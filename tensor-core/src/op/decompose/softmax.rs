//! Softmax, its logarithm and their gradients.

use crate::op::Softmax;
use crate::{Result, Tensor};

pub(super) fn softmax(op: &Softmax, x: &Tensor) -> Result<Tensor> {
    if x.numel() == 0 {
        return Ok(x.clone());
    }
    let z = x.widened()?;
    // The shift keeps exponentials finite and cancels in the result.
    let z = z.sub(&z.innermost()?.amax_keepdim(op.axis)?)?;
    let e = z.exp()?;
    let sum = e.sum_keepdim(op.axis)?;
    if op.log { z.sub(&sum.log()?)? } else { e.div(&sum)? }.cast(x.dtype())
}

pub(super) fn softmax_grad(op: &Softmax, g: &Tensor, y: &Tensor) -> Result<Tensor> {
    let (g, p) = (g.widened()?, y.widened()?);
    let gx = if op.log {
        g.sub(&p.exp()?.mul(&g.sum_keepdim(op.axis)?)?)?
    } else {
        p.mul(&g.sub(&g.mul(&p)?.sum_keepdim(op.axis)?)?)?
    };
    gx.cast(y.dtype())
}
